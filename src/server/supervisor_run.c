/* SPDX-License-Identifier: MIT */
/*
 * supervisor_run.c - one process that does nothing but look after the others.
 *
 *      starting  every worker reports that it is ready       -> serving: all are told to go on
 *                one reports that its backend does not open, -> all take the next backend (auto),
 *                dies, or says nothing for 30 s                 or the start has failed
 *      serving   a worker dies: restarted after a delay that doubles while it dies young
 *      draining  listeners closed, workers told; when all have ended, or time is up -> done
 *
 * Workers that were started together are a generation. SIGHUP starts another beside the one that
 * serves:
 *
 *      starting  all are ready                               -> serving; the other retires
 *                one fails, with the last backend that is to -> gone; the other goes on
 *                be tried
 *      serving   a generation that was started later serves  -> retiring
 *      retiring  all have ended, or are killed               -> gone
 *
 * Each worker has a seat, and with it a number and a block of counters, in which the next who has the
 * seat goes on counting.
 *
 * Processes beside the workers (side.h) run from before the first worker until after the last.
 *
 * Signals are blocked but while it waits (signals.h), so there is one place to wait in and nothing to
 * race with. A worker reports once, over a pair of sockets of its own, and accepts nobody until it
 * has been told to go on over the same: clients that come before wait in the listeners' queues,
 * which are those of the workers of another backend as well.
 */
#include "config.h"

#include "supervisor.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "notify.h"
#include "signals.h"
#include "supervisor_generation.h"
#include "supervisor_process.h"
#include "supervisor_restart.h"
#include "supervisor_upgrade.h"
#include "supervisor_watch.h"

#define SUPERVISOR_LONG_MS 3600000 /* it looks once an hour in any case */
#define SUPERVISOR_SIDE_MS 1000    /* what a process beside the workers has for its end */

/* ---- the processes beside the workers ---- */

static void supervisor_start_side(struct supervisor *s, struct side *side)
{
    int rc = side_start(side, supervisor_leave_as_side, s, s->mask);

    if (rc < 0)
        log_error("%s cannot be started: %s", side->name, strerror(-rc));
}

static void supervisor_start_sides(struct supervisor *s)
{
    if (s->sides_run || (s->cfg->late_sides && s->state == SUPERVISOR_STARTING))
        return;
    s->sides_run = true;
    for (unsigned i = 0; i < s->cfg->side_count; i++)
        supervisor_start_side(s, s->cfg->sides[i]);
}

static void supervisor_stop_sides(struct supervisor *s)
{
    for (unsigned i = 0; i < s->cfg->side_count; i++)
        side_stop(s->cfg->sides[i], SUPERVISOR_SIDE_MS);
}

static void supervisor_reap(struct supervisor *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (unsigned k = 0; k < s->used; k++)
            if (s->worker[k].pid == pid) {
                supervisor_on_death(s, k, status);
                break;
            }
        for (unsigned i = 0; i < s->cfg->side_count; i++)
            if (s->cfg->sides[i]->pid == pid)
                side_died(s->cfg->sides[i], status);
    }
}

/* ---- ending ---- */

static void supervisor_kill_all(struct supervisor *s, int number)
{
    for (unsigned k = 0; k < s->used; k++)
        if (s->worker[k].pid)
            kill(s->worker[k].pid, number);
}

