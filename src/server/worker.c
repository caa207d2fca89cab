/* SPDX-License-Identifier: MIT */
/*
 * worker.c - the loop around a core.
 *
 * Signals only set a flag and wake the engine; everything else happens between two turns. They stay
 * blocked while the core is put together, so a SIGTERM that comes early is seen when there is
 * something to end.
 */
#include "config.h"

#include "worker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "conn.h"
#include "log.h"
#include "notify.h"
#include "sandbox.h"

#define WORKER_ABORT_MS 2000 /* how long an engine may take to let go of what was aborted */

/* What the signal handlers touch. */
static struct core *volatile worker_core;
static volatile sig_atomic_t worker_stop;
static volatile sig_atomic_t worker_report;

/*
 * To end, in order. From here on every answer says `Connection: close`, also those of the turn that
 * the signal came into: a client that has been told does not lose its next request to the close.
 */
static void worker_on_drain(int number)
{
    struct core *c = worker_core;

    (void)number;
    worker_stop = 1;
    *(volatile bool *)&c->draining = true;
    c->be->ops->wake(c->be);
}

/*
 * The same when alone, where a second signal means at once, and a third does not even wait for the
 * end of the turn. Under a supervisor a second one says nothing new: it comes from whoever signals
 * the whole group.
 */
static void worker_on_stop(int number)
{
    int stop = worker_stop + 1;

    if (stop > 2)
        _exit(1);
    worker_on_drain(number);
    worker_stop = stop;
}

static void worker_on_report(int number)
{
    struct core *c = worker_core;

    (void)number;
    worker_report = 1;
    c->be->ops->wake(c->be);
}

static void worker_handle(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};

    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static void worker_signals(const struct worker_config *cfg, struct core *c)
{
    worker_core = c;
    worker_stop = worker_report = 0;
    worker_handle(SIGTERM, cfg->alone ? worker_on_stop : worker_on_drain);
    /* Ctrl-C reaches the whole group: the supervisor decides what it means. */
    worker_handle(SIGINT, cfg->alone ? worker_on_stop : SIG_IGN);
    worker_handle(SIGUSR1, cfg->alone ? worker_on_report : SIG_IGN);
    worker_handle(SIGHUP, SIG_IGN);
    worker_handle(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_SETMASK, cfg->mask, NULL);
}

static int worker_sandbox(const struct worker_config *cfg, char *error)
{
    char why[SANDBOX_ERROR_MAX];

    if (!cfg->sandbox)
        return 0;
    int rc = sandbox_enter(cfg->ops->name, why);
    if (rc == 0)
        return 0;
    if (cfg->sandbox_must) {
        snprintf(error, WORKER_ERROR_MAX, "%s", why);
        return rc;
    }
    log_warn("%s; serving without", why);
    return 0;
}

/* Is everything closed that can be: connections, and listeners that the engine still held? */
static bool worker_drained(const struct core *c)
{
    if (c->slots.used > 0)
        return false;
    for (unsigned i = 0; i < c->listener_count; i++)
        if (c->listeners[i].fd >= 0)
            return false;
    return true;
}

/*
 * Turns until drained, until `until_ms` (0: no limit), or a second signal. 0, or -errno when the
 * engine is broken.
 */
static int worker_turns(struct core *c, uint64_t until_ms)
{
    while (!worker_drained(c) && worker_stop < 2) {
        uint64_t now_ms = until_ms ? clock_monotonic_ms() : 0;
        if (until_ms && now_ms >= until_ms)
            break;
        int rc = core_turn(c, until_ms ? (int64_t)(until_ms - now_ms) : -1);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/*
 * The graceful end, and what the counters say at it. 0, or -errno when the engine is broken or does
 * not let go.
 */
static int worker_drain(const struct worker_config *cfg, struct core *c, char *error)
{
    const struct stats *stats = cfg->stats;
    uint64_t limit_ms = cfg->set->drain_timeout_ms;
    uint32_t forced = 0;

    if (cfg->alone)
        notify_send("STOPPING=1");
    conn_drain(c);
    int rc = worker_turns(c, limit_ms ? clock_monotonic_ms() + limit_ms : 0);
    if (worker_stop >= 2) {
        log_warn("a second signal: leaving at once, %u connections are cut off", c->slots.used);
        return 0;
    }
    if (rc == 0 && !worker_drained(c)) {
        forced = c->slots.used;
        conn_abort_all(c);
        rc = worker_turns(c, clock_monotonic_ms() + WORKER_ABORT_MS);
        if (rc == 0 && !worker_drained(c))
            rc = -ETIMEDOUT;
    }
    if (rc < 0) {
        snprintf(error, WORKER_ERROR_MAX, "the %s engine does not let go of %u connections: %s",
                 cfg->ops->name, c->slots.used, strerror(-rc));
        return rc;
    }
    conn_tick(c); /* the gauges */
    log_notice("worker %u drained: slots_used=%" PRIu64 " blocks_used=%" PRIu64 " accepted=%" PRIu64
               " closed=%" PRIu64 " requests=%" PRIu64 " forced=%" PRIu32,
               cfg->index, stats->slots_used, stats->blocks_used, stats->accepted, stats->closed,
               stats->requests, forced);
    return 0;
}

static int worker_serve(const struct worker_config *cfg, struct core *c, char *error)
{
    int rc = 0;

    while (!worker_stop && rc == 0) {
        rc = core_turn(c, -1);
        if (worker_report) {
            worker_report = 0;
            cfg->report(cfg->arg);
        }
    }
    if (rc < 0) {
        snprintf(error, WORKER_ERROR_MAX, "the %s engine broke: %s", cfg->ops->name, strerror(-rc));
        return rc;
    }
    return worker_drain(cfg, c, error);
}

/* Before a start: levels that a worker which died has left behind. */
static void worker_clear_gauges(struct stats *s)
{
    s->slots_used = 0;
    s->blocks_used = 0;
    s->block_bytes = 0;
    s->engine_inflight = 0;
}

int worker_run(const struct worker_config *cfg, char *error)
{
    char features[BACKEND_TEXT_MAX];
    struct core core;

    worker_clear_gauges(cfg->stats);
    int rc = core_init(&core, cfg->set, cfg->data, cfg->stats, cfg->ops, cfg->variant,
                       (uint32_t)MIN(sysconf(_SC_OPEN_MAX), SLOT_TABLE_MAX), error);
    if (rc < 0)
        return rc;
    core.listener_count = cfg->listener_count;
    memcpy(core.listeners, cfg->listeners, cfg->listener_count * sizeof(*cfg->listeners));
    rc = conn_accept_start(&core);
    if (rc < 0)
        snprintf(error, WORKER_ERROR_MAX, "the %s engine cannot accept: %s", cfg->ops->name,
                 strerror(-rc));
    else
        rc = worker_sandbox(cfg, error);
    if (rc == 0) {
        core.be->ops->describe(core.be, features, sizeof(features));
        worker_signals(cfg, &core);
        cfg->ready(cfg->arg, features);
        rc = worker_serve(cfg, &core, error);
    }
    /*
     * A handler must not find an engine that is gone: from here on a signal ends the process at
     * once or does nothing.
     */
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    memcpy(cfg->listeners, core.listeners, cfg->listener_count * sizeof(*cfg->listeners));
    core_destroy(&core);
    return rc;
}
