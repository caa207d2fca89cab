/* SPDX-License-Identifier: MIT */
/*
 * parser_trace.h - a caller of the parser for tests: feeds it a stream cut anywhere and writes down
 * what it says, one line for a stream. Shared by the unit test and the fuzz target.
 *
 *     GET /a?b=1 keep; POST /c close body 3 "x=1"; error HOST_MISSING
 *
 * One event a message: method, target, "keep" or "close", then "1.0", "absolute", "expect", and the
 * decoded body's length and first bytes. A stream that ends inside a message ends in "more head" or
 * "more body". Whatever pieces come, every input is an exact allocation, so that a sanitizer sees a
 * read past its end.
 */
#ifndef BIVALVE_TESTS_PARSER_TRACE_H
#define BIVALVE_TESTS_PARSER_TRACE_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_parser.h"
#include "settings.h"

#define TRACE_MAX  16384
#define TRACE_BODY 48 /* bytes of a body that are shown */
#define TRACE_KEPT 64 /* messages that are described one by one */

/* A complete message, as numbers: for comparison with another parser. */
struct trace_message {
    size_t start, end; /* in the stream */
    struct http_parser head;
    uint64_t body_len;
    uint32_t body_hash; /* FNV-1a of the decoded body */
};

struct trace {
    char text[TRACE_MAX];
    size_t len;
    size_t messages; /* complete ones */
    size_t fed;      /* bytes given when the parser refused, or all */
    enum http_error error;
    struct trace_message kept[TRACE_KEPT];
};

/* How long is the next piece, when `left` bytes are left? At least 1. */
typedef size_t trace_cut(void *arg, size_t pos, size_t left);

#define trace_require(truth) ((truth) ? (void)0 : trace_broken(#truth, __LINE__))

static void trace_broken(const char *truth, int line)
{
    fprintf(stderr, "parser_trace.h:%d: the parser breaks its contract: %s\n", line, truth);
    abort();
}

__attribute__((format(printf, 2, 3))) static void trace_add(struct trace *t, const char *form, ...)
{
    va_list ap;

    if (t->len >= sizeof(t->text) - 1)
        return; /* the same for every split */
    va_start(ap, form);
    int n = vsnprintf(t->text + t->len, sizeof(t->text) - t->len, form, ap);
    va_end(ap);
    t->len += (size_t)n;
    if (t->len > sizeof(t->text) - 1)
        t->len = sizeof(t->text) - 1;
}

static void trace_quote(struct trace *t, const char *s, size_t len)
{
    trace_add(t, "\"");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x20 || c > 0x7e || c == '"' || c == '\\')
            trace_add(t, "\\x%02x", c);
        else
            trace_add(t, "%c", c);
    }
    trace_add(t, "\"");
}

static void trace_head(struct trace *t, const struct http_parser *p, const char *head, size_t len)
{
    trace_require(p->method < HTTP_METHODS);
    trace_require((size_t)p->target_off + p->target_len <= len);
    trace_require(!(p->flags & HTTP_F_CHUNKED) || !(p->flags & HTTP_F_LENGTH));
    trace_require(!(p->flags & HTTP_F_BODY) == !((p->flags & HTTP_F_CHUNKED) || p->left));
    trace_add(t, "%s%s %.*s %s%s%s%s", t->len ? "; " : "",
              http_method_name((enum http_method)p->method), (int)p->target_len,
              head + p->target_off, http_keeps_alive(p) ? "keep" : "close",
              p->flags & HTTP_F_HTTP10 ? " 1.0" : "", p->flags & HTTP_F_ABSOLUTE ? " absolute" : "",
              p->flags & HTTP_F_EXPECT ? " expect" : "");
}

/* The state of one body while it is read. */
struct trace_body {
    uint64_t len;
    uint32_t hash;
    char first[TRACE_BODY];
};

static void trace_body_add(struct trace_body *b, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (b->len < TRACE_BODY)
            b->first[b->len] = s[i];
        b->len++;
        b->hash = (b->hash ^ (unsigned char)s[i]) * 16777619u;
    }
}

static void trace_body_end(struct trace *t, const struct trace_body *b)
{
    trace_add(t, " body %" PRIu64 " ", b->len);
    trace_quote(t, b->first, b->len < TRACE_BODY ? (size_t)b->len : TRACE_BODY);
    if (b->len > TRACE_BODY)
        trace_add(t, " %08" PRIx32, b->hash);
}

static char *trace_copy(const char *s, size_t len)
{
    char *copy = malloc(len ? len : 1);

    if (!copy)
        abort();
    if (len)
        memcpy(copy, s, len);
    return copy;
}

static enum http_result trace_fail(struct trace *t, const struct http_parser *p)
{
    t->error = (enum http_error)p->error;
    trace_require(t->error != HTTP_ERROR_NONE && http_error_status(t->error) >= 400);
    trace_add(t, "%serror %s", t->len ? "; " : "", http_error_name(t->error));
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
            trace_require(b->len <= set->max_body_bytes);
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
static void trace_run(struct trace *t, const struct settings *set, const char *s, size_t len,
                      trace_cut *cut, void *arg)
{
    struct http_parser p;
    struct trace_body b = {.len = 0};
    struct trace_message m = {.start = 0};
    size_t start = 0, have = 0;
    bool in_body = false;

    t->text[0] = '\0';
    t->len = t->messages = t->fed = 0;
    t->error = HTTP_ERROR_NONE;
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
                r = http_parse_head(&p, set, copy, have - start, &used);
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
            if (t->messages < TRACE_KEPT)
                t->kept[t->messages] = m;
            t->messages++;
            http_parser_init(&p);
        }
    }
    if (in_body)
        trace_add(t, "; more body");
    else if (start < len)
        trace_add(t, "%smore head", t->len ? "; " : "");
}

/* ---- ways to cut ---- */

static size_t trace_cut_whole(void *arg, size_t pos, size_t left)
{
    (void)arg;
    (void)pos;
    return left;
}

static size_t trace_cut_bytes(void *arg, size_t pos, size_t left)
{
    (void)arg;
    (void)pos;
    (void)left;
    return 1;
}

/* arg: size_t, where the only cut is, 1 to length - 1 */
static inline size_t trace_cut_once(void *arg, size_t pos, size_t left)
{
    size_t at = *(size_t *)arg;

    return pos < at ? at : left;
}

/* arg: uint64_t, a state of a generator, not 0; short pieces and long ones */
static inline size_t trace_cut_random(void *arg, size_t pos, size_t left)
{
    uint64_t *x = arg;

    (void)pos;
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    size_t n = 1 + (size_t)(*x >> 32) % ((*x & 3) ? 9 : 257);
    return n < left ? n : left;
}

#endif
