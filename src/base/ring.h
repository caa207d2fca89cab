/* SPDX-License-Identifier: MIT */
/*
 * ring.h - bytes from one process to another, through memory that both share: one writer, one
 * reader, neither of which ever waits for the other. What finds no room is the writer's to drop.
 *
 * A record is written whole, and is there for the reader once it is; a writer that dies leaves none
 * of it behind.
 */
#ifndef BIVALVE_RING_H
#define BIVALVE_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "util.h"

struct ring {
    size_t size;       /* of the data: a power of two */
    size_t record_max; /* bytes of one record, at most */

    /* the writer's */
    _Atomic uint64_t head __attribute__((aligned(CACHE_LINE))); /* bytes ever written */
    /* the reader's */
    _Atomic uint64_t tail __attribute__((aligned(CACHE_LINE))); /* bytes ever read */
    /* The reader sleeps, and wants to be woken when so many bytes wait; UINT64_MAX: it does not. */
    _Atomic uint64_t wake_at;

    /* `size` bytes, and record_max for a record that begins near their end */
    char data[] __attribute__((aligned(CACHE_LINE)));
};

/*
 * Map one of `size` bytes (a power of two), shared between this process and its future children.
 * NULL and errno on failure. Memory is used only as far as records have reached.
 */
struct ring *ring_map(size_t size, size_t record_max);
void ring_unmap(struct ring *r);

/* Bytes that wait to be read. */
static inline size_t ring_used(const struct ring *r)
{
    return (size_t)(atomic_load_explicit(&r->head, memory_order_relaxed) -
                    atomic_load_explicit(&r->tail, memory_order_relaxed));
}

/* The writer: room for record_max bytes in one piece; NULL: there is none. */
static inline char *ring_reserve(struct ring *r)
{
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);

    if (unlikely(head - tail + r->record_max > r->size))
        return NULL;
    return r->data + (head & (r->size - 1));
}

/* The first `len` bytes of that (at most record_max) are a record. */
void ring_commit(struct ring *r, size_t len);

/* The writer, after that: is the reader to be woken? It is told so once. */
static inline int ring_wants_wake(struct ring *r)
{
    uint64_t at = atomic_load_explicit(&r->wake_at, memory_order_relaxed);

    if (likely(ring_used(r) < at))
        return 0;
    atomic_store_explicit(&r->wake_at, UINT64_MAX, memory_order_relaxed);
    return 1;
}

/* The reader: what there is, as one or two pieces. Returns how many. */
unsigned ring_peek(struct ring *r, struct iovec pieces[2]);

/* It has been read: so many bytes are gone. */
void ring_consume(struct ring *r, size_t len);

#endif
