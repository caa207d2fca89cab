/* SPDX-License-Identifier: MIT */
/*
 * timer.c - see timer.h.
 *
 * Bucket `tick % TIMER_BUCKETS` lists the nodes linked at that tick (node.at), of this round or a
 * later one; a node's true deadline is never before its `at`. A node knows what points to it, so it
 * can be unlinked wherever it is, also from the extra list of those that are due, which is emptied
 * from its head. That is what lets the callback do to any node whatever it likes.
 */
#include "config.h"

#include "timer.h"

#include <string.h>

#define TIMER_DUE  TIMER_BUCKETS /* the extra list */
#define TIMER_MASK (TIMER_BUCKETS - 1)

static_assert((TIMER_BUCKETS & TIMER_MASK) == 0 && TIMER_BUCKETS % 64 == 0,
              "whole words of `occupied`");

void timer_wheel_init(struct timer_wheel *w, uint32_t tick_shift, uint64_t now_ms)
{
    memset(w, 0, sizeof(*w));
    w->tick_shift = tick_shift;
    w->base_ms = now_ms;
}

static void timer_link(struct timer_wheel *w, struct timer *t, uint32_t b)
{
    t->next = w->bucket[b];
    t->link = &w->bucket[b];
    if (t->next)
        t->next->link = &t->next;
    w->bucket[b] = t;
    if (b != TIMER_DUE)
        w->occupied[b / 64] |= UINT64_C(1) << b % 64;
}

static void timer_unlink(struct timer_wheel *w, struct timer *t)
{
    /* Its bucket, if it is the first of a list; else a number that is none. */
    uintptr_t b = ((uintptr_t)t->link - (uintptr_t)w->bucket) / sizeof(*w->bucket);

    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    else if (b < TIMER_BUCKETS)
        w->occupied[b / 64] &= ~(UINT64_C(1) << b % 64);
    t->link = NULL;
}

/* Link where its deadline is. */
static void timer_link_deadline(struct timer_wheel *w, struct timer *t)
{
    t->at = t->deadline;
    if ((int32_t)(t->at - w->soonest) < 0)
        w->soonest = t->at;
    timer_link(w, t, t->deadline & TIMER_MASK);
}

void timer_set_slow(struct timer_wheel *w, struct timer *t, uint32_t at, uint32_t delay_ms)
{
    if (delay_ms == 0) {
        timer_stop(w, t);
        return;
    }
    if (timer_is_set(t))
        timer_unlink(w, t);
    else if (w->armed++ == 0)
        w->soonest = w->now + INT32_MAX;
    if ((int32_t)(at - w->now) <= 0)
        at = w->now + 1; /* the wheel has been there */
    t->deadline = at;
    timer_link_deadline(w, t);
}

void timer_stop(struct timer_wheel *w, struct timer *t)
{
    if (!timer_is_set(t))
        return;
    timer_unlink(w, t);
    w->armed--;
}

/* Ticks from w->now to the first bucket in use: 1..TIMER_BUCKETS. Something is set. */
static uint32_t timer_distance(const struct timer_wheel *w)
{
    const uint32_t words = TIMER_BUCKETS / 64;
    uint32_t first = (w->now + 1) & TIMER_MASK, word = first / 64;
    uint64_t bits = w->occupied[word] & (UINT64_MAX << first % 64);

    for (uint32_t i = 0; i < words && !bits;
         i++) { /* the first word comes again at the end, whole */
        word = (word + 1) % words;
        bits = w->occupied[word];
    }
    assert(bits);
    uint32_t b = word * 64 + (uint32_t)__builtin_ctzll(bits);
    return ((b - first) & TIMER_MASK) + 1;
}

/* Sort a bucket that the wheel has reached: due, of a later round, or moved to a later tick. */
static void timer_visit(struct timer_wheel *w, uint32_t b)
{
    for (struct timer *t = w->bucket[b], *next; t; t = next) {
        next = t->next;
        if ((int32_t)(t->at - w->now) > 0)
            continue;
        timer_unlink(w, t);
        if ((int32_t)(t->deadline - w->now) <= 0)
            timer_link(w, t, TIMER_DUE);
        else
            timer_link_deadline(w, t);
    }
}

unsigned timer_expire(struct timer_wheel *w, uint64_t now_ms,
                      void (*expire)(void *arg, struct timer *t), void *arg)
{
    uint32_t from = w->now, to = (uint32_t)((now_ms - w->base_ms) >> w->tick_shift);
    unsigned n = 0;
    struct timer *t;

    if (likely((int32_t)(to - from) <= 0))
        return 0;
    assert(!w->bucket[TIMER_DUE]); /* not from within the callback */
    w->now = to;                   /* what the callback sets is later than that */
    if (w->armed == 0)
        return 0;
    uint32_t ticks = MIN(to - from, (uint32_t)TIMER_BUCKETS);
    for (uint32_t i = 1; i <= ticks; i++)
        timer_visit(w, (to - ticks + i) & TIMER_MASK);

    while ((t = w->bucket[TIMER_DUE])) {
        timer_unlink(w, t);
        if ((int32_t)(t->deadline - to) > 0) { /* moved by a callback before */
            timer_link_deadline(w, t);
            continue;
        }
        w->armed--;
        n++;
        expire(arg, t);
    }
    if (w->armed > 0)
        w->soonest = w->now + timer_distance(w);
    return n;
}

int64_t timer_next_ms(const struct timer_wheel *w, uint64_t now_ms)
{
    if (w->armed == 0)
        return -1;
    uint64_t passed_ms = now_ms - w->base_ms, tick = passed_ms >> w->tick_shift;
    /* w->soonest in 64 bits, seen from the tick of now */
    uint64_t due = tick + (uint64_t)(int64_t)(int32_t)(w->soonest - (uint32_t)tick);
    int64_t ms = (int64_t)((due << w->tick_shift) - passed_ms);
    return MAX(ms, 0);
}
