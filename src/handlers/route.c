/* SPDX-License-Identifier: MIT */
/*
 * route.c - which handler answers what, and the answers that need no handler: OPTIONS, 404, 405.
 */
#include "config.h"

#include "route.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "json_route.h"
#include "plain.h"
#include "query.h"

#define M(method) (1u << HTTP_##method)

static const struct route routes[] = {
    [ROUTE_BASELINE] = {.allow = "GET, HEAD, POST, OPTIONS",
                        .methods = M(GET) | M(HEAD) | M(POST) | M(OPTIONS),
                        .begin = plain_baseline_begin,
                        .body = plain_baseline_body,
                        .finish = plain_baseline_finish},
    [ROUTE_PIPELINE] = {.allow = "GET, HEAD, OPTIONS",
                        .methods = M(GET) | M(HEAD) | M(OPTIONS),
                        .finish = plain_pipeline_finish},
    [ROUTE_JSON] = {.allow = "GET, HEAD, OPTIONS",
                    .methods = M(GET) | M(HEAD) | M(OPTIONS),
                    .begin = json_route_begin,
                    .finish = json_route_finish,
                    .produce = json_route_produce},
};

/*
 * The methods that some resource here takes: for `OPTIONS *` and for CONNECT, which name no
 * resource.
 */
#define ALLOW_ANY "GET, HEAD, POST, OPTIONS"

static const char path_baseline[] = "/baseline11";
static const char path_pipeline[] = "/pipeline";
static const char path_json[] = "/json/";

const struct route *route_get(enum route_id id)
{
    return id < ARRAY_LEN(routes) ? &routes[id] : NULL;
}

static inline bool route_is(const char *path, size_t len, const char *name, size_t name_len)
{
    return len == name_len && !memcmp(path, name, name_len);
}

static enum route_id route_match_plain(const char *path, size_t len)
{
    if (route_is(path, len, path_baseline, sizeof(path_baseline) - 1))
        return ROUTE_BASELINE;
    if (route_is(path, len, path_pipeline, sizeof(path_pipeline) - 1))
        return ROUTE_PIPELINE;
    /* One more segment that is not empty; json_route_begin() reads it. */
    if (len > sizeof(path_json) - 1 && !memcmp(path, path_json, sizeof(path_json) - 1) &&
        !memchr(path + sizeof(path_json) - 1, '/', len - sizeof(path_json) + 1))
        return ROUTE_JSON;
    return ROUTE_NONE;
}

/*
 * Is there an escaped slash? It is data, not a separator (RFC 3986 section 2.2), and no path here
 * has such data.
 */
static bool route_has_escaped_slash(const char *path, size_t len)
{
    for (size_t i = 0; i + 2 < len; i++)
        if (path[i] == '%' && path[i + 1] == '2' && (path[i + 2] | 0x20) == 'f')
            return true;
    return false;
}

/*
 * `*path` is decoded into `buf` when it has escapes: "/%70ipeline" names the same resource (RFC
 * 3986 section 6.2.2.2).
 */
static enum route_id route_match(const char **path, size_t *len, char *buf, size_t buf_size)
{
    enum route_id id = route_match_plain(*path, *len);

    if (likely(id != ROUTE_NONE) && (id != ROUTE_JSON || !memchr(*path, '%', *len)))
        return id;
    if (!memchr(*path, '%', *len) || route_has_escaped_slash(*path, *len))
        return ROUTE_NONE;
    ptrdiff_t n = query_decode(buf, buf_size, *path, *len);
    if (n < 0)
        return ROUTE_NONE; /* longer than any resource's path */
    *path = buf;
    *len = (size_t)n;
    return route_match_plain(buf, (size_t)n);
}

