/* SPDX-License-Identifier: MIT */
/*
 * http1_serve.c - see http1_serve.h.
 *
 * Input is parsed where it lies. What cannot be parsed yet - the head of a request that is not all
 * here, or whatever waits for a handler, for output to drain or for the next iteration - is copied
 * once to a pooled block, and goes on from there.
 */
#include "config.h"

#include "http1_serve.h"

#include <errno.h>
#include <string.h>

#include "exchange_pool.h"
#include "http1_request.h"
#include "http1_timer.h"
#include "util.h"
#include "watch.h"

/* Bytes of output that a connection may produce in an iteration before others have their share; the
 * high-water mark where that is more. */
#define HTTP1_SHARE_BYTES 65536

/* ---- the requests of a batch ---- */

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

/* ---- the end of a connection ---- */

void http1_abort(struct http *h, struct slot *s, struct exchange *x)
{
    unsigned flags = x->request.flags;

    if (!(flags & REQUEST_RESPONDED)) {
        stream_close(&h->loop, s);
    } else if (flags & REQUEST_HTTP10) {
        /* Where the end of the connection is that of the body, it must not look like one. */
        stream_reset(&h->loop, s);
    } else {
        /* Else the client sees by the length or the missing last chunk that it has not got all. */
        exchange_release(h, x);
        stream_end(&h->loop, s, false);
    }
}

void http1_end(struct http *h, struct slot *s, struct exchange *x, bool unread)
{
    /*
     * A client that said it would send no more, and has not, cannot lose the answer to a reset.
     * Anybody else may have bytes on the way.
     */
    bool peer_done =
        (x->request.flags & (REQUEST_PEER_DONE | REQUEST_BODY)) == REQUEST_PEER_DONE && !unread;

    exchange_release(h, x);
    stream_end(&h->loop, s, peer_done);
}

void http1_close_after_eof(struct http *h, struct slot *s)
{
    const struct exchange *x = s->exchange;

    h->loop.stats->eof_mid_request +=
        x && (x->started || x->state == EXCHANGE_BODY || x->state == EXCHANGE_DISCARD);
    stream_close(&h->loop, s);
}

/* ---- a batch ---- */

/* Keep data[used..len) for later: it lies in x->in already, or is copied there. False: no block. */
static bool http1_store(struct http *h, struct exchange *x, const char *data, size_t used,
                        size_t len)
{
    if (x->in && data == x->in->data + x->in->start) {
        x->in->start += (uint32_t)used;
        if (x->in->start == x->in->end) {
            bufpool_put(x->in);
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
static void http1_pause(struct http *h, struct slot *s, struct exchange *x, enum http1_stop stop)
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
        if (unlikely(s->flags & STREAM_EOF) && out_empty(&s->out)) {
            http1_close_after_eof(h, s);
            return;
        }
        break;
    }
    http1_set_timer(l, s);
}

void http1_serve(struct http *h, struct slot *s, struct exchange *x, const char *data, size_t len)
{
    struct loop *l = &h->loop;
    uint64_t share = l->stats->bytes_out + HTTP1_SHARE_BYTES;
    unsigned budget = l->set->max_pipeline;
    size_t used = 0;
    enum http1_stop stop;

    for (;;) {
        stop = http1_parse(h, s, x, data, len, &used, &budget);
        if (unlikely(stop == HTTP1_BROKEN)) {
            http1_abort(h, s, x);
            return;
        }
        if (stop == HTTP1_ENDING) {
            http1_end(h, s, x, used < len);
            return;
        }
        if (!stream_flush(l, s))
            return;
        if (likely(stop != HTTP1_OUTPUT_FULL) || !out_empty(&s->out))
            break;
        if (l->stats->bytes_out >= share) {
            stop = HTTP1_SHARE_OVER;
            break;
        }
    }
    if (unlikely(!http1_store(h, x, data, used, len))) {
        http1_fail(h, x, -ENOMEM);
        http1_abort(h, s, x);
        return;
    }
    http1_pause(h, s, x, stop);
}

void http1_go_on(struct http *h, struct exchange *x)
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

void http1_serve_more(struct http *h, struct slot *s, struct exchange *x, const char *data,
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
