/* SPDX-License-Identifier: MIT */
/*
 * bufpool.h - blocks of one size that never move, lent to connections while they have something in
 * transit.
 *
 * Blocks are carved one by one from slabs of address space, and a block's pages are touched only as
 * far as it is filled. What was given back last is lent first, as far as it lies in the slab now in
 * use, so a busy worker answers request after request in the same warm block, and other slabs run
 * empty. A slab that nothing was taken from for a while goes back to the kernel, the last one too:
 * bufpool_trim().
 *
 * Under AddressSanitizer the data of blocks that are not lent is poisoned.
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

/* Header of a block; the data follows it. */
struct buf {
    struct buf *next; /* chain (out.h) or the slab's free list */
    struct buf_slab *slab;
    uint32_t start; /* first byte in use */
    uint32_t end;   /* one past the last byte in use */
    char data[];
};

/* Head of a slab, in its first cache line. */
struct buf_slab {
    struct buf *free;           /* last in, first out */
    struct buf_slab *next_open; /* in bufpool.open */
    struct buf_slab *next;      /* in bufpool.slabs: all of them */
    uint32_t used;              /* blocks lent */
    uint32_t carved;            /* blocks that have ever been lent; the others are untouched */
    bool open;    /* in bufpool.open: has a block to lend, or was the last to lend one */
    uint8_t idle; /* trims seen while `used` was 0; a block taken makes it 0 again */
};

struct bufpool {
    struct buf_slab *open; /* slabs to take from; blocks are taken from the first */
    struct buf_slab *slabs;
    size_t block_size;  /* bytes from block to block, header included */
    size_t slab_blocks; /* blocks in a slab */
    size_t slab_bytes;  /* what a slab maps */
    size_t used;        /* blocks lent */
    size_t mapped;      /* bytes mapped in slabs */
    size_t max_blocks;  /* 0: no limit; bufpool_get() fails when so many are lent */
    size_t blocks;      /* blocks that the slabs have room for */
};

/*
 * A pool of blocks with room for at least `data_bytes` each. Nothing is mapped until the first
 * bufpool_get(). `max_blocks` bounds the blocks lent (0: none).
 */
void bufpool_init(struct bufpool *p, size_t data_bytes, size_t max_blocks);

/* Unmap everything, lent blocks included. */
void bufpool_destroy(struct bufpool *p);

/* Bytes that fit into one block. */
static inline size_t bufpool_capacity(const struct bufpool *p)
{
    return p->block_size - sizeof(struct buf);
}

/* bufpool_get() where the first open slab has no block that was used before. */
struct buf *bufpool_get_slow(struct bufpool *p);

/* A block with start = end = 0 and next = NULL, or NULL: the limit is reached or the kernel has no
 * memory. */
static inline struct buf *bufpool_get(struct bufpool *p)
{
    struct buf_slab *s = p->open;

    if (unlikely(!s || !s->free || (p->max_blocks && p->used >= p->max_blocks)))
        return bufpool_get_slow(p);
    struct buf *b = s->free;
    s->free = b->next;
    s->used++;
    s->idle = 0;
    p->used++;
    b->next = NULL;
    b->start = b->end = 0;
    bufpool_unpoison(b->data, bufpool_capacity(p));
    return b;
}

/* Give back a block of this pool. */
static inline void bufpool_put(struct bufpool *p, struct buf *b)
{
    struct buf_slab *s = b->slab;

    assert(s->used > 0 && p->used > 0);
    b->next = s->free;
    s->free = b;
    s->used--;
    p->used--;
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
 * slab) a call, so that a burst's memory does not stall a turn. Returns the bytes unmapped.
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

#endif
