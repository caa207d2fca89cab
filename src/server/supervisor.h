/* SPDX-License-Identifier: MIT */
/*
 * supervisor.h - the worker processes: started together, restarted one by one with back-off,
 * replaced together when the server is reloaded, drained together.
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

/* Places for workers: for those that serve, and those of before a reload that have not ended yet. */
#define SUPERVISOR_SEATS_MAX 4096

/* What a generation of workers serves. */
struct supervisor_plan {
    const struct settings *set;
    const struct routes *routes; /* as in worker.h */
    const void *context;
    struct tls_context *tls; /* NULL: no listener has TLS */
    struct listener *const *listeners;
    unsigned listener_count;
    unsigned workers; /* at least 1 */
    const int *cpus;  /* worker k is pinned to cpus[k % cpu_count]; NULL: not pinned */
    unsigned cpu_count;
    const struct proxy_trust *proxy_from; /* of listeners whose clients are proxies */
    bool sandbox, sandbox_must;
    bool meter;                                  /* as in worker.h */
    bool reads_files;                            /* the same */
    const struct access_log_config *access_logs; /* one a seat; NULL: none */

    /*
     * The backend; with `automatic`, all workers take the next one that runs if it fails to open in
     * any of them at the start.
     */
    const struct backend_ops *ops;
    const char *variant;
    bool automatic;
};

struct supervisor_config {
    const struct supervisor_plan *plan; /* of the first generation */
    unsigned seats;                     /* at most SUPERVISOR_SEATS_MAX */
    struct stats *stats;                /* one block for each */
    struct board *board;                /* of as many seats; kept up to date */
    struct side **sides;                /* processes that are looked after, too */
    unsigned side_count;

    /* All workers of the first generation serve, with this backend of these features. */
    void (*ready)(void *arg, const struct backend_ops *ops, const char *features);
    /* SIGUSR1. */
    void (*report)(void *arg);
    /* SIGHUP: what is to be served from now on; NULL: what was (and the log says why). */
    const struct supervisor_plan *(*reload)(void *arg);
    /*
     * All workers of that plan are there, and serve as soon as this returns; it closes those listeners
     * that are in no plan any more, before the old workers, who have copies, are told to.
     */
    void (*reloaded)(void *arg, const struct supervisor_plan *plan, const struct backend_ops *ops,
                     const char *features);
    /*
     * SIGUSR2: start the server anew, with this signal mask, on the sockets of this one. The process,
     * no child of this one, and in *word_fd where it says that it serves, by a byte; or -errno.
     */
    pid_t (*upgrade)(void *arg, const sigset_t *mask, int *word_fd);
    /* It serves: what both have is no more ours, who end now. */
    void (*upgraded)(void *arg, pid_t pid);
    bool
        late_sides; /* the processes beside the workers are started after these: others do it yet */
    /* No worker uses this plan of reload() any more, or none ever did. */
    void (*forget)(void *arg, const struct supervisor_plan *plan);
    void *arg;
};

/*
 * Start the workers and look after them until SIGTERM or SIGINT; then drain and return the exit
 * status of the server: 0 after an orderly end; 1, having logged why, when the start failed or a
 * worker had to be killed or crashed during the drain; 0 as well after a second signal, which ends
 * it at once. SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 must be blocked; `mask` is what was so
 * before. Closes the listeners. Workers leave this function by exit(3).
 *
 * SIGHUP starts a generation of workers by a new plan, on the same sockets where it has the same
 * listeners. When all of them are ready they begin to accept, and the old ones stop: those finish
 * their connections, each of which learns by its next answer that it ends. If one of the new ones
 * does not start, the old ones go on as if nothing had been.
 *
 * SIGUSR2 has another server started, and when that serves this one ends as at SIGTERM, but like old
 * workers after a reload: with time, and without emptying the queues of sockets that are still
 * listened on.
 */
int supervisor_run(const struct supervisor_config *cfg, const sigset_t *mask);

#endif
