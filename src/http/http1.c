/* SPDX-License-Identifier: MIT */
/*
 * http1.c - see http1.h: what the stream reports, and what the loop calls. A connection's input is
 * http1_serve.c's business, one request is http1_request.c's, its deadlines are http1_timer.c's.
 */
#include "config.h"

#include "http1.h"

#include "exchange_pool.h"
#include "http1_request.h"
#include "http1_serve.h"
#include "http1_timer.h"
#include "log.h"
#include "respond.h"
#include "stream.h"
#include "util.h"
#include "watch.h"

/* ---- what the stream reports ---- */

static void http1_open(struct loop *l, struct slot *s)
{
    http1_set_idle_timer(l, s);
}

static void http1_no_exchange(struct loop *l, struct slot *s)
{
    l->stats->no_block++;
    log_limited(LOG_LEVEL_WARN, "no memory for a request: closing its connection");
    stream_close(l, s);
}

static void http1_input(struct loop *l, struct slot *s, const char *data, size_t len)
{
    struct http *h = http_of(l);
    struct exchange *x = s->exchange;

    if (unlikely(x != NULL)) {
        x = exchange_unpark(h, s);
        if (likely(x != NULL)) {
            http1_serve_more(h, s, x, data, len);
            return;
        }
    } else if (likely((x = exchange_get(h, s)) != NULL)) {
        http1_serve(h, s, x, data, len);
        return;
    }
    http1_no_exchange(l, s);
}

/* The same while somebody watches. */
static void http1_input_watched(struct loop *l, struct slot *s, const char *data, size_t len)
{
    watch_before(http_of(l));
    http1_input(l, s, data, len);
    watch_after(http_of(l), s);
}

/*
 * An end of input inside a request may be one that we made ourselves, by stream_shut_input(),
 * between two pieces of it: what comes later can still be read, so look again for as long as a head
 * may take. False: it is the client's end.
 */
static bool http1_look_again(struct loop *l, struct slot *s)
{
    struct exchange *x = s->exchange;
    uint32_t limit_ms = l->set->header_timeout_ms;

    if (!(s->flags & STREAM_SHUT_IN) || !x ||
        !(x->started || x->state == EXCHANGE_BODY || x->state == EXCHANGE_DISCARD) ||
        (limit_ms && (uint64_t)x->looks * LOOP_TICK_MS >= limit_ms) || x->looks == UINT16_MAX)
        return false;
    x->looks++;
    stream_set_timer(l, s, HTTP1_TIMER_LOOK, LOOP_TICK_MS);
    return true;
}

static void http1_eof(struct loop *l, struct slot *s)
{
    struct exchange *x = s->exchange;

    if (x && (x->state == EXCHANGE_WAIT || x->state == EXCHANGE_PARKED)) {
        /* nobody waits any more */
        stream_close(l, s);
        return;
    }
    if (x && (x->started || x->state == EXCHANGE_BODY || x->state == EXCHANGE_DISCARD) &&
        out_empty(&s->out)) {
        if (http1_look_again(l, s))
            return;
        l->stats->eof_mid_request++;
        exchange_release(http_of(l), x);
        stream_end(l, s, false);
        return;
    }
    /* Whoever half-closes after a request still gets the answer. */
    if (out_empty(&s->out) && !(x && (x->state == EXCHANGE_PRODUCE || x->queued)))
        stream_close(l, s);
}

static void http1_writable(struct loop *l, struct slot *s)
{
    struct exchange *x = s->exchange;

    if (unlikely(x != NULL) && !x->queued && (x->full || x->state == EXCHANGE_PRODUCE) &&
        out_pending(&s->out) <= loop_output_max(l) / 2) {
        x->full = false;
        http1_go_on(http_of(l), x);
        return;
    }
    if (unlikely(s->flags & STREAM_EOF) && out_empty(&s->out) &&
        !(x && (x->state == EXCHANGE_PRODUCE || x->queued))) {
        if (!http1_look_again(l, s))
            http1_close_after_eof(http_of(l), s);
        return;
    }
    http1_set_timer(l, s);
}

/* A head or a body that is too slow. */
static void http1_too_slow(struct loop *l, struct slot *s)
{
    struct http *h = http_of(l);
    struct exchange *x = s->exchange;

    if (http1_refuse(h, x, 408, "request not complete in time\n") == HTTP1_ENDING)
        http1_end(h, s, x, true);
    else
        http1_abort(h, s, x);
}

