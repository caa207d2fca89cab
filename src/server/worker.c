/* SPDX-License-Identifier: MIT */
/*
 * worker.c - the loop of a worker, from its start to its end.
 *
 * Signals only set a flag and wake the backend; everything else happens between two iterations.
 * They stay blocked while the loop is put together, so a SIGTERM that comes early is seen when
 * there is something to end.
 */
#include "config.h"

#include "worker.h"

#include <errno.h>
#include <inttypes.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "accept.h"
#include "clock.h"
#include "http_process.h"
#include "log.h"
#include "loop.h"
#include "notify.h"
#include "sandbox.h"
#include "stream_proxy.h"
#include "stream_tls.h"
#include "watch.h"

#define WORKER_ABORT_MS  2000 /* how long a backend may take to let go of what was aborted */
#define WORKER_ORPHAN_MS 500  /* what is being answered when the supervisor dies has so long */
#define WORKER_ORPHAN_S  1    /* ... and a worker that hangs then is killed */

/* What the signal handlers touch. */
static struct backend *volatile worker_backend;
static volatile sig_atomic_t worker_stop;
static volatile sig_atomic_t worker_report;
static volatile sig_atomic_t worker_orphan;
static pid_t worker_parent;

/* To end, in order. */
static void worker_on_drain(int number)
{
    (void)number;
    worker_stop = 1;
    worker_backend->ops->wake(worker_backend);
}

/*
 * The same when alone, where a second signal means at once, and a third does not even wait for the
 * end of the iteration. Under a supervisor a second one says nothing new: it comes from whoever
 * signals the whole group.
 */
static void worker_on_stop(int number)
{
    int stop = worker_stop + 1;

    if (stop > 2)
        _exit(1);
    worker_on_drain(number);
    worker_stop = stop;
}

/*
 * The supervisor is dead: to end in order, but at once, since the address has to be free for the
 * next server. The alarm is for a worker that does not come back to its loop.
 */
static void worker_on_orphan(int number)
{
    if (getppid() == worker_parent)
        return;
    worker_orphan = 1;
    alarm(WORKER_ORPHAN_S);
    worker_on_drain(number);
}

/* From the supervisor: does the loop come round? Under it the signal has no other meaning. */
static void worker_on_look(int number)
{
    (void)number;
    worker_backend->ops->wake(worker_backend);
}

static void worker_on_report(int number)
{
    (void)number;
    worker_report = 1;
    worker_backend->ops->wake(worker_backend);
}

static void worker_handle(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};

    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static void worker_signals(const struct worker_config *cfg, struct backend *be)
{
    sigset_t mask = *cfg->mask;

    worker_backend = be;
    worker_parent = cfg->parent;
    worker_stop = worker_report = worker_orphan = 0;
    worker_handle(SIGTERM, cfg->alone ? worker_on_stop : worker_on_drain);
    /* Ctrl-C reaches the whole group: the supervisor decides what it means. */
    worker_handle(SIGINT, cfg->alone ? worker_on_stop : SIG_IGN);
    worker_handle(SIGUSR1, cfg->alone ? worker_on_report : worker_on_look);
    if (!cfg->alone) {
        worker_handle(SIGALRM, SIG_DFL);
        worker_handle(WORKER_ORPHAN_SIGNAL, worker_on_orphan);
        sigdelset(&mask, SIGALRM);
        sigdelset(&mask, WORKER_ORPHAN_SIGNAL);
    }
    worker_handle(SIGHUP, SIG_IGN);
    worker_handle(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_SETMASK, &mask, NULL);
}

static int worker_sandbox(const struct worker_config *cfg, char *error)
{
    char why[SANDBOX_ERROR_MAX];

    if (!cfg->sandbox)
        return 0;
    int rc = sandbox_enter(cfg->ops->syscalls, cfg->reads_files, why);
    if (rc == 0)
        return 0;
    if (cfg->sandbox_must) {
        snprintf(error, WORKER_ERROR_MAX, "%s", why);
        return rc;
    }
    log_warn("%s; serving without", why);
    return 0;
}

