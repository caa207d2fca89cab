/* SPDX-License-Identifier: MIT */
/*
 * http_process.h - HTTP in one process: set up, taken apart. loop.h runs it.
 */
#ifndef BIVALVE_HTTP_PROCESS_H
#define BIVALVE_HTTP_PROCESS_H

#include "http.h"
#include "http1.h"

/*
 * As loop_init(). What `routes` and `context` point to must outlive it. Add listeners with
 * http1_protocol, then acceptor_start().
 */
int http_init(struct http *h, const struct settings *set, const struct routes *routes,
              const void *context, struct stats *stats, const struct backend_ops *ops,
              const char *variant, uint32_t fds, char *error);

/* No connection is open any more, or the process is about to end. */
void http_destroy(struct http *h);

/* Bring the gauges up to date: at the end, when no iteration does. */
void http_update(struct http *h);

#endif
