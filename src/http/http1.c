/* SPDX-License-Identifier: MIT */
/*
 * http1.c - HTTP/1.1 on a stream: input in, requests parsed and handed to their handlers, responses
 * out in one send a batch.
 *
 * Input is parsed where it lies. What cannot be parsed yet - the head of a request that is not all
 * here, or whatever waits for a handler, for output to drain or for the next iteration - is copied
 * once to a pooled block, and goes on from there.
 *
 * Functions that return bool say whether the connection is still there: after false neither slot
 * nor exchange is touched again.
 */
#include "config.h"

#include "http1.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dispatch.h"
#include "exchange_pool.h"
#include "log.h"
#include "respond.h"
#include "stream.h"
#include "trace.h"
#include "util.h"
#include "watch.h"

/* At the drain an idle client may send one more request, and learn of the end. */
#define HTTP1_DRAIN_GRACE_MS 500

/* Bytes of output that a connection may produce in an iteration before others have their share; the
 * high-water mark where that is more. */
#define HTTP1_SHARE_BYTES 65536

/* slot.timer_kind */
enum http1_timer {
    HTTP1_TIMER_IDLE = STREAM_TIMER_PROTOCOL, /* between requests, and before the first */
    HTTP1_TIMER_HEADER,                       /* a head is too slow */
    HTTP1_TIMER_BODY,                         /* a body is too slow */
    HTTP1_TIMER_LOOK,                         /* look behind an end of input: http1_look_again() */
};

/* Why http1_parse() stopped. */
enum http1_stop {
    HTTP1_NEED_INPUT, /* everything is consumed, but for an incomplete head */
    HTTP1_OUTPUT_FULL,
    HTTP1_SHARE_OVER, /* others come first */
    HTTP1_WAITING,    /* for the handler's resume() */
    HTTP1_ENDING,     /* the last response is written: the rest is not looked at */
    HTTP1_BROKEN,     /* no memory, or a response that cannot be completed: close */
};

/* ---- deadlines ---- */

static void http1_set_idle_timer(struct loop *l, struct slot *s)
{
    uint32_t delay_ms = l->set->idle_timeout_ms;

    if (unlikely(l->draining) && !l->patient && (!delay_ms || delay_ms > HTTP1_DRAIN_GRACE_MS))
        delay_ms = HTTP1_DRAIN_GRACE_MS;
    stream_set_timer(l, s, HTTP1_TIMER_IDLE, delay_ms);
}

/* A head or a body is complete: the next one's time is its own. */
static void http1_timer_over(struct slot *s)
{
    if (s->timer_kind == HTTP1_TIMER_HEADER || s->timer_kind == HTTP1_TIMER_BODY)
        s->timer_kind = HTTP1_TIMER_IDLE;
}

/* Set the deadline that fits what the connection is waiting for. */
static void http1_set_timer(struct loop *l, struct slot *s)
{
    const struct exchange *x = s->exchange;

    /*
     * While a send is in flight its own deadline counts, which is not renewed by what the client
     * sends; after stream_shut_input() that of the end.
     */
    if (s->flags & (STREAM_SENDING | STREAM_SHUT_IN))
        return;
    if (likely(!x) || x->state == EXCHANGE_PRODUCE || (x->state == EXCHANGE_HEAD && !x->started)) {
        http1_set_idle_timer(l, s);
    } else if (x->state == EXCHANGE_HEAD) {
        if (s->timer_kind != HTTP1_TIMER_HEADER) /* counts from the first byte, not the last */
            stream_set_timer(l, s, HTTP1_TIMER_HEADER, l->set->header_timeout_ms);
    } else if (x->state == EXCHANGE_WAIT || x->state == EXCHANGE_PARKED) {
        stream_set_timer(l, s, STREAM_TIMER_NONE, 0); /* the handler's time */
    } else if (!l->set->min_body_rate || s->timer_kind != HTTP1_TIMER_BODY) {
        /* else it is extended by what is received: http1_body_credit() */
        stream_set_timer(l, s, HTTP1_TIMER_BODY, l->set->body_timeout_ms);
    }
}

