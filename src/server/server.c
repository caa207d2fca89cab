/* SPDX-License-Identifier: MIT */
/*
 * server.c - the start of a server, in this order, and each step says what is wrong and the way out
 * when it fails:
 *
 *      fd limit -> dataset -> may it serve as this user? -> backend, tried in a throw-away child
 *      -> certificates and keys -> listeners -> privileges given up -> workers (supervisor.c), or
 *      one in this process
 *
 * What the options name is a setup. A reload makes another, which takes over the listeners that both
 * have; the one before it goes when its last worker has.
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
#include "options_parse.h"
#include "privdrop.h"
#include "registry.h"
#include "sandbox.h"
#include "static_dir.h"
#include "stats.h"
#include "supervisor.h"
#include "tls.h"
#include "worker.h"

#define SERVER_CPUS_MAX (1u << 16)

/* Seats for each worker of the start, and at least: reloads may come faster than old workers end. */
#define SERVER_SEATS     4
#define SERVER_SEATS_MIN 64
#define SERVER_SIDE_MS   1000 /* what a process beside the only one has for its end */

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

/* One reading of the options, and what they name. */
struct server_setup {
    struct options o;
    struct dataset data;
    struct static_dir files;
    struct tls_context *tls; /* NULL: no address has TLS */
    struct handlers_context context;
    struct registry_choice backend;
    struct listener *listeners[BACKEND_LISTENERS_MAX]; /* open ones are in one setup or several */
    unsigned listener_count;
    unsigned workers; /* processes; 0: none but this one */
    int *cpus;        /* of the affinity mask */
    unsigned cpu_count;
    struct supervisor_plan plan;
    struct server_setup *next; /* in struct server.setups */
};

