/* SPDX-License-Identifier: MIT */
/*
 * supervisor_process.c - see supervisor_process.h.
 */
#include "config.h"

#include "supervisor_process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cpus.h"
#include "http1.h"
#include "log.h"
#include "notify.h"
#include "signals.h"
#include "sys.h"
#include "tls.h"

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
    int rc = cpus_pin(cpu);
    if (rc < 0)
        log_warn("%s: cannot be pinned to CPU %d: %s", name, cpu, strerror(-rc));
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

void supervisor_close_listeners(struct supervisor *s)
{
    const struct supervisor_plan *plan;

    for (size_t g = 0; (plan = supervisor_plan(s, g)); g++)
        for (unsigned i = 0; i < plan->listener_count; i++)
            listener_close(plan->listeners[i]);
}

void supervisor_forget_tickets(struct supervisor *s)
{
    const struct supervisor_plan *plan;

    for (size_t g = 0; (plan = supervisor_plan(s, g)); g++)
        tls_context_forget(plan->tls);
}

/* What is the supervisor's only: for every process that it starts. */
static void supervisor_leave(struct supervisor *s)
{
    signals_release();
    if (s->upgrade.word_fd >= 0)
        close(s->upgrade.word_fd);
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

int supervisor_be_worker(struct supervisor *s, unsigned k, pid_t parent, int report_fd)
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
    sys_on_orphaned(WORKER_ORPHAN_SIGNAL);
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
        .parent = parent,
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

void supervisor_leave_as_side(void *arg)
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
