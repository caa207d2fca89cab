/* SPDX-License-Identifier: MIT */
/*
 * bufpool.h - blocks of one size that never move, lent to connections while they have something in transit.
 *
 * Blocks are carved from slabs of address space; the free list is last-in first-out, so a busy worker reuses the
 * same warm block for request after request. A block's pages are touched only as far as it was filled. Slabs whose blocks are all
 * free go back to the kernel on bufpool_trim().
 */
#ifndef BIVALVE_BUFPOOL_H
#define BIVALVE_BUFPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Header of a block; the data follows it. */
struct buf {
    struct buf *next;       /* chain (out.h) or free list */
    struct buf_slab *slab;
    uint32_t start;         /* first byte in use */
    uint32_t end;           /* one past the last byte in use */
    char data[];
};

struct buf_slab;

struct bufpool {
    struct buf *free;
    struct buf_slab *slabs;
    size_t block_size;    /* bytes a block, header included */
    size_t slab_blocks;   /* blocks in a slab */
    size_t used;          /* blocks lent */
    size_t mapped;        /* bytes mapped in slabs */
    size_t max_blocks;    /* 0: no limit; bufpool_get() fails beyond it */
    size_t blocks;        /* blocks existing */
};

/*
 * A pool of blocks with room for `data_bytes` each. Nothing is mapped until the first bufpool_get().
 * `max_blocks` bounds it (0: none).
 */
void bufpool_init(struct bufpool *p, size_t data_bytes, size_t max_blocks);
void bufpool_destroy(struct bufpool *p);

/* A block with start = end = 0, or NULL when the limit is reached or the kernel has no memory. */
struct buf *bufpool_get(struct bufpool *p);
void bufpool_put(struct bufpool *p, struct buf *b);

/* Bytes that fit into one block. */
static inline size_t bufpool_capacity(const struct bufpool *p)
{
    return p->block_size - sizeof(struct buf);
}

/* Unmap slabs that are wholly free, all but one. Returns the bytes unmapped. O(free blocks) */
size_t bufpool_trim(struct bufpool *p);

#endif
