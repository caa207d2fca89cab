/* SPDX-License-Identifier: MIT */
/*
 * server.c - the start of a server, in this order, and each step says what is wrong and the way out
 * when it fails:
 *
 *      fd limit -> dataset -> may it serve as this user? -> backend, tried in a throw-away child
 *      -> certificates and keys -> listeners -> privileges given up -> workers (supervisor.c), or one in this process
 */
#include "config.h"

#include "server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin.h"
#include "board.h"
#include "clock.h"
#include "dataset.h"
#include "handlers.h"
#include "http1.h"
#include "log.h"
#include "logger.h"
#include "notify.h"
#include "privdrop.h"
#include "registry.h"
#include "sandbox.h"
#include "static_dir.h"
#include "stats.h"
#include "supervisor.h"
#include "tls.h"
#include "worker.h"

#define SERVER_CPUS_MAX (1u << 16)
#define SERVER_SIDE_MS  1000 /* what a process beside the only one has for its end */

/* LeakSanitizer stops the process with ptrace(2) to look at it, which the filter forbids. */
#if defined(__SANITIZE_ADDRESS__)
#define SERVER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SERVER_SANITIZED 1
#endif
#endif
#ifndef SERVER_SANITIZED
#define SERVER_SANITIZED 0
#endif

struct server {
    const struct options *o;
    struct dataset data;
    struct privdrop priv;
    struct registry_choice backend;
    struct listener listeners[BACKEND_LISTENERS_MAX];
    unsigned listener_count;
    struct handlers_context context;
    struct static_dir files;
    struct tls_context *tls; /* NULL: no address has TLS */
    struct stats *stats;
    struct board *board;
    struct admin admin;
    struct logger logger;
    bool logging;     /* there is one */
    char where[2048]; /* the listeners' addresses */
    unsigned workers; /* processes; 0: none but this one */
    int *cpus;        /* of the affinity mask */
    unsigned cpu_count;
    bool ready; /* --workers 0: this process serves */
};

/* ---- what there is ---- */

/* Every connection is an fd: take as many as we may, but no more than the slot table holds. */
static void server_raise_fds(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    rlim_t want = MIN(limit.rlim_max, (rlim_t)SLOT_TABLE_MAX);
    if (limit.rlim_max > SLOT_TABLE_MAX)
        log_info("the fd limit is lowered to %u, the largest slot table there is", SLOT_TABLE_MAX);
    if (limit.rlim_cur == want)
        return;
    limit.rlim_cur = want;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warn("cannot raise the fd limit to %llu: %s", (unsigned long long)want,
                 strerror(errno));
}

/* The CPUs that this process may run on. False when that cannot be found out. */
static bool server_find_cpus(struct server *s)
{
    for (unsigned max = 1024; max <= SERVER_CPUS_MAX; max *= 2) {
        size_t size = CPU_ALLOC_SIZE(max);
        cpu_set_t *set = CPU_ALLOC(max);
        int rc = set ? sched_getaffinity(0, size, set) : -1;
        if (rc == 0) {
            s->cpus = calloc((size_t)CPU_COUNT_S(size, set), sizeof(*s->cpus));
            for (unsigned cpu = 0; s->cpus && cpu < max; cpu++)
                if (CPU_ISSET_S(cpu, size, set))
                    s->cpus[s->cpu_count++] = (int)cpu;
        }
        bool again = set && rc < 0 && errno == EINVAL; /* the kernel's masks are longer */
        CPU_FREE(set);
        if (!again)
            break;
    }
    return s->cpu_count > 0;
}

static void server_count_workers(struct server *s)
{
    bool known = server_find_cpus(s);

    if (!known)
        log_warn("cannot find out which CPUs there are: workers are not pinned");
    if (s->o->workers != OPTIONS_AUTO)
        s->workers = (unsigned)s->o->workers;
    else
        s->workers = known ? MIN(s->cpu_count, OPTIONS_WORKERS_MAX) : 1;
}

/* ---- the backend ---- */

struct server_verdict {
    int rc;
    char name[64];
    bool automatic;
    char why[2 * BACKEND_TEXT_MAX];
};

