/* SPDX-License-Identifier: MIT */
/*
 * load_run.c - see load_run.h.
 */
#include "config.h"

#include "load_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "load_process.h"
#include "tls.h"

#define RUN_START_US 20000   /* from the moment that all are ready to the load's beginning */
#define RUN_WATCH_US 1000000 /* from line to line */
#define RUN_FDS      128     /* of a process, that are not connections */
#define RUN_LOOK_MS  200     /* how often a start looks whether it is to end */
#define RUN_PROBE_MS 2000    /* for each address of a name that has several */

static uint64_t run_now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- what is found out once ---- */

static uint32_t setup_processes(const struct load_options *o)
{
    cpu_set_t all;
    uint32_t n = o->processes;

    if (n == LOAD_AUTO)
        n = sched_getaffinity(0, sizeof(all), &all) == 0 ? (uint32_t)CPU_COUNT(&all) : 1;
    return MAX(1, MIN(n, o->connections)); /* each has a connection at least */
}

/* The soft limit of fds is raised as far as it takes. */
static int setup_fds(const struct load_setup *s, char *error)
{
    rlim_t wanted = (s->options.connections + s->options.idle) / s->processes + 2 + RUN_FDS;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return 0;
    if (limit.rlim_max >= wanted) {
        limit.rlim_cur = wanted;
        if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
            return 0;
    }
    snprintf(error, LOAD_ERROR_MAX,
             "%u connections need %llu fds in a process, the limit is %llu: ulimit -n %llu, more "
             "--processes or fewer --connections",
             s->options.connections + s->options.idle, (unsigned long long)wanted,
             (unsigned long long)limit.rlim_max, (unsigned long long)wanted);
    return -EMFILE;
}

static int setup_sources(struct load_setup *s, char *error)
{
    int rc = s->options.source
                 ? load_sources_parse(s->options.source, &s->target, s->sources, error)
                 : load_sources_loopback(&s->target, s->sources);

    s->source_count = rc > 0 ? (unsigned)rc : 0;
    return MIN(rc, 0);
}

static int setup_tls(struct load_setup *s, char *error)
{
    const struct load_options *o = &s->options;
    const struct tls_client_config cfg = {.host = s->target.host,
                                          .ca_file = o->ca_file,
                                          .insecure = o->insecure,
                                          .resume = o->tls_resume,
                                          .version = o->tls_version};

    if (s->target.tls)
        return tls_client_context_open(&s->tls, &cfg, error);
    if (!o->ca_file && !o->insecure && !o->tls_resume && !o->tls_version)
        return 0;
    snprintf(error, LOAD_ERROR_MAX,
             "--cacert, --insecure, --tls-resume and --tls-version are for "
             "a URL that begins with https://");
    return -EINVAL;
}

int load_setup_make(struct load_setup *s, char *error)
{
    const struct load_options *o = &s->options;

    s->processes = setup_processes(o);
    int rc = load_target_parse(o->url, o->unix_path, &s->target, error);
    if (rc == 0) {
        load_target_choose(&s->target, o->source, (int)MIN(o->timeout_us / 1000, RUN_PROBE_MS));
        rc = setup_sources(s, error);
    }
    if (rc == 0)
        rc = setup_fds(s, error);
    if (rc == 0)
        rc = load_requests_make(&s->requests, o, &s->target, error);
    if (rc < 0)
        return rc;
    rc = setup_tls(s, error);
    if (rc < 0) {
        load_setup_free(s);
        return rc;
    }
    rc = registry_choose(o->backend, &s->backend);
    if (rc < 0) {
        snprintf(error, LOAD_ERROR_MAX, "--backend %.80s: %.*s", o->backend, LOAD_ERROR_MAX - 120,
                 s->backend.why);
        load_setup_free(s);
    }
    return rc;
}

void load_setup_free(struct load_setup *s)
{
    load_requests_free(&s->requests);
    tls_context_free(s->tls);
    s->tls = NULL;
}

struct load_run load_run_of(const struct load_options *o)
{
    return (struct load_run){.rate_from = o->rate_from,
                             .rate_to = o->rate_to,
                             .warmup_us = o->warmup_us,
                             .duration_us = o->duration_us,
                             .requests = o->requests};
}

/* ---- processes ---- */

struct run_children {
    const struct load_setup *setup;
    const struct load_run *run;
    struct load_shared *shared;
    pid_t pids[LOAD_PROCESSES_MAX]; /* 0: ended */
    unsigned alive;
    int ready[2], gate[2];
    bool failed;
};

