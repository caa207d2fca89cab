/* SPDX-License-Identifier: MIT */
/*
 * supervisor_restart.c - see supervisor_restart.h.
 */
#include "config.h"

#include "supervisor_restart.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "clock.h"
#include "log.h"
#include "supervisor_generation.h"

#define SUPERVISOR_BACKOFF_MS     10 /* before the first restart; then twice as long */
#define SUPERVISOR_BACKOFF_MAX_MS 30000
#define SUPERVISOR_GROWN_UP_MS    10000 /* who has lived so long is restarted quickly again */
#define SUPERVISOR_SUSPEND_MS     1000  /* clients do not wait for longer: see listener_suspend() */

static void supervisor_suspend(struct supervisor *s, unsigned k)
{
    const struct supervisor_plan *plan = s->worker[k].of->plan;
    unsigned suspended = 0;

    for (unsigned i = 0; i < plan->listener_count; i++)
        for (unsigned n = 0; n < plan->listeners[i]->count; n++)
            if (plan->workers <= plan->listeners[i]->count &&
                listener_serves(plan->listeners[i], n, s->worker[k].index, plan->workers))
                suspended += listener_suspend(plan->listeners[i], n);
    if (suspended)
        log_notice("worker %u: its listeners are closed meanwhile, new clients go elsewhere", k);
}

static void supervisor_resume(struct supervisor *s, unsigned k)
{
    const struct supervisor_plan *plan = s->worker[k].of->plan;

    for (unsigned i = 0; i < plan->listener_count; i++)
        for (unsigned n = 0; n < plan->listeners[i]->count; n++) {
            if (!listener_serves(plan->listeners[i], n, s->worker[k].index, plan->workers))
                continue;
            int rc = listener_resume(plan->listeners[i], n);
            if (rc < 0)
                log_error("worker %u: cannot listen on %s again: %s", k,
                          plan->listeners[i]->addr.text, strerror(-rc));
        }
}

static void supervisor_schedule(struct supervisor *s, unsigned k)
{
    struct supervisor_worker *w = &s->worker[k];
    uint64_t now_ms = clock_monotonic_ms();

    if (now_ms - w->started_ms >= SUPERVISOR_GROWN_UP_MS || !w->backoff_ms)
        w->backoff_ms = SUPERVISOR_BACKOFF_MS;
    w->waiting = true;
    w->restart_ms = now_ms + w->backoff_ms;
    log_write(w->backoff_ms > SUPERVISOR_SUSPEND_MS ? LOG_LEVEL_ERROR : LOG_LEVEL_NOTICE,
              "worker %u is started again in %u ms", k, w->backoff_ms);
    /* With others about to take over, its clients wait for those. */
    if (w->backoff_ms > SUPERVISOR_SUSPEND_MS && !s->next && !s->upgrade.pid)
        supervisor_suspend(s, k);
    w->backoff_ms = MIN(2 * w->backoff_ms, SUPERVISOR_BACKOFF_MAX_MS);
}

void supervisor_restart(struct supervisor *s, unsigned k)
{
    struct supervisor_worker *w = &s->worker[k];

    supervisor_resume(s, k);
    int rc = supervisor_fork(s, k);
    if (rc < 0) {
        log_error("worker %u cannot be started: %s", k, strerror(-rc));
        w->started_ms = clock_monotonic_ms(); /* a short life: the delay goes on growing */
        supervisor_schedule(s, k);
        return;
    }
    s->cfg->stats[k].restarts++;
}

/* How a process ended, by wait(2)'s `status`, for the log. */
static void supervisor_ending(char *out, size_t out_size, int status)
{
    if (WIFSIGNALED(status))
        snprintf(out, out_size, "killed by signal %d (%s)%s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "");
    else
        snprintf(out, out_size, "exited with status %d", WEXITSTATUS(status));
}

/* One that retired, or drains with the whole server, has ended. */
static void supervisor_on_end(struct supervisor *s, unsigned k, pid_t pid, int status,
                              const char *how)
{
    struct generation *g = s->worker[k].of;

    if (status) {
        log_error("worker %u [%d] died while draining: %s", k, (int)pid, how);
        s->failed |= s->state == SUPERVISOR_DRAINING;
    }
    if (g->state != GENERATION_RETIRING)
        return;
    supervisor_stand_up(s, k);
    if (g->seats == 0)
        supervisor_forget(s, g);
}

void supervisor_on_death(struct supervisor *s, unsigned k, int status)
{
    struct supervisor_worker *w = &s->worker[k];
    struct generation *g = w->of;
    struct stats *stats = &s->cfg->stats[k];
    pid_t pid = w->pid;
    char how[128], why[sizeof(how) + 64];

    if (w->report_fd >= 0 && !w->ready) { /* its last words may be unread yet */
        bool starting = g->state == GENERATION_STARTING;
        w->pid = 0;
        supervisor_on_report(s, k);
        if (starting && (w->of != g || w->pid || s->trouble[0]))
            return; /* another backend is being tried, or there is none */
    }
    w->pid = 0;
    s->cfg->board->worker[k] = (struct board_worker){.wanted = g == s->now};
    supervisor_close_report(w);
    supervisor_ending(how, sizeof(how), status);
    /* Levels of a process that is no more. */
    stats->slots_used = stats->blocks_used = stats->block_bytes = stats->in_flight = 0;
    stats->waiting = 0;
    if (g->state == GENERATION_STARTING && s->state != SUPERVISOR_DRAINING) {
        snprintf(why, sizeof(why), "worker %u [%d] %s before it served", k, (int)pid, how);
        supervisor_backend_failed(s, g, why);
    } else if (g->state == GENERATION_SERVING && s->state == SUPERVISOR_SERVING) {
        log_error("worker %u [%d] died: %s", k, (int)pid, how);
        supervisor_schedule(s, k);
    } else {
        supervisor_on_end(s, k, pid, status, how);
    }
}
