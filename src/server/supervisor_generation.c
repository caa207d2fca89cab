/* SPDX-License-Identifier: MIT */
/*
 * supervisor_generation.c - see supervisor_generation.h.
 */
#include "config.h"

#include "supervisor_generation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "notify.h"
#include "registry.h"
#include "supervisor_process.h"
#include "supervisor_watch.h"
#include "sys.h"

/* ---- starting workers ---- */

void supervisor_close_report(struct supervisor_worker *w)
{
    if (w->report_fd >= 0)
        close(w->report_fd);
    w->report_fd = -1;
}

int supervisor_fork(struct supervisor *s, unsigned k)
{
    struct supervisor_worker *w = &s->worker[k];
    pid_t parent = getpid();
    int fds[2];

    s->control[k] = (struct worker_control){.retire = false};
    if (sys_socketpair(SOCK_SEQPACKET, false, fds) < 0)
        return -errno;
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    w->pid = fork();
    if (w->pid < 0) {
        int err = errno;
        w->pid = 0;
        close(fds[0]);
        close(fds[1]);
        return -err;
    }
    if (w->pid == 0) {
        close(fds[0]);
        exit(supervisor_be_worker(s, k, parent, fds[1]));
    }
    close(fds[1]);
    w->report_fd = fds[0];
    w->ready = false;
    supervisor_watch_anew(s, k);
    w->waiting = false;
    w->started_ms = clock_monotonic_ms();
    s->cfg->board->worker[k] = (struct board_worker){
        .pid = w->pid, .wanted = w->of != s->next, .started_ms = w->started_ms};
    return 0;
}

void supervisor_stand_up(struct supervisor *s, unsigned k)
{
    struct supervisor_worker *w = &s->worker[k];

    w->of->seats--;
    w->of = NULL;
    w->pid = 0;
    w->waiting = false;
    supervisor_close_report(w);
    s->cfg->board->worker[k] = (struct board_worker){0};
}

struct generation *supervisor_generation(struct supervisor *s, const struct supervisor_plan *plan)
{
    struct generation *g = calloc(1, sizeof(*g));

    if (!g)
        return NULL;
    *g = (struct generation){.plan = plan, .ops = plan->ops, .variant = plan->variant};
    for (unsigned k = 0; k < s->cfg->seats && g->seats < plan->workers; k++) {
        if (k < s->used && s->worker[k].of)
            continue;
        s->worker[k] = (struct supervisor_worker){.of = g, .index = g->seats++, .report_fd = -1};
        s->used = MAX(s->used, k + 1);
    }
    s->cfg->board->used = s->used;
    if (g->seats == plan->workers)
        return g;
    for (unsigned k = 0; k < s->used; k++)
        if (s->worker[k].of == g)
            supervisor_stand_up(s, k);
    free(g);
    errno = ENOSPC;
    return NULL;
}

int supervisor_start_all(struct supervisor *s, struct generation *g, char *why, size_t why_size)
{
    g->deadline_ms = clock_monotonic_ms() + SUPERVISOR_START_MS;
    for (unsigned k = 0; k < s->used; k++) {
        int rc = s->worker[k].of == g ? supervisor_fork(s, k) : 0;
        if (rc < 0) {
            snprintf(why, why_size,
                     "cannot start worker %u: %s (lower --workers or raise the limit on processes)",
                     k, strerror(-rc));
            return rc;
        }
    }
    return 0;
}