/* Part `index` of `parts` of a whole, the first ones a little larger. */
static uint64_t run_share(uint64_t whole, unsigned index, unsigned parts)
{
    return whole / parts + (index < whole % parts);
}

/* A seed for each process: their random numbers have nothing in common. */
static uint64_t run_seed(uint64_t seed, unsigned index)
{
    struct prng prng = {.state = seed};
    uint64_t of_index = prng_next(&prng);

    while (index--)
        of_index = prng_next(&prng);
    return of_index;
}

static struct load_plan run_plan(const struct load_setup *s, const struct load_run *run,
                                 unsigned index)
{
    uint32_t n = s->processes;

    return (struct load_plan){
        .options = &s->options,
        .target = &s->target,
        .requests = &s->requests,
        .tls = s->tls,
        .sources = s->sources,
        .source_count = s->source_count,
        .in_turn = s->options.source != NULL,
        .connections = (uint32_t)run_share(s->options.connections, index, n),
        .idle = (uint32_t)run_share(s->options.idle, index, n),
        .by_count = run->requests > 0,
        .quota = run_share(run->requests, index, n),
        .rate_from = run->rate_from / n,
        .rate_to = run->rate_to / n,
        .phase = (double)index / n,
        .seed = run_seed(s->options.seed, index),
        .warmup_us = run->warmup_us,
        .duration_us = run->duration_us,
    };
}

static void run_child(const struct run_children *c, unsigned index)
{
    struct load_process p = {.plan = run_plan(c->setup, c->run, index),
                             .backend = c->setup->backend,
                             .shared = c->shared,
                             .index = index,
                             .ready = c->ready[1],
                             .gate = c->gate[0]};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(c->ready[0]);
    close(c->gate[1]);
    _exit(load_process_run(&p));
}

static int run_fork(struct run_children *c, char *error)
{
    for (unsigned i = 0; i < c->setup->processes; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            snprintf(error, LOAD_ERROR_MAX, "cannot start a process: %s", strerror(errno));
            return -errno;
        }
        if (pid == 0)
            run_child(c, i);
        c->pids[i] = pid;
        c->alive++;
    }
    return 0;
}

static void run_signal(const struct run_children *c, int number)
{
    for (unsigned i = 0; i < c->setup->processes; i++)
        if (c->pids[i])
            kill(c->pids[i], number);
}

/* Take note of those that have ended; true while there are others. */
static bool run_reap(struct run_children *c, int options)
{
    int status;
    pid_t pid;

    while (c->alive && (pid = waitpid(-1, &status, options)) > 0) {
        for (unsigned i = 0; i < c->setup->processes; i++) {
            struct load_results *r = &c->shared->results[i];
            if (c->pids[i] != pid)
                continue;
            c->pids[i] = 0;
            c->alive--;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                continue;
            c->failed = true;
            if (WIFSIGNALED(status) && !*r->error)
                snprintf(r->error, sizeof(r->error), "a process of the load was killed: %s",
                         strsignal(WTERMSIG(status)));
        }
    }
    return c->alive > 0;
}

/*
 * Wait until each process has everything in place, its idle connections too. 0, -EIO: one has not, or
 * -EINTR: it is not wanted any more.
 */
static int run_gather(struct run_children *c)
{
    struct pollfd p = {.fd = c->ready[0], .events = POLLIN};
    const struct timespec now = {0};
    unsigned ready = 0;
    sigset_t ends;
    char byte[16];

    close(c->ready[1]);
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    while (ready < c->setup->processes) {
        if (sigtimedwait(&ends, NULL, &now) > 0)
            return -EINTR;
        if (poll(&p, 1, RUN_LOOK_MS) == 0)
            continue;
        ssize_t n = read(c->ready[0], byte, sizeof(byte));
        if (n > 0)
            ready += (unsigned)n;
        else if (n == 0 || errno != EINTR)
            return -EIO;
    }
    return 0;
}

/* ---- watching ---- */

/* What all processes have counted so far, as far as a moment shows it. */
struct run_state {
    uint64_t requests, failures;
    struct hist response;
};

static void run_look(const struct run_children *c, struct run_state *state)
{
    memset(state, 0, sizeof(*state));
    for (unsigned i = 0; i < c->setup->processes; i++) {
        const struct load_results *r = &c->shared->results[i];
        state->requests += r->requests;
        state->failures += load_results_failures(r);
        hist_add(&state->response, &r->response);
    }
}