/*
 * A body that keeps coming at --min-body-rate never times out; one that trickles uses up its
 * allowance.
 */
static void http1_body_credit(struct loop *l, struct slot *s, struct exchange *x, size_t len)
{
    uint64_t credit_ms = x->body_credit_ms + (uint64_t)len * 1000 / l->set->min_body_rate;
    uint64_t ticks = credit_ms / LOOP_TICK_MS;
    uint32_t full = (l->set->body_timeout_ms + LOOP_TICK_MS - 1) / LOOP_TICK_MS + 1;
    uint32_t left = s->timer.deadline - l->timers.now;

    x->body_credit_ms = (uint16_t)(credit_ms % LOOP_TICK_MS);
    if (timer_is_set(&s->timer) && (int32_t)left < (int32_t)full)
        timer_postpone(&s->timer, (uint32_t)MIN(ticks, full - left));
}

/* ---- the end of a request ---- */

/* The response is written, and the body has been read or is not going to be. */
static enum http1_stop http1_done(struct http *h, struct exchange *x)
{
    h->loop.stats->requests++;
    TRACE1(request__end, x);
    if (unlikely(h->watch))
        watch_done(h, x);
    if (!(x->request.flags & REQUEST_KEEP))
        return HTTP1_ENDING;
    exchange_reset(x);
    return HTTP1_NEED_INPUT;
}

/* http1_answered(), apart: where there is more to do than to count, or is no hurry. */
static __attribute__((noinline)) enum http1_stop http1_answered_any(struct http *h,
                                                                    struct exchange *x)
{
    const struct http_parser *p = &x->parser;

    x->request.flags &= (uint16_t)~REQUEST_BEGUN;
    if (!(x->request.flags & REQUEST_BODY))
        return http1_done(h, x);
    /* One that responded while it read: nobody has seen yet whether the rest can be dropped. */
    if ((p->flags & (HTTP_F_CHUNKED | HTTP_F_EXPECT)) || p->left > h->loop.set->max_linger_bytes)
        x->request.flags &= (uint16_t)~REQUEST_KEEP;
    if (!(x->request.flags & REQUEST_KEEP))
        return http1_done(h, x);
    x->state = EXCHANGE_DISCARD;
    return HTTP1_NEED_INPUT;
}

/* The response is written. */
static inline __attribute__((always_inline)) enum http1_stop http1_answered(struct http *h,
                                                                            struct exchange *x)
{
    if (unlikely((x->request.flags & (REQUEST_KEEP | REQUEST_BODY)) != REQUEST_KEEP || h->watch))
        return http1_answered_any(h, x);
    h->loop.stats->requests++;
    TRACE1(request__end, x);
    exchange_reset(x);
    return HTTP1_NEED_INPUT;
}

/* There will be no response, for want of memory or for a fault of the handler's. */
static enum http1_stop http1_fail(struct http *h, struct exchange *x, int err)
{
    if (err == -ENOMEM) {
        h->loop.stats->no_block++;
        log_limited(LOG_LEVEL_WARN, "no memory for a connection's buffers: closing it");
        if (!(x->request.flags & REQUEST_HTTP10))
            x->request.flags &= (uint16_t)~REQUEST_RESPONDED; /* what there is of it goes, too */
    } else {
        h->loop.stats->handler_errors++;
        log_limited(LOG_LEVEL_ERROR, "a request has failed: %s", strerror(-err));
        exchange_cancel(x);
        if (!(x->request.flags & REQUEST_RESPONDED) &&
            request_refuse(&x->request, 500, "the server has failed to answer\n") == HANDLER_DONE)
            return HTTP1_ENDING;
    }
    return HTTP1_BROKEN;
}

/* ---- parsing ---- */