void supervisor_kill_and_reap(struct supervisor *s, const struct generation *g)
{
    for (unsigned k = 0; k < s->used; k++)
        if (s->worker[k].pid && (!g || s->worker[k].of == g))
            kill(s->worker[k].pid, SIGKILL);
    for (unsigned k = 0; k < s->used; k++) {
        struct supervisor_worker *w = &s->worker[k];
        if (!w->of || (g && w->of != g))
            continue;
        while (w->pid && waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        w->pid = 0;
        s->cfg->board->worker[k].pid = 0;
        supervisor_close_report(w);
    }
}

/* ---- a new generation takes over, or does not ---- */

void supervisor_forget(struct supervisor *s, struct generation *g)
{
    for (size_t i = 0; i < ARRAY_LEN(s->old); i++)
        if (s->old[i] == g)
            s->old[i] = NULL;
    if (s->next == g)
        s->next = NULL;
    s->cfg->forget(s->cfg->arg, g->plan);
    free(g);
}

void supervisor_give_up_next(struct supervisor *s, const char *why)
{
    struct generation *g = s->next;

    supervisor_kill_and_reap(s, g);
    for (unsigned k = 0; k < s->used; k++)
        if (s->worker[k].of == g)
            supervisor_stand_up(s, k);
    supervisor_forget(s, g);
    s->cfg->board->reload_failures++;
    log_error("reload failed: %s; everything stays as it was", why);
    notify_send("READY=1");
}

void supervisor_backend_failed(struct supervisor *s, struct generation *g, const char *why)
{
    const struct backend_ops *next = g->plan->automatic ? registry_fallback(g->ops) : NULL;
    char trouble[BACKEND_TEXT_MAX];

    supervisor_kill_and_reap(s, g);
    snprintf(trouble, sizeof(trouble), "%s", why);
    if (next) {
        log_warn("%s fails to start in a worker: %s; all workers use %s instead", g->ops->name, why,
                 next->name);
        g->ops = next;
        g->variant = NULL;
        if (supervisor_start_all(s, g, trouble, sizeof(trouble)) == 0)
            return;
    }
    if (g == s->next)
        supervisor_give_up_next(s, trouble);
    else
        snprintf(s->trouble, sizeof(s->trouble), "%s", trouble);
}

void supervisor_release(struct supervisor *s, unsigned k)
{
    struct supervisor_worker *w = &s->worker[k];

    if (w->report_fd >= 0 && send(w->report_fd, "", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE)
        log_error("worker %u cannot be told to go on: %s", k, strerror(errno));
    supervisor_close_report(w);
    s->cfg->board->worker[k].serving = true;
}

static bool supervisor_plan_has(const struct supervisor_plan *plan, const struct listener *l)
{
    for (unsigned i = 0; i < plan->listener_count; i++)
        if (plan->listeners[i] == l)
            return true;
    return false;
}

/* Which of its sockets others go on accepting from: worker_control.kept. */
static uint64_t supervisor_kept(const struct generation *g, unsigned index,
                                const struct supervisor_plan *plan)
{
    unsigned at = 0;
    uint64_t kept = 0;

    for (unsigned i = 0; i < g->plan->listener_count; i++)
        for (unsigned k = 0; k < g->plan->listeners[i]->count && at < BACKEND_LISTENERS_MAX; k++)
            if (listener_serves(g->plan->listeners[i], k, index, g->plan->workers))
                kept |= (uint64_t)supervisor_plan_has(plan, g->plan->listeners[i]) << at++;
    return kept;
}

/* Its workers finish what they have, since those by `plan` serve now. */
static void supervisor_retire(struct supervisor *s, struct generation *g,
                              const struct supervisor_plan *plan)
{
    uint64_t limit_ms = g->plan->set->drain_timeout_ms;

    g->state = GENERATION_RETIRING;
    g->deadline_ms =
        limit_ms ? clock_monotonic_ms() + limit_ms + WORKER_RETIRED_MS + SUPERVISOR_MARGIN_MS : 0;
    for (size_t i = 0; i < ARRAY_LEN(s->old); i++)
        if (!s->old[i]) {
            s->old[i] = g;
            break;
        }
    for (unsigned k = 0; k < s->used; k++) {
        struct supervisor_worker *w = &s->worker[k];
        if (w->of != g)
            continue;
        w->waiting = false;
        s->cfg->board->worker[k].wanted = false;
        if (!w->pid) {
            supervisor_stand_up(s, k);
            continue;
        }
        s->control[k].kept = supervisor_kept(g, w->index, plan);
        s->control[k].retire = true;
        if (w->ready)
            supervisor_release(s, k);
        kill(w->pid, SIGTERM);
    }
    if (g->seats == 0)
        supervisor_forget(s, g);
}

/* All workers of a generation that starts are there. */
static void supervisor_take_over(struct supervisor *s, struct generation *g)
{
    struct generation *before = g == s->next ? s->now : NULL;

    g->state = GENERATION_SERVING;
    g->deadline_ms = 0;
    for (unsigned k = 0; k < s->used; k++)
        if (s->worker[k].of == g) {
            supervisor_release(s, k);
            s->cfg->board->worker[k].wanted = true;
        }
    s->cfg->board->workers = g->plan->workers;
    board_set_serving(s->cfg->board, g->ops, g->features);
    if (!before) {
        s->state = SUPERVISOR_SERVING;
        s->cfg->ready(s->cfg->arg, g->ops, g->features);
        return;
    }
    s->now = g;
    s->next = NULL;
    s->cfg->board->reloads++;
    s->cfg->reloaded(s->cfg->arg, g->plan, g->ops, g->features);
    supervisor_retire(s, before, g->plan);
}

static void supervisor_on_ready(struct supervisor *s, struct generation *g)
{
    for (unsigned k = 0; k < s->used; k++)
        if (s->worker[k].of == g && !s->worker[k].ready)
            return;
    supervisor_take_over(s, g);
}

void supervisor_on_report(struct supervisor *s, unsigned k)
{
    struct supervisor_worker *w = &s->worker[k];
    struct generation *g = w->of;
    struct supervisor_report report;
    ssize_t n = read(w->report_fd, &report, sizeof(report));

    if (n < 0 && errno == EAGAIN)
        return; /* what poll() saw was another's, who had this number before */
    if (n != (ssize_t)sizeof(report)) { /* it died before it could say anything: SIGCHLD will */
        supervisor_close_report(w);
        return;
    }
    report.text[sizeof(report.text) - 1] = '\0';
    if (report.error) {
        supervisor_close_report(w);
        if (g->state == GENERATION_STARTING)
            supervisor_backend_failed(s, g, report.text);
        else
            log_error("worker %u: %s", k, report.text);
        return;
    }
    w->ready = true;
    snprintf(g->features, sizeof(g->features), "%s", report.text);
    if (g->state == GENERATION_STARTING) {
        supervisor_on_ready(s, g);
        return;
    }
    supervisor_release(s, k);
    if (g->state == GENERATION_SERVING && s->state == SUPERVISOR_SERVING)
        log_notice("worker %u serves again [%d]", k, (int)w->pid);
}

/* ---- reloading ---- */

bool supervisor_has_room(const struct supervisor *s)
{
    unsigned taken = 0;

    for (unsigned k = 0; k < s->used; k++)
        taken += s->worker[k].of != NULL;
    if (s->cfg->seats - taken < s->now->plan->workers)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(s->old); i++)
        if (!s->old[i])
            return true;
    return false;
}

static void supervisor_reload(struct supervisor *s)
{
    char why[BACKEND_TEXT_MAX], reloading[64];

    s->reload = false;
    snprintf(reloading, sizeof(reloading), "RELOADING=1\nMONOTONIC_USEC=%llu",
             (unsigned long long)clock_monotonic_ms() * 1000);
    notify_send(reloading);
    const struct supervisor_plan *plan = s->cfg->reload(s->cfg->arg);
    if (!plan) {
        s->cfg->board->reload_failures++;
        notify_send("READY=1");
        return;
    }
    s->next = supervisor_generation(s, plan);
    if (!s->next) {
        log_error("reload failed: no place for %u more workers: %s; everything stays as it was",
                  plan->workers, strerror(errno));
        s->cfg->board->reload_failures++;
        s->cfg->forget(s->cfg->arg, plan);
        notify_send("READY=1");
        return;
    }
    /* Those of dead workers, too: clients wait there for the new ones. */
    for (unsigned i = 0; i < plan->listener_count; i++)
        for (unsigned k = 0; k < plan->listeners[i]->count; k++)
            listener_resume(plan->listeners[i], k);
    if (supervisor_start_all(s, s->next, why, sizeof(why)) < 0)
        supervisor_give_up_next(s, why);
}

void supervisor_try_reload(struct supervisor *s)
{
    if (s->reload && s->state == SUPERVISOR_SERVING && !s->drain_ms && !s->next &&
        !s->upgrade.pid && supervisor_has_room(s))
        supervisor_reload(s);
}
