/* SPDX-License-Identifier: MIT */
/*
 * out.h - the output of one connection: a chain of blocks that never move, filled at the tail by handlers and
 * emptied at the head as the kernel accepts bytes. Empty output holds no block.
 */
#ifndef BIVALVE_OUT_H
#define BIVALVE_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bufpool.h"

struct out {
    struct buf *head;
    struct buf *tail;
};

/*
 * A contiguous range of at least `need` writable bytes at the end (need <= capacity of a block), or NULL when no block can
 * be had. Write there, then out_commit() what was written.
 */
char *out_reserve(struct out *o, struct bufpool *p, size_t need);

static inline void out_commit(struct out *o, size_t n)
{
    o->tail->end += (uint32_t)n;
}

/* Append a copy of `len` bytes, over as many blocks as needed. 0, or -ENOMEM with nothing appended undone: close. */
int out_append(struct out *o, struct bufpool *p, const void *data, size_t len);

/* First contiguous range to send: its length, 0 when there is none. It stays put until out_consume(). */
static inline size_t out_peek(const struct out *o, char **data)
{
    if (!o->head)
        return 0;
    *data = o->head->data + o->head->start;
    return o->head->end - o->head->start;
}

/* The kernel accepted `n` bytes of the range out_peek() gave. Blocks that are empty go back to the pool. */
void out_consume(struct out *o, struct bufpool *p, size_t n);

/* Bytes pending: walks the chain, which the high-water mark keeps short. */
size_t out_pending(const struct out *o);

/* Give everything back. Not while a range is lent to the engine. */
void out_clear(struct out *o, struct bufpool *p);

static inline bool out_empty(const struct out *o)
{
    return !o->head;
}

#endif