static void http1_count_refusal(struct stats *stats, enum http_error e)
{
    switch (http_error_status(e)) {
    case 414: stats->limit_uri++; break;
    case 413: stats->limit_body++; break;
    case 431:
        if (e == HTTP_ERROR_TRAILER_TOO_LARGE)
            stats->limit_trailer++;
        else
            stats->limit_header++;
        break;
    default: stats->limit_chunk_ext += e == HTTP_ERROR_CHUNK_EXTENSION_TOO_LONG; break;
    }
}

/*
 * The request goes no further: answer with status and line, unless a response has been written or
 * begun, and end the connection.
 */
static enum http1_stop http1_refuse(struct http *h, struct exchange *x, int status,
                                    const char *line)
{
    bool begun = x->request.flags & REQUEST_BEGUN;

    exchange_cancel(x);
    if (x->request.flags & REQUEST_RESPONDED) {
        x->request.flags &= (uint16_t) ~(REQUEST_KEEP | REQUEST_PEER_DONE);
        return begun ? HTTP1_BROKEN : HTTP1_ENDING;
    }
    x->request.flags &= (uint16_t)~REQUEST_PEER_DONE;
    int rc = request_refuse(&x->request, status, line);
    if (rc < 0)
        return http1_fail(h, x, rc);
    if (h->watch)
        watch_refused(h, x, status);
    return HTTP1_ENDING;
}

/* A malformed or oversized request: answer with the parser's reason. */
static enum http1_stop http1_malformed(struct http *h, struct exchange *x)
{
    enum http_error e = x->parser.error;
    char line[128];

    http1_count_refusal(h->loop.stats, e);
    snprintf(line, sizeof(line), "%s\n", http_error_text(e));
    return http1_refuse(h, x, http_error_status(e), line);
}

/* A handler has said that the response is not complete, or will not be. */
static enum http1_stop http1_not_done(struct http *h, struct exchange *x, int next)
{
    switch (next) {
    case HANDLER_MORE: x->state = EXCHANGE_PRODUCE; return HTTP1_NEED_INPUT;
    case HANDLER_WAIT: x->state = EXCHANGE_WAIT; return HTTP1_NEED_INPUT;
    default:
        assert(next < 0); /* HANDLER_CONTINUE at the end of the request */
        return x->parser.error ? http1_malformed(h, x) : http1_fail(h, x, next);
    }
}

/* A handler has said what is next. */
static inline enum http1_stop http1_next(struct http *h, struct exchange *x, int next)
{
    if (next == HANDLER_CONTINUE) {
        if (x->request.flags & REQUEST_BODY) {
            x->state = EXCHANGE_BODY;
            return HTTP1_NEED_INPUT;
        }
        next = x->request.handler->finish(&x->request);
    }
    return likely(next == HANDLER_DONE) ? http1_answered_any(h, x) : http1_not_done(h, x, next);
}

/*
 * Without --max-body-bytes: handlers that do not stream keep a limit, whatever they do with a body.
 * What begin() has said, or an error: the announced body is beyond it, as parser.error has it.
 */
static __attribute__((noinline)) int http1_limit_body(struct exchange *x, int next)
{
    if (next < 0 || next == HANDLER_DONE || x->request.handler->streams ||
        http_limit_body(&x->parser, SETTINGS_BODY_BYTES))
        return next;
    return -EMSGSIZE;
}

/* What few requests need at the end of their head; returns their flags. */
static __attribute__((noinline)) unsigned http1_look(struct http *h, const struct slot *s,
                                                     struct exchange *x, unsigned flags,
                                                     const char *head, size_t len)
{
    if (h->look_from == 0)
        watch_begin(h, x, head, len);
    if (!(flags & REQUEST_KEEP) || s->exchanges != h->loop.set->max_requests)
        return flags;
    h->loop.stats->limit_requests++;
    return flags & ~(unsigned)REQUEST_KEEP;
}

