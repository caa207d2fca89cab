/* SPDX-License-Identifier: MIT */
/*
 * conn_serve.c - the hot path: input in, requests parsed and routed, responses out in one send a
 * batch.
 *
 * Input is parsed where it lies. What cannot be parsed yet - the head of a request that is not all
 * here, or whatever waits for output to drain or for the next turn - is copied once to a pooled
 * block, and goes on from there.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backend.h"
#include "conn_internal.h"
#include "log.h"
#include "response.h"
#include "route.h"

/*
 * Longest request line without its target: method, version, spaces, CRLF, and a few empty lines
 * before it.
 */
#define CONN_LINE_EXTRA 128

/*
 * What a round of produce() and send() counts for in a connection's share of a turn, in requests.
 */
#define CONN_ROUND_COST 16

size_t conn_input_block_bytes(const struct settings *set)
{
    return util_round_up((size_t)set->max_uri_bytes + set->max_header_bytes + CONN_LINE_EXTRA +
                             set->recv_buffer_bytes,
                         64);
}

/* Why conn_parse() stopped. */
enum conn_stop {
    CONN_NEED_INPUT, /* everything is consumed, but for an incomplete head */
    CONN_OUTPUT_FULL,
    CONN_TURN_OVER,
    CONN_ENDING, /* the last response is written: the rest is not looked at */
    CONN_BROKEN, /* no memory: close */
};

/* For the self-test of the benchmark (--burn-ns): cost a known time. */
static void conn_burn(uint32_t ns)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t end = t.tv_sec * INT64_C(1000000000) + t.tv_nsec + ns;
    do
        clock_gettime(CLOCK_MONOTONIC, &t);
    while (t.tv_sec * INT64_C(1000000000) + t.tv_nsec < end);
}

/* The current request is over and its response is written (or being produced no more). */
static enum conn_stop conn_request_done(struct core *c, struct slot *s)
{
    c->stats->requests++;
    if (unlikely(c->set->burn_ns))
        conn_burn(c->set->burn_ns);
    if (!(s->flags & SLOT_KEEP)) {
        if (s->flags & SLOT_IN_BODY)
            /* answered early: the body may still come, and must not be met by a reset */
            s->lingered++;
        s->flags &= (uint16_t) ~(SLOT_PRODUCING | SLOT_IN_BODY | SLOT_STARTED | SLOT_DISCARD);
        return CONN_ENDING;
    }
    s->flags &=
        (uint16_t) ~(SLOT_PRODUCING | SLOT_IN_BODY | SLOT_STARTED | SLOT_DISCARD | SLOT_FRESH);
    http_parser_init(&s->parser);
    return CONN_NEED_INPUT;
}

/* The message is complete: let the handler answer, unless it has. */
static enum conn_stop conn_request_finish(struct core *c, struct slot *s)
{
    s->flags &= (uint16_t)~SLOT_IN_BODY;
    if (!(s->flags & SLOT_DISCARD)) {
        int rc = route_get(s->route)->finish(c, s);
        if (unlikely(rc < 0))
            return CONN_BROKEN;
        if (rc == ROUTE_MORE) {
            s->flags |= SLOT_PRODUCING;
            return CONN_NEED_INPUT;
        }
    }
    return conn_request_done(c, s);
}

/*
 * The answer ends the connection, and has a body unless its own request is known to be HEAD: the
 * one before does not count.
 */
static void conn_refuse_flags(struct slot *s)
{
    s->flags &= (uint16_t) ~(SLOT_KEEP | SLOT_HEAD_ONLY);
    if (s->parser.method == HTTP_HEAD)
        s->flags |= SLOT_HEAD_ONLY;
}

/* A malformed or oversized request: answer with the parser's reason and end the connection. */
static enum conn_stop conn_request_refuse(struct core *c, struct slot *s)
{
    enum http_error e = s->parser.error;
    int status = http_error_status(e);
    char line[RESPONSE_BODY_MAX];

