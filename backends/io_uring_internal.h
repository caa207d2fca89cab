/* SPDX-License-Identifier: MIT */
/*
 * io_uring_internal.h - the backend's state, and what its files share. io_uring_accept.c (listeners),
 * and for connections io_uring_conn.c, io_uring_send.c (what they send) and io_uring_file.c (what of
 * that lies in files) stand on what is here; listeners and connections do not know each other.
 * io_uring.c (iterations) calls all of them.
 */
#ifndef BIVALVE_IO_URING_INTERNAL_H
#define BIVALVE_IO_URING_INTERNAL_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend.h"
#include "batch.h"
#include "io_uring_ring.h"

enum uring_op {
    URING_OP_TAKEN,  /* no operation: a completion that has been dealt with before its turn */
    URING_OP_ACCEPT, /* "fd" is the listener's index */
    URING_OP_POLL,   /* likewise */
    URING_OP_CONNECT,
    URING_OP_RECV,
    URING_OP_SEND,
    URING_OP_READ, /* of a file, to be sent */
    URING_OP_ROOM, /* a poll for room to send */
    URING_OP_WAKE,
    URING_OP_CANCEL_LISTENER, /* cancels report only failure */
    URING_OP_CANCEL_RECV,
    URING_OP_CANCEL_SEND,
};

/* stats->backend[], as uring_counters in io_uring.c names them. */
enum uring_counter {
    URING_SQES,
    URING_RECV_REARMED,
    URING_ACCEPT_REARMED,
    URING_ENOBUFS,
    URING_INPUT_HELD,
    URING_SQ_FULL,
    URING_CQ_OVERFLOW,
    URING_CANCELS,
    URING_BATCH_WAITS,
    URING_COUNTERS
};

/* uring_conn.flags */
enum {
    URING_ATTACHED = 1 << 0,
    URING_DETACHING = 1 << 1,
    URING_PAUSED = 1 << 2,      /* nothing of the receiving side is reported */
    URING_RECV_ARMED = 1 << 3,  /* a receive is in flight */
    URING_RECV_CANCEL = 1 << 4, /* ... and a cancel for it */
    URING_SEND_ARMED = 1 << 5,  /* a send is in flight, or what else is done for one: see below */
    URING_SEND_CANCEL = 1 << 6, /* ... and a cancel for it */
    URING_DEFERRED = 1 << 7,    /* that waits for a place in the submission queue */
    URING_QUEUED = 1 << 8,      /* in a queue: it is looked at, now or when there are buffers */
    URING_ONE_BY_ONE = 1 << 9,  /* has been paused: receives are single from then on */
    URING_READING = 1 << 10,    /* SEND_ARMED: a file is read, and sent when it has been */
    URING_CONNECTING = 1 << 11, /* SEND_ARMED: a connect is in flight */
    URING_AWAITING = 1 << 12,   /* SEND_ARMED: a poll for room is in flight */
};

#define URING_END_EOF      UINT16_MAX /* uring_conn.end */
#define URING_RETRIES_MAX  65536      /* of those who found no buffer, in an iteration */
#define URING_JOINED_BYTES 16384      /* of input that was cut in two, together */

/* Input that arrived while receiving was off. */
struct uring_held {
    struct uring_held *next;
    uint32_t len, off;
    char data[];
};

/* What only few connections need for a moment. */
struct uring_extra {
    struct uring_held *head, **tail;

    /* A send of several segments, or one that is deferred; the kernel reads it until it is done. */
    struct iovec iov[BACKEND_SEGMENTS_MAX];
    struct msghdr msg; /* msg_iovlen 0: none */

    char *file_buf; /* of a range of a file: read into, then sent from */
    int file;
    uint32_t file_len;
    off_t file_offset;

    struct sockaddr_storage addr; /* of a connect */
    socklen_t addr_len;
};

/* A connection's private part of the slot. */
struct uring_conn {
    _Alignas(16) struct uring_extra *extra; /* NULL nearly always */
    int32_t next;                           /* queue, by fd; -1 ends */
    uint16_t flags;
    uint16_t end; /* how receiving ended while paused: 0, URING_END_EOF or errno */
};

static_assert(sizeof(struct uring_conn) == 16, "every connection has one");

struct uring_listener {
    int fd;
    uint32_t burst;
    bool wanted;    /* as listen_ctl() said last */
    bool armed;     /* an accept, or a poll, is in flight */
    bool multishot; /* it is an accept that goes on */
    bool cancelling;
    bool report_off; /* listen_off() is due when what is in flight has ended */
};

/* Connections, by fd, linked by uring_conn.next; each is in at most one queue (URING_QUEUED). */
struct uring_queue {
    int32_t head, tail; /* -1: none */
};

struct uring_backend {
    struct backend base;
    struct uring_ring r;
    struct uring_listener listener[BACKEND_LISTENERS_MAX];
    struct uring_queue queue;   /* to look at when wait() begins */
    struct uring_queue starved; /* their receives found no buffer: see uring_feed_starved() */
    uint32_t retries;           /* so many of them tried again last; 0: there were none */
    uint64_t retries_failed;    /* receives that had found no buffer when they did */
    bool listeners_deferred;    /* an operation of a listener waits for a place in the queue */
    bool listeners_starved;     /* a listener waits for accept_room */
    bool wake_deferred;         /* the read that wake() ends waits for a place in the queue */
    unsigned wake_failures;     /* in a row */
    int broken;                 /* -errno: wake() cannot be waited for any more */
    struct batch batch;
    unsigned submit_bytes; /* sends of so many bytes are submitted before the iteration is over */
    unsigned send_bytes;   /* of sends that are queued */
    unsigned asked_head;   /* of completions, when the kernel was last asked for events */
    unsigned reap_tail;    /* of completions, as far as this iteration goes */
    unsigned sent_tail;    /* of completions, as far as ends of sends were looked for */
    unsigned sent_left;    /* of these, how many may still be taken before their turn */
    uint64_t joined_for;   /* user_data of the completion that has what follows `joined` */
    unsigned joined_len;   /* bytes in `joined`; 0 but between those two completions */
    int wake_fd;
    uint64_t wake_count; /* read from wake_fd; of no interest */
    char joined[URING_JOINED_BYTES];
};

