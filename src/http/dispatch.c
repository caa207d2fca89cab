/* SPDX-License-Identifier: MIT */
/*
 * dispatch.c - from method and target to a handler, and the answers that need no handler: OPTIONS,
 * 404, 405.
 */
#include "config.h"

#include "dispatch.h"

#include <stddef.h>
#include <string.h>

#include "query.h"
#include "respond.h"

#define DISPATCH_PATH_MAX \
    4096 /* bytes of a decoded path; a longer one with escapes is no resource's */

/*
 * Is there an escaped slash? It is data, not a separator (RFC 3986 section 2.2), and no path here
 * has such data.
 */
static bool dispatch_has_escaped_slash(const char *path, size_t len)
{
    for (size_t i = 0; i + 2 < len; i++)
        if (path[i] == '%' && path[i + 1] == '2' && (path[i + 2] | 0x20) == 'f')
            return true;
    return false;
}

/*
 * The handler of head->path, which is decoded into `buf` when it has escapes: "/%70ipeline" names
 * the same resource (RFC 3986 section 6.2.2.2).
 */
static const struct handler *dispatch_find_decoded(const struct routes *routes,
                                                   struct request_head *head, char *buf,
                                                   size_t buf_size)
{
    if (!memchr(head->path, '%', head->path_len)) /* the query has them */
        return routes->find(head->path, head->path_len);
    if (dispatch_has_escaped_slash(head->path, head->path_len))
        return NULL;
    ptrdiff_t n = query_decode(buf, buf_size, head->path, head->path_len);
    if (n < 0)
        return NULL;
    head->path = buf;
    head->path_len = (size_t)n;
    return routes->find(buf, (size_t)n);
}

/* CONNECT and TRACE are refused whatever they name. */
static int dispatch_refuse(struct request *r, const char *allow)
{
    if (r->method == HTTP_CONNECT)
        r->flags &= (uint16_t)~REQUEST_KEEP; /* bytes behind it may be meant for the tunnel */
    return request_reply_allow(r, 405, allow, "method not allowed here\n");
}

/* Let the handler of the path begin; NULL: there is none. */
static inline int dispatch_to(struct request *r, const struct request_head *head,
                              const struct handler *handler)
{
    if (unlikely(!handler)) {
        if (r->method == HTTP_TRACE)
            return dispatch_refuse(r, r->http->routes->allow);
        return request_reply_allow(r, 404, NULL, "no such resource\n");
    }
    if (unlikely(!(handler->methods & (1u << r->method))))
        return dispatch_refuse(r, handler->allow);
    if (unlikely(r->method == HTTP_OPTIONS))
        return request_reply_allow(r, 204, handler->allow, "");
    r->handler = handler;
    r->flags |= REQUEST_BEGUN;
    return handler->begin ? handler->begin(r, head) : HANDLER_CONTINUE;
}

/* The same, without the buffer on the way of the requests that have no escapes. */
static __attribute__((noinline)) int dispatch_decoded(struct request *r, struct request_head *head)
{
    char decoded[DISPATCH_PATH_MAX];

    return dispatch_to(r, head,
                       dispatch_find_decoded(r->http->routes, head, decoded, sizeof(decoded)));
}

/* What a handler sees of a head of `len` bytes. */
static struct request_head dispatch_view(const struct exchange *x, const char *head, size_t len)
{
    const struct http_parser *p = &x->parser;
    const char *target = head + p->target_off;
    size_t path_len = http_path_len(p), fields = http_fields_offset(p);
    struct request_head view = {.path = target,
                                .path_len = path_len,
                                .fields = head + fields,
                                .fields_len = len - 2 - fields};

    if (p->flags & HTTP_F_QUERY) {
        view.query = target + path_len + 1;
        view.query_len = p->target_len - path_len - 1;
    }
    return view;
}

int dispatch_begin(struct exchange *x, const char *head, size_t len)
{
    struct request_head view = dispatch_view(x, head, len);

    return x->request.handler->begin(&x->request, &view);
}

int dispatch_any(struct exchange *x, const char *head, size_t len)
{
    struct request *r = &x->request;
    const struct routes *routes = r->http->routes;
    struct request_head view = dispatch_view(x, head, len);

    if (unlikely(r->method == HTTP_CONNECT))
        return dispatch_refuse(r, routes->allow);
    /*
     * "*", or an absolute-form without a path, which means the same with OPTIONS (RFC 9112 section
     * 3.2.4)
     */
    if (unlikely(r->method == HTTP_OPTIONS &&
                 ((view.path_len == 1 && *view.path == '*') || x->parser.target_len == 0)))
        return request_reply_allow(r, 204, routes->allow, "");

    if (unlikely(x->parser.flags & HTTP_F_ESCAPED))
        return dispatch_decoded(r, &view);
    return dispatch_to(r, &view, routes->find(view.path, view.path_len));
}
