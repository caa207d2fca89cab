/* SPDX-License-Identifier: MIT */
/*
 * http1_request.h - one request, from its head to the end of its response: what http1_serve.c does
 * with it. What nearly all requests come by is inline; the rest is in http1_request.c.
 */
#ifndef BIVALVE_HTTP1_REQUEST_H
#define BIVALVE_HTTP1_REQUEST_H

#include "dispatch.h"
#include "exchange_pool.h"
#include "http.h"
#include "trace.h"
#include "util.h"

/* Why requests are gone on with no further. */
enum http1_stop {
    HTTP1_NEED_INPUT, /* everything is consumed, but for an incomplete head */
    HTTP1_OUTPUT_FULL,
    HTTP1_SHARE_OVER, /* others come first */
    HTTP1_WAITING,    /* for the handler's resume() */
    HTTP1_ENDING,     /* the last response is written: the rest is not looked at */
    HTTP1_BROKEN,     /* no memory, or a response that cannot be completed: close */
};

/* ---- for those below, and http1_serve.c ---- */

/*
 * The response is written: http1_answered() of any request. Here is more to do than to count, or no
 * hurry.
 */
enum http1_stop http1_answered_any(struct http *h, struct exchange *x);

/* The body has been read to its end, or is not going to be, and the response is written. */
enum http1_stop http1_done(struct http *h, struct exchange *x);

/* A handler has said that the response is not complete (`next`), or will not be. */
enum http1_stop http1_not_done(struct http *h, struct exchange *x, int next);

/* http1_begin() of a request that is not the plainest. */
enum http1_stop http1_begin_any(struct http *h, struct slot *s, struct exchange *x,
                                const char *head, size_t len);

/*
 * A head whose section is not the one that is kept, or that is not all here: its length, or 0: *stop
 * says why. *used bytes go with it; *more: it needs bytes that are not here.
 */
size_t http1_parse_head(struct http *h, struct slot *s, struct exchange *x, const char *data,
                        size_t len, size_t *used, bool *more, enum http1_stop *stop);

/* A malformed or oversized request, as parser.error has it: answer with the reason. */
enum http1_stop http1_malformed(struct http *h, struct exchange *x);

/* There will be no response, for want of memory (-ENOMEM) or for a fault of the handler's. */
enum http1_stop http1_fail(struct http *h, struct exchange *x, int err);

/*
 * The request goes no further: answer with status and line, unless a response has been written or
 * begun, and end the connection.
 */
enum http1_stop http1_refuse(struct http *h, struct exchange *x, int status, const char *line);

/* ---- what nearly all come by ---- */

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

#endif