struct run_watcher {
    load_watch watch;
    void *arg;
    uint64_t measure_us, last_us;
    struct run_state before, now;
    struct load_moment moment;
};

static void run_tell(struct run_watcher *w, const struct run_children *c, bool last)
{
    uint64_t now_us = run_now_us();

    if (!w->watch)
        return;
    run_look(c, &w->now);
    w->moment.elapsed_us = now_us > w->measure_us ? now_us - w->measure_us : 0;
    w->moment.interval_us = now_us > w->last_us ? now_us - w->last_us : 1;
    w->moment.requests = w->now.requests - w->before.requests;
    w->moment.failures = w->now.failures - w->before.failures;
    hist_since(&w->moment.response, &w->now.response, &w->before.response);
    w->watch(&w->moment, last, w->arg);
    w->before = w->now;
    w->last_us = now_us;
}

/* SIGINT, SIGTERM and SIGCHLD are blocked, and waited for here. */
static void run_watch(struct run_children *c, struct run_watcher *w, const sigset_t *signals,
                      bool *interrupted)
{
    uint64_t next_us = w->last_us + RUN_WATCH_US;
    unsigned asked = 0;

    while (run_reap(c, WNOHANG)) {
        uint64_t now_us = run_now_us();
        if (c->failed) /* one alone cannot tell how the whole would have been */
            run_signal(c, SIGKILL);
        if (now_us >= next_us) {
            run_tell(w, c, false);
            next_us += RUN_WATCH_US;
            continue;
        }
        struct timespec left = {.tv_sec = (time_t)((next_us - now_us) / 1000000),
                                .tv_nsec = (long)((next_us - now_us) % 1000000 * 1000)};
        int number = sigtimedwait(signals, NULL, &left);
        if (number == SIGINT || number == SIGTERM) {
            *interrupted = true;
            run_signal(c, asked++ ? SIGKILL : SIGTERM);
        }
    }
    run_tell(w, c, true);
}

/* ---- one run ---- */

static int run_open(struct run_children *c, size_t size, char *error)
{
    c->shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c->shared == MAP_FAILED || pipe2(c->ready, O_CLOEXEC) < 0 ||
        pipe2(c->gate, O_CLOEXEC) < 0) {
        snprintf(error, LOAD_ERROR_MAX, "cannot prepare the processes: %s", strerror(errno));
        return -errno;
    }
    return 0;
}

static int run_all(struct run_children *c, struct run_watcher *w, const sigset_t *signals,
                   bool *interrupted, char *error)
{
    int rc = run_fork(c, error);

    close(c->gate[0]);
    if (rc == 0)
        rc = run_gather(c);
    if (rc < 0) {
        run_signal(c, SIGKILL);
        close(c->gate[1]);
        run_reap(c, 0);
        return rc;
    }
    /* Not before the fork: each process would have a copy of what is written here. */
    memset(&w->before, 0, sizeof(w->before));
    c->shared->start_us = run_now_us() + RUN_START_US;
    w->measure_us = w->last_us = c->shared->start_us + c->run->warmup_us;
    if (c->run->warmup_us >= RUN_WATCH_US)
        w->last_us = c->shared->start_us;
    close(c->gate[1]);
    run_watch(c, w, signals, interrupted);
    return c->failed ? -EIO : 0;
}

int load_run(const struct load_setup *s, const struct load_run *run, load_watch watch, void *arg,
             struct load_results *sum, bool *interrupted, char *error)
{
    size_t size = sizeof(struct load_shared) + s->processes * sizeof(struct load_results);
    static struct run_watcher w; /* histograms are large */
    static struct run_children c;
    sigset_t signals, before;

    c = (struct run_children){.setup = s, .run = run};
    w.watch = watch;
    w.arg = arg;
    *error = '\0';
    *interrupted = false;
    int rc = run_open(&c, size, error);
    if (rc < 0)
        return rc;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, &before);
    rc = run_all(&c, &w, &signals, interrupted, error);
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(c.ready[0]);
    memset(sum, 0, sizeof(*sum));
    for (unsigned i = 0; i < s->processes; i++)
        load_results_add(sum, &c.shared->results[i]);
    if (run->rate_from == 0) /* a request is due when it is sent */
        sum->service = sum->response;
    if (rc == -EINTR)
        snprintf(error, LOAD_ERROR_MAX, "interrupted before the load began");
    if (rc < 0 && !*error)
        snprintf(error, LOAD_ERROR_MAX, "%s", *sum->error ? sum->error : "a process has ended");
    munmap(c.shared, size);
    return rc;
}
