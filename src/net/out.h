/* SPDX-License-Identifier: MIT */
/*
 * out.h - the output of one connection: a chain of segments, blocks of memory that never move and
 * ranges of files, filled at the tail and emptied at the head as the kernel takes them. Empty
 * output holds no block.
 */
#ifndef BIVALVE_OUT_H
#define BIVALVE_OUT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "bufpool.h"
#include "file_ref.h"
#include "segment.h"

/* A circular chain: tail->next is the head. */
struct out {
    struct buf *tail; /* NULL: empty */
};

/* What a block holds instead of bytes when buf.is_file; it has no room for any. */
struct out_file {
    int fd;
    struct file_ref *shared; /* whose fd it is; NULL: it is owned */
    off_t offset;
    uint64_t len; /* > 0 */
};

static inline bool out_empty(const struct out *o)
{
    return !o->tail;
}

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

    assert(need > 0 && need <= bufpool_capacity(p));
    if (likely(b && b->room - b->end >= need))
        return b->data + b->end;
    return out_reserve_block(o, p);
}

/* The same where it takes no call: NULL says no more than that it would. */
static inline char *out_reserve_now(struct out *o, struct bufpool *p, size_t need)
{
    struct buf *b = o->tail;

    assert(need > 0 && need <= bufpool_capacity(p));
    if (likely(b != NULL)) {
        if (unlikely(b->room - b->end < need))
            return NULL;
        return b->data + b->end;
    }
    if (unlikely(!(b = bufpool_get_now(p))))
        return NULL;
    o->tail = b->next = b;
    return b->data;
}

static inline void out_commit(struct out *o, size_t n)
{
    o->tail->end += (uint32_t)n;
}

/* Bytes that fit behind what out_reserve() gave. */
static inline size_t out_room(const struct out *o)
{
    return o->tail->room - o->tail->end;
}

/*
 * Append a copy of `len` bytes, over as many blocks as needed. 0, or -ENOMEM with nothing appended
 * undone: close.
 */
int out_append(struct out *o, struct bufpool *p, const void *data, size_t len);

/*
 * Append `len` (> 0) bytes of a regular file from `offset` on. The fd is owned from now on: it is
 * closed when the range has been sent or dropped, and at once on failure. 0 or -ENOMEM.
 */
int out_append_file(struct out *o, struct bufpool *p, int fd, off_t offset, uint64_t len);

/* The same with a reference to a file that others have, too. */
int out_append_shared_file(struct out *o, struct bufpool *p, struct file_ref *file, off_t offset,
                           uint64_t len);

/* out_segments() of several blocks, or a file; out_consume() in general. */
unsigned out_segments_slow(const struct out *o, struct backend_segment *segments, unsigned max);
void out_consume_slow(struct out *o, size_t n);

/* Is it one block of memory, as nearly always? */
static inline bool out_is_simple(const struct out *o)
{
    return o->tail->next == o->tail && !o->tail->is_file;
}

/* Describe the head of the output in up to `max` segments; their number, 0: empty. */
static inline unsigned out_segments(const struct out *o, struct backend_segment *segments,
                                    unsigned max)
{
    const struct buf *b = o->tail;

    if (!b)
        return 0;
    if (unlikely(!out_is_simple(o)))
        return out_segments_slow(o, segments, max);
    segments->data = b->data + b->start;
    segments->len = b->end - b->start;
    return 1;
}

/* The kernel took `n` bytes of what out_segments() gave. Blocks that are empty go back. */
static inline void out_consume(struct out *o, size_t n)
{
    struct buf *b = o->tail;

    if (likely(b && out_is_simple(o) && n == b->end - b->start)) {
        o->tail = NULL;
        bufpool_put(b);
        return;
    }
    out_consume_slow(o, n);
}

/*
 * Output that is one block of memory, and little, moves into a block of `small`, whose blocks are
 * smaller and of the same budget, so that the next output finds the larger one free, and warm. It
 * stays where it is when no block of `small` can be had. Not while a range of it is in flight.
 */
void out_shrink(struct out *o, struct bufpool *small);

/* Bytes pending: walks the chain, which the high-water mark keeps short. Files count too. */
uint64_t out_pending(const struct out *o);

/* What the blocks that it holds take of their pools' budget, in bytes. */
size_t out_held(const struct out *o);

/* Give everything back. Not while a range of it is in flight. */
void out_clear(struct out *o);

#endif
