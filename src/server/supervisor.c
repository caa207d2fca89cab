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

struct supervisor_worker {
    pid_t pid;     /* 0: none now */
    int report_fd; /* our end of its sockets, -1: closed */
    bool ready;    /* it has reported that it is ready */
    bool waiting;  /* dead, to be started again at restart_ms */
    uint64_t started_ms;
    uint64_t restart_ms;
    uint32_t backoff_ms; /* the next delay */
};

struct supervisor {
    const struct supervisor_config *cfg;
    const sigset_t *mask;
    enum supervisor_state state;
    const struct backend_ops *ops;
    const char *variant;
    struct supervisor_worker *worker;
    struct pollfd *poll; /* the signalfd, then one for each worker */
    int signal_fd;
    uint64_t deadline_ms; /* of the start, or of the drain; 0: none */
    bool failed;          /* a worker ended in disorder during the drain, or had to be killed */
    char trouble[BACKEND_TEXT_MAX]; /* why the start failed; empty: it has not */
    char features[BACKEND_TEXT_MAX];
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

static void supervisor_pin(const struct supervisor_config *cfg, unsigned k)
{
    if (!cfg->cpus)
        return;
    int cpu = cfg->cpus[k % cfg->cpu_count];
    size_t size = CPU_ALLOC_SIZE(cpu + 1);
    cpu_set_t *set = CPU_ALLOC(cpu + 1);
    if (set) {
        CPU_ZERO_S(size, set);
        CPU_SET_S(cpu, size, set);
    }
    if (!set || sched_setaffinity(0, size, set) < 0)
        log_warn("worker %u: cannot be pinned to CPU %d: %s", k, cpu, strerror(errno));
    CPU_FREE(set);
}

/* What is the supervisor's only: for every process that it starts. */
static void supervisor_leave(struct supervisor *s)
{
    close(s->signal_fd);
    notify_close();
    for (unsigned i = 0; i < s->cfg->workers; i++)
        if (s->worker[i].report_fd >= 0)
            close(s->worker[i].report_fd);
    free(s->worker);
    free(s->poll);
}

/* Only what is this worker's own stays open: its listeners, its end of its sockets. */
static void supervisor_leave_as_worker(struct supervisor *s, unsigned k)
{
    for (unsigned i = 0; i < s->cfg->side_count; i++)
        s->cfg->sides[i]->forget(s->cfg->sides[i]->arg);
    for (unsigned i = 0; i < s->cfg->listener_count; i++)
        listener_keep_only(&s->cfg->listeners[i], k);
    supervisor_leave(s);
}

static int supervisor_be_worker(struct supervisor *s, unsigned k, pid_t parent, int report_fd)
{
    const struct supervisor_config *cfg = s->cfg;
    struct accept_listener listeners[BACKEND_LISTENERS_MAX];
    struct supervisor_report report = {0};
    char name[24];

    supervisor_leave_as_worker(s, k);
    /* Nobody serves on a port that nobody looks after: without a supervisor workers end. */
    prctl(PR_SET_PDEATHSIG, WORKER_ORPHAN_SIGNAL);
    if (getppid() != parent)
        return 1;
    supervisor_pin(cfg, k);
    for (unsigned i = 0; i < cfg->listener_count; i++)
        listeners[i] = (struct accept_listener){
            .fd = listener_fd(&cfg->listeners[i], k),
            .shared = cfg->listeners[i].shared,
            .text = cfg->listeners[i].addr.text,
            .protocol = cfg->meter || cfg->access_logs ? &http1_protocol_watched : &http1_protocol,
            .unix_socket = cfg->listeners[i].addr.unix_socket,
            .proxy = cfg->listeners[i].addr.proxy ? cfg->proxy_from : NULL,
            .tls = cfg->listeners[i].addr.tls,
        };
    snprintf(name, sizeof(name), "worker %u", k);
    const struct worker_config worker = {
        .name = name,
        .set = cfg->set,
        .routes = cfg->routes,
        .context = cfg->context,
        .tls = cfg->tls,
        .stats = &cfg->stats[k],
        .ops = s->ops,
        .variant = s->variant,
        .listeners = listeners,
        .listener_count = cfg->listener_count,
        .sandbox = cfg->sandbox,
        .sandbox_must = cfg->sandbox_must,
        .meter = cfg->meter,
        .reads_files = cfg->reads_files,
        .access_log = cfg->access_logs ? &cfg->access_logs[k] : NULL,
        .mask = s->mask,
        .ready = supervisor_report_ready,
        .arg = &report_fd,
    };
    report.error = worker_run(&worker, report.text);
    if (report.error == 0)
        return 0;
    if (report_fd < 0) {
        log_error("worker %u: %s", k, report.text);
    } else if (send(report_fd, &report, sizeof(report), MSG_NOSIGNAL) < 0) {
        log_error("worker %u: %s (and cannot report it: %s)", k, report.text, strerror(errno));
    }
    return 1;
}

/* ---- starting workers ---- */

/* Fork worker `k`. 0, or -errno when there is no process to be had. */
static int supervisor_fork(struct supervisor *s, unsigned k)
{
    struct supervisor_worker *w = &s->worker[k];
    pid_t parent = getpid();
    int fds[2];

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
    s->cfg->board->worker[k] = (struct board_worker){.pid = w->pid, .started_ms = w->started_ms};
    return 0;
}

static void supervisor_start_all(struct supervisor *s)
{
    s->deadline_ms = clock_monotonic_ms() + SUPERVISOR_START_MS;
    for (unsigned k = 0; k < s->cfg->workers; k++) {
        int rc = supervisor_fork(s, k);
        if (rc < 0) {
            snprintf(s->trouble, sizeof(s->trouble),
                     "cannot start worker %u: %s (lower --workers or raise the limit on processes)",
                     k, strerror(-rc));
            return;
        }
    }
}

static void supervisor_kill_all(struct supervisor *s, int number)
{
    for (unsigned k = 0; k < s->cfg->workers; k++)
        if (s->worker[k].pid)
            kill(s->worker[k].pid, number);
}

static void supervisor_close_report(struct supervisor_worker *w)
{
    if (w->report_fd >= 0)
        close(w->report_fd);
    w->report_fd = -1;
}

/* Kill what runs and wait for it: before another backend is tried, and at a hurried end. */
static void supervisor_kill_and_reap(struct supervisor *s)
{
    supervisor_kill_all(s, SIGKILL);
    for (unsigned k = 0; k < s->cfg->workers; k++) {
        struct supervisor_worker *w = &s->worker[k];
        while (w->pid && waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        w->pid = 0;
        s->cfg->board->worker[k] = (struct board_worker){0};
        supervisor_close_report(w);
    }
}

/*
 * A worker cannot serve with its backend, died of it or hangs, and nobody serves yet: all workers
 * take the next, or the start has failed.
 */
static void supervisor_backend_failed(struct supervisor *s, const char *why)
{
    const struct backend_ops *next = s->cfg->automatic ? registry_fallback(s->ops) : NULL;

    supervisor_kill_and_reap(s);
    if (!next) {
        snprintf(s->trouble, sizeof(s->trouble), "%s", why);
        return;
    }
    log_warn("%s fails to start in a worker: %s; all workers use %s instead", s->ops->name, why,
             next->name);
    s->ops = next;
    s->variant = NULL;
    supervisor_start_all(s);
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

static void supervisor_all_ready(struct supervisor *s)
{
    for (unsigned k = 0; k < s->cfg->workers; k++)
        if (!s->worker[k].ready)
            return;
    for (unsigned k = 0; k < s->cfg->workers; k++)
        supervisor_release(s, k);
    s->state = SUPERVISOR_SERVING;
    s->deadline_ms = 0;
    board_set_serving(s->cfg->board, s->ops, s->features);
    s->cfg->ready(s->cfg->arg, s->ops, s->features);
}

/* Worker `k` has said something, or is gone. */
static void supervisor_on_report(struct supervisor *s, unsigned k)
{
    struct supervisor_worker *w = &s->worker[k];
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
        if (s->state == SUPERVISOR_STARTING)
            supervisor_backend_failed(s, report.text);
        else
            log_error("worker %u: %s", k, report.text);
        return;
    }
    w->ready = true;
    snprintf(s->features, sizeof(s->features), "%s", report.text);
    if (s->state == SUPERVISOR_STARTING) {
        supervisor_all_ready(s);
        return;
    }
    supervisor_release(s, k);
    if (s->state == SUPERVISOR_SERVING)
        log_notice("worker %u serves again [%d]", k, (int)w->pid);
}

/* ---- restarting ---- */

static void supervisor_suspend(struct supervisor *s, unsigned k)
{
    unsigned suspended = 0;

    for (unsigned i = 0; i < s->cfg->listener_count; i++)
        suspended += listener_suspend(&s->cfg->listeners[i], k);
    if (suspended)
        log_notice("worker %u: its listeners are closed meanwhile, new clients go elsewhere", k);
}

static void supervisor_resume(struct supervisor *s, unsigned k)
{
    for (unsigned i = 0; i < s->cfg->listener_count; i++) {
        int rc = listener_resume(&s->cfg->listeners[i], k);
        if (rc < 0)
            log_error("worker %u: cannot listen on %s again: %s", k, s->cfg->listeners[i].addr.text,
                      strerror(-rc));
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
    if (w->backoff_ms > SUPERVISOR_SUSPEND_MS)
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

/* How process `k` ended, for the log. */
static void supervisor_ending(char *out, size_t out_size, int status)
{
    if (WIFSIGNALED(status))
        snprintf(out, out_size, "killed by signal %d (%s)%s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "");
    else
        snprintf(out, out_size, "exited with status %d", WEXITSTATUS(status));
}

static void supervisor_on_death(struct supervisor *s, unsigned k, int status)
{
    struct supervisor_worker *w = &s->worker[k];
    struct stats *stats = &s->cfg->stats[k];
    pid_t pid = w->pid;
    char how[128], why[sizeof(how) + 64];

    if (w->report_fd >= 0 && !w->ready) { /* its last words may be unread yet */
        w->pid = 0;
        supervisor_on_report(s, k);
        if (s->state == SUPERVISOR_STARTING && (w->pid || s->trouble[0]))
            return; /* another backend is being tried, or there is none */
    }
    w->pid = 0;
    s->cfg->board->worker[k] = (struct board_worker){0};
    supervisor_close_report(w);
    supervisor_ending(how, sizeof(how), status);
    /* Levels of a process that is no more. */
    stats->slots_used = stats->blocks_used = stats->block_bytes = stats->in_flight = 0;
    stats->waiting = 0;
    switch (s->state) {
    case SUPERVISOR_STARTING:
        snprintf(why, sizeof(why), "worker %u [%d] %s before it served", k, (int)pid, how);
        supervisor_backend_failed(s, why);
        break;
    case SUPERVISOR_SERVING:
        log_error("worker %u [%d] died: %s", k, (int)pid, how);
        supervisor_schedule(s, k);
        break;
    case SUPERVISOR_DRAINING:
        if (status) {
            log_error("worker %u [%d] died while draining: %s", k, (int)pid, how);
            s->failed = true;
        }
        break;
    }
}

static void supervisor_reap(struct supervisor *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (unsigned i = 0; i < s->cfg->side_count; i++)
            if (s->cfg->sides[i]->pid == pid)
                side_died(s->cfg->sides[i], status);
        for (unsigned k = 0; k < s->cfg->workers; k++)
            if (s->worker[k].pid == pid) {
                supervisor_on_death(s, k, status);
                break;
            }
    }
}

/* ---- the processes beside the workers ---- */

static void supervisor_leave_as_side(void *arg)
{
    struct supervisor *s = arg;

    for (unsigned i = 0; i < s->cfg->listener_count; i++)
        listener_close(&s->cfg->listeners[i]);
    for (unsigned i = 0; i < s->cfg->side_count; i++)
        if (s->cfg->sides[i]->pid) /* not the one that is being started */
            s->cfg->sides[i]->forget(s->cfg->sides[i]->arg);
    tls_context_free(s->cfg->tls); /* the keys are none of its business */
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
    uint64_t limit_ms = s->cfg->set->drain_timeout_ms;

    s->state = SUPERVISOR_DRAINING;
    s->cfg->board->state = BOARD_DRAINING;
    s->deadline_ms = limit_ms ? clock_monotonic_ms() + limit_ms + SUPERVISOR_MARGIN_MS : 0;
    notify_send("STOPPING=1");
    /*
     * Before the workers: a listener is closed when its last copy is, and theirs goes once it has
     * been emptied.
     */
    for (unsigned i = 0; i < s->cfg->listener_count; i++)
        listener_close(&s->cfg->listeners[i]);
    for (unsigned k = 0; k < s->cfg->workers; k++) {
        s->worker[k].waiting = false;
        if (s->worker[k].ready)
            supervisor_release(s, k); /* if the others were still starting: to drain, it serves */
    }
    supervisor_kill_all(s, SIGTERM);
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
            log_notice("SIGHUP: there is no configuration to read; restart to change options");
            break;
        default: /* SIGTERM, SIGINT */
            if (s->state == SUPERVISOR_DRAINING) {
                log_warn("a second signal: leaving at once, what is being answered is cut off");
                return true;
            }
            log_info("%s: draining", info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
            supervisor_drain(s);
        }
    }
    return false;
}

/* ---- the loop ---- */

/*
 * Has worker `k` been started again, and not reported yet? Workers of the first start have a
 * deadline in common.
 */
static bool supervisor_is_coming(const struct supervisor *s, unsigned k)
{
    return s->state != SUPERVISOR_STARTING && s->worker[k].pid && !s->worker[k].ready;
}

/* Milliseconds until something is due, -1: nothing is. */
static int supervisor_timeout(const struct supervisor *s)
{
    uint64_t now_ms = clock_monotonic_ms(), next_ms = s->deadline_ms ? s->deadline_ms : UINT64_MAX;

    for (unsigned k = 0; k < s->cfg->workers; k++) {
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
    for (unsigned k = 0; k < s->cfg->workers; k++)
        s->poll[k + 1] = (struct pollfd){.fd = s->worker[k].report_fd, .events = POLLIN};
    int n = poll(s->poll, s->cfg->workers + 1, supervisor_timeout(s));
    return n < 0 && errno != EINTR && errno != ENOMEM ? -errno : n;
}

/* What time has brought: restarts, the end of patience. */
static void supervisor_on_time(struct supervisor *s)
{
    uint64_t now_ms = clock_monotonic_ms();

    for (unsigned k = 0; k < s->cfg->workers; k++) {
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
    if (!s->deadline_ms || now_ms < s->deadline_ms)
        return;
    if (s->state == SUPERVISOR_STARTING) {
        char why[64];
        snprintf(why, sizeof(why), "the workers do not report within %d s",
                 SUPERVISOR_START_MS / 1000);
        supervisor_backend_failed(s, why);
    } else {
        log_error("workers that do not end in time are killed");
        supervisor_kill_and_reap(s);
        s->failed = true;
    }
}

static bool supervisor_done(const struct supervisor *s)
{
    if (s->state != SUPERVISOR_DRAINING)
        return false;
    for (unsigned k = 0; k < s->cfg->workers; k++)
        if (s->worker[k].pid)
            return false;
    return true;
}

static int supervisor_loop(struct supervisor *s)
{
    supervisor_start_sides(s);
    supervisor_start_all(s);
    while (!s->trouble[0] && !supervisor_done(s)) {
        int n = supervisor_wait(s);
        if (n < 0) {
            snprintf(s->trouble, sizeof(s->trouble), "poll: %s", strerror(-n));
            break;
        }
        /* Reports first: a worker that reports and dies has still reported. */
        for (unsigned k = 0; k < s->cfg->workers && n > 0; k++)
            if (s->poll[k + 1].revents && s->worker[k].report_fd >= 0)
                supervisor_on_report(s, k);
        if (n > 0 && s->poll[0].revents && supervisor_on_signal(s))
            return 0;
        supervisor_on_time(s);
    }
    if (s->trouble[0]) {
        log_error("%s", s->trouble);
        return 1;
    }
    return s->failed ? 1 : 0;
}

int supervisor_run(const struct supervisor_config *cfg, const sigset_t *mask)
{
    static const int numbers[] = {SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    struct supervisor s = {.cfg = cfg, .mask = mask, .ops = cfg->ops, .variant = cfg->variant};
    sigset_t set;
    int status = 1;

    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sigaddset(&set, numbers[i]);
    s.signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    s.worker = calloc(cfg->workers, sizeof(*s.worker));
    s.poll = calloc(cfg->workers + 1, sizeof(*s.poll));
    if (s.signal_fd < 0 || !s.worker || !s.poll) {
        log_error("cannot supervise: %s", strerror(errno));
    } else {
        for (unsigned k = 0; k < cfg->workers; k++)
            s.worker[k].report_fd = -1;
        status = supervisor_loop(&s);
        supervisor_kill_and_reap(&s); /* after trouble or a second signal; else nobody is left */
        supervisor_stop_sides(&s);
    }
    for (unsigned i = 0; i < cfg->listener_count; i++)
        listener_close(&cfg->listeners[i]);
    if (s.signal_fd >= 0)
        close(s.signal_fd);
    free(s.worker);
    free(s.poll);
    return status;
}