static inline struct uring_backend *uring_of(struct backend *be)
{
    return (struct uring_backend *)be;
}

static inline struct uring_conn *uring_conn(struct uring_backend *b, int fd)
{
    return slot_priv(b->base.cfg.slots, fd);
}

static inline uint32_t uring_gen(struct uring_backend *b, int fd)
{
    return slot_get(b->base.cfg.slots, fd)->gen;
}

static inline struct stats *uring_stats(struct uring_backend *b)
{
    return b->base.cfg.stats;
}

static inline void uring_count(struct uring_backend *b, enum uring_counter counter)
{
    b->base.cfg.stats->backend[counter]++;
}

/* What URING_SEND_ARMED stands for now. */
static inline enum uring_op uring_send_op(const struct uring_conn *c)
{
    return c->flags & URING_CONNECTING ? URING_OP_CONNECT
           : c->flags & URING_READING  ? URING_OP_READ
           : c->flags & URING_AWAITING ? URING_OP_ROOM
                                       : URING_OP_SEND;
}

static inline uint64_t uring_user_data(enum uring_op op, uint32_t gen, int fd)
{
    return (uint64_t)op << 56 | (uint64_t)(gen & SLOT_GEN_MASK) << 32 | (uint32_t)fd;
}

static inline enum uring_op uring_op_of(uint64_t user_data)
{
    return (enum uring_op)(user_data >> 56);
}

/* ---- io_uring_submit.c ---- */

/* A place in the submission queue; when it is full, what is in it is submitted first. NULL: the
 * kernel takes nothing now. */
struct io_uring_sqe *uring_sqe(struct uring_backend *b);

/* Cancel the operation called `target`; only a failure to find it is reported, as `op`. False: no
 * place in the queue. */
bool uring_cancel(struct uring_backend *b, enum uring_op op, uint64_t target);

/* ---- io_uring_accept.c ---- */

/* backend_ops.listen_ctl */
int uring_listen_ctl(struct backend *be, unsigned index, int lfd, bool on, uint32_t burst);

/* When wait() begins: do what could not be done when it was asked for. */
void uring_listeners_retry(struct uring_backend *b);

/* Completions: of a multishot accept, of a poll, of a cancel that found neither. */
void uring_on_accept(struct uring_backend *b, unsigned index, int res, unsigned flags);
void uring_on_poll(struct uring_backend *b, unsigned index, int res);
void uring_on_listener_cancel_missed(struct uring_backend *b, unsigned index);

/* ---- io_uring_conn.c ---- */

/* backend_ops, for one connection */
int uring_attach(struct backend *be, int fd);
void uring_recv_ctl(struct backend *be, int fd, bool on);
int uring_detach(struct backend *be, int fd);

/* Have fd looked at when the next wait() begins. */
void uring_enqueue(struct uring_backend *b, int fd);

/* When wait() begins: look at every connection in the queue, and at some of the starved ones. True:
 * an upcall was made. */
bool uring_run_queue(struct uring_backend *b);

/* Does any connection still wait to be looked at? */
static inline bool uring_has_queued(const struct uring_backend *b)
{
    return b->queue.head >= 0 || b->starved.head >= 0;
}

/* If the connection is being detached and nothing holds it any more, say so. */
void uring_report_detached(struct uring_backend *b, int fd, struct uring_conn *c);

/* Completions. */
void uring_on_recv(struct uring_backend *b, int fd, uint32_t gen, int res, unsigned flags);
void uring_on_conn_cancel_missed(struct uring_backend *b, enum uring_op op, int fd, uint32_t gen);

/* ---- io_uring_send.c ---- */

/* backend_ops, for one connection */
int uring_connect(struct backend *be, int fd, const struct sockaddr *addr, socklen_t len);
int uring_send(struct backend *be, int fd, const struct backend_segment *segments, unsigned count);

/* What it has besides its slot; NULL: no memory. uring_extra_trim() frees it if nothing is in it: no
 * input, and no send in flight or deferred. */
struct uring_extra *uring_extra(struct uring_conn *c);
void uring_extra_trim(struct uring_conn *c);

/* Have what c->extra or the flags describe done now, or when wait() begins if there is no place. */
void uring_extra_arm_or_defer(struct uring_backend *b, int fd, struct uring_conn *c);

/* The connection whose send, or what was done for one, has ended; NULL: of another generation, or it
 * was being detached and that has been dealt with. */
struct uring_conn *uring_send_ended(struct uring_backend *b, int fd, uint32_t gen);

/* Completions. */
void uring_on_connect(struct uring_backend *b, int fd, uint32_t gen, int res);
void uring_on_send(struct uring_backend *b, int fd, uint32_t gen, int res);

/* ---- io_uring_file.c ---- */

/* backend_ops.send by system calls: of what waits for no disk. */
int uring_send_now(struct uring_backend *b, int fd, struct uring_conn *c,
                   const struct backend_segment *segments, unsigned count);

/* backend_ops.send of segments of which the first is a file. */
int uring_send_file(struct uring_backend *b, int fd, struct uring_conn *c,
                    const struct backend_segment *segments, unsigned count);

/* Completions. */
void uring_on_read(struct uring_backend *b, int fd, uint32_t gen, int res);
void uring_on_room(struct uring_backend *b, int fd, uint32_t gen, int res);

#endif
