/* SPDX-License-Identifier: MIT */
/*
 * ring.c - see ring.h.
 */
#include "config.h"

#include "ring.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

static size_t ring_bytes(size_t size, size_t record_max)
{
    return sizeof(struct ring) + size + record_max;
}

struct ring *ring_map(size_t size, size_t record_max)
{
    assert(size && (size & (size - 1)) == 0 && record_max <= size);
    void *p = mmap(NULL, ring_bytes(size, record_max), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    struct ring *r = p;
    r->size = size;
    r->record_max = record_max;
    r->wake_at = UINT64_MAX;
    return r;
}

void ring_unmap(struct ring *r)
{
    if (r)
        munmap(r, ring_bytes(r->size, r->record_max));
}

void ring_commit(struct ring *r, size_t len)
{
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    size_t end = (size_t)(head & (r->size - 1)) + len;

    assert(len <= r->record_max);
    if (unlikely(end > r->size)) /* the part beyond the end belongs to the beginning */
        memcpy(r->data, r->data + r->size, end - r->size);
    atomic_store_explicit(&r->head, head + len, memory_order_release);
}

unsigned ring_peek(struct ring *r, struct iovec pieces[2])
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    size_t at = (size_t)(tail & (r->size - 1)), used = (size_t)(head - tail);

    if (!used)
        return 0;
    pieces[0] = (struct iovec){r->data + at, MIN(used, r->size - at)};
    if (pieces[0].iov_len == used)
        return 1;
    pieces[1] = (struct iovec){r->data, used - pieces[0].iov_len};
    return 2;
}

void ring_consume(struct ring *r, size_t len)
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

    assert(len <= ring_used(r));
    atomic_store_explicit(&r->tail, tail + len, memory_order_release);
}
