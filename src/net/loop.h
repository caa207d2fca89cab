/* SPDX-License-Identifier: MIT */
/*
 * loop.h - the event loop of one process: a backend, the slot table, output blocks, timers, the
 * clock and the listeners. What stands above streams is a protocol (stream.h); a program adds its
 * own work by hooks.
 */
#ifndef BIVALVE_LOOP_H
#define BIVALVE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "loop_types.h"

/*
 * Set up everything but listeners: slot table for fds below `fds`, pools, timers, clock, and the
 * backend `ops` with `variant`, opened in this process. What is pointed to must outlive the loop.
 * 0, or -errno with one line in `error` (BACKEND_TEXT_MAX bytes), and nothing left behind.
 */
int loop_init(struct loop *l, const struct settings *set, const struct loop_hooks *hooks,
              struct stats *stats, const struct backend_ops *ops, const char *variant, uint32_t fds,
              char *error);

/* No connection is open any more, or the process is about to end. */
void loop_destroy(struct loop *l);

/*
 * One iteration: the program's queued work, timers, a wait of at most `max_us` (-1: as long as
 * nothing is due) with its upcalls. 0, or -errno when the backend is broken.
 */
int loop_iterate(struct loop *l, int64_t max_us);

/* Read the clock and bring the gauges up to date; a part of each iteration, and of the end. */
void loop_update(struct loop *l);

/* Call f for every open connection; f may close any. */
void loop_each(struct loop *l, void (*f)(struct loop *l, struct slot *s, void *arg), void *arg);

/*
 * Graceful end: accept what is queued, close the listeners, tell every connection's protocol. Done
 * when slots.used is 0 and acceptor_closed().
 */
void loop_drain(struct loop *l);

/*
 * The same for a process whose place others have taken, with time: idle connections stay, until
 * their next answer says close or they have been idle for too long; loop_drain() ends that. `kept`:
 * see acceptor_retire().
 */
void loop_retire(struct loop *l, uint64_t kept);

/*
 * Close every connection now, whatever it is doing. Done when slots.used is 0 (the backend may
 * still hold some), after further iterations.
 */
void loop_abort(struct loop *l);

#endif