/* What a head that is not the plainest makes of its request. */
static unsigned http1_request_flags(const struct http_parser *p)
{
    unsigned flags = http_keeps_alive(p) ? REQUEST_KEEP : REQUEST_PEER_DONE;

    if (p->flags & HTTP_F_HTTP10)
        flags |= REQUEST_HTTP10;
    if (p->method == HTTP_HEAD)
        flags |= REQUEST_HEAD_ONLY;
    if (p->flags & HTTP_F_BODY)
        flags |= REQUEST_BODY;
    return flags;
}

/* http1_begin() of a request that is not the plainest. */
static __attribute__((noinline)) enum http1_stop
http1_begin_any(struct http *h, struct slot *s, struct exchange *x, const char *head, size_t len)
{
    struct http_parser *p = &x->parser;
    unsigned flags = http1_request_flags(p);

    if (unlikely(s->exchanges >= h->look_from))
        flags = http1_look(h, s, x, flags, head, len);
    x->request.flags = (uint16_t)flags;
    int next = dispatch(x, head, len);
    if (unlikely((p->flags & HTTP_F_BODY) && h->loop.set->max_body_bytes == 0))
        next = http1_limit_body(x, next);
    enum http1_stop stop = http1_next(h, x, next);
    if (unlikely(p->flags & HTTP_F_EXPECT) && x->state == EXCHANGE_BODY && !x->unparsed) {
        if (response_continue(&s->out, &h->loop.out_pool) < 0)
            return http1_fail(h, x, -ENOMEM);
        h->loop.stats->continues++;
    }
    return stop;
}

/* A complete head of `len` bytes. */
static inline enum http1_stop http1_begin(struct http *h, struct slot *s, struct exchange *x,
                                          const char *head, size_t len)
{
    const unsigned odd = HTTP_F_CLOSE | HTTP_F_HTTP10 | HTTP_F_BODY;
    struct request *r = &x->request;

    s->exchanges++;
    TRACE2(request__begin, s, x);
    r->method = x->parser.method;
    if (unlikely((x->parser.flags & odd) || r->method == HTTP_HEAD || s->exchanges >= h->look_from))
        return http1_begin_any(h, s, x, head, len);
    r->flags = REQUEST_KEEP;
    int next = dispatch(x, head, len);
    if (next == HANDLER_CONTINUE)
        next = r->handler->finish(r);
    return likely(next == HANDLER_DONE) ? http1_answered(h, x) : http1_not_done(h, x, next);
}

/* Body bytes at `data`: one step of the parser. *more: it needs bytes that are not here. */
static enum http1_stop http1_body(struct http *h, struct exchange *x, const char *data, size_t len,
                                  size_t *used, bool *more)
{
    const struct handler *handler = x->request.handler;
    const char *piece;
    size_t piece_len;
    enum http_result result =
        http_parse_body(&x->parser, h->loop.set, data, len, used, &piece, &piece_len);

    *more = false;
    x->unparsed = (uint32_t)(len - *used);
    switch (result) {
    case HTTP_READY:
        if (x->state == EXCHANGE_DISCARD || !handler->body)
            return HTTP1_NEED_INPUT;
        return http1_next(h, x, handler->body(&x->request, piece, piece_len));
    case HTTP_DONE:
        x->request.flags &= (uint16_t)~REQUEST_BODY;
        http1_timer_over(x->slot);
        return x->state == EXCHANGE_DISCARD ? http1_done(h, x) : http1_next(h, x, HANDLER_CONTINUE);
    case HTTP_FAIL: return http1_malformed(h, x);
    case HTTP_MORE:
    default: *more = true; return HTTP1_NEED_INPUT;
    }
}

/*
 * A head whose section is not the one that is kept, or that is not all here: its length, or 0: *stop
 * says why.
 */
static __attribute__((noinline)) size_t http1_parse_head(struct http *h, struct slot *s,
                                                         struct exchange *x, const char *data,
                                                         size_t len, size_t *used, bool *more,
                                                         enum http1_stop *stop)
{
    enum http_result r = http_parse_head(&x->parser, h->loop.set, data, len, used);

