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

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "log.h"
#include "notify.h"
#include "server_alone.h"
#include "server_choose.h"
#include "server_log.h"
#include "server_setup.h"
#include "upgrade.h"
#include "worker.h"

/* Seats for each worker of the start, and at least: reloads may come faster than old workers end. */
#define SERVER_SEATS     4
#define SERVER_SEATS_MIN 64

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

/* ---- what the supervisor asks ---- */

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
    struct server *s = arg;

    server_serves(s, "listening", ops, features);
    inherit_tell(&s->inherited);
}

/* SIGHUP: supervisor_config.reload. */
static const struct supervisor_plan *server_reload(void *arg)
{
    char error[MAX(MAX(OPTIONS_ERROR_MAX, DATASET_ERROR_MAX),
                   MAX(LISTENER_ERROR_MAX, MAX(SERVER_FILES_ERROR_MAX, TLS_ERROR_MAX)))];
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

/* SIGUSR2: supervisor_config.upgrade. */
static pid_t server_upgrade(void *arg, const sigset_t *mask, int *word_fd)
{
    struct server *s = arg;
    struct listener *listeners[BACKEND_LISTENERS_MAX + 1];
    unsigned count = s->now->listener_count;

    memcpy(listeners, s->now->listeners, count * sizeof(*listeners));
    if (s->admin.open)
        listeners[count++] = &s->admin.listener;
    const struct upgrade upgrade = {
        .path = s->path, .argv = s->argv, .mask = mask, .listeners = listeners, .count = count};
    return upgrade_start(&upgrade, word_fd);
}

static void server_upgraded(void *arg, pid_t pid)
{
    struct server *s = arg;
    char text[32];

    for (struct server_setup *u = s->setups; u; u = u->next)
        for (unsigned i = 0; i < u->listener_count; i++)
            listener_disown(u->listeners[i]);
    listener_disown(&s->admin.listener);
    snprintf(text, sizeof(text), "MAINPID=%d", (int)pid);
    notify_send(text);
    log_notice("server [%d] serves in the place of this one, which ends", (int)pid);
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
        .upgrade = server_upgrade,
        .upgraded = server_upgraded,
        .late_sides = s->inherited.word_fd >= 0,
        .forget = server_forget,
        .arg = s,
    };
    return supervisor_run(&supervisor, &before);
}

/* In this order: a given socket that is meant for the view is nobody else's. 0, or -1 with `error`. */
static int server_open_sockets(struct server *s, struct server_setup *u, char *error)
{
    char why[ADMIN_ERROR_MAX];

    if (server_listen(s, u, error) < 0)
        return -1;
    if (u->o.admin.len &&
        admin_open(&s->admin, &u->o.admin, u->o.admin_remote, &s->inherited, why) < 0) {
        snprintf(error, LISTENER_ERROR_MAX, "--admin: %.500s", why);
        return -1;
    }
    if (server_listen_rest(s, u, error) < 0)
        return -1;
    inherit_close_rest(&s->inherited);
    return 0;
}

/* All the steps of the start. The exit status. */
static int server_start(struct server *s)
{
    struct server_setup *u = s->now;
    const struct options *o = &u->o;
    char error[MAX(MAX(MAX(DATASET_ERROR_MAX, LOGGER_ERROR_MAX), LISTENER_ERROR_MAX),
                   MAX(PRIVDROP_ERROR_MAX, MAX(SERVER_FILES_ERROR_MAX, TLS_ERROR_MAX)))];

    server_raise_fds();
    server_count_workers(u);
    s->seats = u->workers
                   ? MIN(MAX(SERVER_SEATS * u->workers, SERVER_SEATS_MIN), SUPERVISOR_SEATS_MAX)
                   : 1;
    if (server_open_static(o, &u->files, &u->cache, error) < 0 ||
        dataset_load(&u->data, o->dataset, error) < 0 ||
        privdrop_resolve(&s->priv, o->user, o->group, o->allow_root, error) < 0) {
        log_error("%s", error);
        return 1;
    }
    int status = server_choose_backend(o->backend, &s->priv, &u->backend);
    if (status != 0)
        return status;
    if (server_read_keys(u, NULL, error) < 0 || server_open_sockets(s, u, error) < 0) {
        log_error("%s", error);
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
    inherit_destroy(&s->inherited);
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
    char error[LISTENER_ERROR_MAX];

    log_open();
    log_set_level((enum log_level)o->log_level);
    notify_init();
    upgrade_find(argv[0], s.path);
    if (inherit_init(&s.inherited, error) < 0) {
        log_error("%s", error);
        inherit_destroy(&s.inherited);
        return 1;
    }
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
