/* SPDX-License-Identifier: MIT */
/*
 * worker.h - one worker: its loop, its end. Runs in a process of its own, or in the only
 * one (--workers 0). What it serves is its caller's to say: the view inside (admin.h) is one, too.
 */
#ifndef BIVALVE_WORKER_H
#define BIVALVE_WORKER_H

#include <signal.h>
#include <stdbool.h>

#include "access_log.h"
#include "loop_types.h"
#include "backend.h"
#include "request.h"
#include "settings.h"

#define WORKER_ERROR_MAX BACKEND_TEXT_MAX

/*
 * What the kernel sends to a worker when its supervisor dies, PR_SET_PDEATHSIG(2const): a drain
 * like that of SIGTERM, which is over within a second. To be blocked where the others are. From others,
 * who mean the supervisor and signal the whole group, it has no effect.
 */
#define WORKER_ORPHAN_SIGNAL SIGUSR2

/* What a supervisor has to say to a worker beside SIGTERM; in memory that they share. */
struct worker_control {
    volatile bool retire; /* at SIGTERM: there are others who serve, it has time to end */
    volatile uint64_t
        kept; /* ... and those accept from these of its listeners: acceptor_retire() */
};

/* What a retiring worker gives idle connections when its time is over, milliseconds. */
#define WORKER_RETIRED_MS 1000

struct worker_config {
    const char *name; /* in the log: "worker 3" */
    const struct settings *set;
    const struct routes *routes; /* what it serves, and */
    const void *context;         /* ... what its handlers are given: request_context() */
    struct tls_context *tls;     /* NULL: no listener has TLS */
    struct stats *stats;
    const struct worker_control *control; /* NULL: SIGTERM is all */
    const struct backend_ops *ops;
    const char *variant;
    /* their fds become the worker's; -1 afterwards: it has closed it */
    struct accept_listener *listeners;
    unsigned listener_count;
    pid_t parent; /* whose death WORKER_ORPHAN_SIGNAL tells of; 0 when alone */
    uint32_t
        beat_ms; /* alone: tell the service manager so often that all is well; 0: it does not ask */
    bool alone;  /* --workers 0: SIGINT and a second signal are the worker's business as well */
    bool sandbox;      /* enter the seccomp filter once the backend is open */
    bool sandbox_must; /* ... or fail */
    bool meter;        /* keep the histograms of the counters */
    const struct access_log_config *access_log; /* NULL: none */
    bool reads_files;                           /* the filter lets it open files, to read them */
    const sigset_t
        *mask; /* the signal mask to serve with; until the worker is ready signals stay blocked */

    /*
     * Everything is open, and nobody has been accepted yet; `features` is the backend's own
     * description. Called once; accepting begins when it has returned 0, and -errno ends the worker.
     */
    int (*ready)(void *arg, const char *features);
    /* SIGUSR1, when alone. */
    void (*report)(void *arg);
    void *arg;
};

/*
 * Serve until SIGTERM (or, alone, SIGINT) and the end of the drain that follows. Returns 0 after an
 * orderly end; -errno with one line in `error` (WORKER_ERROR_MAX bytes) when the start failed
 * (ready() has not been called) or the backend broke.
 */
int worker_run(const struct worker_config *cfg, char *error);

#endif
