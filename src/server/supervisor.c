/* SPDX-License-Identifier: MIT */
/*
 * supervisor.c - one process that does nothing but look after the others.
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
 * Signals are blocked and read from a signalfd, so there is one place to wait in and nothing to
 * race with. A worker reports once, over a pair of sockets of its own, and accepts nobody until it
 * has been told to go on over the same: clients that come before wait in the listeners' queues,
 * which are those of the workers of another backend as well.
 */
#include "config.h"

#include "supervisor.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "http1.h"
#include "log.h"
#include "notify.h"
#include "registry.h"
#include "tls.h"
#include "worker.h"

#define SUPERVISOR_START_MS       30000 /* all workers report within this, or it has failed */
#define SUPERVISOR_OLD_MAX        16    /* generations that retire; then a reload waits */
#define SUPERVISOR_MARGIN_MS      3000  /* beyond the drain timeout, before workers are killed */
#define SUPERVISOR_BACKOFF_MS     10    /* before the first restart; then twice as long */
#define SUPERVISOR_BACKOFF_MAX_MS 30000
#define SUPERVISOR_GROWN_UP_MS    10000 /* who has lived so long is restarted quickly again */
#define SUPERVISOR_SIDE_MS        1000  /* what a process beside the workers has for its end */
#define SUPERVISOR_SUSPEND_MS     1000  /* clients do not wait for longer: see listener_suspend() */

enum supervisor_state { SUPERVISOR_STARTING, SUPERVISOR_SERVING, SUPERVISOR_DRAINING };

struct supervisor_report {
    int error;                   /* 0: it is ready; -errno: it is not, and ends */
    char text[BACKEND_TEXT_MAX]; /* the backend's features, or what is wrong */
};

enum generation_state { GENERATION_STARTING, GENERATION_SERVING, GENERATION_RETIRING };

struct generation {
    enum generation_state state;
    const struct supervisor_plan *plan;
    const struct backend_ops *ops; /* what is tried, or serves */
    const char *variant;
    unsigned seats;       /* that its workers have */
    uint64_t deadline_ms; /* of the start, or of the retirement; 0: none */
    char features[BACKEND_TEXT_MAX];
};

/* A seat. */
struct supervisor_worker {
    struct generation *of; /* NULL: it is free */
    unsigned index;        /* which of the generation's */
    pid_t pid;             /* 0: none now */
    int report_fd;         /* our end of its sockets, -1: closed */
    bool ready;            /* it has reported that it is ready */
    bool waiting;          /* dead, to be started again at restart_ms */
    uint64_t started_ms;
    uint64_t restart_ms;
    uint32_t backoff_ms; /* the next delay */
};

struct supervisor {
    const struct supervisor_config *cfg;
    const sigset_t *mask;
    enum supervisor_state state;
    struct generation *now;                     /* that serves, or is to be the first */
    struct generation *next;                    /* that is to take over; NULL: none */
    struct generation *old[SUPERVISOR_OLD_MAX]; /* that retire */
    bool reload;                                /* wanted, as soon as it can be */
    struct supervisor_worker *worker;           /* the seats */
    struct worker_control *control; /* ... and what their workers are told, in shared memory */
    unsigned used;                  /* so many of them have been taken so far */
    struct pollfd *poll;            /* the signalfd, then one for each seat */
    int signal_fd;
    uint64_t drain_ms;    /* --drain-delay: when the drain begins; 0: not told to end yet */
    uint64_t deadline_ms; /* of the drain; 0: none */
    bool failed;          /* a worker ended in disorder during the drain, or had to be killed */
    char trouble[BACKEND_TEXT_MAX]; /* why the start failed; empty: it has not */
};

/* ---- in the worker process ---- */

/* Report, and wait for the word to go on. 0, or -errno: there is no supervisor any more. */
static int supervisor_report_ready(void *arg, const char *features)
{
    int *fd = arg;
    struct supervisor_report report = {0};
    ssize_t n;
    char word;

    snprintf(report.text, sizeof(report.text), "%s", features);
    n = send(*fd, &report, sizeof(report), MSG_NOSIGNAL);
    while (n >= 0 && (n = read(*fd, &word, 1)) < 0 && errno == EINTR)
        n = 0;
    int rc = n == 1 ? 0 : n == 0 ? -EPIPE : -errno;
    close(*fd);
    *fd = -1;
    return rc;
}