struct server {
    int argc; /* the command line, for a reload */
    char **argv;
    struct server_setup *setups; /* that are in use */
    struct server_setup *now;    /* the one that is served */
    struct privdrop priv;
    struct stats *stats;
    struct board *board;
    struct admin admin;
    struct logger logger;
    bool logging; /* there is one */
    unsigned seats;
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
static bool server_find_cpus(struct server_setup *u)
{
    for (unsigned max = 1024; max <= SERVER_CPUS_MAX; max *= 2) {
        size_t size = CPU_ALLOC_SIZE(max);
        cpu_set_t *set = CPU_ALLOC(max);
        int rc = set ? sched_getaffinity(0, size, set) : -1;
        if (rc == 0) {
            u->cpus = calloc((size_t)CPU_COUNT_S(size, set), sizeof(*u->cpus));
            for (unsigned cpu = 0; u->cpus && cpu < max; cpu++)
                if (CPU_ISSET_S(cpu, size, set))
                    u->cpus[u->cpu_count++] = (int)cpu;
        }
        bool again = set && rc < 0 && errno == EINVAL; /* the kernel's masks are longer */
        CPU_FREE(set);
        if (!again)
            break;
    }
    return u->cpu_count > 0;
}

static void server_count_workers(struct server_setup *u)
{
    bool known = server_find_cpus(u);

    if (!known)
        log_warn("cannot find out which CPUs there are: workers are not pinned");
    if (u->o.workers != OPTIONS_AUTO)
        u->workers = (unsigned)u->o.workers;
    else
        u->workers = known ? MIN(u->cpu_count, OPTIONS_WORKERS_MAX) : 1;
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
static void server_choose_child(const struct privdrop *priv, const char *spec, int fd)
{
    struct server_verdict v = {0};
    struct registry_choice choice;

    v.rc = privdrop_apply(priv, v.why);
    if (v.rc == 0) {
        v.rc = registry_choose(spec, &choice);
        v.automatic = choice.automatic;
        if (choice.ops)
            snprintf(v.name, sizeof(v.name), "%s", choice.ops->name);
        memcpy(v.why, choice.why, sizeof(v.why));
    }
    _exit(write(fd, &v, sizeof(v)) == (ssize_t)sizeof(v) ? 0 : 1);
}

/* Ask a throw-away child which backend it is to be. */
static void server_ask(const struct privdrop *priv, const char *spec, struct server_verdict *v)
{
    int fds[2];
    pid_t pid = -1;
    ssize_t n = 0;

    memset(v, 0, sizeof(*v));
    if (pipe2(fds, O_CLOEXEC) == 0) {
        pid = fork();
        if (pid == 0)
            server_choose_child(priv, spec, fds[1]);
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

/* `priv`: what the workers will have given up. 0, or the exit status. */
static int server_choose_backend(struct server_setup *u, const struct privdrop *priv)
{
    const char *spec = u->o.backend, *colon = strchr(spec, ':');
    struct server_verdict v;

    server_ask(priv, spec, &v);
    u->backend.ops = v.name[0] ? registry_find(v.name, strlen(v.name)) : NULL;
    u->backend.variant = colon ? colon + 1 : NULL;
    u->backend.automatic = v.automatic;
    if (v.rc == 0 && u->backend.ops) {
        if (v.automatic)
            log_notice("--backend %s: %s", spec, v.why);
        return 0;
    }
    log_error("--backend %s: %s%s", spec, v.why,
              strcmp(spec, "auto") ? "; --backend auto takes a backend that runs" : "");
    return v.rc == -EINVAL ? 2 : 1;
}

/* ---- setups ---- */

static struct server_setup *server_add_setup(struct server *s)
{
    struct server_setup *u = calloc(1, sizeof(*u));

    if (u) {
        u->files.fd = -1;
        u->next = s->setups;
        s->setups = u;
    }
    return u;
}

static bool server_has_listener(const struct server_setup *u, const struct listener *l)
{
    for (unsigned i = 0; i < u->listener_count; i++)
        if (u->listeners[i] == l)
            return true;
    return false;
}

/* Nobody listens there any more, and nobody can. */
static void server_close_listener(struct listener *l)
{
    int rc = listener_unlink(l);

    if (rc < 0)
        log_info("cannot remove %s: %s (it is replaced at the next start)", l->addr.text,
                 strerror(-rc));
    listener_close(l);
}

/* Nobody uses a setup any more: what it alone has goes. */
static void server_remove_setup(struct server *s, struct server_setup *u)
{
    struct server_setup **at = &s->setups;

    while (*at != u)
        at = &(*at)->next;
    *at = u->next;
    for (unsigned i = 0; i < u->listener_count; i++) {
        bool used = false;
        for (const struct server_setup *other = s->setups; other; other = other->next)
            used |= server_has_listener(other, u->listeners[i]);
        if (used)
            continue;
        server_close_listener(u->listeners[i]);
        listener_destroy(u->listeners[i]);
        free(u->listeners[i]);
    }
    tls_context_free(u->tls);
    dataset_free(&u->data);
    static_dir_destroy(&u->files);
    free(u->cpus);
    options_free(&u->o);
    free(u);
}

/*
 * The listener on that address which is open already, and not taken twice: it is the same socket,
 * with all who wait there. NULL: there is none.
 */
static struct listener *server_kept_listener(const struct server *s, const struct server_setup *u,
                                             const struct listener_addr *addr)
{
    for (unsigned i = 0; s->now && i < s->now->listener_count; i++) {
        struct listener *l = s->now->listeners[i];
        if (!strcmp(l->asked, addr->text) && l->addr.tls == addr->tls &&
            l->addr.proxy == addr->proxy && !server_has_listener(u, l))
            return l;
    }
    return NULL;
}

/* 0, or -errno with `error`. */
static int server_listen_one(const struct server *s, struct server_setup *u,
                             const struct listener_addr *addr, char *error)
{
    struct listener *l = server_kept_listener(s, u, addr);
    int rc = 0;

    if (!l) {
        l = calloc(1, sizeof(*l));
        if (!l) {
            snprintf(error, LISTENER_ERROR_MAX, "no memory");
            return -ENOMEM;
        }
        rc = listener_open(l, addr, MAX(u->workers, 1), error);
    }
    if (rc < 0) {
        free(l);
        return rc;
    }
    u->listeners[u->listener_count++] = l;
    rc = listener_limit_unsent(l, u->o.set.max_unsent_bytes);
    if (rc < 0)
        log_warn("cannot limit what the kernel holds unsent (--max-unsent-bytes): %s",
                 strerror(-rc));
    return 0;
}

/* 0, or -errno with `error`, and what is open then is in the setup. */
static int server_listen(const struct server *s, struct server_setup *u, char *error)
{
    unsigned sockets = 0;

    for (unsigned i = 0; i < u->o.listen_count; i++) {
        int rc = server_listen_one(s, u, &u->o.listen[i], error);
        if (rc < 0)
            return rc;
        sockets += (u->listeners[i]->count + MAX(u->workers, 1) - 1) / MAX(u->workers, 1);
    }
    if (sockets <= BACKEND_LISTENERS_MAX)
        return 0;
    snprintf(error, LISTENER_ERROR_MAX,
             "%u workers cannot take over the sockets of so many more, of which none is closed so "
             "that no client is lost: restart the server, or leave --workers as it was",
             u->workers);
    return -E2BIG;
}

static void server_name_listeners(struct server *s)
{
    char *text = s->board->listeners;
    size_t len = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < s->now->listener_count && len < sizeof(s->board->listeners); i++)
        len += (size_t)snprintf(text + len, sizeof(s->board->listeners) - len, "%s%s%s",
                                i ? ", " : "", s->now->listeners[i]->addr.text,
                                s->now->listeners[i]->addr.tls ? " (TLS)" : "");
}

/* ---- the log's lines ---- */

static void server_start_line(struct server *s, const char *did, const struct backend_ops *ops,
                              const char *features)
{
    struct utsname kernel;

    server_name_listeners(s);
    if (uname(&kernel) < 0)
        snprintf(kernel.release, sizeof(kernel.release), "unknown");
    log_notice("bivalve %s %s on %s; workers %u (%s), backend %s (%s), kernel %s", PACKAGE_VERSION,
               did, s->board->listeners, s->now->workers,
               s->now->workers == 0            ? "in this process"
               : s->now->o.pin && s->now->cpus ? "pinned"
                                               : "not pinned",
               ops->name, features, kernel.release);
    notify_send("READY=1");
    if (s->logging) /* its process has it, and will open it again by itself */
        logger_forget(&s->logger);
}

/* What came of the backend that was to be tried first: the next reload begins with that. */
static void server_serves(struct server *s, const char *did, const struct backend_ops *ops,
                          const char *features)
{
    if (s->now->backend.ops != ops) {
        s->now->backend.ops = ops;
        s->now->backend.variant = NULL;
    }
    server_start_line(s, did, ops, features);
}

static void server_ready(void *arg, const struct backend_ops *ops, const char *features)
{
    server_serves(arg, "listening", ops, features);
}

static int server_ready_alone(void *arg, const char *features)
{
    struct server *s = arg;

    s->ready = true;
    s->board->worker[0] =
        (struct board_worker){.pid = getpid(), .serving = true, .started_ms = s->board->started_ms};
    s->board->workers = s->board->used = 1;
    board_set_serving(s->board, s->now->backend.ops, features);
    server_start_line(s, "listening", s->now->backend.ops, features);
    return 0;
}

static void server_report(void *arg)
{
    const struct server *s = arg;
    struct stats all = {0};
    char text[STATS_TEXT_MAX];

    for (unsigned k = 0; k < s->board->used; k++) {
        stats_add(&all, &s->stats[k]);
        if (!board_shows(s->board, k))
            continue; /* in the sum alone */
        stats_format(text, sizeof(text), &s->stats[k], s->now->backend.ops->counters, 0);
        log_notice("stats worker=%u %s", k, text);
    }
    stats_format(text, sizeof(text), &all, s->now->backend.ops->counters, 0);
    log_notice("stats worker=all %s", text);
    if (s->logging)
        logger_reopen(&s->logger);
}

/* ---- serving ---- */

/*
 * One process is for debuggers and profilers, which want to do things in it that no worker does:
 * there only when asked for.
 */
static bool server_wants_sandbox(const struct server_setup *u)
{
    if (u->o.sandbox == OPTIONS_SANDBOX_TRY)
        return sandbox_available() && !SERVER_SANITIZED && u->workers > 0;
    return u->o.sandbox == OPTIONS_SANDBOX_ON;
}

/* --workers 0. The exit status. */
static int server_run_alone(struct server *s, const sigset_t *mask)
{
    struct accept_listener listeners[BACKEND_LISTENERS_MAX] = {{.fd = -1}};
    struct server_setup *u = s->now;
    char error[WORKER_ERROR_MAX];

    for (unsigned i = 0; i < u->listener_count; i++)
        listeners[i] = (struct accept_listener){
            .fd = listener_fd(u->listeners[i], 0),
            .text = u->listeners[i]->addr.text,
            .protocol = s->admin.open || s->logging ? &http1_protocol_watched : &http1_protocol,
            .unix_socket = u->listeners[i]->addr.unix_socket,
            .proxy = u->listeners[i]->addr.proxy ? &u->o.proxy_from : NULL,
            .tls = u->listeners[i]->addr.tls,
        };
    for (;;) {
        const struct worker_config worker = {
            .name = "worker 0",
            .set = &u->o.set,
            .routes = u->plan.routes,
            .reads_files = u->plan.reads_files,
            .context = &u->context,
            .tls = u->tls,
            .stats = s->stats,
            .ops = u->backend.ops,
            .variant = u->backend.variant,
            .listeners = listeners,
            .listener_count = u->listener_count,
            .alone = true,
            .sandbox = server_wants_sandbox(u),
            .sandbox_must = u->o.sandbox == OPTIONS_SANDBOX_ON,
            .meter = s->admin.open,
            .access_log = s->logging ? s->logger.workers : NULL,
            .mask = mask,
            .ready = server_ready_alone,
            .report = server_report,
            .arg = s,
        };
        int rc = worker_run(&worker, error);
        for (unsigned i = 0; i < u->listener_count; i++)
            u->listeners[i]->fds[0] = listeners[i].fd; /* the drain closes them */
        if (rc == 0)
            return 0;
        const struct backend_ops *next =
            u->backend.automatic && !s->ready ? registry_fallback(u->backend.ops) : NULL;
        if (!next) {
            log_error("%s", error);
            return 1;
        }
        log_warn("%s fails to start: %s; using %s instead", u->backend.ops->name, error,
                 next->name);
        u->backend.ops = next;
        u->backend.variant = NULL;
    }
}

/* The process that is being started has none of the clients'. */
static void server_leave(void *arg)
{
    struct server *s = arg;

    notify_close();
    tls_context_free(s->now->tls); /* the keys are none of its business */
    s->now->tls = NULL;
    for (unsigned i = 0; i < s->now->listener_count; i++)
        listener_close(s->now->listeners[i]);
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

/* ---- reloading ---- */

/* What the supervisor has to know of a setup. */
static void server_plan(const struct server *s, struct server_setup *u)
{
    u->context.data = &u->data;
    u->context.files = &u->files;
    u->context.level = u->o.compress_level;
    u->plan = (struct supervisor_plan){
        .set = &u->o.set,
        .routes = u->o.static_dir ? &handlers_routes_files : &handlers_routes,
        .reads_files = u->o.static_dir != NULL,
        .context = &u->context,
        .tls = u->tls,
        .listeners = u->listeners,
        .listener_count = u->listener_count,
        .workers = u->workers,
        .cpus = u->o.pin ? u->cpus : NULL,
        .cpu_count = u->cpu_count,
        .proxy_from = &u->o.proxy_from,
        .sandbox = server_wants_sandbox(u),
        .sandbox_must = u->o.sandbox == OPTIONS_SANDBOX_ON,
        .meter = s->admin.open,
        .access_logs = s->logging ? s->logger.workers : NULL,
        .ops = u->backend.ops,
        .variant = u->backend.variant,
        .automatic = u->backend.automatic,
    };
}

static bool server_same(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

/* The files that are served, and the keys. 0, or -1 with `error`. */
static int server_open_files(struct server_setup *u, char *error)
{
    if (u->o.static_dir && static_dir_init(&u->files, u->o.static_dir, error) < 0)
        return -1;
    if (u->o.tls.pair_count > 0 && tls_context_open(&u->tls, &u->o.tls, error) < 0)
        return -1;
    return 0;
}

/* An option that only a start can change and that has been changed; NULL: there is none. */
static const char *server_needs_restart(const struct options *was, const struct options *o)
{
    if (!server_same(was->user, o->user))
        return "user";
    if (!server_same(was->group, o->group))
        return "group";
    if (was->allow_root != o->allow_root)
        return "allow-root";
    if (strcmp(was->admin.text, o->admin.text) != 0)
        return "admin";
    if (!server_same(was->access_log, o->access_log))
        return "access-log";
    if (was->access_log_format != o->access_log_format)
        return "access-log-format";
    if (o->workers == 0)
        return "workers";
    return NULL;
}

/* Fill the setup of a reload. 0, or -1 with `error`; a line of the log's own may have been enough. */
static int server_read_setup(struct server *s, struct server_setup *u, char *error)
{
    static const struct privdrop nothing_more;
    const char *fixed;

    error[0] = '\0';
    if (options_load(s->argc, s->argv, &u->o, error) < 0)
        return -1;
    fixed = server_needs_restart(&s->now->o, &u->o);
    if (fixed) {
        snprintf(error, OPTIONS_ERROR_MAX, "option --%s is changed by a restart only", fixed);
        return -1;
    }
    server_count_workers(u);
    if (dataset_load(&u->data, u->o.dataset, error) < 0 || server_open_files(u, error) < 0)
        return -1;
    if (!strcmp(s->now->o.backend, u->o.backend))
        u->backend = s->now->backend;
    else if (server_choose_backend(u, &nothing_more) != 0)
        return -1;
    /* What stands behind a colon is a part of the options, which are another copy now. */
    if (u->backend.variant)
        u->backend.variant = strchr(u->o.backend, ':') + 1;
    return server_listen(s, u, error) < 0 ? -1 : 0;
}

/* SIGHUP: supervisor_config.reload. */
static const struct supervisor_plan *server_reload(void *arg)
{
    char error[MAX(MAX(OPTIONS_ERROR_MAX, DATASET_ERROR_MAX),
                   MAX(LISTENER_ERROR_MAX, MAX(STATIC_ERROR_MAX, TLS_ERROR_MAX)))];
    struct server *s = arg;
    struct server_setup *u = server_add_setup(s);

    if (!u) {
        log_error("reload failed: no memory; everything stays as it was");
        return NULL;
    }
    if (server_read_setup(s, u, error) < 0) {
        log_error("reload failed: %s%severything stays as it was", error, error[0] ? "; " : "");
        server_remove_setup(s, u);
        return NULL;
    }
    server_plan(s, u);
    if (s->logging) /* its file, too */
        logger_reopen(&s->logger);
    return &u->plan;
}

static struct server_setup *server_setup_of(struct server *s, const struct supervisor_plan *plan)
{
    struct server_setup *u = s->setups;

    while (u && &u->plan != plan)
        u = u->next;
    return u;
}

static void server_reloaded(void *arg, const struct supervisor_plan *plan,
                            const struct backend_ops *ops, const char *features)
{
    struct server *s = arg;
    const struct server_setup *before = s->now;

    s->now = server_setup_of(s, plan);
    for (unsigned i = 0; i < before->listener_count; i++)
        if (!server_has_listener(s->now, before->listeners[i]))
            server_close_listener(before->listeners[i]);
    log_set_level((enum log_level)s->now->o.log_level);
    server_serves(s, "reloaded, listening", ops, features);
}

static void server_forget(void *arg, const struct supervisor_plan *plan)
{
    struct server *s = arg;

    server_remove_setup(s, server_setup_of(s, plan));
}

/* ---- serving ---- */

static int server_serve(struct server *s)
{
    static const int numbers[] = {SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    struct server_setup *u = s->now;
    struct side *sides[2];
    unsigned side_count = 0;
    sigset_t block, before;

    s->stats = stats_map(s->seats);
    s->board = board_map(s->seats);
    if (!s->stats || !s->board) {
        log_error("no memory for the counters: %s", strerror(errno));
        return 1;
    }
    server_name_listeners(s);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&block);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sigaddset(&block, numbers[i]);
    if (u->workers > 0)
        sigaddset(&block, WORKER_ORPHAN_SIGNAL);
    sigprocmask(SIG_BLOCK, &block, &before);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sigdelset(&before, numbers[i]);
    server_plan(s, u);
    if (s->admin.open) {
        s->admin.view = (struct view){.board = s->board, .stats = s->stats};
        s->admin.backend = u->backend;
        s->admin.sandbox = server_wants_sandbox(u);
        s->admin.sandbox_must = u->o.sandbox == OPTIONS_SANDBOX_ON;
        admin_prepare(&s->admin);
        sides[side_count++] = &s->admin.side;
    }
    if (s->logging)
        sides[side_count++] = &s->logger.side;
    if (u->workers == 0)
        return server_run_with(s, sides, side_count, &before);
    const struct supervisor_config supervisor = {
        .plan = &u->plan,
        .seats = s->seats,
        .stats = s->stats,
        .board = s->board,
        .sides = sides,
        .side_count = side_count,
        .ready = server_ready,
        .report = server_report,
        .reload = server_reload,
        .reloaded = server_reloaded,
        .forget = server_forget,
        .arg = s,
    };
    return supervisor_run(&supervisor, &before);
}

/*
 * Read the keys. From now on nobody but root may look into this process and its children, and they
 * leave no core: proc(5), PR_SET_DUMPABLE. 0, or the exit status.
 */
static int server_read_keys(struct server_setup *u)
{
    char error[TLS_ERROR_MAX];

    if (u->o.tls.pair_count == 0)
        return 0;
    if (tls_context_open(&u->tls, &u->o.tls, error) < 0) {
        log_error("%s", error);
        return 1;
    }
    if (!SERVER_SANITIZED)
        prctl(PR_SET_DUMPABLE, 0);
    return 0;
}

/* All the steps of the start. The exit status. */
static int server_start(struct server *s)
{
    struct server_setup *u = s->now;
    const struct options *o = &u->o;
    char error[MAX(MAX(MAX(DATASET_ERROR_MAX, LOGGER_ERROR_MAX), LISTENER_ERROR_MAX),
                   MAX(PRIVDROP_ERROR_MAX, STATIC_ERROR_MAX))];

    server_raise_fds();
    server_count_workers(u);
    s->seats = u->workers
                   ? MIN(MAX(SERVER_SEATS * u->workers, SERVER_SEATS_MIN), SUPERVISOR_SEATS_MAX)
                   : 1;
    if (o->static_dir && static_dir_init(&u->files, o->static_dir, error) < 0) {
        log_error("--static: %s", error);
        return 1;
    }
    if (dataset_load(&u->data, o->dataset, error) < 0 ||
        privdrop_resolve(&s->priv, o->user, o->group, o->allow_root, error) < 0) {
        log_error("%s", error);
        return 1;
    }
    int status = server_choose_backend(u, &s->priv);
    if (status == 0)
        status = server_read_keys(u);
    if (status != 0)
        return status;
    if (server_listen(s, u, error) < 0) {
        log_error("%s", error);
        return 1;
    }
    if (o->admin.len && admin_open(&s->admin, &o->admin, error) < 0) {
        log_error("--admin: %s", error);
        return 1;
    }
    if (s->admin.open)
        log_notice("the view inside is on %s", s->admin.listener.addr.text);
    if (privdrop_apply(&s->priv, error) < 0) {
        log_error("%s", error);
        return 1;
    }
    if (o->access_log) {
        /* As whoever will open it again after a rotation. */
        if (logger_open(&s->logger, o->access_log, o->access_log_format, s->seats, error) < 0) {
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
    while (s->setups)
        server_remove_setup(s, s->setups);
    admin_close(&s->admin);
    if (s->logging)
        logger_close(&s->logger);
    notify_close();
    board_unmap(s->board);
    if (s->stats)
        stats_unmap(s->stats, s->seats);
}

int server_run(int argc, char **argv, struct options *o)
{
    struct server s = {.argc = argc, .argv = argv};

    log_open();
    log_set_level((enum log_level)o->log_level);
    notify_init();
    s.now = server_add_setup(&s);
    if (!s.now) {
        log_error("no memory");
        return 1;
    }
    s.now->o = *o;
    o->text = NULL;
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