/* `handed_over`: another server accepts from the same sockets now, so the workers have time. */
static void supervisor_drain(struct supervisor *s, bool handed_over)
{
    uint64_t limit_ms = s->now->plan->set->drain_timeout_ms;

    s->drain_ms = 0;
    s->state = SUPERVISOR_DRAINING;
    s->cfg->board->state = BOARD_DRAINING;
    if (limit_ms)
        s->deadline_ms = clock_monotonic_ms() + limit_ms + SUPERVISOR_MARGIN_MS +
                         (handed_over ? WORKER_RETIRED_MS : 0);
    if (!handed_over)
        notify_send("STOPPING=1");
    if (s->next)
        supervisor_give_up_next(s, "the server ends");
    /*
     * Before the workers: a listener is closed when its last copy is, and theirs goes once it has
     * been emptied.
     */
    supervisor_close_listeners(s);
    for (unsigned k = 0; k < s->used; k++) {
        s->worker[k].waiting = false;
        s->control[k].kept = handed_over ? UINT64_MAX : 0;
        s->control[k].retire = handed_over; /* else nobody has time for that any more */
        if (s->worker[k].ready)
            supervisor_release(s, k); /* if the others were still starting: to drain, it serves */
    }
    supervisor_kill_all(s, SIGTERM);
}

/* Another server has our place: what we have open ends, with time for it. */
static void supervisor_hand_over(struct supervisor *s)
{
    for (unsigned i = 0; i < s->cfg->side_count; i++)
        if (s->cfg->sides[i]->yields)
            side_stop(s->cfg->sides[i], SUPERVISOR_SIDE_MS);
    supervisor_drain(s, true);
}

/*
 * To end, but first to say so while everybody is served as ever: those who balance the load look at
 * /healthz, and need a while to send their clients elsewhere. False: there is no such delay.
 */
static bool supervisor_announce(struct supervisor *s)
{
    uint32_t delay_ms = s->now->plan->set->drain_delay_ms;

    if (!delay_ms || s->state != SUPERVISOR_SERVING || s->drain_ms)
        return false;
    if (s->next)
        supervisor_give_up_next(s, "the server ends");
    log_notice("draining begins in %u ms (--drain-delay), or with the next signal", delay_ms);
    s->drain_ms = clock_monotonic_ms() + delay_ms;
    s->cfg->board->state = BOARD_DRAINING;
    notify_send("STOPPING=1");
    return true;
}

/* Handle the signals that have come. True when that is to leave at once. */
static bool supervisor_on_signals(struct supervisor *s)
{
    int number;

    while ((number = signals_next())) {
        switch (number) {
        case SIGCHLD: supervisor_reap(s); break;
        case SIGUSR1: s->cfg->report(s->cfg->arg); break;
        case SIGUSR2: s->upgrade.wanted = s->state != SUPERVISOR_DRAINING; break;
        case SIGHUP:
            s->reload = true;
            if (s->state != SUPERVISOR_DRAINING && (s->next || !supervisor_has_room(s)))
                log_notice("SIGHUP: to be reloaded when the reload before it is over");
            break;
        default: /* SIGTERM, SIGINT */
            if (s->state == SUPERVISOR_DRAINING) {
                log_warn("a second signal: leaving at once, what is being answered is cut off");
                return true;
            }
            if (s->upgrade.pid) { /* nobody is to take over any more */
                kill(s->upgrade.pid, SIGTERM);
                s->upgrade.deadline_ms = 0;
            }
            if (supervisor_announce(s))
                break;
            log_info("%s: draining", number == SIGTERM ? "SIGTERM" : "SIGINT");
            supervisor_drain(s, false);
        }
    }
    return false;
}

/* ---- the loop ---- */

/*
 * Has worker `k` been started again, and not reported yet? Workers that start together have a
 * deadline in common.
 */
static bool supervisor_is_coming(const struct supervisor *s, unsigned k)
{
    const struct supervisor_worker *w = &s->worker[k];

    return w->of && w->of->state != GENERATION_STARTING && w->pid && !w->ready;
}

/* The generation whose deadline is the next, NULL: none has one. */
static struct generation *supervisor_due(const struct supervisor *s)
{
    struct generation *all[SUPERVISOR_OLD_MAX + 2] = {s->now, s->next}, *due = NULL;

    memcpy(all + 2, s->old, sizeof(s->old));
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i] && all[i]->deadline_ms && (!due || all[i]->deadline_ms < due->deadline_ms))
            due = all[i];
    return due;
}