static void supervisor_pin(const struct supervisor_plan *plan, const char *name, unsigned index)
{
    if (!plan->cpus)
        return;
    int cpu = plan->cpus[index % plan->cpu_count];
    size_t size = CPU_ALLOC_SIZE(cpu + 1);
    cpu_set_t *set = CPU_ALLOC(cpu + 1);
    if (set) {
        CPU_ZERO_S(size, set);
        CPU_SET_S(cpu, size, set);
    }
    if (!set || sched_setaffinity(0, size, set) < 0)
        log_warn("%s: cannot be pinned to CPU %d: %s", name, cpu, strerror(errno));
    CPU_FREE(set);
}

/* The plans of all generations that there are, g = 0, 1, ...; NULL: there are no more. */
static const struct supervisor_plan *supervisor_plan(const struct supervisor *s, size_t g)
{
    const struct generation *all[SUPERVISOR_OLD_MAX + 2] = {s->now, s->next};
    size_t seen = 0;

    memcpy(all + 2, s->old, sizeof(s->old));
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i] && seen++ == g)
            return all[i]->plan;
    return NULL;
}

static void supervisor_close_listeners(struct supervisor *s)
{
    const struct supervisor_plan *plan;

    for (size_t g = 0; (plan = supervisor_plan(s, g)); g++)
        for (unsigned i = 0; i < plan->listener_count; i++)
            listener_close(plan->listeners[i]);
}

/* What is the supervisor's only: for every process that it starts. */
static void supervisor_leave(struct supervisor *s)
{
    close(s->signal_fd);
    notify_close();
    for (unsigned k = 0; k < s->used; k++)
        if (s->worker[k].report_fd >= 0)
            close(s->worker[k].report_fd);
    free(s->worker);
    free(s->poll);
}

/*
 * The sockets that worker `index` accepts from, in an order that is always the same. How many; `own`
 * holds BACKEND_LISTENERS_MAX.
 */
static unsigned supervisor_sockets(const struct supervisor_plan *plan, unsigned index,
                                   struct accept_listener *own)
{
    unsigned count = 0;

    for (unsigned i = 0; i < plan->listener_count; i++) {
        const struct listener *l = plan->listeners[i];
        for (unsigned k = 0; k < l->count && count < BACKEND_LISTENERS_MAX; k++)
            if (listener_serves(l, k, index, plan->workers))
                own[count++] = (struct accept_listener){
                    .fd = listener_fd(l, k),
                    .shared = plan->workers > l->count,
                    .text = l->addr.text,
                    .protocol = plan->meter || plan->access_logs ? &http1_protocol_watched
                                                                 : &http1_protocol,
                    .unix_socket = l->addr.unix_socket,
                    .proxy = l->addr.proxy ? plan->proxy_from : NULL,
                    .tls = l->addr.tls,
                };
    }
    return count;
}

/* Only what is this worker's own stays open: its listeners, its end of its sockets. */
static void supervisor_leave_as_worker(struct supervisor *s, const struct accept_listener *own,
                                       unsigned count)
{
    const struct supervisor_plan *plan;
    int fds[BACKEND_LISTENERS_MAX];

    for (unsigned i = 0; i < count; i++)
        fds[i] = own[i].fd;
    for (unsigned i = 0; i < s->cfg->side_count; i++)
        s->cfg->sides[i]->forget(s->cfg->sides[i]->arg);
    for (size_t g = 0; (plan = supervisor_plan(s, g)); g++)
        for (unsigned i = 0; i < plan->listener_count; i++)
            listener_keep_only(plan->listeners[i], fds, count);
    supervisor_leave(s);
}

static int supervisor_be_worker(struct supervisor *s, unsigned k, pid_t parent, int report_fd)
{
    const struct generation *g = s->worker[k].of;
    const struct supervisor_plan *plan = g->plan;
    unsigned index = s->worker[k].index;
    struct accept_listener listeners[BACKEND_LISTENERS_MAX];
    struct supervisor_report report = {0};
    char name[24];

    unsigned count = supervisor_sockets(plan, index, listeners);
    supervisor_leave_as_worker(s, listeners, count);
    /* Nobody serves on a port that nobody looks after: without a supervisor workers end. */
    prctl(PR_SET_PDEATHSIG, WORKER_ORPHAN_SIGNAL);
    if (getppid() != parent)
        return 1;
    snprintf(name, sizeof(name), "worker %u", k);
    supervisor_pin(plan, name, index);
    const struct worker_config worker = {
        .name = name,
        .set = plan->set,
        .routes = plan->routes,
        .context = plan->context,
        .tls = plan->tls,
        .stats = &s->cfg->stats[k],
        .control = &s->control[k],
        .ops = g->ops,
        .variant = g->variant,
        .listeners = listeners,
        .listener_count = count,
        .sandbox = plan->sandbox,
        .sandbox_must = plan->sandbox_must,
        .meter = plan->meter,
        .reads_files = plan->reads_files,
        .access_log = plan->access_logs ? &plan->access_logs[k] : NULL,
        .mask = s->mask,
        .ready = supervisor_report_ready,
        .arg = &report_fd,
    };
    report.error = worker_run(&worker, report.text);
    if (report.error == 0)
        return 0;
    if (report_fd < 0) {
        log_error("%s: %s", name, report.text);
    } else if (send(report_fd, &report, sizeof(report), MSG_NOSIGNAL) < 0) {
        log_error("%s: %s (and cannot report it: %s)", name, report.text, strerror(errno));
    }
    return 1;
}

