/* SPDX-License-Identifier: MIT */
/*
 * trace.h - what callers of the parsers for tests share (parser_trace.h: of requests,
 * reply_trace.h: of responses): a stream is fed in pieces, cut anywhere, and what the parser says
 * is written down in one line, so that two ways of cutting it compare as text. Whatever pieces
 * come, every input is an exact allocation, so that a sanitizer sees a read past its end.
 */
#ifndef BIVALVE_TESTS_TRACE_H
#define BIVALVE_TESTS_TRACE_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_parser.h"
#include "reply.h"

#define TRACE_MAX  16384
#define TRACE_BODY 48 /* bytes of a body that are shown */
#define TRACE_KEPT 64 /* messages that are described one by one */

/* A complete message, as numbers: for comparison with another parser. */
struct trace_message {
    size_t start, end; /* in the stream */
    union {
        struct http_parser head; /* of a request */
        struct reply reply;
    };
    uint64_t body_len;
    uint32_t body_hash; /* FNV-1a of the decoded body */
};

struct trace {
    char text[TRACE_MAX];
    size_t len;
    size_t messages; /* complete ones */
    size_t fed;      /* bytes given when the parser refused, or all */
    uint8_t error;   /* enum http_error or enum reply_error; 0: none */
    struct trace_message kept[TRACE_KEPT];
};

/* How long is the next piece, when `left` bytes are left? At least 1. */
typedef size_t trace_cut(void *arg, size_t pos, size_t left);

#define trace_require(truth) ((truth) ? (void)0 : trace_broken(#truth, __FILE__, __LINE__))

static inline void trace_broken(const char *truth, const char *file, int line)
{
    fprintf(stderr, "%s:%d: the parser breaks its contract: %s\n", file, line, truth);
    abort();
}

__attribute__((format(printf, 2, 3))) static inline void trace_add(struct trace *t,
                                                                   const char *form, ...)
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

static inline void trace_quote(struct trace *t, const char *s, size_t len)
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

static inline void trace_clear(struct trace *t)
{
    t->text[0] = '\0';
    t->len = t->messages = t->fed = 0;
    t->error = 0;
}

/* A message has been read. */
static inline void trace_keep(struct trace *t, const struct trace_message *m)
{
    if (t->messages < TRACE_KEPT)
        t->kept[t->messages] = *m;
    t->messages++;
}

/* The state of one body while it is read. */
struct trace_body {
    uint64_t len;
    uint32_t hash;
    char first[TRACE_BODY];
};

static inline void trace_body_add(struct trace_body *b, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (b->len < TRACE_BODY)
            b->first[b->len] = s[i];
        b->len++;
        b->hash = (b->hash ^ (unsigned char)s[i]) * 16777619u;
    }
}

static inline void trace_body_end(struct trace *t, const struct trace_body *b)
{
    trace_add(t, " body %" PRIu64 " ", b->len);
    trace_quote(t, b->first, b->len < TRACE_BODY ? (size_t)b->len : TRACE_BODY);
    if (b->len > TRACE_BODY)
        trace_add(t, " %08" PRIx32, b->hash);
}

static inline char *trace_copy(const char *s, size_t len)
{
    char *copy = malloc(len ? len : 1);

    if (!copy)
        abort();
    if (len)
        memcpy(copy, s, len);
    return copy;
}

/* ---- ways to cut ---- */

static inline size_t trace_cut_whole(void *arg, size_t pos, size_t left)
{
    (void)arg;
    (void)pos;
    return left;
}

static inline size_t trace_cut_bytes(void *arg, size_t pos, size_t left)
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

/* ---- all of them ---- */

/* A parser over a stream, cut in one way; `how`: what it needs beside it. */
typedef void trace_runner(struct trace *t, const void *how, const char *s, size_t len,
                          trace_cut *cut, void *arg);

static inline bool trace_same(const struct trace *a, const struct trace *b)
{
    return !strcmp(a->text, b->text) && a->error == b->error && a->messages == b->messages;
}

/*
 * Does a way of cutting the stream give something else than *whole, or is it refused at another
 * byte? That way's name, and what it gave in *other; NULL: no. Cut once at every place, or at one.
 */
static inline const char *trace_differs(trace_runner *run, const void *how, const char *s,
                                        size_t len, const struct trace *whole, struct trace *other,
                                        bool every)
{
    uint64_t seed = 14695981039346656037u;

    for (size_t i = 0; i < len; i++)
        seed = (seed ^ (unsigned char)s[i]) * 1099511628211u;
    seed |= 1;
    run(other, how, s, len, trace_cut_bytes, NULL);
    if (!trace_same(whole, other))
        return "byte by byte";
    if (other->error) {
        size_t refused = other->fed;
        run(other, how, s, refused, trace_cut_whole, NULL);
        if (!trace_same(whole, other))
            return "up to the byte that was refused";
        run(other, how, s, refused - 1, trace_cut_whole, NULL);
        if (other->error)
            return "without the byte that was refused";
    }
    for (int i = 0; i < (every ? 20 : 3); i++) {
        run(other, how, s, len, trace_cut_random, &seed);
        if (!trace_same(whole, other))
            return "cut at random";
    }
    for (size_t at = every || len < 2 ? 1 : 1 + (size_t)(seed >> 32) % (len - 1); at < len; at++) {
        run(other, how, s, len, trace_cut_once, &at);
        if (!trace_same(whole, other))
            return "cut once";
        if (!every)
            break;
    }
    return NULL;
}

#endif