void route_head_init(const struct core *c, struct slot *s, struct response_head *h, int status)
{
    const struct http_parser *p = &s->parser;

    /* At the end everything that has arrived is answered, and the last answer says close. */
    if (unlikely(c->draining || (s->flags & (SLOT_EOF | SLOT_RD_SHUT))) && !c->more_input)
        s->flags &= (uint16_t)~SLOT_KEEP;
    /*
     * An answer given before the body was read: what is left of it is dropped if that is little and
     * certain to come; a client that waits for 100 Continue may send it or not (RFC 9110 section
     * 10.1.1).
     */
    if (unlikely(s->flags & SLOT_IN_BODY) &&
        ((p->flags & (HTTP_F_CHUNKED | HTTP_F_EXPECT)) || p->left > c->set->max_linger_bytes))
        s->flags &= (uint16_t)~SLOT_KEEP;
    memset(h, 0, sizeof(*h));
    h->status = status;
    h->close = !(s->flags & SLOT_KEEP);
    h->keep_alive = (s->flags & SLOT_HTTP10) && !h->close;
    if (likely(status < 300))
        c->stats->responses_2xx++;
    else if (status < 500)
        c->stats->responses_4xx++;
    else
        c->stats->responses_5xx++;
}

static int route_reply(struct core *c, struct slot *s, int status, const char *allow,
                       const char *body, size_t len)
{
    struct response_head h;

    route_head_init(c, s, &h, status);
    h.allow = allow;
    if (status != 204) {
        h.type = RESPONSE_TEXT;
        h.has_length = true;
        h.length = len;
    }
    return response_small(&s->out, &c->out_pool, &c->clock, &h, body, len,
                          s->flags & SLOT_HEAD_ONLY);
}

int route_reply_text(struct core *c, struct slot *s, int status, const char *body, size_t len)
{
    return route_reply(c, s, status, NULL, body, len);
}

int route_reply_bad(struct core *c, struct slot *s, const char *fmt, ...)
{
    char line[RESPONSE_BODY_MAX];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
    va_end(ap);
    size_t len = MIN((size_t)MAX(n, 0), sizeof(line) - 2);
    line[len++] = '\n';
    int rc = route_reply(c, s, 400, NULL, line, len);
    return rc < 0 ? rc : ROUTE_ANSWERED;
}

static int route_answer(struct core *c, struct slot *s, int status, const char *allow,
                        const char *line)
{
    int rc = route_reply(c, s, status, allow, line, strlen(line));
    return rc < 0 ? rc : ROUTE_ANSWERED;
}

/* CONNECT and TRACE are refused whatever they name. */
static int route_refuse(struct core *c, struct slot *s, const char *allow)
{
    if (s->parser.method == HTTP_CONNECT)
        s->flags &= (uint16_t)~SLOT_KEEP; /* bytes behind it may be meant for the tunnel */
    return route_answer(c, s, 405, allow, "method not allowed here\n");
}

int route_begin(struct core *c, struct slot *s, const char *target, size_t target_len)
{
    struct request r = {.core = c, .slot = s, .method = s->parser.method};
    char decoded[64]; /* longer than any path here that could match */

    s->route = ROUTE_NONE;
    query_split(target, target_len, &r.path_len, &r.query, &r.query_len);
    r.path = target;
    if (unlikely(r.method == HTTP_CONNECT))
        return route_refuse(c, s, ALLOW_ANY);
    /*
     * "*", or an absolute-form without a path, which means the same with OPTIONS (RFC 9112 section
     * 3.2.4)
     */
    if (unlikely(r.method == HTTP_OPTIONS &&
                 ((r.path_len == 1 && *r.path == '*') || target_len == 0)))
        return route_answer(c, s, 204, ALLOW_ANY, "");

    enum route_id id = route_match(&r.path, &r.path_len, decoded, sizeof(decoded));
    if (unlikely(id == ROUTE_NONE)) {
        if (r.method == HTTP_TRACE)
            return route_refuse(c, s, ALLOW_ANY);
        return route_answer(c, s, 404, NULL, "no such resource\n");
    }
    const struct route *route = &routes[id];
    if (unlikely(!(route->methods & (1u << r.method))))
        return route_refuse(c, s, route->allow);
    if (unlikely(r.method == HTTP_OPTIONS))
        return route_answer(c, s, 204, route->allow, "");
    s->route = (uint8_t)id;
    return route->begin ? route->begin(&r) : 0;
}
