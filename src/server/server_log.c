/* SPDX-License-Identifier: MIT */
/*
 * server_log.c - see server_log.h.
 */
#include "config.h"

#include "server_log.h"

#include <stdio.h>
#include <sys/utsname.h>

#include "cpus.h"
#include "log.h"
#include "notify.h"

void server_name_listeners(struct server *s)
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

/* What the number of workers comes from. Returns out. */
static const char *server_cpus(const struct server_setup *u, char *out, size_t out_size)
{
    int len = snprintf(out, out_size, "%s",
                       u->workers == 0  ? "in this process"
                       : server_pins(u) ? "pinned"
                                        : "not pinned");

    if (u->workers == 0 || u->o.workers != OPTIONS_AUTO || !u->cpus)
        return out;
    if (u->quota)
        snprintf(out + len, out_size - (size_t)len, "; auto: CPU quota %lu.%02lu, %u CPUs",
                 u->quota / CPUS_MILLI, u->quota % CPUS_MILLI / 10, u->cpu_count);
    else
        snprintf(out + len, out_size - (size_t)len, "; auto: %u CPU%s, no quota", u->cpu_count,
                 u->cpu_count == 1 ? "" : "s");
    return out;
}

void server_start_line(struct server *s, const char *did, const struct backend_ops *ops,
                       const char *features)
{
    struct utsname kernel;
    char cpus[96];

    server_name_listeners(s);
    if (uname(&kernel) < 0)
        snprintf(kernel.release, sizeof(kernel.release), "unknown");
    log_notice("bivalve %s %s on %s; workers %u (%s), backend %s (%s), kernel %s", PACKAGE_VERSION,
               did, s->board->listeners, s->now->workers, server_cpus(s->now, cpus, sizeof(cpus)),
               ops->name, features, kernel.release);
    notify_send("READY=1");
    if (s->logging) /* its process has it, and will open it again by itself */
        logger_forget(&s->logger);
}

void server_report(void *arg)
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