static void http1_timeout(struct loop *l, struct slot *s, unsigned kind)
{
    switch (kind) {
    case HTTP1_TIMER_HEADER:
        l->stats->timeout_header++;
        http1_too_slow(l, s);
        break;
    case HTTP1_TIMER_BODY:
        l->stats->timeout_body++;
        http1_too_slow(l, s);
        break;
    case HTTP1_TIMER_LOOK:
        stream_set_timer(l, s, STREAM_TIMER_LINGER, MAX(l->set->linger_timeout_ms, 1));
        stream_look_again(l, s);
        break;
    default: /* HTTP1_TIMER_IDLE */
        /* A request may lie in the socket, or in the backend's hands, that we have not seen. */
        l->stats->timeout_idle += !l->draining;
        stream_shut_input(l, s);
        break;
    }
}

/*
 * Closing an idle connection now would fail the request that its client may just be sending; so it
 * is given a moment to send one, whose answer says close. http1_timeout() closes it otherwise.
 */
static void http1_drain(struct loop *l, struct slot *s)
{
    const struct exchange *x = s->exchange;

    if ((!x || exchange_is_idle(x)) && out_empty(&s->out))
        http1_set_timer(l, s);
}

static size_t http1_held(const struct loop *l, const struct slot *s)
{
    const struct exchange *x = s->exchange;
    const struct http *h = CONTAINER_OF(l, struct http, loop);

    if (x->state == EXCHANGE_PARKED)
        return h->parked_pool.block_size;
    return (x->state == EXCHANGE_WAIT ? h->exchange_pool.block_size : 0) +
           (x->in ? h->in_pool.block_size : 0);
}

static void http1_gone(struct loop *l, struct slot *s, int err)
{
    (void)err;
    if (s->exchange)
        exchange_abandon(http_of(l), s);
}

static int http1_refuse_plain(struct loop *l, struct slot *s)
{
    static const char line[] = "this port speaks TLS: use https\n";
    const struct response_head head = {.status = 400,
                                       .type = RESPONSE_TEXT,
                                       .has_length = true,
                                       .close = true,
                                       .length = sizeof(line) - 1};

    l->stats->responses_4xx++;
    return response_small(&s->out, &l->out_pool, &l->clock, &head, line, sizeof(line) - 1, false);
}

#define HTTP1_PROTOCOL_(on_input)                                                      \
    {                                                                                  \
        .name = "http/1.1", .open = http1_open, .input = (on_input), .eof = http1_eof, \
        .writable = http1_writable, .timeout = http1_timeout, .drain = http1_drain,    \
        .held = http1_held, .gone = http1_gone, .refuse_plain = http1_refuse_plain,    \
    }

const struct protocol http1_protocol = HTTP1_PROTOCOL_(http1_input);
const struct protocol http1_protocol_watched = HTTP1_PROTOCOL_(http1_input_watched);

/* ---- what the loop calls ---- */

/* An exchange whose turn in the queue it is. */
static void http1_run(struct http *h, struct exchange *x)
{
    if (x->slot->flags & STREAM_SENDING && !x->resumed)
        x->full = true; /* http1_writable() goes on */
    else
        http1_go_on(h, x);
}

static void http1_on_wait_over(void *arg, struct timer *t)
{
    struct http *h = arg;
    struct slot *s = CONTAINER_OF(t, struct exchange, wait)->slot; /* parked or not */
    struct exchange *x = exchange_unpark(h, s);

    if (unlikely(!x)) {
        http1_no_exchange(&h->loop, s);
        return;
    }
    x->resumed = true;
    http1_go_on(h, x);
}

/* Those whose wait is over. Microseconds until the next one's is, -1: there is none. */
static __attribute__((noinline)) int64_t http1_expire_waits(struct http *h)
{
    struct loop *l = &h->loop;

    timer_expire(&h->waits, clock_monotonic_us() / 1000, http1_on_wait_over, h);
    l->stats->waiting = h->waits.armed;
    if (bufpool_has_slack(&h->parked_pool))
        l->trim_pending = true;
    uint64_t now_us = clock_monotonic_us();
    int64_t due_ms = timer_next_ms(&h->waits, now_us / 1000);
    return due_ms <= 0 ? due_ms : due_ms * 1000 - (int64_t)(now_us % 1000);
}

int64_t http1_before_wait(struct loop *l)
{
    struct http *h = http_of(l);
    int64_t due_us = -1;

    if (unlikely(h->run != NULL))
        exchange_run(h, http1_run);
    if (unlikely(h->waits.armed))
        due_us = http1_expire_waits(h);
    return h->run ? 0 : due_us;
}
