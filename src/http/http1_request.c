/* SPDX-License-Identifier: MIT */
/*
 * http1_request.c - see http1_request.h: heads that are not the plainest, and what else than an
 * answer at once a request comes to. Functions are kept from being inlined where they would make the
 * way of the plain requests longer.
 */
#include "config.h"

#include "http1_request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "http1_timer.h"
#include "log.h"
#include "respond.h"
#include "stream.h"
#include "watch.h"

/* ---- what it comes to ---- */

enum http1_stop http1_done(struct http *h, struct exchange *x)
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

__attribute__((noinline)) enum http1_stop http1_answered_any(struct http *h, struct exchange *x)
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

enum http1_stop http1_fail(struct http *h, struct exchange *x, int err)
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

enum http1_stop http1_refuse(struct http *h, struct exchange *x, int status, const char *line)
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

enum http1_stop http1_malformed(struct http *h, struct exchange *x)
{
    enum http_error e = x->parser.error;
    char line[128];

    http1_count_refusal(h->loop.stats, e);
    snprintf(line, sizeof(line), "%s\n", http_error_text(e));
    return http1_refuse(h, x, http_error_status(e), line);
}

enum http1_stop http1_not_done(struct http *h, struct exchange *x, int next)
{
    switch (next) {
    case HANDLER_MORE: x->state = EXCHANGE_PRODUCE; return HTTP1_NEED_INPUT;
    case HANDLER_WAIT: x->state = EXCHANGE_WAIT; return HTTP1_NEED_INPUT;
    default:
        assert(next < 0); /* HANDLER_CONTINUE at the end of the request */
        return x->parser.error ? http1_malformed(h, x) : http1_fail(h, x, next);
    }
}

/* ---- its head ---- */

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

__attribute__((noinline)) enum http1_stop
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

__attribute__((noinline)) size_t http1_parse_head(struct http *h, struct slot *s,
                                                  struct exchange *x, const char *data, size_t len,
                                                  size_t *used, bool *more, enum http1_stop *stop)
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