static_assert(sizeof(struct server_verdict) <= PIPE_BUF, "a verdict is one atomic write");

/* In the child: under the workers' limits and privileges, but nothing that it does outlives it. */
static void server_choose_child(const struct server *s, int fd)
{
    struct server_verdict v = {0};
    struct registry_choice choice;

    v.rc = privdrop_apply(&s->priv, v.why);
    if (v.rc == 0) {
        v.rc = registry_choose(s->o->backend, &choice);
        v.automatic = choice.automatic;
        if (choice.ops)
            snprintf(v.name, sizeof(v.name), "%s", choice.ops->name);
        memcpy(v.why, choice.why, sizeof(v.why));
    }
    _exit(write(fd, &v, sizeof(v)) == (ssize_t)sizeof(v) ? 0 : 1);
}

/* Ask a throw-away child which backend it is to be. */
static void server_ask(const struct server *s, struct server_verdict *v)
{
    int fds[2];
    pid_t pid = -1;
    ssize_t n = 0;

    memset(v, 0, sizeof(*v));
    if (pipe2(fds, O_CLOEXEC) == 0) {
        pid = fork();
        if (pid == 0)
            server_choose_child(s, fds[1]);
        close(fds[1]);
        while (pid > 0 && (n = read(fds[0], v, sizeof(*v))) < 0 && errno == EINTR)
            continue;
        close(fds[0]);
    }
    int err = errno;
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (n == (ssize_t)sizeof(*v))
        return;
    memset(v, 0, sizeof(*v));
    v->rc = -ENOTSUP;
    snprintf(v->why, sizeof(v->why), "the process that chooses a backend %s: %s",
             pid < 0 ? "cannot be started" : "died", pid < 0 ? strerror(err) : "out of memory?");
}

/* 0, or the exit status. */
static int server_choose_backend(struct server *s)
{
    const char *spec = s->o->backend, *colon = strchr(spec, ':');
    struct server_verdict v;

    server_ask(s, &v);
    s->backend.ops = v.name[0] ? registry_find(v.name, strlen(v.name)) : NULL;
    s->backend.variant = colon ? colon + 1 : NULL;
    s->backend.automatic = v.automatic;
    if (v.rc == 0 && s->backend.ops) {
        if (v.automatic)
            log_notice("--backend %s: %s", spec, v.why);
        return 0;
    }
    log_error("--backend %s: %s%s", spec, v.why,
              strcmp(spec, "auto") ? "; --backend auto takes a backend that runs" : "");
    return v.rc == -EINVAL ? 2 : 1;
}

/* ---- the log's lines ---- */

static void server_start_line(struct server *s, const struct backend_ops *ops, const char *features)
{
    struct utsname kernel;

    if (uname(&kernel) < 0)
        snprintf(kernel.release, sizeof(kernel.release), "unknown");
    log_notice("bivalve %s listening on %s; workers %u (%s), backend %s (%s), kernel %s",
               PACKAGE_VERSION, s->where, s->workers,
               s->workers == 0        ? "in this process"
               : s->o->pin && s->cpus ? "pinned"
                                      : "not pinned",
               ops->name, features, kernel.release);
    notify_send("READY=1");
    if (s->logging) /* its process has it, and will open it again by itself */
        logger_forget(&s->logger);
}

static void server_ready(void *arg, const struct backend_ops *ops, const char *features)
{
    server_start_line(arg, ops, features);
}

static int server_ready_alone(void *arg, const char *features)
{
    struct server *s = arg;

    s->ready = true;
    s->board->worker[0] =
        (struct board_worker){.pid = getpid(), .serving = true, .started_ms = s->board->started_ms};
    board_set_serving(s->board, s->backend.ops, features);
    server_start_line(s, s->backend.ops, features);
    return 0;
}

static void server_report(void *arg)
{
    const struct server *s = arg;
    struct stats all = {0};
    char text[STATS_TEXT_MAX];

    for (unsigned k = 0; k < MAX(s->workers, 1); k++) {
        stats_format(text, sizeof(text), &s->stats[k], s->backend.ops->counters, 0);
        log_notice("stats worker=%u %s", k, text);
        stats_add(&all, &s->stats[k]);
    }
    stats_format(text, sizeof(text), &all, s->backend.ops->counters, 0);
    log_notice("stats worker=all %s", text);
    if (s->logging)
        logger_reopen(&s->logger);
}

