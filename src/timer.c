/* SPDX-License-Identifier: MIT */
/*
 * timer.c - see timer.h. Ticks are 32 bits and compared by the sign of their difference: they may wrap.
 */
#include "config.h"

#include "timer.h"

#include "util.h"

static inline uint32_t timer_tick(const struct timer_wheel *w, uint64_t ms)
{
    return (uint32_t)((ms - w->base_ms) / TIMER_TICK_MS);
}

static inline bool timer_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

void timer_init(struct timer_wheel *w, struct slot_table *slots, uint64_t now_ms)
{
    w->slots = slots;
    w->base_ms = now_ms;
    w->now = 0;
    w->armed = 0;
    for (int i = 0; i < TIMER_BUCKETS; i++)
        w->bucket[i] = -1;
}

static void timer_link(struct timer_wheel *w, int fd, struct slot *s)
{
    /*
     * Never in the bucket that is being expired, nor a round or more ahead: what is found in a bucket when the wheel gets
     * there is due, or moved on.
     */
    uint32_t last = w->now + TIMER_BUCKETS - 1;
    s->timer_at = timer_before(w->now, s->deadline) ? s->deadline : w->now + 1;
    if (timer_before(last, s->timer_at))
        s->timer_at = last;
    int32_t *head = &w->bucket[s->timer_at % TIMER_BUCKETS];

    s->timer_prev = -1;
    s->timer_next = *head;
    if (*head >= 0)
        slot_get(w->slots, *head)->timer_prev = fd;
    *head = fd;
    w->armed++;
}

static void timer_unlink(struct timer_wheel *w, struct slot *s)
{
    if (s->timer_prev >= 0)
        slot_get(w->slots, s->timer_prev)->timer_next = s->timer_next;
    else
        w->bucket[s->timer_at % TIMER_BUCKETS] = s->timer_next;
    if (s->timer_next >= 0)
        slot_get(w->slots, s->timer_next)->timer_prev = s->timer_prev;
    s->timer_next = s->timer_prev = -1;
    w->armed--;
}

void timer_set(struct timer_wheel *w, int fd, enum timer_kind kind, uint64_t now_ms, uint32_t delay_ms)
{
    struct slot *s = slot_get(w->slots, fd);

    if (unlikely(!delay_ms)) {
        timer_stop(w, fd);
        return;
    }
    /* the tick after the one in which the deadline falls: late by up to a tick, never early */
    uint32_t deadline = timer_tick(w, now_ms + delay_ms) + 1;
    s->deadline = deadline;
    if (likely(s->timer_kind != TIMER_NONE)) {
        s->timer_kind = (uint8_t)kind;
        if (likely(!timer_before(deadline, s->timer_at)))
            return;
        timer_unlink(w, s);
    }
    s->timer_kind = (uint8_t)kind;
    timer_link(w, fd, s);
}

void timer_stop(struct timer_wheel *w, int fd)
{
    struct slot *s = slot_get(w->slots, fd);

    if (s->timer_kind == TIMER_NONE)
        return;
    timer_unlink(w, s);
    s->timer_kind = TIMER_NONE;
}

unsigned timer_expire(struct timer_wheel *w, uint64_t now_ms, void (*expire)(void *arg, int fd, enum timer_kind kind),
                      void *arg)
{
    uint32_t now = timer_tick(w, now_ms);
    unsigned n = 0;

    /* After a long sleep one round over the wheel sees every bucket. */
    if (timer_before(w->now + TIMER_BUCKETS, now))
        w->now = now - TIMER_BUCKETS;
    while (timer_before(w->now, now)) {
        w->now++;
        const int32_t *head = &w->bucket[w->now % TIMER_BUCKETS];
        while (*head >= 0) { /* expire() may link and unlink at will, but never into this bucket */
            int fd = *head;
            struct slot *s = slot_get(w->slots, fd);
            timer_unlink(w, s);
            if (timer_before(w->now, s->deadline)) {
                timer_link(w, fd, s); /* has been moved later since it was linked */
                continue;
            }
            enum timer_kind kind = s->timer_kind;
            s->timer_kind = TIMER_NONE;
            n++;
            expire(arg, fd, kind);
        }
    }
    return n;
}

int64_t timer_next_ms(const struct timer_wheel *w, uint64_t now_ms)
{
    if (!w->armed)
        return -1;
    for (uint32_t tick = w->now + 1; tick != w->now + 1 + TIMER_BUCKETS; tick++) {
        if (w->bucket[tick % TIMER_BUCKETS] < 0)
            continue;
        uint64_t at_ms = w->base_ms + (uint64_t)tick * TIMER_TICK_MS;
        return at_ms > now_ms ? (int64_t)(at_ms - now_ms) : 0;
    }
    return TIMER_TICK_MS;
}
