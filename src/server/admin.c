/* SPDX-License-Identifier: MIT */
/*
 * admin.c - see admin.h.
 */
#include "config.h"

#include "admin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http1.h"
#include "log.h"
#include "worker.h"

/* Whoever scrapes needs a connection or two; there is no use for more. */
#define ADMIN_CONNECTIONS_MAX 64
#define ADMIN_BUFFER_BYTES    (8u << 20)
#define ADMIN_DRAIN_MS        100 /* whoever is idle has no answer to lose */

int admin_open(struct admin *a, const struct listener_addr *addr, bool remote,
               struct inherited *inherited, char *error)
{
    int rc;
    struct listener *open = inherit_listener(inherited, addr, &rc, error);

    if (open) { /* a struct of its own, but no more */
        a->listener = *open;
        free(open);
    } else if (rc == 0 && addr->named) {
        snprintf(error, ADMIN_ERROR_MAX, "%s: no socket of that name was handed over", addr->text);
        rc = -ENOENT;
    } else if (rc == 0) {
        rc = listener_open(&a->listener, addr, 1, error);
    }
    a->open = rc == 0;
    if (a->open && !remote && !listener_is_local(&a->listener.addr)) {
        snprintf(error, ADMIN_ERROR_MAX,
                 "%s is no loopback address, and whoever reaches it sees all of the server; "
                 "--admin-remote insists",
                 a->listener.addr.text);
        admin_close(a);
        rc = -EPERM;
    }
    return rc;
}

void admin_close(struct admin *a)
{
    if (!a->open)
        return;
    listener_unlink(&a->listener); /* if it cannot be, it is replaced at the next start */
    listener_destroy(&a->listener);
    a->open = false;
}

static int admin_ready(void *arg, const char *features)
{
    (void)arg;
    (void)features;
    return 0;
}

/* As long as it takes to find a backend that starts. The exit status. */
static int admin_run(void *arg, const sigset_t *mask)
{
    struct admin *a = arg;
    struct settings set;
    struct stats stats = {0};
    char error[WORKER_ERROR_MAX];

    settings_init(&set);
    set.max_connections = ADMIN_CONNECTIONS_MAX;
    set.max_buffer_bytes = ADMIN_BUFFER_BYTES;
    set.max_body_bytes = 1; /* who sends one is refused anyway */
    set.drain_timeout_ms = ADMIN_DRAIN_MS;
    while (a->backend.ops) {
        struct accept_listener listener = {
            .fd = listener_fd(&a->listener, 0),
            .text = a->listener.addr.text,
            .protocol = &http1_protocol,
            .unix_socket = a->listener.addr.unix_socket,
        };
        const struct worker_config worker = {
            .name = a->side.name,
            .set = &set,
            .routes = &view_routes,
            .context = &a->view,
            .stats = &stats,
            .ops = a->backend.ops,
            .variant = a->backend.variant,
            .listeners = &listener,
            .listener_count = 1,
            .sandbox = a->sandbox,
            .sandbox_must = a->sandbox_must,
            .parent = a->view.board->pid,
            .reads_files = true, /* /proc/PID/stat of the workers */
            .mask = mask,
            .ready = admin_ready,
        };
        if (worker_run(&worker, error) == 0)
            return 0;
        log_error("%s: %s", a->side.name, error);
        a->backend.ops = a->backend.automatic ? registry_fallback(a->backend.ops) : NULL;
        a->backend.variant = NULL;
    }
    return 1;
}

static void admin_forget(void *arg)
{
    struct admin *a = arg;

    listener_close(&a->listener);
}

void admin_prepare(struct admin *a)
{
    a->side = (struct side){.name = "bivalve-admin",
                            .run = admin_run,
                            .forget = admin_forget,
                            .arg = a,
                            .yields = true};
}