    if (likely(r == HTTP_READY)) {
        http_section_keep(&h->section, &x->parser, data, *used);
        x->started = false;
        http1_timer_over(s);
        return *used;
    }
    if (r == HTTP_MORE) {
        /* Empty lines alone begin nothing, also where their CR came before. */
        x->started = *used < len;
        *more = true;
        *stop = HTTP1_NEED_INPUT;
        return 0;
    }
    *used = len;
    x->unparsed = 0;
    *stop = http1_malformed(h, x);
    return 0;
}

/* One request's head. *more: it needs bytes that are not here. */
static inline enum http1_stop http1_head(struct http *h, struct slot *s, struct exchange *x,
                                         const char *data, size_t len, size_t *used, bool *more)
{
    size_t n = http_section_head(&x->parser, h->loop.set, &h->section, data, len);

    if (unlikely(n == 0)) {
        enum http1_stop stop;
        n = http1_parse_head(h, s, x, data, len, used, more, &stop);
        if (n == 0)
            return stop;
    }
    *used = n;
    x->unparsed = (uint32_t)(len - n);
    return http1_begin(h, s, x, data, n);
}

/* Is there as much output pending as there may be? */
static inline bool http1_is_full(const struct http *h, const struct slot *s)
{
    const struct buf *tail = s->out.tail;

    if (likely(!tail))
        return false;
    if (unlikely(tail->is_file)) /* one open file a connection, however many requests wait */
        return true;
    if (likely(tail->next == tail))
        return tail->end - tail->start >= loop_output_max(&h->loop);
    return out_pending(&s->out) >= loop_output_max(&h->loop);
}

/*
 * Do all connections together hold so much that one that streams must keep to its own limit? Well
 * before the others are restricted: loop_output_max().
 */
static inline bool http1_holds_much(const struct http *h)
{
    return h->loop.budget.used >= h->loop.budget.max / 2;
}

/* One step of a request whose head has been read: *used bytes of data go with it. */
static enum http1_stop http1_step(struct http *h, struct slot *s, struct exchange *x,
                                  const char *data, size_t len, size_t *used, bool *more)
{
    struct request *r = &x->request;

    *used = 0;
    switch ((enum exchange_state)x->state) {
    case EXCHANGE_BODY:
        /* what is more than can be kept is a large receive, and goes all at once */
        if (r->handler->streams && http1_holds_much(h) && http1_is_full(h, s) &&
            len <= bufpool_capacity(&h->in_pool))
            return HTTP1_OUTPUT_FULL;
        /* fall through */
    case EXCHANGE_DISCARD: return http1_body(h, x, data, len, used, more);
    case EXCHANGE_PRODUCE:
        if (http1_is_full(h, s))
            return HTTP1_OUTPUT_FULL;
        return http1_next(h, x, r->handler->produce(r));
    case EXCHANGE_WAIT:
        if (!x->resumed)
            return HTTP1_WAITING;
        x->resumed = false;
        x->unparsed = (uint32_t)len;
        exchange_wait_no_more(h, &x->wait);
        return http1_next(h, x, r->handler->resume(r));
    case EXCHANGE_HEAD:
    case EXCHANGE_PARKED: break;
    }
    return HTTP1_NEED_INPUT;
}

/*
 * Answer the requests in data[0..len) in order, from *used on, which is then what need not be kept.
 * `*budget` is the connection's share of this iteration, in requests.
 */
static enum http1_stop http1_parse(struct http *h, struct slot *s, struct exchange *x,
                                   const char *data, size_t len, size_t *used, unsigned *budget)
{
    enum http1_stop stop = HTTP1_NEED_INPUT;
    bool more = false;
    size_t off = *used, n;

    while (likely(stop == HTTP1_NEED_INPUT) && !more) {
        if (unlikely(x->state != EXCHANGE_HEAD)) {
            stop = http1_step(h, s, x, data + off, len - off, &n, &more);
            off += n;
        } else if (off == len) {
            break;
        } else if (unlikely(http1_is_full(h, s))) {
            stop = HTTP1_OUTPUT_FULL;
        } else if (unlikely(*budget == 0)) {
            stop = HTTP1_SHARE_OVER;
        } else {
            stop = http1_head(h, s, x, data + off, len - off, &n, &more);
            *budget -= !more;
            off += n;
        }
    }
    *used = off;
    return stop;
}

