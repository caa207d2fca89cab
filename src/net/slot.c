/* SPDX-License-Identifier: MIT */
/*
 * slot.c - see slot.h.
 *
 * Both arrays are one anonymous mapping each, without huge pages: memory follows use page by page.
 * A group of slots is given back at the second trim that finds it empty, so one that empties and
 * fills in turn is left alone.
 */
#include "config.h"

#include "slot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys.h"

#define SLOT_PAGE       4096 /* a group of either array is a multiple of this */
#define SLOT_IDLE_TRIMS 2

static_assert(SLOT_GROUP * SLOT_SIZE % SLOT_PAGE == 0, "a group is whole pages of slots");
static_assert(SLOT_GROUP * 16 % SLOT_PAGE == 0, "and of the backend's array");
static_assert(SLOT_GROUP <= UINT16_MAX, "slot_group.live counts to SLOT_GROUP");

static void *slot_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | SYS_MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    sys_no_huge_pages(p, bytes);
    return p;
}

int slot_table_init(struct slot_table *t, uint32_t cap, size_t priv_size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    memset(t, 0, sizeof(*t));
    if (cap == 0 || cap > SLOT_TABLE_MAX || priv_size % 16 || priv_size > SLOT_PAGE)
        return -EINVAL;
    t->cap = cap;
    t->priv_size = priv_size;
    t->trim_groups = (uint32_t)MAX(page / SLOT_PAGE, (size_t)1);
    t->groups = (uint32_t)util_round_up((cap + SLOT_GROUP - 1) / SLOT_GROUP, t->trim_groups);

    size_t slots = (size_t)t->groups * SLOT_GROUP;
    t->group = calloc(t->groups, sizeof(*t->group));
    t->slots = slot_map(slots * sizeof(struct slot));
    t->priv = priv_size ? slot_map(slots * priv_size) : NULL;
    if (!t->group || !t->slots || (priv_size && !t->priv)) {
        slot_table_destroy(t);
        return -ENOMEM;
    }
    return 0;
}

void slot_table_destroy(struct slot_table *t)
{
    size_t slots = (size_t)t->groups * SLOT_GROUP;

    free(t->group);
    if (t->slots)
        munmap(t->slots, slots * sizeof(struct slot));
    if (t->priv)
        munmap(t->priv, slots * t->priv_size);
    memset(t, 0, sizeof(*t));
}

struct slot *slot_take(struct slot_table *t, int fd)
{
    if (unlikely((uint32_t)fd >= t->cap)) /* a negative fd, too */
        return NULL;

    struct slot *s = slot_get(t, fd);
    uint32_t g = (uint32_t)fd / SLOT_GROUP;

    assert(!slot_used(s));
    memset(s, 0, sizeof(*s));
    if (t->priv_size)
        memset(slot_priv(t, fd), 0, t->priv_size);
    t->gen_next = (t->gen_next + 1) & SLOT_GEN_MASK;
    if (unlikely(t->gen_next == 0)) /* 0 is no generation: free slots have it */
        t->gen_next = 1;
    s->gen = t->gen_next;

    t->group[g].live++;
    t->group[g].touched = 1;
    t->group[g].idle = 0;
    if (unlikely(g >= t->group_top))
        t->group_top = g + 1;
    t->used++;
    return s;
}

void slot_release(struct slot_table *t, int fd)
{
    struct slot *s = slot_get(t, fd);

    assert((uint32_t)fd < t->cap && slot_used(s) && !timer_is_set(&s->timer));
    s->gen = 0;
    t->group[(uint32_t)fd / SLOT_GROUP].live--;
    t->used--;
}

/* Forget the contents of the t->trim_groups groups from g on. Returns the bytes given back. */
static size_t slot_discard(struct slot_table *t, uint32_t g)
{
    size_t first = (size_t)g * SLOT_GROUP, n = (size_t)t->trim_groups * SLOT_GROUP, bytes = 0;

    if (sys_discard(t->slots + first, n * sizeof(struct slot)) == 0)
        bytes += n * sizeof(struct slot);
    if (t->priv_size && sys_discard(t->priv + first * t->priv_size, n * t->priv_size) == 0)
        bytes += n * t->priv_size;
    return bytes;
}

size_t slot_table_trim(struct slot_table *t, bool *pending)
{
    size_t bytes = 0;

    *pending = false;
    for (uint32_t g = 0; g < t->group_top; g += t->trim_groups) {
        struct slot_group *group = &t->group[g];
        unsigned live = 0, touched = 0, idle = SLOT_IDLE_TRIMS;

        for (uint32_t i = 0; i < t->trim_groups; i++) {
            live += group[i].live;
            touched |= group[i].touched;
            if (group[i].touched && group[i].live == 0 && group[i].idle < SLOT_IDLE_TRIMS)
                group[i].idle++;
            if (group[i].touched)
                idle = MIN(idle, group[i].idle);
        }
        if (live || !touched)
            continue;
        if (idle < SLOT_IDLE_TRIMS) {
            *pending = true;
            continue;
        }
        bytes += slot_discard(t, g);
        memset(group, 0, t->trim_groups * sizeof(*group));
    }
    while (t->group_top > 0 && !t->group[t->group_top - 1].touched)
        t->group_top--;
    return bytes;
}
