/* SPDX-License-Identifier: MIT */
/*
 * stream.h - one connected fd: bytes in, output segments out, back-pressure, time limits on output,
 * and the ways to end. What the bytes mean is a protocol's business.
 *
 *   state      event                                    next       why
 *   ---------  ---------------------------------------  ---------  ------------------------------
 *   FREE       accepted                                 OPEN       receiving
 *   FREE       stream_connect()                         CONNECTING
 *   CONNECTING connected                                OPEN       receiving
 *   CONNECTING refused, stream_close()                  DETACHING  there is nobody
 *   OPEN       stream_end()                             ENDING     output goes on, input is dropped
 *   OPEN       stream_close(), error, time limit        DETACHING  nothing is left to say
 *   ENDING     all sent, the peer may send yet          LINGER     half-closed: a close now would
 *                                                                  be answered to the peer's bytes
 *                                                                  by a reset (RFC 9112 9.6)
 *   ENDING     all sent, the peer is done               DETACHING  nobody can be hurt by a close
 *   ENDING     error, time limit                        DETACHING
 *   LINGER     end of input, byte or time limit         DETACHING
 *   DETACHING  the backend has let go                   FREE       slot released, fd closed
 *
 * The fd is closed last, so no event can be for an fd that is used again.
 *
 * Functions that return bool say whether the connection is still there: after false the slot is not
 * touched again.
 */
#ifndef BIVALVE_STREAM_H
#define BIVALVE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop_types.h"

enum stream_state {
    STREAM_FREE = 0,
    STREAM_CONNECTING,
    STREAM_OPEN,
    STREAM_ENDING,
    STREAM_LINGER,
    STREAM_DETACHING,
};

/* slot.flags */
enum {
    STREAM_EOF = 1 << 0,       /* the peer will send no more */
    STREAM_PAUSED = 1 << 1,    /* receiving is off */
    STREAM_SENDING = 1 << 2,   /* a send is in flight: exactly one sent() is due */
    STREAM_MORE = 1 << 3,      /* ... and output was added behind it */
    STREAM_SHUT_IN = 1 << 4,   /* stream_shut_input(): the end of input is near */
    STREAM_PEER_DONE = 1 << 5, /* the peer said that it will send no more, and has not */
    STREAM_UNIX = 1 << 6,      /* AF_UNIX: no TCP options */
    STREAM_LAYERED = 1 << 7,   /* what is sent is made by the listener's struct stream_layer */
    STREAM_RESET = 1 << 8,     /* the close is to be a reset */
    STREAM_READ = 1 << 9,      /* what is to be sent of a file next has been read just now */
    STREAM_DIRECT = 1 << 11,   /* the layer describes slot->out as it stands: its files are sent */
    STREAM_UNBOUND = 1 << 10,  /* the kernel may hold more than --max-unsent-bytes of a file */
};

/* slot.timer_kind */
enum stream_timer {
    STREAM_TIMER_NONE = 0,
    STREAM_TIMER_WRITE,    /* the peer takes no byte of the output */
    STREAM_TIMER_LINGER,   /* the peer does not close */
    STREAM_TIMER_LAYER,    /* the layer's own: it comes to the protocol's timeout() */
    STREAM_TIMER_PROTOCOL, /* this and what follows are the protocol's */
};

/* What stands above streams. Every member may end or close the stream. */
struct protocol {
    const char *name;

    /* Connected, receiving is on: set the first deadline. */
    void (*open)(struct loop *l, struct slot *s);

    /* `len` (> 0) bytes have arrived; borrowed until the return. Only while STREAM_OPEN. */
    void (*input)(struct loop *l, struct slot *s, const char *data, size_t len);

    /* The peer will send no more (STREAM_EOF is set, receiving is off). */
    void (*eof)(struct loop *l, struct slot *s);

    /* Output that had been in flight was taken: there may be room for more, or none left. */
    void (*writable)(struct loop *l, struct slot *s);

    /* A deadline of the protocol's own (`kind` >= STREAM_TIMER_PROTOCOL) has passed. */
    void (*timeout)(struct loop *l, struct slot *s, unsigned kind);

    /* The program ends: finish what is being answered, and close what is idle soon. */
    void (*drain)(struct loop *l, struct slot *s);

    /* Bytes of the blocks that slot->exchange holds. */
    size_t (*held)(const struct loop *l, const struct slot *s);

    /*
     * The stream is being closed: give up slot->exchange. Exactly once, after open() or
     * stream_connect(). `err` is why: a positive errno of the connect, the receive or the send that
     * failed, ETIMEDOUT when the peer takes no byte of the output, 0: it was closed on this side.
     */
    void (*gone)(struct loop *l, struct slot *s, int err);

    /*
     * Somebody has begun to speak this protocol where TLS is wanted: write the answer, in the clear;
     * the stream ends with it. Instead of open() and all others. 0 or -errno; NULL: there is none.
     */
    int (*refuse_plain)(struct loop *l, struct slot *s);
};

/*
 * What lies between a stream's output and the bytes that are sent: for connections that are
 * STREAM_LAYERED. slot->out stays what the protocol has written and the kernel has not taken, so that
 * a protocol sees no difference. Input passes a layer as it stands before the protocol (stream_tls.c).
 */
