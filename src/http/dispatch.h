/* SPDX-License-Identifier: MIT */
/*
 * dispatch.h - from a request's head to who answers it.
 */
#ifndef BIVALVE_DISPATCH_H
#define BIVALVE_DISPATCH_H

#include <stddef.h>

#include "exchange.h"
#include "http.h"

/* dispatch() in general; and where the handler is known and wants to see the head. */
int dispatch_any(struct exchange *x, const char *head, size_t len);
int dispatch_begin(struct exchange *x, const char *head, size_t len);

/* Methods that mean the same wherever a handler takes them. */
#define DISPATCH_METHODS                                                                       \
    (1u << HTTP_GET | 1u << HTTP_HEAD | 1u << HTTP_POST | 1u << HTTP_PUT | 1u << HTTP_DELETE | \
     1u << HTTP_PATCH)

/*
 * A head of `len` bytes is complete: find who serves it, and let it begin. What no handler is asked
 * for is answered here: OPTIONS, 404, 405. As handler.begin.
 */
static inline int dispatch(struct exchange *x, const char *head, size_t len)
{
    struct request *r = &x->request;
    const struct http_parser *p = &x->parser;

    if (unlikely(p->flags & HTTP_F_ESCAPED))
        return dispatch_any(x, head, len);
    const struct handler *handler = r->http->routes->find(head + p->target_off, http_path_len(p));
    if (unlikely(!handler || !(handler->methods & DISPATCH_METHODS & 1u << r->method)))
        return dispatch_any(x, head, len);
    r->handler = handler;
    r->flags |= REQUEST_BEGUN;
    return handler->begin ? dispatch_begin(x, head, len) : HANDLER_CONTINUE;
}

#endif
