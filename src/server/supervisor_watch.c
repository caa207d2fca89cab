/* SPDX-License-Identifier: MIT */
/*
 * supervisor_watch.c - see supervisor_watch.h.
 */
#include "config.h"

#include "supervisor_watch.h"

#include <inttypes.h>

#include "clock.h"
#include "log.h"
#include "notify.h"

/*
 * Looks for each of the two limits. What counts is looks rather than time: after a pause of the whole
 * machine nobody is taken for stuck.
 */
#define SUPERVISOR_LOOKS    4
#define SUPERVISOR_LOOK_MIN 10 /* milliseconds between two */

/* Milliseconds between two looks, 0: none. */
static uint32_t supervisor_watch_period(const struct supervisor *s)
{
    uint32_t limit_ms = s->now->plan->set->worker_timeout_ms, manager_ms = notify_watchdog_ms();

    if (!limit_ms || (manager_ms && manager_ms < limit_ms))
        limit_ms = manager_ms;
    return limit_ms ? MAX(limit_ms / SUPERVISOR_LOOKS, SUPERVISOR_LOOK_MIN) : 0;
}

uint64_t supervisor_watch_due(const struct supervisor *s)
{
    return supervisor_watch_period(s) && s->state != SUPERVISOR_STARTING ? s->watch_ms : UINT64_MAX;
}

void supervisor_watch_anew(struct supervisor *s, unsigned k)
{
    s->worker[k].seen = UINT64_MAX;
    s->worker[k].silent = 0;
}

static void supervisor_stuck(struct supervisor *s, unsigned k)
{
    struct supervisor_worker *w = &s->worker[k];
    char text[STATS_TEXT_MAX];

    stats_format(text, sizeof(text), &s->cfg->stats[k], w->of->ops->counters, 0);
    log_error("worker %u [%d] makes no progress (--worker-timeout): killed; its last counters: %s",
              k, (int)w->pid, text);
    s->cfg->stats[k].stuck++;
    w->silent = 0;
    kill(w->pid, SIGKILL); /* SIGCHLD says the rest */
}

/* Look at a worker that serves. True: it has moved not long ago, by the service manager's measure. */
static bool supervisor_look(struct supervisor *s, unsigned k, uint32_t period_ms)
{
    struct supervisor_worker *w = &s->worker[k];
    uint32_t limit_ms = s->now->plan->set->worker_timeout_ms, manager_ms = notify_watchdog_ms();
    uint64_t iterations = s->cfg->stats[k].iterations;

    if (iterations != w->seen) {
        w->seen = iterations;
        w->silent = 0;
        return true;
    }
    w->silent++;
    if (limit_ms && (uint64_t)w->silent * period_ms >= limit_ms && w->silent >= SUPERVISOR_LOOKS) {
        supervisor_stuck(s, k);
        return false;
    }
    kill(w->pid, SIGUSR1);
    return (uint64_t)w->silent * period_ms < manager_ms;
}

void supervisor_watch(struct supervisor *s, uint64_t now_ms)
{
    uint32_t period_ms = supervisor_watch_period(s);
    bool well = s->state == SUPERVISOR_DRAINING; /* then others look after the time */

    if (now_ms < supervisor_watch_due(s))
        return;
    s->watch_ms = now_ms + period_ms;
    for (unsigned k = 0; k < s->used; k++)
        if (s->worker[k].of == s->now && s->worker[k].pid && s->cfg->board->worker[k].serving)
            well |= supervisor_look(s, k, period_ms);
    if (well && notify_watchdog_ms())
        notify_send("WATCHDOG=1");
}
