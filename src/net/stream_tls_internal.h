/* SPDX-License-Identifier: MIT */
/*
 * stream_tls_internal.h - what the files of stream_tls*.c share: the state of a connection and of a loop,
 * and the calls between output (stream_tls_output.c), input (stream_tls_input.c) and the rest.
 */
#ifndef BIVALVE_STREAM_TLS_INTERNAL_H
#define BIVALVE_STREAM_TLS_INTERNAL_H

#include "stream.h"
#include "tls.h"

struct tls_stream {
    struct tls tls;
    struct slot *slot;
    uint64_t covers; /* bytes of slot->out whose ciphertext is in tls.out */
    char *in;        /* ciphertext that waits, from in_at to in_len; NULL: none */
    size_t in_len, in_at;
    struct tls_stream *next, **link;
    struct tls_queue *queue; /* that it is in, NULL: none */
    bool open;               /* the protocol above knows of it */
    bool begun;              /* its handshake was counted */
};

struct tls_queue {
    struct tls_stream *first, **end;
    unsigned count;
};

struct tls_streams {
    struct loop_hooks hooks; /* ours, before those of the program */
    const struct loop_hooks *program;
    struct tls_context *context;
    struct tls_stream **stream; /* by fd; reserved for all, touched where there are some */
    size_t stream_bytes;
    struct tls_queue run;      /* have input that waits, and may go on */
    struct tls_queue begin;    /* may, when handshakes may begin again */
    unsigned handshakes;       /* begun in this iteration */
    size_t plain_size;         /* --recv-buffer */
    char file[TLS_RECORD_MAX]; /* a piece of a file */
    char plain[] __attribute__((aligned(16)));
};

/* The TLS of a connection of a listener that has it. NULL: not yet. */
static inline struct tls_stream *tls_stream_get(const struct loop *l, const struct slot *s)
{
    return l->tls->stream[stream_fd(l, s)];
}

/* The protocol that is served by way of TLS. */
static inline const struct protocol *tls_stream_above(const struct loop *l, const struct slot *s)
{
    return l->acceptor.listener[s->listener].above;
}

/* ---- stream_tls.c ---- */

/*
 * The first bytes of a connection. NULL: it is no TLS, or there is no memory, and that has been dealt
 * with.
 */
struct tls_stream *tls_stream_begin(struct loop *l, struct slot *s, const char *data);

/* The protocol above hears that it is over, if it has heard of the connection and not of its end. */
void tls_stream_part(struct loop *l, struct slot *s, struct tls_stream *t, int err);

/*
 * It goes no further. What there is to say by way of an alert has been written; the peer is given
 * time to read it, if it is a client, which has no other to go to. False, for the caller to return.
 */
bool tls_stream_break(struct loop *l, struct slot *s, struct tls_stream *t);

/* ---- stream_tls_output.c ---- */

/* Of the layer (stream.h): what is to be sent, and that so much of it has been. */
int tls_stream_segments(struct loop *l, struct slot *s, struct backend_segment *segments,
                        unsigned max);
void tls_stream_consume(struct loop *l, struct slot *s, size_t n);

/* A last word that need not arrive: the end, to a client that was idle, or an alert. */
void tls_stream_say_goodbye(struct loop *l, struct slot *s, struct tls_stream *t);

/* ---- stream_tls_input.c ---- */

/* Of the protocol (stream.h) and of the layer. */
void tls_stream_on_input(struct loop *l, struct slot *s, const char *data, size_t len);
bool tls_stream_resume(struct loop *l, struct slot *s);

/*
 * Work on what was fed. False: there is nothing to be done for this connection any more, which may be
 * gone.
 */
bool tls_stream_work(struct loop *l, struct slot *s, struct tls_stream *t);

/* Go on with those that wait, then as the program has it (loop_hooks). */
int64_t tls_stream_before_wait(struct loop *l);

/* It waits for nothing any more, and what it has kept is given up. */
void tls_stream_dequeue(struct tls_stream *t);
void tls_stream_drop_input(struct loop *l, struct tls_stream *t);

#endif