    switch (status) {
    case 414: c->stats->limit_uri++; break;
    case 413: c->stats->limit_body++; break;
    case 431:
        if (e == HTTP_ERROR_TRAILER_TOO_LARGE)
            c->stats->limit_trailer++;
        else
            c->stats->limit_header++;
        break;
    default: c->stats->limit_chunk_ext += e == HTTP_ERROR_CHUNK_EXTENSION_TOO_LONG; break;
    }
    if (s->flags & SLOT_DISCARD) /* answered before its body went wrong */
        return CONN_ENDING;
    conn_refuse_flags(s);
    size_t len = (size_t)snprintf(line, sizeof(line), "%s\n", http_error_text(e));
    return route_reply_text(c, s, status, line, len) < 0 ? CONN_BROKEN : CONN_ENDING;
}

/*
 * A complete head of `head` bytes: route it. `rest` tells whether more input has already arrived.
 */
static enum conn_stop conn_request_begin(struct core *c, struct slot *s, const char *head,
                                         bool rest)
{
    struct http_parser *p = &s->parser;

    c->more_input = rest;
    s->requests++;
    s->body_credit_ms = 0;
    if (s->timer_kind == TIMER_HEADER || s->timer_kind == TIMER_BODY)
        /* the next request's time is its own: conn_arm_timer() starts afresh */
        s->timer_kind = TIMER_IDLE;
    s->flags &= (uint16_t) ~(SLOT_KEEP | SLOT_HTTP10 | SLOT_HEAD_ONLY | SLOT_STARTED);
    if (http_keeps_alive(p)) {
        s->flags |= SLOT_KEEP;
        if (unlikely(s->requests == c->set->max_requests)) {
            c->stats->limit_requests++;
            s->flags &= (uint16_t)~SLOT_KEEP;
        }
    }
    if (p->flags & HTTP_F_HTTP10)
        s->flags |= SLOT_HTTP10;
    if (p->method == HTTP_HEAD)
        s->flags |= SLOT_HEAD_ONLY;
    if (p->flags & HTTP_F_BODY)
        s->flags |= SLOT_IN_BODY;

    uint32_t target_off = p->target_off, target_len = p->target_len;
    if (p->flags & HTTP_F_BODY)
        p->body_total = 0; /* shares its place with the target */
    int rc = route_begin(c, s, head + target_off, target_len);
    if (unlikely(rc < 0))
        return CONN_BROKEN;
    if (rc == ROUTE_ANSWERED) {
        if ((s->flags & SLOT_IN_BODY) && (s->flags & SLOT_KEEP)) {
            s->flags |= SLOT_DISCARD;
            return CONN_NEED_INPUT;
        }
        return conn_request_done(c, s);
    }
    if (!(s->flags & SLOT_IN_BODY))
        return conn_request_finish(c, s);
    if ((p->flags & HTTP_F_EXPECT) && !rest) {
        if (response_continue(&s->out, &c->out_pool) < 0)
            return CONN_BROKEN;
        c->stats->continues++;
    }
    return CONN_NEED_INPUT;
}

/* Body bytes at `data`: one step of the parser. *more: it needs bytes that are not here. */
static enum conn_stop conn_request_body(struct core *c, struct slot *s, const char *data,
                                        size_t len, size_t *used, bool *more)
{
    const char *piece;
    size_t piece_len;
    enum http_result result =
        http_parse_body(&s->parser, c->set, data, len, used, &piece, &piece_len);

    *more = false;
    c->more_input = *used < len;
    switch (result) {
    case HTTP_READY:
        if (!(s->flags & SLOT_DISCARD) && route_get(s->route)->body)
            route_get(s->route)->body(s, piece, piece_len);
        return CONN_NEED_INPUT;
    case HTTP_DONE: return conn_request_finish(c, s);
    case HTTP_FAIL: return conn_request_refuse(c, s);
    case HTTP_MORE:
    default: *more = true; return CONN_NEED_INPUT;
    }
}

/*
 * Answer the requests in data[0..len) in order. *used is what need not be kept. `*budget` is the
 * connection's share of this turn, in requests.
 */
