/* SPDX-License-Identifier: MIT */
/*
 * supervisor.h - the worker processes: started together, restarted one by one with back-off,
 * drained together.
 */
#ifndef BIVALVE_SUPERVISOR_H
#define BIVALVE_SUPERVISOR_H

#include <signal.h>
#include <stdbool.h>

#include "backend.h"
#include "board.h"
#include "listener.h"
#include "settings.h"
#include "side.h"
#include "stats.h"

struct supervisor_config {
    const struct settings *set;
    const struct routes *routes; /* as in worker.h */
    const void *context;
    struct stats *stats; /* one block a worker */
    struct board *board; /* kept up to date */
    struct side **sides; /* processes that are looked after, too */
    unsigned side_count;
    struct tls_context *tls; /* NULL: no listener has TLS */
    struct listener *listeners;
    unsigned listener_count;
    unsigned workers; /* at least 1 */
    const int *cpus;  /* worker k is pinned to cpus[k % cpu_count]; NULL: not pinned */
    unsigned cpu_count;
    const struct proxy_trust *proxy_from; /* of listeners whose clients are proxies */
    bool sandbox, sandbox_must;
    bool meter;                                  /* as in worker.h */
    bool reads_files;                            /* the same */
    const struct access_log_config *access_logs; /* one a worker; NULL: none */

    /*
     * The backend; with `automatic`, all workers take the next one that runs if it fails to open in
     * any of them at the start.
     */
    const struct backend_ops *ops;
    const char *variant;
    bool automatic;

    /* All workers serve, with this backend of these features. */
    void (*ready)(void *arg, const struct backend_ops *ops, const char *features);
    /* SIGUSR1. */
    void (*report)(void *arg);
    void *arg;
};

/*
 * Start the workers and look after them until SIGTERM or SIGINT; then drain and return the exit
 * status of the server: 0 after an orderly end; 1, having logged why, when the start failed or a
 * worker had to be killed or crashed during the drain; 0 as well after a second signal, which ends
 * it at once. SIGCHLD, SIGHUP, SIGINT, SIGTERM and SIGUSR1 must be blocked; `mask` is what was so
 * before. Closes the listeners. Workers leave this function by exit(3).
 */
int supervisor_run(const struct supervisor_config *cfg, const sigset_t *mask);

#endif
