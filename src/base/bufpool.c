/* SPDX-License-Identifier: MIT */
/*
 * bufpool.c - see bufpool.h.
 *
 * A slab is one mapping: its head in the first cache line, then blocks. Starts of large blocks
 * advance through their pages by a cache line each, so that the beginnings of blocks, which is what
 * small responses touch, do not compete for the same sets of the caches, and a small response still
 * stays within one page.
 */
#include "config.h"

#include "bufpool.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys.h"

#define BUFPOOL_PAGE 4096
#define BUFPOOL_SLAB_BYTES \
    (256u << 10) /* a burst leaves no more than this behind in a slab still in use */
#define BUFPOOL_SLAB_BLOCKS_MIN 4
#define BUFPOOL_IDLE_TRIMS      2

static_assert(sizeof(struct buf_slab) <= CACHE_LINE, "a slab's head is one cache line");

void bufpool_init(struct bufpool *p, size_t data_bytes, struct bufpool_budget *budget)
{
    size_t need = sizeof(struct buf) + data_bytes;

    assert(data_bytes > 0 && data_bytes < UINT32_MAX);
    memset(p, 0, sizeof(*p));
    if (need < 2 * CACHE_LINE) /* small ones are many: no more than half a line is lost */
        p->block_size = util_round_up(need, CACHE_LINE / 2);
    else if (need <= BUFPOOL_PAGE / 2)
        p->block_size = util_round_up(need, CACHE_LINE);
    else /* the smallest size above `need` that is a cache line more than whole pages */
        p->block_size = CACHE_LINE + util_round_up(need - CACHE_LINE, BUFPOOL_PAGE);
    p->slab_blocks =
        MAX((BUFPOOL_SLAB_BYTES - CACHE_LINE) / p->block_size, (size_t)BUFPOOL_SLAB_BLOCKS_MIN);
    p->slab_bytes =
        util_round_up(CACHE_LINE + p->slab_blocks * p->block_size, (size_t)sysconf(_SC_PAGESIZE));
    p->budget = budget;
}

static void bufpool_unmap(struct bufpool *p, struct buf_slab *s)
{
    bufpool_unpoison((void *)s, p->slab_bytes); /* the next to map this address starts clean */
    munmap(s, p->slab_bytes);
}

void bufpool_destroy(struct bufpool *p)
{
    struct buf_slab *s, *next;

    for (s = p->slabs; s; s = next) {
        next = s->next;
        bufpool_unmap(p, s);
    }
    memset(p, 0, sizeof(*p));
}

static struct buf_slab *bufpool_map(struct bufpool *p)
{
    struct buf_slab *s = mmap(NULL, p->slab_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | SYS_MAP_NORESERVE, -1, 0);

    if (s == MAP_FAILED)
        return NULL;
    /* Neighbouring slabs merge into one mapping; huge pages in it would not follow use. */
    sys_no_huge_pages(s, p->slab_bytes);
    s->pool = p;
    s->next = p->slabs;
    p->slabs = s;
    s->open = true;
    s->next_open = p->open;
    p->open = s;
    p->mapped += p->slab_bytes;
    p->blocks += p->slab_blocks;
    return s;
}

/* Take a block that has never been handed out. */
static struct buf *bufpool_carve(struct bufpool *p, struct buf_slab *s)
{
    struct buf *b = (struct buf *)((char *)s + CACHE_LINE + s->carved * p->block_size);

    s->carved++;
    s->used++;
    p->used++;
    p->budget->used += p->block_size;
    b->next = NULL;
    b->slab = s;
    b->start = b->end = 0;
    b->room = (uint32_t)bufpool_capacity(p);
    return b;
}

static bool budget_is_used_up(const struct bufpool_budget *budget)
{
    return budget->used - MIN(budget->releasing, budget->used) >= budget->max;
}

/* A block from a slab that has one, or from a new slab. */
static struct buf *bufpool_take(struct bufpool *p)
{
    struct buf_slab *s;

    while ((s = p->open)) {
        struct buf *b = s->free;
        if (b) {
            s->free = b->next;
            s->used++;
            s->idle = 0;
            p->used++;
            p->budget->used += p->block_size;
            b->next = NULL;
            b->start = b->end = 0;
            b->is_file = false;
            bufpool_unpoison(b->data, bufpool_capacity(p));
            return b;
        }
        if (s->carved < p->slab_blocks)
            return bufpool_carve(p, s);
        p->open = s->next_open; /* all handed out: back when a block of it comes back */
        s->open = false;
    }
    s = bufpool_map(p);
    return s ? bufpool_carve(p, s) : NULL;
}

struct buf *bufpool_get_slow(struct bufpool *p)
{
    struct bufpool_budget *budget = p->budget;

    if (budget_is_used_up(budget) &&
        (!budget->reclaim || !budget->reclaim(budget->arg) || budget_is_used_up(budget)))
        return NULL;
    return bufpool_take(p);
}

struct buf *bufpool_get_instead(struct bufpool *p)
{
    return bufpool_take(p);
}

/* Count for every free slab the trims that it has seen. True: one of them has seen enough. */
static bool bufpool_age(struct bufpool *p)
{
    bool any = false;

    for (struct buf_slab *s = p->slabs; s; s = s->next) {
        if (s->used)
            continue;
        if (s->idle < BUFPOOL_IDLE_TRIMS)
            s->idle++;
        any |= s->idle >= BUFPOOL_IDLE_TRIMS;
    }
    return any;
}

size_t bufpool_trim(struct bufpool *p)
{
    size_t bytes = 0;

    if (!bufpool_trimmable(p) || !bufpool_age(p))
        return 0;

    /* First out of the list to take from; every free slab is in it. */
    for (struct buf_slab **link = &p->open; *link;) {
        struct buf_slab *s = *link;
        if (s->idle < BUFPOOL_IDLE_TRIMS || bytes >= BUFPOOL_TRIM_MAX) {
            link = &s->next_open;
            continue;
        }
        *link = s->next_open;
        s->open = false;
        bytes += p->slab_bytes;
    }
    for (struct buf_slab **link = &p->slabs; *link;) {
        struct buf_slab *s = *link;
        if (s->used || s->open) {
            link = &s->next;
            continue;
        }
        *link = s->next;
        bufpool_unmap(p, s);
        p->mapped -= p->slab_bytes;
        p->blocks -= p->slab_blocks;
    }
    return bytes;
}