static enum conn_stop conn_parse(struct core *c, struct slot *s, const char *data, size_t len,
                                 size_t *used, unsigned *budget)
{
    enum conn_stop stop = CONN_NEED_INPUT;
    size_t off = *used, n;

    while (stop == CONN_NEED_INPUT) {
        if (unlikely(s->flags & SLOT_PRODUCING)) {
            if (out_pending(&s->out) >= c->set->max_output_bytes) {
                stop = CONN_OUTPUT_FULL;
                break;
            }
            int rc = route_get(s->route)->produce(c, s);
            if (rc < 0)
                stop = CONN_BROKEN;
            else if (rc != ROUTE_MORE)
                stop = conn_request_done(c, s);
            continue;
        }
        if (s->flags & SLOT_IN_BODY) {
            bool more;
            stop = conn_request_body(c, s, data + off, len - off, &n, &more);
            off += n;
            if (more)
                break;
            continue;
        }
        if (off == len)
            break;
        if (out_pending(&s->out) >= c->set->max_output_bytes) {
            stop = CONN_OUTPUT_FULL;
            break;
        }
        if (*budget == 0) {
            stop = CONN_TURN_OVER;
            break;
        }
        enum http_result r = http_parse_head(&s->parser, c->set, data + off, len - off, &n);
        if (likely(r == HTTP_READY)) {
            (*budget)--;
            off += n;
            stop = conn_request_begin(c, s, data + off - n, off < len);
        } else if (r == HTTP_MORE) {
            off += n;
            if (off < len)
                s->flags |= SLOT_STARTED;
            else /* empty lines alone, which begin nothing, also where their CR came before */
                s->flags &= (uint16_t)~SLOT_STARTED;
            break;
        } else {
            (*budget)--;
            off = len;
            s->lingered++; /* whatever the client is doing, it has not finished */
            stop = conn_request_refuse(c, s);
        }
    }
    *used = off;
    return stop;
}

bool conn_flush(struct core *c, int fd)
{
    struct slot *s = slot_get(&c->slots, fd);
    char *data;
    size_t len;

    if (s->flags & SLOT_SENDING) {
        s->flags |= SLOT_BEHIND;
        return true;
    }
    while ((len = out_peek(&s->out, &data)) > 0) {
        int rc = c->be->ops->send(c->be, fd, data, len);
        if (rc == IO_PENDING) {
            s->flags |= SLOT_SENDING;
            timer_set(&c->timers, fd, TIMER_WRITE, c->clock.now_ms, c->set->write_timeout_ms);
            return true;
        }
        if (unlikely(rc <= 0)) {
            c->stats->resets++;
            return conn_close(c, fd);
        }
        if ((size_t)rc < len)
            c->stats->short_sends++;
        c->stats->bytes_out += (uint64_t)rc;
        out_consume(&s->out, &c->out_pool, (size_t)rc);
    }
    return s->state == SLOT_LAST ? conn_end(c, fd) : true;
}

static void conn_recv_off(struct core *c, int fd, struct slot *s)
{
    if (s->flags & (SLOT_PAUSED | SLOT_EOF))
        return;
    s->flags |= SLOT_PAUSED;
    c->stats->paused++;
    c->be->ops->recv_ctl(c->be, fd, false);
}

static void conn_recv_on(struct core *c, int fd, struct slot *s)
{
    if (!(s->flags & SLOT_PAUSED))
        return;
    s->flags &= (uint16_t)~SLOT_PAUSED;
    if (!(s->flags & SLOT_EOF))
        c->be->ops->recv_ctl(c->be, fd, true);
}

/* Keep data[used..len) for later: it lies in s->in already, or is copied there. False: no block. */
static bool conn_store(struct core *c, struct slot *s, const char *data, size_t used, size_t len)
{
    if (s->in && data == s->in->data + s->in->start) {
        s->in->start += (uint32_t)used;
        if (s->in->start == s->in->end) {
            bufpool_put(&c->in_pool, s->in);
            s->in = NULL;
        }
        return true;
    }
    if (used == len)
        return true;
    assert(!s->in);
    s->in = bufpool_get(&c->in_pool);
    if (!s->in)
        return false;
    assert(len - used <= bufpool_capacity(&c->in_pool));
    memcpy(s->in->data, data + used, len - used);
    s->in->end = (uint32_t)(len - used);
    c->stats->tails_stored++;
    return true;
}

static bool conn_out_of_blocks(struct core *c, int fd)
{
    c->stats->no_block++;
    log_limited(LOG_LEVEL_WARN, "no memory for a connection's buffers: closing it");
    return conn_close(c, fd);
}

/*
 * Parse, answer, send, and store what is left. Every batch is one conn_parse() and one
 * conn_flush(), unless a batch's answers exceed the high-water mark and the kernel takes them at
 * once: then it goes on, within the budget.
 */
