/* SPDX-License-Identifier: MIT */
/*
 * side.h - a process beside the workers, which serves no client of theirs: it is started before
 * them, again when it dies, and ended after them.
 */
#ifndef BIVALVE_SIDE_H
#define BIVALVE_SIDE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct side {
    const char *name; /* in the log, and as the process's name: at most 15 bytes */
    /*
     * In the child: what it does, and its exit status. Ends on SIGTERM; `mask` is the signal mask to
     * run with. When its parent dies it gets WORKER_ORPHAN_SIGNAL.
     */
    int (*run)(void *arg, const sigset_t *mask);
    /* In any other process of the server's: close what is its own. */
    void (*forget)(void *arg);
    void *arg;
    bool yields; /* ends when another server takes this one's place, which has one of its own */

    pid_t pid; /* 0: not running */
    uint64_t started_ms;
    uint64_t restart_ms; /* 0: not to be started */
    uint32_t backoff_ms;
};

/*
 * Start it. In the child, before anything else, `leave` lets go of what is the parent's only (arg of
 * its own). 0, or -errno: it is tried again later.
 */
int side_start(struct side *side, void (*leave)(void *arg), void *arg, const sigset_t *mask);

/* It has ended, as wait(2) says by `status`: to be started again after a while. */
void side_died(struct side *side, int status);

/* End it, and wait until it has: SIGTERM, then after `patience_ms` SIGKILL. */
void side_stop(struct side *side, unsigned patience_ms);

#endif
