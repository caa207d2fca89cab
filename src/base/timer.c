/* SPDX-License-Identifier: MIT */
/*
 * timer.c - see timer.h.
 *
 * Bucket `tick % TIMER_BUCKETS` lists the slots linked at that tick (timer_at), of this round or a
 * later one; a slot's true deadline is never before its timer_at. The lists are doubly linked by
 * fd, and the first of a list has its bucket in timer_prev, as -1 - bucket: so a slot can be
 * unlinked wherever it is, also from the extra list of those that are due, which is emptied from
 * its head. That is what lets the callback do to any slot whatever it likes.
 */
#include "config.h"

#include "timer.h"

#include <string.h>

#include "util.h"

#define TIMER_DUE  TIMER_BUCKETS /* the extra list */
#define TIMER_MASK (TIMER_BUCKETS - 1)

static_assert((TIMER_BUCKETS & TIMER_MASK) == 0 && TIMER_BUCKETS % 64 == 0,
              "whole words of `occupied`");

void timer_init(struct timer_wheel *w, struct slot_table *slots, uint64_t now_ms)
{
    memset(w, 0, sizeof(*w));
    w->slots = slots;
    w->base_ms = now_ms;
    for (unsigned i = 0; i < ARRAY_LEN(w->bucket); i++)
        w->bucket[i] = -1;
}

static void timer_link(struct timer_wheel *w, struct slot *s, uint32_t b)
{
    int fd = slot_fd(w->slots, s), first = w->bucket[b];

    s->timer_next = first;
    s->timer_prev = -1 - (int32_t)b;
    if (first >= 0)
        slot_get(w->slots, first)->timer_prev = fd;
    w->bucket[b] = fd;
    if (b != TIMER_DUE)
        w->occupied[b / 64] |= UINT64_C(1) << b % 64;
}

static void timer_unlink(struct timer_wheel *w, struct slot *s)
{
    if (s->timer_next >= 0)
        slot_get(w->slots, s->timer_next)->timer_prev = s->timer_prev;
    if (s->timer_prev >= 0) {
        slot_get(w->slots, s->timer_prev)->timer_next = s->timer_next;
        return;
    }
    uint32_t b = (uint32_t)(-1 - s->timer_prev);
    w->bucket[b] = s->timer_next;
    if (s->timer_next < 0 && b != TIMER_DUE)
        w->occupied[b / 64] &= ~(UINT64_C(1) << b % 64);
}

/* Link where its deadline is. */
static void timer_link_deadline(struct timer_wheel *w, struct slot *s)
{
    s->timer_at = s->deadline;
    timer_link(w, s, s->deadline & TIMER_MASK);
}

void timer_set_slow(struct timer_wheel *w, int fd, enum timer_kind kind, uint32_t at,
                    uint32_t delay_ms)
{
    struct slot *s = slot_get(w->slots, fd);

    if (delay_ms == 0) {
        timer_stop(w, fd);
        return;
    }
    if (s->timer_kind != TIMER_NONE)
        timer_unlink(w, s);
    else
        w->armed++;
    if ((int32_t)(at - w->now) <= 0)
        at = w->now + 1; /* the wheel has been there */
    s->timer_kind = (uint8_t)kind;
    s->deadline = at;
    timer_link_deadline(w, s);
}

void timer_stop(struct timer_wheel *w, int fd)
{
    struct slot *s = slot_get(w->slots, fd);

    if (s->timer_kind == TIMER_NONE)
        return;
    timer_unlink(w, s);
    s->timer_kind = TIMER_NONE;
    w->armed--;
}

/* Sort a bucket that the wheel has reached: due, of a later round, or moved to a later tick. */
static void timer_visit(struct timer_wheel *w, uint32_t b)
{
    for (int fd = w->bucket[b], next; fd >= 0; fd = next) {
        struct slot *s = slot_get(w->slots, fd);

        next = s->timer_next;
        if ((int32_t)(s->timer_at - w->now) > 0)
            continue;
        timer_unlink(w, s);
        if ((int32_t)(s->deadline - w->now) <= 0)
            timer_link(w, s, TIMER_DUE);
        else
            timer_link_deadline(w, s);
    }
}

unsigned timer_expire(struct timer_wheel *w, uint64_t now_ms,
                      void (*expire)(void *arg, int fd, enum timer_kind kind), void *arg)
{
    uint32_t from = w->now, to = (uint32_t)((now_ms - w->base_ms) / TIMER_TICK_MS);
    unsigned n = 0;
    int fd;

    if (likely((int32_t)(to - from) <= 0))
        return 0;
    assert(w->bucket[TIMER_DUE] < 0); /* not from within the callback */
    w->now = to;                      /* what the callback sets is later than that */
    if (w->armed == 0)
        return 0;
    uint32_t ticks = MIN(to - from, (uint32_t)TIMER_BUCKETS);
    for (uint32_t i = 1; i <= ticks; i++)
        timer_visit(w, (to - ticks + i) & TIMER_MASK);

    while ((fd = w->bucket[TIMER_DUE]) >= 0) {
        struct slot *s = slot_get(w->slots, fd);

        timer_unlink(w, s);
        if ((int32_t)(s->deadline - to) > 0) { /* moved by a callback before */
            timer_link_deadline(w, s);
            continue;
        }
        enum timer_kind kind = s->timer_kind;
        s->timer_kind = TIMER_NONE;
        w->armed--;
        n++;
        expire(arg, fd, kind);
    }
    return n;
}

/* Ticks from w->now to the first bucket in use: 1..TIMER_BUCKETS. Something is armed. */
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

int64_t timer_next_ms(const struct timer_wheel *w, uint64_t now_ms)
{
    if (w->armed == 0)
        return -1;
    uint64_t tick = (now_ms - w->base_ms) / TIMER_TICK_MS;
    /* w->now in 64 bits: it is at most `tick`, and less only by what has passed since the last
     * timer_expire(). */
    uint64_t due = tick - (uint32_t)((uint32_t)tick - w->now) + timer_distance(w);
    int64_t ms = (int64_t)(due * TIMER_TICK_MS - (now_ms - w->base_ms));
    return MAX(ms, 0);
}
