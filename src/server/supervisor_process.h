/* SPDX-License-Identifier: MIT */
/*
 * supervisor_process.h - what runs in a process that the supervisor has just started: it lets go of
 * what is not its own, and becomes a worker.
 */
#ifndef BIVALVE_SUPERVISOR_PROCESS_H
#define BIVALVE_SUPERVISOR_PROCESS_H

#include "supervisor_state.h"

/* Be the worker of seat `k`, with `report_fd` to say by how that goes. The exit status. */
int supervisor_be_worker(struct supervisor *s, unsigned k, pid_t parent, int report_fd);

/* Let go of all that a process beside the workers has no use for: side_start(). */
void supervisor_leave_as_side(void *supervisor);

/* Close this process's copies of the listeners of all generations. */
void supervisor_close_listeners(struct supervisor *s);

/* Session tickets are sealed by keys that change; those whose time is over are not kept here either. */
void supervisor_forget_tickets(struct supervisor *s);

#endif
