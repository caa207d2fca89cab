/* SPDX-License-Identifier: MIT */
/*
 * io_uring_internal.h - the engine's state, and what io_uring.c (connections and turns) and
 * io_uring_accept.c share.
 */
#ifndef BIVALVE_IO_URING_INTERNAL_H
#define BIVALVE_IO_URING_INTERNAL_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend.h"
#include "io_uring_ring.h"

#define URING_LISTENERS 64

enum uring_op {
    URING_OP_ACCEPT = 1, /* "fd" is the listener's index */
    URING_OP_RECV,
    URING_OP_SEND,
    URING_OP_WAKE,
    URING_OP_CANCEL_ACCEPT, /* cancels report only failure */
    URING_OP_CANCEL_RECV,
    URING_OP_CANCEL_SEND,
};

/* uring_conn.flags */
enum {
    URING_ATTACHED = 1 << 0,
    URING_DETACHING = 1 << 1,
    URING_PAUSED = 1 << 2,      /* nothing of the receiving side is reported */
    URING_RECV_ARMED = 1 << 3,  /* a receive is in flight */
    URING_RECV_CANCEL = 1 << 4, /* ... and a cancel for it */
    URING_SEND_ARMED = 1 << 5,  /* a send is in flight */
    URING_SEND_CANCEL = 1 << 6, /* ... and a cancel for it */
    URING_SEND_WAITS = 1 << 7,  /* a send waits for a place in the submission queue */
    URING_QUEUED = 1 << 8,      /* in the queue of connections that need attention */
    URING_ONE_BY_ONE = 1 << 9,  /* has been paused: receives are single from then on */
};

#define URING_END_EOF UINT16_MAX /* uring_conn.end */

/* Input that arrived while receiving was off. */
struct uring_held {
    struct uring_held *next;
    uint32_t len, off;
    char data[];
};

/* What only few connections need for a moment. */
struct uring_extra {
    struct uring_held *head, **tail;
    const char *buf; /* of the send that waits for a place */
    uint32_t len;
};

/* A connection's private part of the slot. */
struct uring_conn {
    struct uring_extra *extra; /* NULL nearly always */
    int32_t next;              /* queue, by fd; -1 ends */
    uint16_t flags;
    uint16_t end; /* how receiving ended while paused: 0, URING_END_EOF or errno */
};

static_assert(sizeof(struct uring_conn) == 16, "every connection has one");

struct uring_listener {
    int fd;
    unsigned burst;
    bool wanted;    /* as listen_ctl() said last */
    bool armed;     /* an accept is in flight */
    bool multishot; /* ... and it goes on */
    bool cancelling;
    bool report_off; /* conn_on_listen_off() is due when the accept in flight has ended */
};

struct uring_backend {
    struct backend base;
    struct uring_ring r;
    struct uring_listener listener[URING_LISTENERS];
    int32_t queue_head; /* connections that need attention when wait() begins, by fd; -1: none */
    int32_t queue_tail;
    bool listeners_wait;   /* an accept or its cancel waits for a place in the submission queue */
    bool wake_waits;       /* likewise the receive of wake() */
    bool in_wait;          /* upcalls are allowed */
    unsigned submit_bytes; /* sends of so many bytes are submitted before the turn is over */
    unsigned send_bytes;   /* of sends that are queued */
    int wake_fd;
    uint64_t wake_count; /* read from wake_fd; of no interest */
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

/* Is the connection that had fd and gen before an upcall still there, and not being detached? */
static inline bool uring_is_live(struct uring_backend *b, int fd, uint32_t gen)
{
    return uring_gen(b, fd) == gen &&
           (uring_conn(b, fd)->flags & (URING_ATTACHED | URING_DETACHING)) == URING_ATTACHED;
}

static inline uint64_t uring_user_data(enum uring_op op, uint32_t gen, int fd)
{
    return (uint64_t)op << 56 | (uint64_t)(gen & SLOT_GEN_MASK) << 32 | (uint32_t)fd;
}

/* A place in the submission queue; when it is full, what is in it is submitted first. NULL: the
 * kernel takes nothing now. */
struct io_uring_sqe *uring_sqe(struct uring_backend *b);

/* Cancel the operation called `target`; only a failure to find it is reported, as `op`. False: no
 * place in the queue. */
bool uring_cancel(struct uring_backend *b, enum uring_op op, uint64_t target);

/* ---- io_uring_accept.c ---- */

/* backend_ops.listen_ctl */
int uring_listen_ctl(struct backend *be, unsigned index, int lfd, bool on, unsigned burst);

/* Submit what could not be submitted when it was asked for. */
void uring_listeners_retry(struct uring_backend *b);

/* Completions of an accept, and of a cancel that found none. */
void uring_on_accept(struct uring_backend *b, unsigned index, int res, unsigned flags);
void uring_on_accept_cancel_missed(struct uring_backend *b, unsigned index);

#endif