/* Milliseconds until something is due. */
static int supervisor_timeout(const struct supervisor *s)
{
    uint64_t now_ms = clock_monotonic_ms(), next_ms = s->deadline_ms ? s->deadline_ms : UINT64_MAX;
    const struct generation *due = supervisor_due(s);

    next_ms = MIN(next_ms, supervisor_watch_due(s));
    if (s->drain_ms)
        next_ms = MIN(next_ms, s->drain_ms);
    if (s->upgrade.deadline_ms)
        next_ms = MIN(next_ms, s->upgrade.deadline_ms);
    if (due)
        next_ms = MIN(next_ms, due->deadline_ms);
    for (unsigned k = 0; k < s->used; k++) {
        if (s->worker[k].waiting)
            next_ms = MIN(next_ms, s->worker[k].restart_ms);
        else if (supervisor_is_coming(s, k))
            next_ms = MIN(next_ms, s->worker[k].started_ms + SUPERVISOR_START_MS);
    }
    for (unsigned i = 0; i < s->cfg->side_count; i++)
        if (s->cfg->sides[i]->restart_ms)
            next_ms = MIN(next_ms, s->cfg->sides[i]->restart_ms);
    return next_ms <= now_ms ? 0 : (int)MIN(next_ms - now_ms, SUPERVISOR_LONG_MS);
}

static int supervisor_wait(struct supervisor *s)
{
    for (unsigned k = 0; k < s->used; k++)
        s->poll[k] = (struct pollfd){.fd = s->worker[k].report_fd, .events = POLLIN};
    s->poll[s->used] = (struct pollfd){.fd = s->upgrade.word_fd, .events = POLLIN};
    int n = signals_wait(s->poll, s->used + 1, supervisor_timeout(s));
    /* Who has died may have reported since the descriptors were looked at. */
    if (n < 0 && errno == EINTR)
        n = poll(s->poll, s->used + 1, 0);
    if (n < 0 && (errno == EINTR || errno == ENOMEM))
        return 0;
    return n < 0 ? -errno : n;
}

/* A generation has had its time. */
static void supervisor_on_deadline(struct supervisor *s, struct generation *g)
{
    char why[64];

    g->deadline_ms = 0;
    if (g->state == GENERATION_STARTING) {
        snprintf(why, sizeof(why), "the workers do not report within %d s",
                 SUPERVISOR_START_MS / 1000);
        supervisor_backend_failed(s, g, why);
        return;
    }
    log_error("old workers that do not end in time are killed");
    for (unsigned k = 0; k < s->used; k++)
        if (s->worker[k].of == g && s->worker[k].pid)
            kill(s->worker[k].pid, SIGKILL); /* SIGCHLD says the rest */
}

/* What time has brought: restarts, the end of patience. */
static void supervisor_on_time(struct supervisor *s)
{
    uint64_t now_ms = clock_monotonic_ms();
    struct generation *due = supervisor_due(s);

    for (unsigned k = 0; k < s->used; k++) {
        struct supervisor_worker *w = &s->worker[k];
        if (w->waiting && now_ms >= w->restart_ms) {
            supervisor_restart(s, k);
        } else if (supervisor_is_coming(s, k) && now_ms >= w->started_ms + SUPERVISOR_START_MS) {
            log_error("worker %u [%d] does not report within %d s: killed", k, (int)w->pid,
                      SUPERVISOR_START_MS / 1000);
            kill(w->pid, SIGKILL);
            /* its death is reported next; a short life, so the delay goes on growing */
            w->started_ms = now_ms;
        }
    }
    for (unsigned i = 0; i < s->cfg->side_count; i++)
        if (s->cfg->sides[i]->restart_ms && now_ms >= s->cfg->sides[i]->restart_ms)
            supervisor_start_side(s, s->cfg->sides[i]);
    supervisor_forget_tickets(s);
    if (due && now_ms >= due->deadline_ms)
        supervisor_on_deadline(s, due);
    supervisor_watch(s, now_ms);
    if (s->upgrade.deadline_ms && now_ms >= s->upgrade.deadline_ms)
        supervisor_upgrade_late(s);
    if (s->drain_ms && now_ms >= s->drain_ms)
        supervisor_drain(s, false);
    if (s->deadline_ms && now_ms >= s->deadline_ms) {
        s->deadline_ms = 0;
        log_error("workers that do not end in time are killed");
        supervisor_kill_and_reap(s, NULL);
        s->failed = true;
    }
}