static bool worker_drained(const struct loop *l)
{
    return l->slots.used == 0 && acceptor_closed(l);
}

/* A worker that has time, because others serve. */
static bool worker_retires(const struct worker_config *cfg)
{
    return cfg->control && cfg->control->retire && !worker_orphan;
}

/*
 * Iterate until drained, until `until_ms` (0: no limit), or a second signal; with `retiring`, only as
 * long as there is time for it. No longer than WORKER_ORPHAN_MS from when the supervisor is seen to
 * be dead. 0, or -errno when the backend is broken.
 */
static int worker_iterate(const struct worker_config *cfg, struct loop *l, uint64_t until_ms,
                          bool retiring)
{
    bool hurry = false;

    while (!worker_drained(l) && worker_stop < 2 && (!retiring || worker_retires(cfg))) {
        uint64_t now_ms = until_ms || worker_orphan ? clock_monotonic_ms() : 0;
        if (worker_orphan && !hurry) {
            hurry = true;
            until_ms =
                until_ms ? MIN(until_ms, now_ms + WORKER_ORPHAN_MS) : now_ms + WORKER_ORPHAN_MS;
        }
        if (until_ms && now_ms >= until_ms)
            break;
        int rc = loop_iterate(l, until_ms ? (int64_t)(until_ms - now_ms) * 1000 : -1);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* End in order. 0, or -errno when the backend is broken. */
static int worker_finish(const struct worker_config *cfg, struct loop *l)
{
    uint64_t limit_ms = cfg->set->drain_timeout_ms;
    bool retired = worker_retires(cfg);
    int rc = 0;

    if (retired) {
        loop_retire(l, cfg->control->kept);
        rc = worker_iterate(cfg, l, limit_ms ? clock_monotonic_ms() + limit_ms : 0, true);
        if (rc < 0 || worker_drained(l))
            return rc;
        if (worker_retires(cfg)) /* and that took all the time there is */
            limit_ms = WORKER_RETIRED_MS;
    }
    loop_drain(l);
    return worker_iterate(cfg, l, limit_ms ? clock_monotonic_ms() + limit_ms : 0, false);
}

/*
 * The graceful end, and what the counters say at it. 0, or -errno when the backend is broken or
 * does not let go.
 */
static int worker_drain(const struct worker_config *cfg, struct http *h, char *error)
{
    struct loop *l = &h->loop;
    const struct stats *stats = cfg->stats;
    uint32_t forced = 0;

    if (cfg->alone)
        notify_send("STOPPING=1");
    int rc = worker_finish(cfg, l);
    if (worker_stop >= 2) {
        log_warn("a second signal: leaving at once, %u connections are cut off", l->slots.used);
        return 0;
    }
    if (rc == 0 && !worker_drained(l)) {
        forced = l->slots.used;
        loop_abort(l);
        rc = worker_iterate(cfg, l, clock_monotonic_ms() + WORKER_ABORT_MS, false);
        if (rc == 0 && !worker_drained(l))
            rc = -ETIMEDOUT;
    }
    if (rc < 0) {
        snprintf(error, WORKER_ERROR_MAX, "the %s backend does not let go of %u connections: %s",
                 cfg->ops->name, l->slots.used, strerror(-rc));
        return rc;
    }
    http_update(h);
    log_notice("%s drained: slots_used=%" PRIu64 " blocks_used=%" PRIu64 " accepted=%" PRIu64
               " closed=%" PRIu64 " requests=%" PRIu64 " forced=%" PRIu32,
               cfg->name, stats->slots_used, stats->blocks_used, stats->accepted, stats->closed,
               stats->requests, forced);
    return 0;
}

static int worker_serve(const struct worker_config *cfg, struct http *h, char *error)
{
    int64_t beat_us = cfg->beat_ms ? (int64_t)cfg->beat_ms * 1000 : -1;
    uint64_t beat_ms = 0;
    int rc = 0;

    while (!worker_stop && rc == 0) {
        rc = loop_iterate(&h->loop, beat_us);
        if (cfg->beat_ms && clock_monotonic_ms() >= beat_ms) {
            beat_ms = clock_monotonic_ms() + cfg->beat_ms;
            notify_send("WATCHDOG=1");
        }
        if (worker_report) {
            worker_report = 0;
            cfg->report(cfg->arg);
        }
    }
    if (rc < 0) {
        snprintf(error, WORKER_ERROR_MAX, "the %s backend broke: %s", cfg->ops->name,
                 strerror(-rc));
        return rc;
    }
    return worker_drain(cfg, h, error);
}

/* Nothing is there any more; before a start, too, where a worker that died has left levels behind. */
static void worker_clear_gauges(struct stats *s)
{
    s->slots_used = 0;
    s->blocks_used = 0;
    s->block_bytes = 0;
    s->in_flight = 0;
    s->waiting = 0;
    s->files_open = 0;
}

/*
 * All that can fail before the first client: does the backend wait, does it take the listeners,
 * does the filter load? A connection is accepted by nothing but a wait after this.
 */
static int worker_prepare(const struct worker_config *cfg, struct http *h, char *error)
{
    int rc = loop_iterate(&h->loop, 0);

    if (rc < 0) {
        snprintf(error, WORKER_ERROR_MAX, "the %s backend cannot wait: %s", cfg->ops->name,
                 strerror(-rc));
        return rc;
    }
    for (unsigned i = 0; i < cfg->listener_count; i++)
        acceptor_add(&h->loop, &cfg->listeners[i]);
    proxy_streams_open(&h->loop);
    rc = tls_streams_open(&h->loop, cfg->tls);
    if (rc < 0) {
        snprintf(error, WORKER_ERROR_MAX, "no memory for TLS");
        return rc;
    }
    rc = acceptor_start(&h->loop);
    if (rc < 0) {
        snprintf(error, WORKER_ERROR_MAX, "the %s backend cannot accept: %s", cfg->ops->name,
                 strerror(-rc));
        return rc;
    }
    rc = worker_sandbox(cfg, error);
#ifdef __GLIBC__
    malloc_trim(0); /* making the filter takes 70 KiB for a moment */
#endif
    return rc;
}

int worker_run(const struct worker_config *cfg, char *error)
{
    char features[BACKEND_TEXT_MAX];
    uint32_t fds = (uint32_t)MIN(sysconf(_SC_OPEN_MAX), (long)SLOT_TABLE_MAX);
    struct access_log log;
    struct watch watch;
    struct http h;

    worker_clear_gauges(cfg->stats);
    log_count_dropped(&cfg->stats->messages_dropped);
    int rc = http_init(&h, cfg->set, cfg->routes, cfg->context, cfg->stats, cfg->ops, cfg->variant,
                       fds, error);
    if (rc < 0)
        return rc;
    rc = cfg->access_log ? access_log_init(&log, cfg->access_log, fds) : 0;
    if (rc < 0) {
        snprintf(error, WORKER_ERROR_MAX, "no memory for the access log: %s", strerror(-rc));
        http_destroy(&h);
        return rc;
    }
    if (cfg->access_log)
        h.loop.peers = &log.peers;
    watch_start(&h, &watch, cfg->meter, cfg->access_log ? &log : NULL);
    rc = worker_prepare(cfg, &h, error);
    if (rc == 0) {
        h.loop.be->ops->describe(h.loop.be, features, sizeof(features));
        rc = cfg->ready(cfg->arg, features);
        if (rc < 0)
            snprintf(error, WORKER_ERROR_MAX, "nobody waits for this worker: %s", strerror(-rc));
    }
    if (rc == 0) {
        worker_signals(cfg, h.loop.be);
        rc = worker_serve(cfg, &h, error);
    }
    /*
     * A handler must not find a backend that is gone: from here on a signal ends the process at
     * once or does nothing.
     */
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (unsigned i = 0; i < cfg->listener_count; i++)
        cfg->listeners[i].fd = h.loop.acceptor.listener[i].fd;
    http_destroy(&h);
    tls_streams_close(&h.loop);
    if (cfg->access_log)
        access_log_destroy(&log);
    worker_clear_gauges(cfg->stats);
    return rc;
}
