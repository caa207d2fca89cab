/* SPDX-License-Identifier: MIT */
/*
 * view_status.c - the view inside as JSON.
 */
#include "config.h"

#include <jansson.h>

#include "clock.h"
#include "usage.h"
#include "view.h"

/* Members fail to be set only for want of memory, which json_dumps() notices by their absence. */
static void view_set(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

/* Every counter and level, those that are 0 too. */
static json_t *view_counters(const struct stats *s, const struct backend_ops *ops)
{
    json_t *all = json_object(), *own = json_object();
    struct stats_field f;

    for (size_t i = 0; (f = stats_field(s, i)).name; i++)
        view_set(all, f.name, f.value);
    for (size_t i = 0; ops && ops->counters && ops->counters[i]; i++)
        view_set(own, ops->counters[i], s->backend[i]);
    json_object_set_new(all, "backend", own);
    return all;
}

static json_t *view_worker(const struct view *v, unsigned k, uint64_t now_ms)
{
    const struct board_worker *w = &v->board->worker[k];
    json_t *worker = json_object();
    struct usage usage;

    view_set(worker, "index", k);
    view_set(worker, "pid", (uint64_t)w->pid);
    json_object_set_new(worker, "serving", json_boolean(w->pid && w->serving));
    if (w->pid && now_ms >= w->started_ms)
        json_object_set_new(worker, "uptime_seconds",
                            json_real((double)(now_ms - w->started_ms) / 1000));
    if (w->pid && usage_read(w->pid, &usage)) {
        view_set(worker, "resident_bytes", usage.resident_bytes);
        json_object_set_new(worker, "cpu_seconds", json_real(usage.cpu_s));
    }
    json_object_set_new(worker, "counters", view_counters(&v->stats[k], v->board->ops));
    return worker;
}

char *view_status(const struct view *v)
{
    const struct board *b = v->board;
    const struct backend_ops *ops = b->ops;
    uint64_t now_ms = clock_monotonic_ms();
    json_t *root = json_object(), *workers = json_array();
    struct stats sum = {0};

    json_object_set_new(root, "version", json_string(PACKAGE_VERSION));
    json_object_set_new(root, "state", json_string(board_state_name(b)));
    json_object_set_new(root, "healthy", json_boolean(board_is_healthy(b)));
    view_set(root, "pid", (uint64_t)b->pid);
    view_set(root, "started", (uint64_t)b->started_s);
    json_object_set_new(root, "uptime_seconds", json_real((double)(now_ms - b->started_ms) / 1000));
    json_object_set_new(root, "listeners", json_string(b->listeners));
    json_object_set_new(root, "backend", ops ? json_string(ops->name) : json_null());
    json_object_set_new(root, "features", ops ? json_string(b->features) : json_null());
    view_set(root, "reloads", b->reloads);
    view_set(root, "reload_failures", b->reload_failures);
    view_set(root, "upgrade_failures", b->upgrade_failures);
    for (unsigned k = 0; k < b->used; k++) {
        if (board_shows(b, k))
            json_array_append_new(workers, view_worker(v, k, now_ms));
        stats_add(&sum, &v->stats[k]);
    }
    json_object_set_new(root, "workers", workers);
    json_object_set_new(root, "totals", view_counters(&sum, ops));
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    json_decref(root);
    return text;
}