/* ---- serving ---- */

/*
 * One process is for debuggers and profilers, which want to do things in it that no worker does:
 * there only when asked for.
 */
static bool server_wants_sandbox(const struct server *s)
{
    if (s->o->sandbox == OPTIONS_SANDBOX_TRY)
        return sandbox_available() && !SERVER_SANITIZED && s->workers > 0;
    return s->o->sandbox == OPTIONS_SANDBOX_ON;
}

/* --workers 0. The exit status. */
static int server_run_alone(struct server *s, const sigset_t *mask)
{
    struct accept_listener listeners[BACKEND_LISTENERS_MAX] = {{.fd = -1}};
    char error[WORKER_ERROR_MAX];

    for (unsigned i = 0; i < s->listener_count; i++)
        listeners[i] = (struct accept_listener){
            .fd = listener_fd(&s->listeners[i], 0),
            .text = s->listeners[i].addr.text,
            .protocol = s->admin.open || s->logging ? &http1_protocol_watched : &http1_protocol,
            .unix_socket = s->listeners[i].addr.unix_socket,
            .proxy = s->listeners[i].addr.proxy ? &s->o->proxy_from : NULL,
            .tls = s->listeners[i].addr.tls,
        };
    for (;;) {
        const struct worker_config worker = {
            .name = "worker 0",
            .set = &s->o->set,
            .routes = s->o->static_dir ? &handlers_routes_files : &handlers_routes,
            .reads_files = s->o->static_dir != NULL,
            .context = &s->context,
            .tls = s->tls,
            .stats = s->stats,
            .ops = s->backend.ops,
            .variant = s->backend.variant,
            .listeners = listeners,
            .listener_count = s->listener_count,
            .alone = true,
            .sandbox = server_wants_sandbox(s),
            .sandbox_must = s->o->sandbox == OPTIONS_SANDBOX_ON,
            .meter = s->admin.open,
            .access_log = s->logging ? s->logger.workers : NULL,
            .mask = mask,
            .ready = server_ready_alone,
            .report = server_report,
            .arg = s,
        };
        int rc = worker_run(&worker, error);
        for (unsigned i = 0; i < s->listener_count; i++)
            s->listeners[i].fds[0] = listeners[i].fd; /* the drain closes them */
        if (rc == 0)
            return 0;
        const struct backend_ops *next =
            s->backend.automatic && !s->ready ? registry_fallback(s->backend.ops) : NULL;
        if (!next) {
            log_error("%s", error);
            return 1;
        }
        log_warn("%s fails to start: %s; using %s instead", s->backend.ops->name, error,
                 next->name);
        s->backend.ops = next;
        s->backend.variant = NULL;
    }
}

/* The process that is being started has none of the clients'. */
static void server_leave(void *arg)
{
    struct server *s = arg;

    notify_close();
    tls_context_free(s->tls); /* the keys are none of its business */
    s->tls = NULL;
    for (unsigned i = 0; i < s->listener_count; i++)
        listener_close(&s->listeners[i]);
}

/* --workers 0 with processes beside it, which nobody starts again. The exit status. */
static int server_run_with(struct server *s, struct side **sides, unsigned count,
                           const sigset_t *mask)
{
    for (unsigned i = 0; i < count; i++) {
        int rc = side_start(sides[i], server_leave, s, mask);
        if (rc < 0)
            log_error("%s cannot be started: %s", sides[i]->name, strerror(-rc));
        sides[i]->forget(sides[i]->arg);
    }
    int status = server_run_alone(s, mask);
    for (unsigned i = 0; i < count; i++)
        side_stop(sides[i], SERVER_SIDE_MS);
    return status;
}

