/* SPDX-License-Identifier: MIT */
/*
 * load_lifetime.c - see load_client.h: a client put together, started, taken apart.
 */
#include "config.h"

#include "load_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accept.h"
#include "load_client_internal.h"
#include "loop.h"
#include "stream_tls.h"

#define CLIENT_OUTPUT_BLOCK_MAX 16256 /* with its header a block is 16 KiB */
#define CLIENT_PIECE_MIN        256   /* bytes of one receive with --read-rate */
#define CLIENT_FDS              64    /* that are not connections */

static size_t client_trim(struct loop *l, bool *pending)
{
    (void)l;
    *pending = false;
    return 0;
}

static int client_make_conns(struct load_client *c)
{
    c->conn_size = util_round_up(sizeof(struct load_conn) + c->depth * sizeof(struct load_flight),
                                 sizeof(void *));
    c->conns = calloc(client_conns(c), c->conn_size);
    c->matches = calloc(c->plan.requests->count, sizeof(*c->matches));
    if (!c->conns || !c->matches)
        return -ENOMEM;
    for (uint32_t i = c->plan.connections; i < client_conns(c); i++)
        client_conn(c, i)->flags = CONN_IDLE;
    if (c->plan.options->same_body) {
        c->crcs = calloc(client_conns(c), sizeof(*c->crcs));
        c->sums = calloc(c->plan.requests->count, sizeof(*c->sums));
        if (!c->crcs || !c->sums)
            return -ENOMEM;
    }
    c->waiting = (struct load_list){.first = LOAD_NOBODY, .link = 0};
    c->free = (struct load_list){.first = LOAD_NOBODY, .link = 1};
    return 0;
}

int load_client_init(struct load_client *c, const struct load_plan *plan,
                     const struct backend_ops *ops, const char *variant, struct stats *stats,
                     struct load_results *results, char *error)
{
    static struct settings set;
    static struct loop_hooks hooks = {.before_wait = client_before_wait, .trim = client_trim};
    size_t block = MIN(plan->requests->longest * plan->options->pipeline, CLIENT_OUTPUT_BLOCK_MAX);

    memset(c, 0, sizeof(*c));
    c->plan = *plan;
    c->results = results;
    c->stats = stats;
    c->depth = (uint16_t)plan->options->pipeline;
    c->prng.state = ~plan->seed; /* the schedule has the other */
    if (plan->options->random_query && plan->requests->longest > CLIENT_OUTPUT_BLOCK_MAX) {
        snprintf(error, BACKEND_TEXT_MAX, "with --random-query a request has at most %d bytes",
                 CLIENT_OUTPUT_BLOCK_MAX);
        return -EINVAL;
    }
    if (client_make_conns(c) < 0) {
        snprintf(error, BACKEND_TEXT_MAX, "out of memory for %u connections", client_conns(c));
        load_client_destroy(c);
        return -ENOMEM;
    }
    settings_init(&set);
    set.max_buffer_bytes = UINT64_MAX;
    set.write_timeout_ms = (uint32_t)(plan->options->timeout_us / 1000 + 1);
    if (plan->options->read_rate) /* pieces of what a connection reads in a tick */
        set.recv_buffer_bytes = (uint32_t)MAX(
            MIN(plan->options->read_rate * LOOP_TICK_MS / 1000, set.recv_buffer_bytes),
            CLIENT_PIECE_MIN);
    set.header_timeout_ms = set.write_timeout_ms; /* of a handshake of TLS */
    hooks.output_block_bytes = util_round_up(MAX(block, 256), 64);
    if (hooks.output_block_bytes > CLIENT_OUTPUT_BLOCK_MAX)
        hooks.output_block_bytes = CLIENT_OUTPUT_BLOCK_MAX;
    int rc = loop_init(&c->loop, &set, &hooks, stats, ops, variant,
                       client_conns(c) + 2 * CLIENT_FDS, error);
    if (rc < 0) {
        load_client_destroy(c);
        return rc;
    }
    acceptor_add(&c->loop, &(struct accept_listener){
                               .text = plan->target->text,
                               .protocol = &client_protocol,
                               .fd = -1,
                               .unix_socket = plan->target->addr.u.sa.sa_family == AF_UNIX,
                               .tls = plan->tls != NULL});
    rc = tls_streams_open(&c->loop, plan->tls);
    if (rc < 0) {
        snprintf(error, BACKEND_TEXT_MAX, "out of memory for TLS");
        load_client_destroy(c);
    }
    return rc;
}

void load_client_gather(struct load_client *c)
{
    c->gathering = c->plan.idle > 0;
    c->zero_us = 0;
    c->zero_us = load_client_now(c) - 1000000;
    c->gathered_us = load_client_now(c);
    c->start_us = c->measure_us = c->end_us = CLIENT_NEVER;
    c->quota_left = UINT64_MAX;
    for (uint32_t i = c->plan.connections; i < client_conns(c); i++)
        client_list_push(c, &c->waiting, client_conn(c, i));
}

int load_client_gathered(struct load_client *c)
{
    if (c->results->idle >= c->plan.idle)
        return 1;
    return load_client_now(c) > c->gathered_us + c->plan.options->timeout_us ? -ETIMEDOUT : 0;
}

/* What has been counted of the idle connections' beginning is no part of the load. */
static void client_forget_gathering(struct load_client *c)
{
    struct load_results *r = c->results;

    c->gathering = false;
    c->backoff_us = c->connect_at_us = c->tried_us = 0;
    c->request = 0;
    r->status_2xx = r->status_3xx = r->status_4xx = r->status_5xx = 0;
    r->matched = r->connects = r->resent = r->ports_used_up = 0;
    memset(r->failures, 0, sizeof(r->failures));
    memset(r->first, 0, sizeof(r->first));
}

void load_client_start(struct load_client *c, uint64_t start_us)
{
    client_forget_gathering(c);
    c->zero_us = start_us - 1000000; /* so that no time of the client is 0 */
    c->start_us = 1000000;
    c->measure_us = c->start_us + c->plan.warmup_us;
    c->end_us = c->plan.by_count ? CLIENT_NEVER : c->measure_us + c->plan.duration_us;
    c->quota_left = c->plan.by_count ? c->plan.quota : UINT64_MAX;
    c->last_us = c->start_us;
    if (!client_is_open_loop(c)) {
        if (load_turns_some(&c->plan.options->turns))
            client_set_turn(c, c->start_us);
        return;
    }
    c->warming = c->plan.warmup_us > 0;
    client_set_schedule(c, c->start_us, c->warming ? c->plan.rate_from : c->plan.rate_to);
}

void load_client_stop(struct load_client *c)
{
    uint64_t now = load_client_now(c);

    if (c->stopped)
        return;
    c->stopped = true;
    c->end_us = MIN(c->end_us, now);
}

void load_client_destroy(struct load_client *c)
{
    if (c->loop.be) {
        loop_destroy(&c->loop);
        tls_streams_close(&c->loop);
    }
    for (uint32_t i = 0; c->matches && i < c->plan.requests->count; i++)
        load_match_free(&c->matches[i]);
    free(c->matches);
    free(c->crcs);
    free(c->sums);
    free(c->conns);
    memset(c, 0, sizeof(*c));
}
