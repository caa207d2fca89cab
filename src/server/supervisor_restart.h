/* SPDX-License-Identifier: MIT */
/*
 * supervisor_restart.h - a worker that has died: what that means, and when it is started again.
 */
#ifndef BIVALVE_SUPERVISOR_RESTART_H
#define BIVALVE_SUPERVISOR_RESTART_H

#include "supervisor_state.h"

/* Start the worker of seat `k` again, or put that off; on its sockets clients are queued again. */
void supervisor_restart(struct supervisor *s, unsigned k);

/* The worker of seat `k` has ended, as wait(2) says by `status`. */
void supervisor_on_death(struct supervisor *s, unsigned k, int status);

#endif