static int server_serve(struct server *s)
{
    static const int numbers[] = {SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    sigset_t block, before;

    struct side *sides[2];
    unsigned side_count = 0;

    s->stats = stats_map(MAX(s->workers, 1));
    s->board = board_map(MAX(s->workers, 1));
    if (!s->stats || !s->board) {
        log_error("no memory for the counters: %s", strerror(errno));
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&block);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sigaddset(&block, numbers[i]);
    if (s->workers > 0)
        sigaddset(&block, WORKER_ORPHAN_SIGNAL);
    sigprocmask(SIG_BLOCK, &block, &before);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sigdelset(&before, numbers[i]);
    s->context.data = &s->data;
    s->context.files = &s->files;
    if (s->admin.open) {
        s->admin.view = (struct view){.board = s->board, .stats = s->stats, .listeners = s->where};
        s->admin.backend = s->backend;
        s->admin.sandbox = server_wants_sandbox(s);
        s->admin.sandbox_must = s->o->sandbox == OPTIONS_SANDBOX_ON;
        admin_prepare(&s->admin);
        sides[side_count++] = &s->admin.side;
    }
    if (s->logging)
        sides[side_count++] = &s->logger.side;
    if (s->workers == 0)
        return server_run_with(s, sides, side_count, &before);
    const struct supervisor_config supervisor = {
        .set = &s->o->set,
        .routes = s->o->static_dir ? &handlers_routes_files : &handlers_routes,
        .reads_files = s->o->static_dir != NULL,
        .context = &s->context,
        .tls = s->tls,
        .stats = s->stats,
        .board = s->board,
        .sides = sides,
        .side_count = side_count,
        .listeners = s->listeners,
        .listener_count = s->listener_count,
        .workers = s->workers,
        .cpus = s->o->pin ? s->cpus : NULL,
        .cpu_count = s->cpu_count,
        .sandbox = server_wants_sandbox(s),
        .sandbox_must = s->o->sandbox == OPTIONS_SANDBOX_ON,
        .proxy_from = &s->o->proxy_from,
        .meter = s->admin.open,
        .access_logs = s->logging ? s->logger.workers : NULL,
        .ops = s->backend.ops,
        .variant = s->backend.variant,
        .automatic = s->backend.automatic,
        .ready = server_ready,
        .report = server_report,
        .arg = s,
    };
    return supervisor_run(&supervisor, &before);
}

/*
 * Read the keys. From now on nobody but root may look into this process and its children, and they
 * leave no core: proc(5), PR_SET_DUMPABLE. 0, or the exit status.
 */
static int server_read_keys(struct server *s)
{
    char error[TLS_ERROR_MAX];

    if (s->o->tls.pair_count == 0)
        return 0;
    if (tls_context_open(&s->tls, &s->o->tls, error) < 0) {
        log_error("%s", error);
        return 1;
    }
    if (!SERVER_SANITIZED)
        prctl(PR_SET_DUMPABLE, 0);
    return 0;
}

static int server_listen(struct server *s)
{
    char error[MAX(LISTENER_ERROR_MAX, ADMIN_ERROR_MAX)];
    size_t len = 0;

    for (; s->listener_count < s->o->listen_count; s->listener_count++) {
        unsigned i = s->listener_count;
        if (listener_open(&s->listeners[i], &s->o->listen[i], MAX(s->workers, 1), error) < 0) {
            log_error("%s", error);
            return 1;
        }
        int rc = listener_limit_unsent(&s->listeners[i], s->o->set.max_unsent_bytes);
        if (rc < 0)
            log_warn("cannot limit what the kernel holds unsent (--max-unsent-bytes): %s",
                     strerror(-rc));
        if (len < sizeof(s->where))
            len += (size_t)snprintf(s->where + len, sizeof(s->where) - len, "%s%s%s", i ? ", " : "",
                                    s->listeners[i].addr.text,
                                    s->listeners[i].addr.tls ? " (TLS)" : "");
    }
    if (!s->o->admin.len)
        return 0;
    if (admin_open(&s->admin, &s->o->admin, error) < 0) {
        log_error("--admin: %s", error);
        return 1;
    }
    log_notice("the view inside is on %s", s->admin.listener.addr.text);
    return 0;
}

/* All the steps of the start. The exit status. */
static int server_start(struct server *s)
{
    const struct options *o = s->o;
    char error[MAX(MAX(DATASET_ERROR_MAX, LOGGER_ERROR_MAX),
                   MAX(PRIVDROP_ERROR_MAX, STATIC_ERROR_MAX))];

    server_raise_fds();
    server_count_workers(s);
    if (o->static_dir && static_dir_init(&s->files, o->static_dir, error) < 0) {
        log_error("--static: %s", error);
        return 1;
    }
    if (dataset_load(&s->data, o->dataset, error) < 0 ||
        privdrop_resolve(&s->priv, o->user, o->group, o->allow_root, error) < 0) {
        log_error("%s", error);
        return 1;
    }
    int status = server_choose_backend(s);
    if (status == 0)
        status = server_read_keys(s);
    if (status == 0)
        status = server_listen(s);
    if (status != 0)
        return status;
    if (privdrop_apply(&s->priv, error) < 0) {
        log_error("%s", error);
        return 1;
    }
    if (o->access_log) {
        /* As whoever will open it again after a rotation. */
        if (logger_open(&s->logger, o->access_log, o->access_log_format, MAX(s->workers, 1),
                        error) < 0) {
            log_error("%s", error);
            return 1;
        }
        s->logging = true;
    }
    if (getuid() == 0)
        log_warn("serving as root, as --allow-root says: anybody who breaks in is root");
    return server_serve(s);
}

static void server_clean_up(struct server *s)
{
    for (unsigned i = 0; i < s->listener_count; i++) {
        int rc = listener_unlink(&s->listeners[i]);
        if (rc < 0)
            log_info("cannot remove %s: %s (it is replaced at the next start)",
                     s->listeners[i].addr.text, strerror(-rc));
        listener_destroy(&s->listeners[i]);
    }
    admin_close(&s->admin);
    if (s->logging)
        logger_close(&s->logger);
    notify_close();
    tls_context_free(s->tls);
    dataset_free(&s->data);
    static_dir_destroy(&s->files);
    board_unmap(s->board);
    if (s->stats)
        stats_unmap(s->stats, MAX(s->workers, 1));
    free(s->cpus);
}

int server_run(const struct options *o)
{
    struct server s = {.o = o, .files = {.fd = -1}};

    log_open();
    log_set_level((enum log_level)o->log_level);
    notify_init();
    int status = server_start(&s);
    server_clean_up(&s);
    return status;
}

/* May it serve as this user? What only root can do is no mistake of who tries the options. */
static int server_test_user(const struct options *o, char *error)
{
    struct privdrop priv;
    int rc = privdrop_resolve(&priv, o->user, o->group, o->allow_root, error);

    return rc == -EPERM && geteuid() != 0 ? 0 : rc;
}

int server_test(const struct options *o)
{
    char error[MAX(MAX(DATASET_ERROR_MAX, LISTENER_ERROR_MAX),
                   MAX(PRIVDROP_ERROR_MAX, MAX(STATIC_ERROR_MAX, TLS_ERROR_MAX)))];
    struct tls_context *tls = NULL;
    struct dataset data;
    struct static_dir files;
    int rc = o->static_dir ? static_dir_init(&files, o->static_dir, error) : 0;

    if (rc < 0) {
        fprintf(stderr, "bivalve: --static: %s\n", error);
        return 1;
    }
    if (o->static_dir)
        static_dir_destroy(&files);
    rc = dataset_load(&data, o->dataset, error);

    if (rc == 0) {
        for (unsigned i = 0; i < o->listen_count && rc == 0; i++)
            rc = listener_check(&o->listen[i], error);
        if (rc == 0 && o->admin.len)
            rc = listener_check(&o->admin, error);
        if (rc == 0)
            rc = server_test_user(o, error);
        if (rc == 0 && o->tls.pair_count)
            rc = tls_context_open(&tls, &o->tls, error);
        tls_context_free(tls);
        if (rc == 0)
            printf("configuration ok: %u address%s, %u records\n", o->listen_count,
                   o->listen_count == 1 ? "" : "es", data.count);
        dataset_free(&data);
    }
    if (rc < 0)
        fprintf(stderr, "bivalve: %s\n", error);
    return rc < 0 ? 1 : 0;
}