static bool conn_serve(struct core *c, int fd, const char *data, size_t len)
{
    struct slot *s = slot_get(&c->slots, fd);
    unsigned budget = c->set->max_pipeline;
    size_t used = 0;
    enum conn_stop stop;

    for (;;) {
        stop = conn_parse(c, s, data, len, &used, &budget);
        if (unlikely(stop == CONN_BROKEN))
            return conn_out_of_blocks(c, fd);
        if (stop == CONN_ENDING) {
            s->state = SLOT_LAST;
            if (used < len)
                s->lingered++; /* the client goes on: it must not be reset */
            if (s->in && data == s->in->data + s->in->start) {
                bufpool_put(&c->in_pool, s->in);
                s->in = NULL;
            }
            return conn_end(c, fd);
        }
        if (!conn_flush(c, fd))
            return false;
        if (stop != CONN_OUTPUT_FULL || !out_empty(&s->out))
            break;
        if (budget < CONN_ROUND_COST) {
            stop = CONN_TURN_OVER;
            break;
        }
        budget -= CONN_ROUND_COST;
    }

    if (!conn_store(c, s, data, used, len))
        return conn_out_of_blocks(c, fd);
    if (stop == CONN_TURN_OVER) {
        c->stats->yields++;
        conn_recv_off(c, fd, s);
        conn_enqueue(c, fd);
    } else if (stop == CONN_OUTPUT_FULL) {
        conn_recv_off(c, fd, s); /* conn_on_sent() goes on */
    } else {
        conn_recv_on(c, fd, s);
        if (unlikely(s->flags & SLOT_EOF) && out_empty(&s->out)) {
            if (s->flags & (SLOT_STARTED | SLOT_IN_BODY)) {
                c->stats->eof_mid_request++;
                s->state = SLOT_LAST;
            }
            return conn_close(c, fd);
        }
    }
    conn_arm_timer(c, fd);
    return true;
}

/*
 * A body that keeps coming at --min-body-rate never times out; one that trickles uses up its
 * allowance.
 */
static void conn_body_credit(struct core *c, struct slot *s, size_t len)
{
    uint64_t credit_ms = s->body_credit_ms + (uint64_t)len * 1000 / c->set->min_body_rate;
    uint64_t ticks = credit_ms / TIMER_TICK_MS;
    uint32_t full = (c->set->body_timeout_ms + TIMER_TICK_MS - 1) / TIMER_TICK_MS + 1;
    uint32_t left = s->deadline - c->timers.now;

    s->body_credit_ms = (uint16_t)(credit_ms % TIMER_TICK_MS);
    if ((int32_t)left < (int32_t)full)
        /* only ever later: one store, as timer.h allows */
        s->deadline += (uint32_t)MIN(ticks, full - left);
}

bool conn_serve_input(struct core *c, int fd, const char *data, size_t len)
{
    struct slot *s = slot_get(&c->slots, fd);

    if (s->timer_kind == TIMER_BODY && c->set->min_body_rate)
        conn_body_credit(c, s, len);
    if (likely(!s->in))
        return conn_serve(c, fd, data, len);

    /* The head that began in an earlier batch goes on behind its beginning. */
    struct buf *b = s->in;
    if (b->end + len > bufpool_capacity(&c->in_pool)) {
        memmove(b->data, b->data + b->start, b->end - b->start);
        b->end -= b->start;
        b->start = 0;
    }
    assert(b->end + len <= bufpool_capacity(&c->in_pool));
    memcpy(b->data + b->end, data, len);
    b->end += (uint32_t)len;
    return conn_serve(c, fd, b->data + b->start, b->end - b->start);
}

bool conn_serve_stored(struct core *c, int fd)
{
    struct buf *b = slot_get(&c->slots, fd)->in;

    return b ? conn_serve(c, fd, b->data + b->start, b->end - b->start) : conn_serve(c, fd, "", 0);
}

bool conn_serve_timeout(struct core *c, int fd)
{
    static const char text[] = "request not complete in time\n";
    struct slot *s = slot_get(&c->slots, fd);

    s->lingered++;
    conn_refuse_flags(s);
    if (!(s->flags & SLOT_DISCARD) && route_reply_text(c, s, 408, text, sizeof(text) - 1) < 0)
        return conn_out_of_blocks(c, fd);
    s->state = SLOT_LAST;
    return conn_end(c, fd);
}
