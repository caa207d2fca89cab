/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "slot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "util.h"

/* Trims that a group must stay empty before its pages go: churn at the top does not map and unmap. */
#define SLOT_IDLE_TRIMS 2

static void *slot_reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    madvise(p, bytes, MADV_NOHUGEPAGE); /* a huge page would make one connection cost 2 MiB */
    return p;
}

int slot_table_init(struct slot_table *t, uint32_t cap, size_t priv_size)
{
    memset(t, 0, sizeof(*t));
    t->cap = MIN(cap, SLOT_TABLE_MAX);
    t->priv_size = priv_size;
    t->groups = (t->cap + SLOT_GROUP - 1) / SLOT_GROUP;
    t->gen_next = 1;

    size_t slots = (size_t)t->groups * SLOT_GROUP;
    t->slots = slot_reserve(slots * sizeof(struct slot));
    t->priv = priv_size ? slot_reserve(slots * priv_size) : NULL;
    t->group = slot_reserve(t->groups * sizeof(*t->group));
    if (!t->slots || (priv_size && !t->priv) || !t->group) {
        int err = errno ? errno : ENOMEM;
        slot_table_destroy(t);
        return -err;
    }
    return 0;
}

void slot_table_destroy(struct slot_table *t)
{
    size_t slots = (size_t)t->groups * SLOT_GROUP;

    if (t->slots)
        munmap(t->slots, slots * sizeof(struct slot));
    if (t->priv)
        munmap(t->priv, slots * t->priv_size);
    if (t->group)
        munmap(t->group, t->groups * sizeof(*t->group));
    memset(t, 0, sizeof(*t));
}

struct slot *slot_take(struct slot_table *t, int fd)
{
    if (unlikely(fd < 0 || (uint32_t)fd >= t->cap))
        return NULL;
    struct slot *s = &t->slots[fd];
    struct slot_group *g = &t->group[(uint32_t)fd / SLOT_GROUP];

    assert(s->state == SLOT_FREE);
    memset(s, 0, sizeof(*s));
    if (t->priv_size)
        memset(slot_priv(t, fd), 0, t->priv_size);
    s->gen = t->gen_next;
    t->gen_next = (t->gen_next + 1) & SLOT_GEN_MASK;
    if (unlikely(!t->gen_next))
        t->gen_next = 1;
    s->run_next = s->timer_next = s->timer_prev = -1;
    g->live++;
    g->touched = 1;
    g->idle = 0;
    t->used++;
    if (unlikely((uint32_t)fd / SLOT_GROUP >= t->group_top))
        t->group_top = (uint32_t)fd / SLOT_GROUP + 1;
    return s;
}

void slot_release(struct slot_table *t, int fd)
{
    struct slot_group *g = &t->group[(uint32_t)fd / SLOT_GROUP];

    assert(g->live > 0 && t->used > 0);
    t->slots[fd].state = SLOT_FREE;
    g->live--;
    t->used--;
}

size_t slot_table_trim(struct slot_table *t, bool *pending)
{
    size_t bytes = 0;

    *pending = false;
    for (uint32_t i = 0; i < t->group_top; i++) {
        struct slot_group *g = &t->group[i];
        if (g->live || !g->touched)
            continue;
        if (++g->idle < SLOT_IDLE_TRIMS) {
            *pending = true;
            continue;
        }
        size_t first = (size_t)i * SLOT_GROUP;
        int rc = madvise(&t->slots[first], SLOT_GROUP * sizeof(struct slot), MADV_DONTNEED);
        if (t->priv_size)
            rc |= madvise(t->priv + first * t->priv_size, SLOT_GROUP * t->priv_size, MADV_DONTNEED);
        if (rc < 0) {
            *pending = true; /* the kernel had no time for it: again at the next trim */
            continue;
        }
        g->touched = g->idle = 0;
        bytes += SLOT_GROUP * (sizeof(struct slot) + t->priv_size);
    }
    while (t->group_top > 0 && !t->group[t->group_top - 1].touched)
        t->group_top--;
    return bytes;
}
