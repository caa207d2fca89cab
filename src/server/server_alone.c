/* SPDX-License-Identifier: MIT */
/*
 * server_alone.c - see server_alone.h.
 */
#include "config.h"

#include "server_alone.h"

#include <string.h>
#include <unistd.h>

#include "http1.h"
#include "log.h"
#include "notify.h"
#include "server_log.h"
#include "worker.h"

#define SERVER_SIDE_MS 1000 /* what a process beside the only one has for its end */

static int server_ready_alone(void *arg, const char *features)
{
    struct server *s = arg;

    s->ready = true;
    inherit_tell(&s->inherited);
    s->board->worker[0] =
        (struct board_worker){.pid = getpid(), .serving = true, .started_ms = s->board->started_ms};
    s->board->workers = s->board->used = 1;
    board_set_serving(s->board, s->now->backend.ops, features);
    server_start_line(s, "listening", s->now->backend.ops, features);
    return 0;
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
            .beat_ms = notify_watchdog_ms() / 2,
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
int server_run_with(struct server *s, struct side **sides, unsigned count, const sigset_t *mask)
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