/* ---- serving ---- */

/* Keep data[used..len) for later: it lies in x->in already, or is copied there. False: no block. */
static bool http1_store(struct http *h, struct exchange *x, const char *data, size_t used,
                        size_t len)
{
    if (x->in && data == x->in->data + x->in->start) {
        x->in->start += (uint32_t)used;
        if (x->in->start == x->in->end) {
            bufpool_put(&h->in_pool, x->in);
            x->in = NULL;
        }
        return true;
    }
    if (likely(used == len))
        return true;
    assert(!x->in);
    x->in = bufpool_get(&h->in_pool);
    if (!x->in)
        return false;
    assert(len - used <= bufpool_capacity(&h->in_pool));
    memcpy(x->in->data, data + used, len - used);
    x->in->end = (uint32_t)(len - used);
    h->loop.stats->tails_stored++;
    return true;
}

/* No response, or half of one, and nothing better to do about it. */
static bool http1_abort(struct http *h, struct slot *s, struct exchange *x)
{
    unsigned flags = x->request.flags;

    if (!(flags & REQUEST_RESPONDED))
        return stream_close(&h->loop, s);
    /* Where the end of the connection is that of the body, it must not look like one. */
    if (flags & REQUEST_HTTP10)
        return stream_reset(&h->loop, s);
    /* Else the client sees by the length or the missing last chunk that it has not got all. */
    exchange_release(h, x);
    return stream_end(&h->loop, s, false);
}

/* The last response is written. */
static bool http1_end(struct http *h, struct slot *s, struct exchange *x, bool unread)
{
    /*
     * A client that said it would send no more, and has not, cannot lose the answer to a reset.
     * Anybody else may have bytes on the way.
     */
    bool peer_done =
        (x->request.flags & (REQUEST_PEER_DONE | REQUEST_BODY)) == REQUEST_PEER_DONE && !unread;

    exchange_release(h, x);
    return stream_end(&h->loop, s, peer_done);
}

/* The client's end of input, and all is sent. */
static bool http1_close_after_eof(struct http *h, struct slot *s)
{
    const struct exchange *x = s->exchange;

    h->loop.stats->eof_mid_request +=
        x && (x->started || x->state == EXCHANGE_BODY || x->state == EXCHANGE_DISCARD);
    return stream_close(&h->loop, s);
}

/*
 * Much of a body is to come: it may come in large pieces, since none of it is kept. What comes behind
 * the body in the same piece has to be no more than can be. Any of them may become output, of which
 * all together stay below what http1_holds_much() says.
 */
static void http1_expect(struct http *h, struct slot *s, const struct exchange *x)
{
    struct loop *l = &h->loop;
    uint32_t usual = l->set->recv_buffer_bytes;

    if (x->state != EXCHANGE_BODY && x->state != EXCHANGE_DISCARD)
        return;
    l->be->recv_room = l->budget.max / 2 - MIN(l->budget.used, l->budget.max / 2);
    if (!x->in && !(x->parser.flags & HTTP_F_CHUNKED) && x->parser.left > usual)
        stream_expect(l, s, (size_t)MIN(x->parser.left, (uint64_t)INT32_MAX) + usual);
}

