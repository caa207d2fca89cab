/* SPDX-License-Identifier: MIT */
/*
 * bufpool.h - blocks of one size that never move, handed out to connections while they have
 * something in transit.
 *
 * Blocks are carved one by one from slabs of address space, and a block's pages are touched only as
 * far as it is filled. What was given back last is handed out first, as far as it lies in the slab
 * now in use, so a busy worker answers request after request in the same warm block, and other
 * slabs run empty. A slab that nothing was taken from for a while goes back to the kernel, the last
 * one too: bufpool_trim().
 *
 * Under AddressSanitizer the data of blocks that are not handed out is poisoned.
 */
#ifndef BIVALVE_BUFPOOL_H
#define BIVALVE_BUFPOOL_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

#if defined(__SANITIZE_ADDRESS__)
#define BUFPOOL_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BUFPOOL_POISON 1
#endif
#endif
#ifdef BUFPOOL_POISON
#include <sanitizer/asan_interface.h>
#define bufpool_poison(addr, len)   __asan_poison_memory_region((addr), (len))
#define bufpool_unpoison(addr, len) __asan_unpoison_memory_region((addr), (len))
#else
#define bufpool_poison(addr, len)   ((void)(addr), (void)(len))
#define bufpool_unpoison(addr, len) ((void)(addr), (void)(len))
#endif

struct buf_slab;

/*
 * What the blocks of several pools may take together. When that is used up, reclaim() is asked to
 * make room, by having blocks given back or marking some as `releasing`; true: it has.
 */
struct bufpool_budget {
    size_t used;      /* bytes of blocks handed out */
    size_t releasing; /* of those, bytes that are certain to be given back soon */
    size_t max;
    bool (*reclaim)(void *arg);
    void *arg;
};

/* Header of a block; the data follows it. */
struct buf {
    struct buf *next; /* chain (out.h) or the slab's free list */
    struct buf_slab *slab;
    uint32_t start; /* first byte in use */
    uint32_t end;   /* one past the last byte in use */
    uint32_t room;  /* bytes of data, the same as long as the block exists */
    bool is_file;   /* see out.h */
    char data[] __attribute__((aligned(16)));
};

/* Head of a slab, in its first cache line. */
struct buf_slab {
    struct buf *free; /* last in, first out */
    struct bufpool *pool;
    struct buf_slab *next_open; /* in bufpool.open */
    struct buf_slab *next;      /* in bufpool.slabs: all of them */
    uint32_t used;              /* blocks handed out */
    uint32_t carved; /* blocks that have ever been handed out; the others are untouched */
    bool open;       /* in bufpool.open: has a block to give, or was the last to give one */
    uint8_t idle;    /* trims seen while `used` was 0; a block taken makes it 0 again */
};

struct bufpool {
    struct buf_slab *open; /* slabs to take from; blocks are taken from the first */
    struct buf_slab *slabs;
    size_t block_size;  /* bytes from block to block, header included */
    size_t slab_blocks; /* blocks in a slab */
    size_t slab_bytes;  /* what a slab maps */
    size_t used;        /* blocks handed out */
    size_t mapped;      /* bytes mapped in slabs */
    size_t blocks;      /* blocks that the slabs have room for */
    struct bufpool_budget *budget;
};

/*
 * A pool of blocks with room for at least `data_bytes` each, within `budget`, which outlives it.
 * Nothing is mapped until the first bufpool_get(). The pool stays where it is until bufpool_destroy().
 */
void bufpool_init(struct bufpool *p, size_t data_bytes, struct bufpool_budget *budget);

/* Unmap everything, blocks handed out included. */
void bufpool_destroy(struct bufpool *p);

/* Bytes that fit into one block. */
static inline size_t bufpool_capacity(const struct bufpool *p)
{
    return p->block_size - sizeof(struct buf);
}

/* bufpool_get() where the first open slab has no block that was used before, or the budget is used
 * up. */
struct buf *bufpool_get_slow(struct bufpool *p);

/* bufpool_get() where that takes no call; NULL: it would. */
static inline struct buf *bufpool_get_now(struct bufpool *p)
{
    struct buf_slab *s = p->open;
    struct bufpool_budget *budget = p->budget;

    if (unlikely(!s || !s->free || budget->used >= budget->max))
        return NULL;
    struct buf *b = s->free;
    s->free = b->next;
    s->used++;
    s->idle = 0;
    p->used++;
    budget->used += p->block_size;
    b->next = NULL;
    b->start = b->end = 0;
    b->is_file = false;
    bufpool_unpoison(b->data, bufpool_capacity(p));
    return b;
}

/* A block with start = end = 0 and next = NULL, or NULL: the budget is used up or the kernel has no
 * memory. */
static inline struct buf *bufpool_get(struct bufpool *p)
{
    struct buf *b = bufpool_get_now(p);

    return likely(b != NULL) ? b : bufpool_get_slow(p);
}

/* A block for who gives a larger one of the same budget back at once, however much of the budget is
 * used. NULL: the kernel has no memory. */
struct buf *bufpool_get_instead(struct bufpool *p);

/* Give a block back to its pool. */
static inline void bufpool_put(struct buf *b)
{
    struct buf_slab *s = b->slab;
    struct bufpool *p = s->pool;

    assert(s->used > 0 && p->used > 0);
    b->next = s->free;
    s->free = b;
    s->used--;
    p->used--;
    p->budget->used -= p->block_size;
    bufpool_poison(b->data, bufpool_capacity(p));
    if (unlikely(!s->open)) {
        s->open = true;
        s->next_open = p->open;
        p->open = s;
    }
}

/*
 * Unmap the slabs that nothing was taken from since the call before and that are wholly free; call
 * it about once a second while bufpool_trimmable(). Unmaps at most BUFPOOL_TRIM_MAX bytes (or one
 * slab) a call, so that a burst's memory does not stall an iteration. Returns the bytes unmapped.
 * O(slabs), and touches none of the blocks.
 */
#define BUFPOOL_TRIM_MAX ((size_t)32 << 20)
size_t bufpool_trim(struct bufpool *p);

/* Is a slab's worth of blocks free, so that bufpool_trim() may have something to do, now or next
 * time? */
static inline bool bufpool_trimmable(const struct bufpool *p)
{
    return p->blocks && p->blocks - p->used >= p->slab_blocks;
}

/* Is there more than one slab, and a slab's worth of it free? */
static inline bool bufpool_has_slack(const struct bufpool *p)
{
    return p->mapped > p->slab_bytes && bufpool_trimmable(p);
}

#endif
