/* SPDX-License-Identifier: MIT */
/*
 * timer.c - see timer.h.
 *
 * Bucket `tick % TIMER_BUCKETS` lists the nodes linked at that tick (node.at), which is one of the
 * next TIMER_BUCKETS; bucket `TIMER_BUCKETS + round % TIMER_ROUNDS` those of a round further away,
 * where round is tick / TIMER_BUCKETS, or of a multiple of TIMER_ROUNDS later. A node's true
 * deadline is never before its `at`. A node knows what points to it, so it
 * can be unlinked wherever it is, also from the extra list of those that are due, which is emptied
 * from its head. That is what lets the callback do to any node whatever it likes.
 */
#include "config.h"

#include "timer.h"

#include <string.h>

#define TIMER_DUE  (TIMER_BUCKETS + TIMER_ROUNDS) /* the extra list */
#define TIMER_MASK (TIMER_BUCKETS - 1)

static_assert((TIMER_BUCKETS & TIMER_MASK) == 0 && TIMER_BUCKETS % 64 == 0 &&
                  (TIMER_ROUNDS & (TIMER_ROUNDS - 1)) == 0 && TIMER_ROUNDS % 64 == 0,
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
    else if (b < TIMER_DUE)
        w->occupied[b / 64] &= ~(UINT64_C(1) << b % 64);
    t->link = NULL;
}

/* The bucket of a round, and the tick that it begins with. */
static uint32_t timer_round_bucket(uint32_t tick)
{
    return TIMER_BUCKETS + (tick / TIMER_BUCKETS) % TIMER_ROUNDS;
}

static uint32_t timer_round_begin(uint32_t tick)
{
    return tick & ~(uint32_t)TIMER_MASK;
}

/* Link where its deadline is, which is later than w->now. */
static void timer_link_deadline(struct timer_wheel *w, struct timer *t)
{
    bool near = t->deadline - w->now <= TIMER_BUCKETS;
    uint32_t visit = near ? t->deadline : timer_round_begin(t->deadline);

    t->at = t->deadline;
    if ((int32_t)(visit - w->soonest) < 0)
        w->soonest = visit;
    timer_link(w, t, near ? t->deadline & TIMER_MASK : timer_round_bucket(t->deadline));
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

/*
 * Of `count` buckets from `base` on, the first in use from number `from` on, round to the one before
 * it: how many further it is. `count` where none is in use.
 */
static uint32_t timer_search(const struct timer_wheel *w, uint32_t base, uint32_t count,
                             uint32_t from)
{
    const uint64_t *occupied = w->occupied + base / 64;
    uint32_t words = count / 64, word = from / 64;
    uint64_t bits = occupied[word] & (UINT64_MAX << from % 64);

    for (uint32_t i = 0; i < words && !bits;
         i++) { /* the first word comes again at the end, whole */
        word = (word + 1) % words;
        bits = occupied[word];
    }
    if (!bits)
        return count;
    uint32_t b = word * 64 + (uint32_t)__builtin_ctzll(bits);
    return (b - from) & (count - 1);
}

/* The tick, later than w->now, at which a bucket has to be visited next. Something is set. */
static uint32_t timer_soonest(const struct timer_wheel *w)
{
    uint32_t tick = w->now + 1, next = timer_round_begin(w->now) + TIMER_BUCKETS;
    uint32_t ticks = timer_search(w, 0, TIMER_BUCKETS, tick & TIMER_MASK);
    uint32_t rounds =
        timer_search(w, TIMER_BUCKETS, TIMER_ROUNDS, timer_round_bucket(next) - TIMER_BUCKETS);

    if (ticks == TIMER_BUCKETS)
        return next + rounds * TIMER_BUCKETS;
    if (rounds == TIMER_ROUNDS)
        return tick + ticks;
    return w->now + MIN(1 + ticks, next - w->now + rounds * TIMER_BUCKETS);
}

/*
 * Sort a bucket that the wheel has reached: due, linked or moved to a later tick, or of a later time
 * round. `mask`: the bits of a tick that tell where its bucket lies.
 */
static void timer_visit(struct timer_wheel *w, uint32_t b, uint32_t mask)
{
    for (struct timer *t = w->bucket[b], *next; t; t = next) {
        next = t->next;
        if ((int32_t)((t->at & mask) - (w->now & mask)) > 0)
            continue;
        timer_unlink(w, t);
        if ((int32_t)(t->deadline - w->now) <= 0)
            timer_link(w, t, TIMER_DUE);
        else
            timer_link_deadline(w, t);
    }
}

unsigned timer_expire_to(struct timer_wheel *w, uint32_t to,
                         void (*expire)(void *arg, struct timer *t), void *arg)
{
    uint32_t from = w->now;
    unsigned n = 0;
    struct timer *t;

    assert(!w->bucket[TIMER_DUE]); /* not from within the callback */
    w->now = to;                   /* what the callback sets is later than that */
    if (w->armed == 0)
        return 0;
    /* The rounds that have begun, then the ticks that have passed. */
    uint32_t rounds = (timer_round_begin(to) - timer_round_begin(from)) / TIMER_BUCKETS;
    for (uint32_t i = MIN(rounds, (uint32_t)TIMER_ROUNDS); i > 0; i--)
        timer_visit(w, timer_round_bucket(to - (i - 1) * TIMER_BUCKETS), ~(uint32_t)TIMER_MASK);
    for (uint32_t i = MIN(to - from, (uint32_t)TIMER_BUCKETS); i > 0; i--)
        timer_visit(w, (to - (i - 1)) & TIMER_MASK, UINT32_MAX);

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
        w->soonest = timer_soonest(w);
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
