/* SPDX-License-Identifier: MIT */
/*
 * slot.h - the slot table: one slot for each open connection, in a flat array indexed by fd.
 *
 * The array is address space reserved for every fd the process may have and touched only where fds
 * are open, so a lookup is one multiplication, accepting allocates nothing, and (the kernel hands
 * out the lowest free fd) memory follows the number of connections open at once. The backend's
 * private state is a second array with the same key. Groups of SLOT_GROUP slots that have been
 * empty for a while go back to the kernel (slot_table_trim()).
 *
 * A slot holds the stream (stream.h) and nothing of the request: what a request needs is in an
 * exchange of its protocol, which an idle connection does not have.
 */
#ifndef BIVALVE_SLOT_H
#define BIVALVE_SLOT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "out.h"
#include "timer.h"
#include "util.h"

#define SLOT_SIZE      64
#define SLOT_GROUP     256        /* slots given back together: whole pages of both arrays */
#define SLOT_TABLE_MAX (1u << 20) /* RLIMIT_NOFILE can be a billion: no table is larger */
#define SLOT_GEN_MASK  0xffffffu  /* generations are 24 bits: they travel in io_uring's user_data */

struct slot {
    uint32_t gen;       /* 24 bits, drawn when the slot is taken; 0 while it is free */
    uint16_t flags;     /* STREAM_*, of stream.h */
    uint8_t state;      /* enum stream_state */
    uint8_t listener;   /* index of the listener that accepted it */
    struct timer timer; /* the one deadline that the connection has now */
    uint8_t timer_kind; /* enum stream_timer: which one that is */
    uint8_t spare[3];
    uint32_t sent_at;   /* the iteration in which the send in flight was handed over */
    struct out out;     /* output not yet accepted by the kernel */
    void *exchange;     /* the protocol's; NULL while the connection is idle */
    uint32_t exchanges; /* begun on this connection; counted by the protocol */
    uint32_t discarded; /* bytes of input that came after the last answer, and were dropped */
} __attribute__((aligned(CACHE_LINE)));

static_assert(sizeof(struct slot) == SLOT_SIZE, "a connection is one cache line");

struct slot_table {
    struct slot *slots;   /* reserved, readable and writable, zero where never touched */
    char *priv;           /* the backend's array; priv_size bytes a slot */
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
 * Reserve a table for fds 0..cap-1 (1 to SLOT_TABLE_MAX of them) with `priv_size` bytes of backend
 * state each, a multiple of 16 or 0. 0, or -errno with nothing left behind: EINVAL, or ENOMEM
 * (lower RLIMIT_NOFILE or raise RLIMIT_AS).
 */
int slot_table_init(struct slot_table *t, uint32_t cap, size_t priv_size);
void slot_table_destroy(struct slot_table *t);

/*
 * Take the slot of `fd`, which must be free: zeroed (its private part too) but for a fresh
 * generation. NULL if fd has no slot.
 */
struct slot *slot_take(struct slot_table *t, int fd);

/*
 * Give it back, its timer stopped: gen becomes 0, so that whoever kept the generation sees that the
 * connection is gone. The caller closes the fd next and touches neither again.
 */
void slot_release(struct slot_table *t, int fd);

/*
 * Give pages of groups that stayed empty since the previous call back to the kernel; call it about
 * once a second. Returns the bytes returned, of address space: not all of them need have been
 * resident. `*pending` tells whether another call will have something to do even if nothing else
 * happens.
 */
size_t slot_table_trim(struct slot_table *t, bool *pending);

/* Is there a connection in it? */
static inline bool slot_used(const struct slot *s)
{
    return s->gen != 0;
}

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
