/* SPDX-License-Identifier: MIT */
/*
 * timer.h - a hashed timing wheel over the slot table: one deadline a connection, linked by fd, nothing allocated.
 *
 * Moving a deadline later (what nearly every request does) is one store: the slot stays where it is linked and is
 * re-linked when the wheel gets there. Only an earlier deadline moves it at once. Reference: Varghese and Lauck 1987, scheme 6.
 */
#ifndef BIVALVE_TIMER_H
#define BIVALVE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "slot.h"

#define TIMER_TICK_MS 128   /* resolution: a timeout is up to one tick late, never early */
#define TIMER_BUCKETS 512   /* a power of two; deadlines further away than the wheel's 65 s just go round again */

enum timer_kind { TIMER_NONE = 0, TIMER_HEADER, TIMER_BODY, TIMER_IDLE, TIMER_WRITE, TIMER_LINGER };

struct timer_wheel {
    struct slot_table *slots;
    uint64_t base_ms;   /* monotonic time of tick 0 */
    uint32_t now;       /* ticks up to here have been expired */
    uint32_t armed;     /* slots linked */
    int32_t bucket[TIMER_BUCKETS]; /* first fd, -1: none */
};

void timer_init(struct timer_wheel *w, struct slot_table *slots, uint64_t now_ms);

/* Set fd's deadline to `delay_ms` after now_ms, for `kind`; replaces the one it had. delay_ms 0 means no deadline: as timer_stop(). */
void timer_set(struct timer_wheel *w, int fd, enum timer_kind kind, uint64_t now_ms, uint32_t delay_ms);

/* No deadline for fd: unlinks it. Must be called before the slot is released. */
void timer_stop(struct timer_wheel *w, int fd);

/*
 * Expire everything due at now_ms: for each, the slot is unlinked, then expire(arg, fd, kind) is called, which may set
 * or stop any timer, and release any slot. Returns how many were called.
 */
unsigned timer_expire(struct timer_wheel *w, uint64_t now_ms, void (*expire)(void *arg, int fd, enum timer_kind kind),
                      void *arg);

/* Milliseconds from now_ms until timer_expire() may have work, -1 when nothing is armed. */
int64_t timer_next_ms(const struct timer_wheel *w, uint64_t now_ms);

#endif
