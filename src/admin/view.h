/* SPDX-License-Identifier: MIT */
/*
 * view.h - the server as the view inside shows it: what the supervisor knows and the workers count,
 * as text for Prometheus and as JSON.
 */
#ifndef BIVALVE_VIEW_H
#define BIVALVE_VIEW_H

#include "board.h"
#include "request.h"
#include "stats.h"
#include "text.h"

/* What there is to see; outlives the process that shows it. The context of view_routes. */
struct view {
    const struct board *board;
    const struct stats *stats; /* one block for each of its seats */
};

/*
 * Everything in the text format of Prometheus
 * (https://prometheus.io/docs/instrumenting/exposition_formats/), version 0.0.4. Check t->failed.
 */
void view_metrics(const struct view *v, struct text *t);

/*
 * The same as JSON, indented, to be freed by free(); NULL: no memory. doc/operating.md has its
 * members.
 */
char *view_status(const struct view *v);

/* GET /metrics, /healthz, /status. */
extern const struct routes view_routes;

#endif
