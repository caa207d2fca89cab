/* SPDX-License-Identifier: MIT */
/*
 * out.h - the output of one connection: a chain of blocks that never move, filled at the tail by
 * handlers and emptied at the head as the kernel accepts bytes. Empty output holds no block.
 */
#ifndef BIVALVE_OUT_H
#define BIVALVE_OUT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bufpool.h"

struct out {
    struct buf *head;
    struct buf *tail;
};

/* out_reserve() where the tail has no room. */
char *out_reserve_block(struct out *o, struct bufpool *p);

/*
 * A contiguous range of at least `need` writable bytes at the end (need <= capacity of a block), or
 * NULL when no block can be had. Write there, then out_commit() what was written: at least a byte,
 * before anything else is done with this output but out_reserve() and out_clear().
 */
static inline char *out_reserve(struct out *o, struct bufpool *p, size_t need)
{
    struct buf *b = o->tail;

    assert(need <= bufpool_capacity(p));
    if (likely(b && bufpool_capacity(p) - b->end >= need))
        return b->data + b->end;
    return out_reserve_block(o, p);
}

static inline void out_commit(struct out *o, size_t n)
{
    o->tail->end += (uint32_t)n;
}

/*
 * Append a copy of `len` bytes, over as many blocks as needed. 0, or -ENOMEM with nothing appended
 * undone: close.
 */
int out_append(struct out *o, struct bufpool *p, const void *data, size_t len);

/* First contiguous range to send: its length, 0 when there is none. It stays put until
 * out_consume(). */
static inline size_t out_peek(const struct out *o, char **data)
{
    if (!o->head)
        return 0;
    *data = o->head->data + o->head->start;
    return o->head->end - o->head->start;
}

/* The kernel accepted `n` bytes of the range out_peek() gave. Blocks that are empty go back to the
 * pool. */
static inline void out_consume(struct out *o, struct bufpool *p, size_t n)
{
    struct buf *b = o->head;

    assert(b && n <= b->end - b->start);
    b->start += (uint32_t)n;
    if (likely(b->start == b->end)) {
        o->head = b->next;
        if (!o->head)
            o->tail = NULL;
        bufpool_put(p, b);
    }
}

/* Bytes pending: walks the chain, which the high-water mark keeps short. */
static inline size_t out_pending(const struct out *o)
{
    size_t n = 0;

    for (const struct buf *b = o->head; b; b = b->next)
        n += b->end - b->start;
    return n;
}

/* Give everything back. Not while a range is lent to the engine. */
void out_clear(struct out *o, struct bufpool *p);

static inline bool out_empty(const struct out *o)
{
    return !o->head;
}

#endif