/* Why it stopped decides what the connection waits for. */
static bool http1_pause(struct http *h, struct slot *s, struct exchange *x, enum http1_stop stop)
{
    struct loop *l = &h->loop;

    switch (stop) {
    case HTTP1_SHARE_OVER:
        l->stats->yields++;
        stream_pause(l, s);
        exchange_enqueue(h, x);
        break;
    case HTTP1_OUTPUT_FULL:
        x->full = true; /* http1_writable() goes on */
        stream_pause(l, s);
        break;
    case HTTP1_WAITING:
        /* Receiving goes on as long as there is room: only so is a client missed that leaves. */
        if (x->in &&
            x->in->end - x->in->start + l->set->recv_buffer_bytes > bufpool_capacity(&h->in_pool))
            stream_pause(l, s);
        else
            stream_resume(l, s);
        exchange_park(h, x);
        break;
    default:
        if (likely(exchange_is_idle(x)))
            exchange_release_idle(h, x);
        else
            http1_expect(h, s, x);
        stream_resume(l, s);
        if (unlikely(s->flags & STREAM_EOF) && out_empty(&s->out))
            return http1_close_after_eof(h, s);
        break;
    }
    http1_set_timer(l, s);
    return true;
}

/*
 * Parse, answer, send, and store what is left. Every batch is one http1_parse() and one
 * stream_flush(), unless a batch's answers exceed the high-water mark and the kernel takes them at
 * once: then it goes on, within its share.
 */
static bool http1_serve(struct http *h, struct slot *s, struct exchange *x, const char *data,
                        size_t len)
{
    struct loop *l = &h->loop;
    uint64_t share = l->stats->bytes_out + HTTP1_SHARE_BYTES;
    unsigned budget = l->set->max_pipeline;
    size_t used = 0;
    enum http1_stop stop;

    for (;;) {
        stop = http1_parse(h, s, x, data, len, &used, &budget);
        if (unlikely(stop == HTTP1_BROKEN))
            return http1_abort(h, s, x);
        if (stop == HTTP1_ENDING)
            return http1_end(h, s, x, used < len);
        if (!stream_flush(l, s))
            return false;
        if (likely(stop != HTTP1_OUTPUT_FULL) || !out_empty(&s->out))
            break;
        if (l->stats->bytes_out >= share) {
            stop = HTTP1_SHARE_OVER;
            break;
        }
    }
    if (unlikely(!http1_store(h, x, data, used, len))) {
        http1_fail(h, x, -ENOMEM);
        return http1_abort(h, s, x);
    }
    return http1_pause(h, s, x, stop);
}

/* Go on with what is stored: unparsed input, a response not wholly written, a wait that is over. */
static void http1_go_on(struct http *h, struct exchange *x)
{
    struct buf *b = x->in;
    struct slot *s = x->slot;

    if (unlikely(h->watch))
        watch_before(h);
    h->loop.current = s;
    if (b)
        http1_serve(h, s, x, b->data + b->start, b->end - b->start);
    else
        http1_serve(h, s, x, "", 0);
    if (unlikely(h->watch))
        watch_after(h, s);
}

/* The same, from the queue. */
static void http1_run(struct http *h, struct exchange *x)
{
    if (x->slot->flags & STREAM_SENDING && !x->resumed)
        x->full = true; /* http1_writable() goes on */
    else
        http1_go_on(h, x);
}

/* Input for an exchange that is under way. */
static void http1_input_more(struct http *h, struct slot *s, struct exchange *x, const char *data,
                             size_t len)
{
    struct buf *b = x->in;

    if (s->timer_kind == HTTP1_TIMER_BODY && h->loop.set->min_body_rate)
        http1_body_credit(&h->loop, s, x, len);
    if (!b) {
        http1_serve(h, s, x, data, len);
        return;
    }
    /* The head that began in an earlier batch goes on behind its beginning. */
    if (b->end + len > bufpool_capacity(&h->in_pool)) {
        memmove(b->data, b->data + b->start, b->end - b->start);
        b->end -= b->start;
        b->start = 0;
    }
    assert(b->end + len <= bufpool_capacity(&h->in_pool));
    memcpy(b->data + b->end, data, len);
    b->end += (uint32_t)len;
    http1_serve(h, s, x, b->data + b->start, b->end - b->start);
}

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
            http1_input_more(h, s, x, data, len);
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
