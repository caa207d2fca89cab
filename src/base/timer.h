/* SPDX-License-Identifier: MIT */
/*
 * timer.h - a hashed timing wheel over the slot table: one deadline a connection, linked by fd,
 * nothing allocated.
 *
 * Moving a deadline later (what nearly every request does) is one store: the slot stays where it is
 * linked and is linked anew when the wheel gets there. Only a deadline earlier than that place
 * moves it at once. Reference: Varghese and Lauck 1987, scheme 6.
 *
 * slot->timer_kind is the deadline that is set; the core may change it to another kind but
 * TIMER_NONE without the wheel's knowledge, and may move slot->deadline (in ticks) to later.
 */
#ifndef BIVALVE_TIMER_H
#define BIVALVE_TIMER_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "slot.h"

#define TIMER_TICK_MS 128 /* resolution: a timeout is up to one tick late, never early */
#define TIMER_BUCKETS \
    512 /* a power of two; deadlines further away than the wheel's 65 s just go round again */

enum timer_kind { TIMER_NONE = 0, TIMER_HEADER, TIMER_BODY, TIMER_IDLE, TIMER_WRITE, TIMER_LINGER };

struct timer_wheel {
    struct slot_table *slots;
    uint64_t base_ms; /* monotonic time of tick 0; ticks are 32 bits and may wrap */
    uint32_t now;     /* ticks up to here have been expired */
    uint32_t armed;   /* slots linked */
    uint64_t occupied[TIMER_BUCKETS / 64]; /* buckets that have a slot, a bit each */
    int32_t bucket[TIMER_BUCKETS + 1]; /* first fd, -1: none; the last is what is being expired */
};

void timer_init(struct timer_wheel *w, struct slot_table *slots, uint64_t now_ms);

/* timer_set() where a slot is to be linked or unlinked. */
void timer_set_slow(struct timer_wheel *w, int fd, enum timer_kind kind, uint32_t at,
                    uint32_t delay_ms);

/*
 * Set fd's deadline to `delay_ms` after now_ms, for `kind` (not TIMER_NONE); replaces the one it
 * had. delay_ms 0 means no deadline: as timer_stop(). now_ms may be older than the last
 * timer_expire()'s; what would be due by then is due at the next tick.
 */
static inline void timer_set(struct timer_wheel *w, int fd, enum timer_kind kind, uint64_t now_ms,
                             uint32_t delay_ms)
{
    struct slot *s = slot_get(w->slots, fd);
    uint32_t at = (uint32_t)((now_ms - w->base_ms + delay_ms + TIMER_TICK_MS - 1) / TIMER_TICK_MS);

    assert(kind != TIMER_NONE && s->gen != 0);
    if (likely(s->timer_kind != TIMER_NONE && (int32_t)(at - s->timer_at) >= 0 && delay_ms != 0)) {
        s->timer_kind = (uint8_t)kind;
        s->deadline = at;
        return;
    }
    timer_set_slow(w, fd, kind, at, delay_ms);
}

/* No deadline for fd: unlinks it. Must be called before the slot is released. */
void timer_stop(struct timer_wheel *w, int fd);

/*
 * Expire everything due at now_ms: for each, the slot is unlinked and its kind TIMER_NONE, then
 * expire(arg, fd, kind) is called, which may set or stop any timer, and release any slot. What it
 * sets is not due before the next call. Returns how many were called.
 */
unsigned timer_expire(struct timer_wheel *w, uint64_t now_ms,
                      void (*expire)(void *arg, int fd, enum timer_kind kind), void *arg);

/* Milliseconds from now_ms until timer_expire() may have work, -1 when nothing is armed. */
int64_t timer_next_ms(const struct timer_wheel *w, uint64_t now_ms);

#endif
