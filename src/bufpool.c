/* SPDX-License-Identifier: MIT */
/*
 * bufpool.c - see bufpool.h.
 *
 * Blocks of a slab are laid behind each other without rounding to a power of two, so that the first lines of two blocks
 * seldom fall into the same set of the cache.
 */
#include "config.h"

#include "bufpool.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#include "util.h"

#define BUFPOOL_SLAB_BYTES (1u << 20)

struct buf_slab {
    struct buf_slab *next;
    size_t bytes;       /* of the mapping */
    size_t blocks;      /* carved so far; the rest has never been touched */
    size_t free;        /* of these, in the free list */
};

void bufpool_init(struct bufpool *p, size_t data_bytes, size_t max_blocks)
{
    memset(p, 0, sizeof(*p));
    p->block_size = util_round_up(sizeof(struct buf) + data_bytes, CACHE_LINE);
    p->slab_blocks = MAX((BUFPOOL_SLAB_BYTES - CACHE_LINE) / p->block_size, 1);
    p->max_blocks = max_blocks;
}

void bufpool_destroy(struct bufpool *p)
{
    while (p->slabs) {
        struct buf_slab *next = p->slabs->next;
        munmap(p->slabs, p->slabs->bytes);
        p->slabs = next;
    }
    memset(p, 0, sizeof(*p));
}

/* A block that has never been used, from the newest slab or a new one. */
static struct buf *bufpool_carve(struct bufpool *p)
{
    struct buf_slab *s = p->slabs;

    if (!s || s->blocks == p->slab_blocks) {
        size_t bytes = util_round_up(CACHE_LINE + p->slab_blocks * p->block_size, 4096);
        s = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (s == MAP_FAILED)
            return NULL;
        madvise(s, bytes, MADV_NOHUGEPAGE); /* memory is to follow use; without it, it only follows less closely */
        s->bytes = bytes;
        s->next = p->slabs;
        p->slabs = s;
        p->mapped += bytes;
    }
    struct buf *b = (struct buf *)((char *)s + CACHE_LINE + s->blocks * p->block_size);
    s->blocks++;
    p->blocks++;
    b->slab = s;
    return b;
}

struct buf *bufpool_get(struct bufpool *p)
{
    struct buf *b = p->free;

    if (unlikely(p->max_blocks && p->used >= p->max_blocks))
        return NULL;
    if (likely(b)) {
        p->free = b->next;
        b->slab->free--;
    } else {
        b = bufpool_carve(p);
        if (!b)
            return NULL;
    }
    b->next = NULL;
    b->start = b->end = 0;
    p->used++;
    return b;
}

void bufpool_put(struct bufpool *p, struct buf *b)
{
    assert(p->used > 0);
    b->next = p->free;
    p->free = b;
    b->slab->free++;
    p->used--;
}

/* Should this slab go? One that is wholly free stays, so that a pool in use does not map and unmap. */
static bool bufpool_spare(const struct buf_slab *s, const struct buf_slab *keep)
{
    return s != keep && s->free == s->blocks;
}

size_t bufpool_trim(struct bufpool *p)
{
    struct buf_slab *keep = NULL;
    size_t spare = 0, bytes = 0;

    for (struct buf_slab *s = p->slabs; s; s = s->next) {
        if (s->free == s->blocks && !keep)
            keep = s;
        else if (s->free == s->blocks)
            spare++;
    }
    /* Nothing is lent at all: give back the pages of the last slab too, and carve it anew. */
    if (keep && p->used == 0)
        keep = NULL;
    if (!spare && !(p->slabs && p->used == 0))
        return 0;
    if (p->used == 0 && !spare && p->slabs && p->slabs->blocks <= 2)
        return 0; /* a block or two in turn is what an idle server uses: keep them warm */

    struct buf **link = &p->free;
    while (*link) {
        if (bufpool_spare((*link)->slab, keep)) {
            p->blocks--;
            *link = (*link)->next;
        } else {
            link = &(*link)->next;
        }
    }
    struct buf_slab **at = &p->slabs;
    while (*at) {
        struct buf_slab *s = *at;
        if (bufpool_spare(s, keep)) {
            *at = s->next;
            bytes += s->bytes;
            munmap(s, s->bytes);
        } else {
            at = &s->next;
        }
    }
    p->mapped -= bytes;
    return bytes;
}