/* ---- starting workers ---- */

static void supervisor_close_report(struct supervisor_worker *w)
{
    if (w->report_fd >= 0)
        close(w->report_fd);
    w->report_fd = -1;
}

/* Fork the worker of seat `k`. 0, or -errno when there is no process to be had. */
static int supervisor_fork(struct supervisor *s, unsigned k)
{
    struct supervisor_worker *w = &s->worker[k];
    pid_t parent = getpid();
    int fds[2];

    s->control[k] = (struct worker_control){.retire = false};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
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
    w->waiting = false;
    w->started_ms = clock_monotonic_ms();
    s->cfg->board->worker[k] = (struct board_worker){
        .pid = w->pid, .wanted = w->of != s->next, .started_ms = w->started_ms};
    return 0;
}

/* The seat is free again; what has been counted there stays. */
static void supervisor_stand_up(struct supervisor *s, unsigned k)
{
    struct supervisor_worker *w = &s->worker[k];

    w->of->seats--;
    w->of = NULL;
    w->pid = 0;
    w->waiting = false;
    supervisor_close_report(w);
    s->cfg->board->worker[k] = (struct board_worker){0};
}

/* A generation by this plan, with seats for its workers. NULL: no memory, or no seats (errno). */
static struct generation *supervisor_generation(struct supervisor *s,
                                                const struct supervisor_plan *plan)
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

/* 0, or -errno with why: a process was not to be had. */
static int supervisor_start_all(struct supervisor *s, struct generation *g, char *why,
                                size_t why_size)
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

static void supervisor_kill_all(struct supervisor *s, int number)
{
    for (unsigned k = 0; k < s->used; k++)
        if (s->worker[k].pid)
            kill(s->worker[k].pid, number);
}

/*
 * Kill what runs of a generation (NULL: of all) and wait for it: before another backend is tried, and
 * at a hurried end.
 */
static void supervisor_kill_and_reap(struct supervisor *s, const struct generation *g)
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

/* No more workers, and no more use: it is not `now`. */
static void supervisor_forget(struct supervisor *s, struct generation *g)
{
    for (size_t i = 0; i < ARRAY_LEN(s->old); i++)
        if (s->old[i] == g)
            s->old[i] = NULL;
    if (s->next == g)
        s->next = NULL;
    s->cfg->forget(s->cfg->arg, g->plan);
    free(g);
}

/* The new workers will not serve: those that do go on. */
static void supervisor_give_up_next(struct supervisor *s, const char *why)
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

/*
 * A worker of a generation that starts cannot serve with its backend, died of it or hangs: all of
 * them take the next, or the start has failed.
 */
static void supervisor_backend_failed(struct supervisor *s, struct generation *g, const char *why)
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

/* Tell worker `k`, which is ready, to go on. If it has died, SIGCHLD will say so. */
static void supervisor_release(struct supervisor *s, unsigned k)
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

/* Worker `k` has said something, or is gone. */
static void supervisor_on_report(struct supervisor *s, unsigned k)
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

/* Is there a place for one more that retires, and are there seats for as many workers as now? */
static bool supervisor_has_room(const struct supervisor *s)
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

/* SIGHUP, or what kept an earlier one waiting is over. */
static void supervisor_try_reload(struct supervisor *s)
{
    if (s->reload && s->state == SUPERVISOR_SERVING && !s->drain_ms && !s->next &&
        supervisor_has_room(s))
        supervisor_reload(s);
}

/* ---- restarting ---- */

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
    if (w->backoff_ms > SUPERVISOR_SUSPEND_MS && !s->next)
        supervisor_suspend(s, k);
    w->backoff_ms = MIN(2 * w->backoff_ms, SUPERVISOR_BACKOFF_MAX_MS);
}

static void supervisor_restart(struct supervisor *s, unsigned k)
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

/* How a process ended, for the log. */
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

static void supervisor_on_death(struct supervisor *s, unsigned k, int status)
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

/* ---- the processes beside the workers ---- */

