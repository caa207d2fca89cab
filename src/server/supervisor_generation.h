/* SPDX-License-Identifier: MIT */
/*
 * supervisor_generation.h - workers that were started together: their start, the report of each, how
 * they take over from those before them and retire when others do.
 */
#ifndef BIVALVE_SUPERVISOR_GENERATION_H
#define BIVALVE_SUPERVISOR_GENERATION_H

#include "supervisor_state.h"

/* A generation by this plan, with seats for its workers. NULL: no memory, or no seats (errno). */
struct generation *supervisor_generation(struct supervisor *s, const struct supervisor_plan *plan);

/* 0, or -errno with why: a process was not to be had. */
int supervisor_start_all(struct supervisor *s, struct generation *g, char *why, size_t why_size);

/* Fork the worker of seat `k`. 0, or -errno when there is no process to be had. */
int supervisor_fork(struct supervisor *s, unsigned k);

/* Nothing more is heard from it, or said to it. */
void supervisor_close_report(struct supervisor_worker *w);

/* The seat is free again; what has been counted there stays. */
void supervisor_stand_up(struct supervisor *s, unsigned k);

/* Tell worker `k`, which is ready, to go on. If it has died, SIGCHLD will say so. */
void supervisor_release(struct supervisor *s, unsigned k);

/* Worker `k` has said something, or is gone. */
void supervisor_on_report(struct supervisor *s, unsigned k);

/*
 * A worker of a generation that starts cannot serve with its backend, died of it or hangs: all of
 * them take the next, or the start has failed.
 */
void supervisor_backend_failed(struct supervisor *s, struct generation *g, const char *why);

/* The new workers will not serve: those that do go on. */
void supervisor_give_up_next(struct supervisor *s, const char *why);

/* No more workers, and no more use: it is not `now`. */
void supervisor_forget(struct supervisor *s, struct generation *g);

/*
 * Kill what runs of a generation (NULL: of all) and wait for it: before another backend is tried, and
 * at a hurried end.
 */
void supervisor_kill_and_reap(struct supervisor *s, const struct generation *g);

/* Is there a place for one more that retires, and are there seats for as many workers as now? */
bool supervisor_has_room(const struct supervisor *s);

/* SIGHUP, or what kept an earlier one waiting is over. */
void supervisor_try_reload(struct supervisor *s);

#endif
