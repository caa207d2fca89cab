/* SPDX-License-Identifier: MIT */
/*
 * http_process.c - what HTTP has in a process, put together and taken apart.
 */
#include "config.h"

#include "http_process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "loop.h"

/*
 * Longest request line without its target: method, version, spaces, CRLF, and a few empty lines
 * before it.
 */
#define HTTP_LINE_EXTRA 128

#define HTTP_OUTPUT_BLOCK_BYTES 16256 /* with its header a block is 16 KiB */

/* Bytes a block of stored input must hold: the longest head plus one receive. */
static size_t http_input_block_bytes(const struct settings *set)
{
    return util_round_up((size_t)set->max_uri_bytes + set->max_header_bytes + HTTP_LINE_EXTRA +
                             set->recv_buffer_bytes,
                         64);
}

static size_t http_trim(struct loop *l, bool *pending)
{
    struct http *h = http_of(l);
    size_t bytes =
        bufpool_trim(&h->in_pool) + bufpool_trim(&h->exchange_pool) + bufpool_trim(&h->parked_pool);

    *pending = bufpool_trimmable(&h->in_pool) || bufpool_trimmable(&h->exchange_pool) ||
               bufpool_trimmable(&h->parked_pool);
    l->trim_again = h->routes->trim && h->routes->trim(h->context, l->clock.now_ms, l->stats);
    return bytes;
}

static inline void http_gauges(struct http *h)
{
    struct stats *stats = h->loop.stats;

    stats->blocks_used = h->in_pool.used + h->loop.out_pool.used + h->loop.sent_pool.used;
    stats->block_bytes = h->in_pool.mapped + h->loop.out_pool.mapped + h->loop.sent_pool.mapped +
                         h->exchange_pool.mapped + h->parked_pool.mapped;
}

void http_update(struct http *h)
{
    loop_update(&h->loop);
    http_gauges(h);
}

static int64_t http_before_wait(struct loop *l)
{
    struct http *h = http_of(l);

    if (unlikely(bufpool_has_slack(&h->in_pool) || bufpool_has_slack(&h->exchange_pool)))
        l->trim_pending = true;
    int64_t due_us = http1_before_wait(l);
    http_gauges(h);
    return due_us;
}

int http_init(struct http *h, const struct settings *set, const struct routes *routes,
              const void *context, struct stats *stats, const struct backend_ops *ops,
              const char *variant, uint32_t fds, char *error)
{
    static const struct loop_hooks hooks = {.output_block_bytes = HTTP_OUTPUT_BLOCK_BYTES,
                                            .before_wait = http_before_wait,
                                            .trim = http_trim};

    memset(h, 0, sizeof(*h));
    int rc = loop_init(&h->loop, set, &hooks, stats, ops, variant, fds, error);
    if (rc < 0)
        return rc;
    h->routes = routes;
    h->context = context;
    h->look_from = set->max_requests ? set->max_requests : UINT32_MAX;
    h->run_tail = &h->run;
    bufpool_init(&h->in_pool, http_input_block_bytes(set), &h->loop.budget);
    bufpool_init(&h->exchange_pool, sizeof(struct exchange), &h->loop.budget);
    bufpool_init(&h->parked_pool, sizeof(struct parked), &h->loop.budget);
    timer_wheel_init(&h->waits, 0, clock_monotonic_ms());
    return 0;
}

void http_destroy(struct http *h)
{
    loop_destroy(&h->loop);
    bufpool_destroy(&h->in_pool);
    bufpool_destroy(&h->exchange_pool);
    bufpool_destroy(&h->parked_pool);
}
