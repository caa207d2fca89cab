/* SPDX-License-Identifier: MIT */
/*
 * timer.h - hashed timing wheels: a deadline is a node that its owner embeds, nothing is allocated.
 *
 * Moving a deadline later (what nearly every request does) is one store: the node stays where it is
 * linked and is linked anew when the wheel gets there. Only a deadline earlier than that place
 * moves it at once. Reference: Varghese and Lauck 1987, scheme 7 with two wheels.
 *
 * Nodes that are further away than a round of the first wheel lie in the second, which has a bucket
 * for each round, and are moved to the first when their round begins. So whatever is far away is
 * looked at twice in all, once at the beginning of its round and once when it is due, and between
 * those nothing wakes up: however many deadlines lie ahead, waiting for them takes no time.
 *
 * A wheel has one owner: whoever made it knows what its nodes are embedded in.
 */
#ifndef BIVALVE_TIMER_H
#define BIVALVE_TIMER_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

/* Powers of two: ticks of a round, and rounds; what is further away goes round again. */
#define TIMER_BUCKETS 512
#define TIMER_ROUNDS  128

/* A deadline. All zero: not set. */
struct timer {
    struct timer *next;
    struct timer **link; /* what points to it: a bucket, or the `next` before; NULL: not set */
    uint32_t at;         /* tick it is linked at */
    uint32_t deadline;   /* tick at which it expires: `at` or later */
};

struct timer_wheel {
    uint32_t tick_shift; /* a tick is 1 << tick_shift milliseconds */
    uint32_t now;        /* ticks up to here have been expired */
    uint64_t base_ms;    /* time of tick 0; ticks are 32 bits and may wrap */
    uint32_t armed;      /* nodes linked */
    uint32_t soonest;    /* no bucket has to be visited at a tick before this, while any is */
    uint64_t occupied[(TIMER_BUCKETS + TIMER_ROUNDS) / 64]; /* buckets that have a node */
    /* a tick each, then a round each; the last is what is being expired */
    struct timer *bucket[TIMER_BUCKETS + TIMER_ROUNDS + 1];
};

/* A wheel with ticks of 1 << tick_shift milliseconds: a deadline is up to one late, never early. */
void timer_wheel_init(struct timer_wheel *w, uint32_t tick_shift, uint64_t now_ms);

static inline bool timer_is_set(const struct timer *t)
{
    return t->link != NULL;
}

/* timer_set() where a node is to be linked or unlinked. */
void timer_set_slow(struct timer_wheel *w, struct timer *t, uint32_t at, uint32_t delay_ms);

/*
 * Set the deadline to `delay_ms` after now_ms; replaces the one it had. delay_ms 0 means no
 * deadline: as timer_stop(). now_ms may be older than the last timer_expire()'s; what would be due
 * by then is due at the next tick.
 */
static inline void timer_set(struct timer_wheel *w, struct timer *t, uint64_t now_ms,
                             uint32_t delay_ms)
{
    uint64_t at_ms = now_ms - w->base_ms + delay_ms;
    uint32_t at = (uint32_t)((at_ms + (1u << w->tick_shift) - 1) >> w->tick_shift);

    if (likely(t->link && (int32_t)(at - t->at) >= 0 && delay_ms != 0)) {
        t->deadline = at;
        return;
    }
    timer_set_slow(w, t, at, delay_ms);
}

/* Move a deadline that is set `ticks` later. */
static inline void timer_postpone(struct timer *t, uint32_t ticks)
{
    assert(timer_is_set(t));
    t->deadline += ticks;
}

/* `from` becomes `to`, which is not set: the same deadline, in the same place of the wheel. */
static inline void timer_move(struct timer *to, struct timer *from)
{
    assert(!timer_is_set(to));
    *to = *from;
    if (!timer_is_set(from))
        return;
    *to->link = to;
    if (to->next)
        to->next->link = &to->next;
    from->link = NULL;
}

/* No deadline. Must be called before the node's memory goes. */
void timer_stop(struct timer_wheel *w, struct timer *t);

/* timer_expire() when a tick has passed: everything due at tick `to`, which is not w->now. */
unsigned timer_expire_to(struct timer_wheel *w, uint32_t to,
                         void (*expire)(void *arg, struct timer *t), void *arg);

/*
 * Expire everything due at now_ms: each node is unlinked, then expire(arg, t) is called, which may
 * set, stop or free any node. What it sets is not due before the next call. Returns how many were
 * called.
 */
static inline unsigned timer_expire(struct timer_wheel *w, uint64_t now_ms,
                                    void (*expire)(void *arg, struct timer *t), void *arg)
{
    uint32_t to = (uint32_t)((now_ms - w->base_ms) >> w->tick_shift);

    return likely((int32_t)(to - w->now) <= 0) ? 0 : timer_expire_to(w, to, expire, arg);
}

/* Milliseconds from now_ms until timer_expire() may have work, -1 when nothing is set. */
int64_t timer_next_ms(const struct timer_wheel *w, uint64_t now_ms);

#endif
