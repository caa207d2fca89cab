/* SPDX-License-Identifier: MIT */
/*
 * slot.h - the slot table: everything a connection is, in one flat array indexed by fd.
 *
 * The array is address space reserved for every fd the process may have and touched only where fds
 * are open, so a lookup is one multiplication, accepting allocates nothing, and (the kernel hands
 * out the lowest free fd) memory follows the number of connections open at once. The engine's
 * private state is a second array with the same key. Groups of SLOT_GROUP slots that have been
 * empty for a while go back to the kernel (slot_table_trim()).
 *
 * Owned by the core: an engine reads `gen` and its own private part, nothing else.
 */
#ifndef BIVALVE_SLOT_H
#define BIVALVE_SLOT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bufpool.h"
#include "http_parser.h"
#include "integer.h"
#include "out.h"
#include "util.h"

#define SLOT_SIZE      128
#define SLOT_GROUP     256        /* slots given back together: whole pages of both arrays */
#define SLOT_TABLE_MAX (1u << 20) /* RLIMIT_NOFILE can be a billion: no table is larger */
#define SLOT_GEN_MASK  0xffffffu  /* generations are 24 bits: they travel in io_uring's user_data */

enum slot_state {
    SLOT_FREE = 0,
    SLOT_OPEN,      /* served: receiving, or paused by back-pressure */
    SLOT_LAST,      /* the response being sent is the last one: input is no longer parsed */
    SLOT_LINGER,    /* half-closed by us: input is discarded until end, time or byte limit */
    SLOT_DETACHING, /* the engine still holds something; the fd closes at conn_on_detached() */
    SLOT_DETACHED,  /* the engine holds nothing, but the run queue still names the fd */
};

/* slot.flags */
enum {
    SLOT_EOF = 1 << 0,        /* the client will send no more */
    SLOT_PAUSED = 1 << 1,     /* receiving is off */
    SLOT_SENDING = 1 << 2,    /* a range is lent to the engine: exactly one conn_on_sent() is due */
    SLOT_QUEUED = 1 << 3,     /* in the worker's queue of connections to go on with */
    SLOT_IN_BODY = 1 << 4,    /* parser is inside a message body; the handler's state is live */
    SLOT_PRODUCING = 1 << 5,  /* a handler has more of its response to write (json) */
    SLOT_KEEP = 1 << 6,       /* the connection persists after the current response */
    SLOT_DISCARD = 1 << 7,    /* the current request is answered: its body is read and dropped */
    SLOT_RD_SHUT = 1 << 8,    /* shutdown(SHUT_RD) done: waiting for EOF to close */
    SLOT_STARTED = 1 << 9,    /* a byte of the current request has been seen */
    SLOT_HTTP10 = 1 << 10,    /* the current request is HTTP/1.0 */
    SLOT_HEAD_ONLY = 1 << 11, /* the current request is HEAD */
    SLOT_FRESH = 1 << 12,     /* no request has been completed yet on this connection */
    SLOT_UNIX = 1 << 13,      /* AF_UNIX: no TCP options */
    SLOT_BEHIND = 1 << 14,    /* output may have been put behind the range that is lent */
};

struct slot {
    uint32_t gen; /* 24 bits, drawn at accept; 0 while the slot is free */
    uint8_t state;
    uint8_t route; /* enum route_id of the request being answered */
    uint16_t flags;

    int32_t run_next;   /* worker's run queue, by fd; -1 ends */
    int32_t timer_next; /* timing wheel, by fd; -1 ends */
    int32_t timer_prev; /* by fd; negative: first of its bucket, see timer.c */
    uint32_t timer_at;  /* wheel tick the slot is linked at */
    uint32_t deadline;  /* wheel tick at which it really expires */
    uint8_t timer_kind; /* enum timer_kind; not TIMER_NONE: linked in the wheel */
    uint8_t pad_;
    uint16_t body_credit_ms; /* earned by body bytes, not yet worth a wheel tick: min_body_rate */

    struct buf *in;    /* stored input: an incomplete head, or batches not parsed yet */
    struct out out;    /* output not yet accepted by the kernel */
    uint32_t requests; /* heads parsed on this connection */
    uint32_t lingered; /* bytes discarded in SLOT_LINGER */

    struct http_parser parser;

    /* Of the request being answered: plain.c's or json_route.c's, never both. */
    union {
        struct integer_sum sum;
        struct {
            int64_t m;
            uint32_t next, count; /* next record to write, records in all */
        } json;
    } u;
} __attribute__((aligned(CACHE_LINE)));

static_assert(sizeof(struct slot) == SLOT_SIZE, "a connection is two cache lines");

struct slot_table {
    struct slot *slots;   /* reserved, readable and writable, zero where never touched */
    char *priv;           /* the engine's array; priv_size bytes a slot */
    size_t priv_size;     /* multiple of 16, or 0 */
    uint32_t cap;         /* fds 0..cap-1 have a slot */
    uint32_t used;        /* slots now in use */
    uint32_t gen_next;    /* next generation to draw */
    uint32_t groups;      /* cap / SLOT_GROUP, rounded up */
    uint32_t group_top;   /* no group from this one on has pages that could be given back */
    uint32_t trim_groups; /* groups given back together: 1 but where pages are larger than 4 KiB */
    struct slot_group *group; /* live count and age, one a group */
};

struct slot_group {
    uint16_t live;
    uint8_t touched; /* pages may be resident */
    uint8_t idle;    /* trims seen since live became 0 */
};

/*
 * Reserve a table for fds 0..cap-1 (1 to SLOT_TABLE_MAX of them) with `priv_size` bytes of engine
 * state each, a multiple of 16 or 0. 0, or -errno with nothing left behind: EINVAL, or ENOMEM
 * (lower RLIMIT_NOFILE or raise RLIMIT_AS).
 */
int slot_table_init(struct slot_table *t, uint32_t cap, size_t priv_size);
void slot_table_destroy(struct slot_table *t);

/*
 * Take the slot of `fd`, which must be free: zeroed (its private part too) but for a fresh
 * generation. The caller sets `state`. NULL if fd has no slot.
 */
struct slot *slot_take(struct slot_table *t, int fd);

/*
 * Give it back, its timer stopped: state becomes SLOT_FREE and gen 0, so that whoever kept the
 * generation sees that the connection is gone. The caller closes the fd next and touches neither
 * again.
 */
void slot_release(struct slot_table *t, int fd);

/*
 * Give pages of groups that stayed empty since the previous call back to the kernel; call it about
 * once a second. Returns the bytes returned, of address space: not all of them need have been
 * resident. `*pending` tells whether another call will have something to do even if nothing else
 * happens.
 */
size_t slot_table_trim(struct slot_table *t, bool *pending);

static inline struct slot *slot_get(const struct slot_table *t, int fd)
{
    return &t->slots[fd];
}

static inline int slot_fd(const struct slot_table *t, const struct slot *s)
{
    return (int)(s - t->slots);
}

static inline void *slot_priv(const struct slot_table *t, int fd)
{
    return t->priv + (size_t)fd * t->priv_size;
}

#endif