static void supervisor_leave_as_side(void *arg)
{
    struct supervisor *s = arg;
    const struct supervisor_plan *plan;

    supervisor_close_listeners(s);
    for (unsigned i = 0; i < s->cfg->side_count; i++)
        if (s->cfg->sides[i]->pid) /* not the one that is being started */
            s->cfg->sides[i]->forget(s->cfg->sides[i]->arg);
    for (size_t g = 0; (plan = supervisor_plan(s, g)); g++)
        tls_context_free(plan->tls); /* the keys are none of its business */
    supervisor_leave(s);
}

static void supervisor_start_side(struct supervisor *s, struct side *side)
{
    int rc = side_start(side, supervisor_leave_as_side, s, s->mask);

    if (rc < 0)
        log_error("%s cannot be started: %s", side->name, strerror(-rc));
}

static void supervisor_start_sides(struct supervisor *s)
{
    for (unsigned i = 0; i < s->cfg->side_count; i++)
        supervisor_start_side(s, s->cfg->sides[i]);
}

static void supervisor_stop_sides(struct supervisor *s)
{
    for (unsigned i = 0; i < s->cfg->side_count; i++)
        side_stop(s->cfg->sides[i], SUPERVISOR_SIDE_MS);
}

/* ---- ending ---- */

static void supervisor_drain(struct supervisor *s)
{
    uint64_t limit_ms = s->now->plan->set->drain_timeout_ms;

    s->drain_ms = 0;
    s->state = SUPERVISOR_DRAINING;
    s->cfg->board->state = BOARD_DRAINING;
    s->deadline_ms = limit_ms ? clock_monotonic_ms() + limit_ms + SUPERVISOR_MARGIN_MS : 0;
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
        s->control[k].retire = false; /* who has time for that no more */
        if (s->worker[k].ready)
            supervisor_release(s, k); /* if the others were still starting: to drain, it serves */
    }
    supervisor_kill_all(s, SIGTERM);
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

/* Handle what the signalfd has. True when that is to leave at once. */
static bool supervisor_on_signal(struct supervisor *s)
{
    struct signalfd_siginfo info;

    while (read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        switch (info.ssi_signo) {
        case SIGCHLD: supervisor_reap(s); break;
        case SIGUSR1: s->cfg->report(s->cfg->arg); break;
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
            if (supervisor_announce(s))
                break;
            log_info("%s: draining", info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
            supervisor_drain(s);
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

/* Milliseconds until something is due, -1: nothing is. */
static int supervisor_timeout(const struct supervisor *s)
{
    uint64_t now_ms = clock_monotonic_ms(), next_ms = s->deadline_ms ? s->deadline_ms : UINT64_MAX;
    const struct generation *due = supervisor_due(s);

    if (s->drain_ms)
        next_ms = MIN(next_ms, s->drain_ms);
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
    if (next_ms == UINT64_MAX)
        return -1;
    return next_ms <= now_ms ? 0 : (int)MIN(next_ms - now_ms, 3600000);
}

static int supervisor_wait(struct supervisor *s)
{
    s->poll[0] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
    for (unsigned k = 0; k < s->used; k++)
        s->poll[k + 1] = (struct pollfd){.fd = s->worker[k].report_fd, .events = POLLIN};
    int n = poll(s->poll, s->used + 1, supervisor_timeout(s));
    return n < 0 && errno != EINTR && errno != ENOMEM ? -errno : n;
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
    if (due && now_ms >= due->deadline_ms)
        supervisor_on_deadline(s, due);
    if (s->drain_ms && now_ms >= s->drain_ms)
        supervisor_drain(s);
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
        /* Reports first: a worker that reports and dies has still reported. */
        for (unsigned k = 0, polled = s->used; k < polled && n > 0; k++)
            if (s->poll[k + 1].revents && s->worker[k].report_fd >= 0)
                supervisor_on_report(s, k);
        if (n > 0 && s->poll[0].revents && supervisor_on_signal(s))
            return 0;
        supervisor_on_time(s);
        supervisor_try_reload(s);
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
    static const int numbers[] = {SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sigaddset(&set, numbers[i]);
    s->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    s->worker = calloc(s->cfg->seats, sizeof(*s->worker));
    s->poll = calloc(s->cfg->seats + 1, sizeof(*s->poll));
    s->control = mmap(NULL, s->cfg->seats * sizeof(*s->control), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s->control == MAP_FAILED)
        s->control = NULL;
    if (s->signal_fd < 0 || !s->worker || !s->poll || !s->control)
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
    if (s->signal_fd >= 0)
        close(s->signal_fd);
    if (s->control)
        munmap(s->control, s->cfg->seats * sizeof(*s->control));
    free(s->worker);
    free(s->poll);
}

int supervisor_run(const struct supervisor_config *cfg, const sigset_t *mask)
{
    struct supervisor s = {.cfg = cfg, .mask = mask};
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
