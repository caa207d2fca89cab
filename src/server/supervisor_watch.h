/* SPDX-License-Identifier: MIT */
/*
 * supervisor_watch.h - do the workers make progress? One that serves counts the iterations of its loop.
 * Whose count stands still between two looks is idle or stuck: it is woken by a signal, and counts if
 * it can. So a busy worker pays nothing, an idle one a wake-up now and then.
 */
#ifndef BIVALVE_SUPERVISOR_WATCH_H
#define BIVALVE_SUPERVISOR_WATCH_H

#include "supervisor_state.h"

/* When the next look is due, clock_monotonic_ms(); UINT64_MAX: nobody wants to know. */
uint64_t supervisor_watch_due(const struct supervisor *s);

/*
 * Look, if that is due: workers that have not moved for --worker-timeout are killed, and as long as
 * one has moved lately the service manager is told that all is well (WATCHDOG=1).
 */
void supervisor_watch(struct supervisor *s, uint64_t now_ms);

/* Seat `k` has a new worker. */
void supervisor_watch_anew(struct supervisor *s, unsigned k);

#endif