static bool supervisor_done(const struct supervisor *s)
{
    if (s->state != SUPERVISOR_DRAINING)
        return false;
    for (unsigned k = 0; k < s->used; k++)
        if (s->worker[k].pid)
            return false;
    return true;
}

static int supervisor_loop(struct supervisor *s)
{
    supervisor_start_sides(s);
    supervisor_start_all(s, s->now, s->trouble, sizeof(s->trouble));
    while (!s->trouble[0] && !supervisor_done(s)) {
        int n = supervisor_wait(s);
        if (n < 0) {
            snprintf(s->trouble, sizeof(s->trouble), "poll: %s", strerror(-n));
            break;
        }
        const unsigned polled = s->used;
        /* Reports first: who reports and dies has still reported. */
        if (n > 0 && s->poll[polled].revents && s->upgrade.word_fd >= 0 && supervisor_on_word(s) &&
            s->state == SUPERVISOR_SERVING)
            supervisor_hand_over(s);
        for (unsigned k = 0; k < polled && n > 0; k++)
            if (s->poll[k].revents && s->worker[k].report_fd >= 0)
                supervisor_on_report(s, k);
        if (supervisor_on_signals(s))
            return 0;
        supervisor_on_time(s);
        supervisor_try_reload(s);
        supervisor_try_upgrade(s);
        supervisor_start_sides(s);
    }
    if (s->trouble[0]) {
        log_error("%s", s->trouble);
        return 1;
    }
    return s->failed ? 1 : 0;
}

/* Everything that it takes to supervise. False: errno. */
static bool supervisor_init(struct supervisor *s)
{
    static const int numbers[] = {SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

    signals_catch(numbers, ARRAY_LEN(numbers));
    s->worker = calloc(s->cfg->seats, sizeof(*s->worker));
    s->poll = calloc(s->cfg->seats + 1, sizeof(*s->poll));
    s->control = mmap(NULL, s->cfg->seats * sizeof(*s->control), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s->control == MAP_FAILED)
        s->control = NULL;
    if (!s->worker || !s->poll || !s->control)
        return false;
    s->now = supervisor_generation(s, s->cfg->plan);
    if (s->now)
        s->cfg->board->workers = s->cfg->plan->workers;
    return s->now;
}

static void supervisor_destroy(struct supervisor *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->old); i++)
        if (s->old[i])
            supervisor_forget(s, s->old[i]);
    if (s->next)
        supervisor_forget(s, s->next);
    free(s->now);
    signals_release();
    if (s->control)
        munmap(s->control, s->cfg->seats * sizeof(*s->control));
    free(s->worker);
    free(s->poll);
}

int supervisor_run(const struct supervisor_config *cfg, const sigset_t *mask)
{
    struct supervisor s = {.cfg = cfg, .mask = mask, .upgrade.word_fd = -1};
    int status = 1;

    if (!supervisor_init(&s)) {
        log_error("cannot supervise: %s", strerror(errno));
    } else {
        status = supervisor_loop(&s);
        /* after trouble or a second signal; else nobody is left */
        supervisor_kill_and_reap(&s, NULL);
        supervisor_stop_sides(&s);
        supervisor_close_listeners(&s);
    }
    supervisor_destroy(&s);
    return status;
}