struct stream_layer {
    /*
     * Describe what is to be sent next, of slot->out and its own, in up to `max` segments; their
     * number, 0: nothing, or -errno: the connection is closed. Nothing is in flight. One range of a
     * file: the layer goes on when that has been read, STREAM_READ; with STREAM_DIRECT it is sent.
     */
    int (*segments)(struct loop *l, struct slot *s, struct backend_segment *segments, unsigned max);

    /* The kernel took `n` bytes of that. */
    void (*consume)(struct loop *l, struct slot *s, size_t n);

    /*
     * stream_resume(). True: the layer has input yet that it hands over itself, and calls
     * backend_recv_ctl() after that.
     */
    bool (*resume)(struct loop *l, struct slot *s);
};

/*
 * Is a send in flight that was handed over so lately that the backend cannot have told its end? A
 * completion queue tells in the next iteration, however long this one takes.
 */
static inline bool stream_send_is_fresh(const struct loop *l, const struct slot *s)
{
    return (s->flags & STREAM_SENDING) && (uint32_t)l->stats->iterations - s->sent_at < 2;
}

static inline int stream_fd(const struct loop *l, const struct slot *s)
{
    return slot_fd(&l->slots, s);
}

static inline const struct protocol *stream_protocol(const struct loop *l, const struct slot *s)
{
    return l->acceptor.listener[s->listener].protocol;
}

static inline const struct stream_layer *stream_layer(const struct loop *l, const struct slot *s)
{
    return l->acceptor.listener[s->listener].layer;
}

/*
 * Give an accepted or connected socket to the protocol of listener `index`. False: there is no slot
 * for it, or the backend refused it; it has been closed.
 */
bool stream_open(struct loop *l, unsigned index, int fd);

/*
 * Connect a new non-blocking stream socket to `addr`, for the protocol of listener `index` (whose
 * own fd may be -1), with `exchange` as the slot's, which is not NULL. 0: the protocol's open() will
 * be called, or gone(); until then the connection may have a deadline (stream_set_timer()) and be
 * closed. -errno: it has failed at once, nothing will be called. The fd is the stream's, and closed,
 * in any case.
 */
int stream_connect(struct loop *l, unsigned index, int fd, const struct sockaddr *addr,
                   socklen_t len, void *exchange);

/* From now on it is one of listener `index`, whose protocol hears of it: open(). */
void stream_move(struct loop *l, struct slot *s, unsigned index);

/* Hand output to the backend until it pends or is gone. */
bool stream_flush(struct loop *l, struct slot *s);

/*
 * Send what there is of output and, behind all of it, of `data`, which may be borrowed input, as far
 * as that can be done at once. The bytes of `data` that are sent: the others are still to be written.
 */
size_t stream_send_now(struct loop *l, struct slot *s, const char *data, size_t len);

/* The next input may carry `bytes`, and more than --recv-buffer: a hint. Not with a layer, which
 * keeps input. */
void stream_expect(struct loop *l, struct slot *s, size_t bytes);

/* Turn receiving off, as back-pressure, and on again; does nothing where it is so already. */
void stream_pause(struct loop *l, struct slot *s);
void stream_resume(struct loop *l, struct slot *s);

/* After an end of input: look once more whether there is some. */
void stream_look_again(struct loop *l, struct slot *s);

/*
 * No more output will be added: send what there is, then half-close and wait for the peer's end, or
 * close. `peer_done`: the peer has said that it sends nothing after this, so it cannot lose the
 * last of the output to a reset.
 */
bool stream_end(struct loop *l, struct slot *s, bool peer_done);

/* Detach from the backend and close, whatever is in flight. False: `return stream_close(l, s);`. */
bool stream_close(struct loop *l, struct slot *s);

/* Close by a reset, so that the kernel drops what it has queued for the peer as well. False. */
bool stream_reset(struct loop *l, struct slot *s);

/*
 * Shut the input down, to close an idle connection without losing what the kernel has received
 * already: that is still reported, then the end of input.
 */
bool stream_shut_input(struct loop *l, struct slot *s);

/* Set the connection's one deadline, `kind`, `delay_ms` from now; 0: none. */
static inline void stream_set_timer(struct loop *l, struct slot *s, unsigned kind,
                                    uint32_t delay_ms)
{
    s->timer_kind = (uint8_t)kind;
    timer_set(&l->timers, &s->timer, l->clock.now_ms, delay_ms);
}

/* Bytes of all blocks that the connection holds. */
size_t stream_held(const struct loop *l, const struct slot *s);

/* Go on where readers have read what is to be sent: loop->reads_done was set. */
void stream_collect_reads(struct loop *l);

/* For loop.c: a slot's deadline has passed; the backend's events. */
void stream_on_timer(void *loop, struct timer *t);
void stream_on_input(void *loop, int fd, const char *data, size_t len);
void stream_on_eof(void *loop, int fd);
void stream_on_failed(void *loop, int fd, int err);
void stream_on_sent(void *loop, int fd, int result);
void stream_on_detached(void *loop, int fd);
void stream_on_connected(void *loop, int fd, int err);

#endif
