/* SPDX-License-Identifier: MIT */
/*
 * parser_trace.h - a caller of the request parser for tests: feeds it a stream cut anywhere and
 * writes down what it says, one line for a stream (trace.h). Shared by the unit test and the fuzz
 * target.
 *
 *     GET /a?b=1 keep; POST /c close body 3 "x=1"; error HOST_MISSING
 *
 * One event a message: method, target, "keep" or "close", then "1.0", "absolute", "expect", and the
 * decoded body's length and first bytes. A stream that ends inside a message ends in "more head" or
 * "more body".
 */
#ifndef BIVALVE_TESTS_PARSER_TRACE_H
#define BIVALVE_TESTS_PARSER_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "http_parser.h"
#include "http_section.h"
#include "settings.h"
#include "trace.h"

/* The section kept from head to head, as in the server; NULL: every head is parsed. */
static struct http_section *trace_section;
static unsigned long trace_known; /* heads that ended in it */

/* http_parse_head() as the server calls it. */
static enum http_result trace_parse_head(struct http_parser *p, const struct settings *set,
                                         const char *s, size_t len, size_t *used)
{
    size_t n = trace_section ? http_section_head(p, set, trace_section, s, len) : 0;

    if (n) {
        trace_known++;
        *used = n;
        return HTTP_READY;
    }
    enum http_result r = http_parse_head(p, set, s, len, used);
    if (r == HTTP_READY && trace_section)
        http_section_keep(trace_section, p, s, *used);
    return r;
}

static void trace_head(struct trace *t, const struct http_parser *p, const char *head, size_t len)
{
    trace_require(p->method < HTTP_METHODS);
    trace_require((size_t)p->target_off + p->target_len <= len);
    trace_require(!(p->flags & HTTP_F_QUERY) || http_path_len(p) < p->target_len);
    const char *mark = memchr(head + p->target_off, '?', p->target_len);
    trace_require(http_path_len(p) ==
                  (mark ? (size_t)(mark - head) - p->target_off : p->target_len));
    trace_require(!(p->flags & HTTP_F_CHUNKED) || !(p->flags & HTTP_F_LENGTH));
    trace_require(!(p->flags & HTTP_F_BODY) == !((p->flags & HTTP_F_CHUNKED) || p->left));
    trace_add(t, "%s%s %.*s %s%s%s%s", t->len ? "; " : "",
              http_method_name((enum http_method)p->method), (int)p->target_len,
              head + p->target_off, http_keeps_alive(p) ? "keep" : "close",
              p->flags & HTTP_F_HTTP10 ? " 1.0" : "", p->flags & HTTP_F_ABSOLUTE ? " absolute" : "",
              p->flags & HTTP_F_EXPECT ? " expect" : "");
}

static enum http_result trace_fail(struct trace *t, const struct http_parser *p)
{
    enum http_error error = (enum http_error)p->error;

    t->error = p->error;
    trace_require(error != HTTP_ERROR_NONE && http_error_status(error) >= 400);
    trace_add(t, "%serror %s", t->len ? "; " : "", http_error_name(error));
    return HTTP_FAIL;
}

/* A body from s[*pos..end) on: HTTP_DONE, HTTP_MORE (input is used up) or HTTP_FAIL. */
static enum http_result trace_feed_body(struct trace *t, struct http_parser *p,
                                        const struct settings *set, const char *s, size_t *pos,
                                        size_t end, struct trace_body *b)
{
    for (;;) {
        size_t len = end - *pos, used = SIZE_MAX, piece_len = 0;
        const char *piece = NULL;
        char *copy = trace_copy(s + *pos, len);
        enum http_result r = http_parse_body(p, set, copy, len, &used, &piece, &piece_len);
        if (r == HTTP_FAIL) {
            free(copy);
            return trace_fail(t, p);
        }
        trace_require(used <= len);
        *pos += used;
        if (r == HTTP_READY) {
            trace_require(piece_len > 0 && piece >= copy && piece + piece_len <= copy + used);
            trace_body_add(b, piece, piece_len);
            trace_require(!set->max_body_bytes || b->len <= set->max_body_bytes);
        }
        free(copy);
        if (r == HTTP_READY)
            continue;
        trace_require(r == HTTP_DONE || (r == HTTP_MORE && used == len));
        return r;
    }
}

/*
 * The whole stream s[0..len) in the pieces that `cut` says. A head is given again with more until
 * it is complete, as the server does; a body's bytes are given once.
 */
static void trace_run(struct trace *t, const void *settings, const char *s, size_t len,
                      trace_cut *cut, void *arg)
{
    const struct settings *set = settings;
    struct http_parser p;
    struct trace_body b = {.len = 0};
    struct trace_message m = {.start = 0};
    size_t start = 0, have = 0;
    bool in_body = false;

    trace_clear(t);
    http_parser_init(&p);
    while (have < len) {
        have += cut(arg, have, len - have);
        trace_require(have <= len);
        t->fed = have;
        while (in_body || start < have) {
            enum http_result r;
            if (!in_body) {
                size_t used = SIZE_MAX;
                char *copy = trace_copy(s + start, have - start);
                r = trace_parse_head(&p, set, copy, have - start, &used);
                if (r == HTTP_READY) {
                    trace_require(used > 0 && used <= have - start);
                    trace_head(t, &p, copy, used);
                    m = (struct trace_message){.start = start, .head = p};
                    start += used;
                    in_body = p.flags & HTTP_F_BODY;
                    b = (struct trace_body){.hash = 2166136261u};
                    r = HTTP_DONE;
                } else if (r == HTTP_FAIL) {
                    trace_fail(t, &p);
                } else {
                    trace_require(r == HTTP_MORE && (used == 0 || used == have - start));
                    for (size_t i = 0; i < used; i++)
                        trace_require(copy[i] == "\r\n"[i % 2]);
                    start += used;
                }
                free(copy);
                if (in_body)
                    continue;
            } else {
                r = trace_feed_body(t, &p, set, s, &start, have, &b);
                if (r == HTTP_DONE)
                    trace_body_end(t, &b);
            }
            if (r == HTTP_FAIL)
                return;
            if (r == HTTP_MORE)
                break;
            in_body = false;
            m.end = start;
            m.body_len = b.len;
            m.body_hash = b.hash;
            trace_keep(t, &m);
            http_parser_init(&p);
        }
    }
    if (in_body)
        trace_add(t, "; more body");
    else if (start < len)
        trace_add(t, "%smore head", t->len ? "; " : "");
}

#endif
