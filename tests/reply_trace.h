/* SPDX-License-Identifier: MIT */
/*
 * reply_trace.h - a caller of the response parser for tests: feeds it a stream cut anywhere and
 * writes down what it says, one line for a stream (trace.h). Shared by the unit test and the fuzz
 * target.
 *
 *     200 keep body 3 "x=1"; 304 close interim 1; 200 close; error CHUNK_SIZE
 *
 * One event a response: status, "keep" or "close", then "interim N" (1xx before it), "date N"
 * (where the value of its Date begins), and the decoded body's length and first bytes, if it has
 * any. The last one may say "until end" (its body ends with the connection), "cut head" or
 * "cut body".
 */
#ifndef BIVALVE_TESTS_REPLY_TRACE_H
#define BIVALVE_TESTS_REPLY_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "reply.h"
#include "trace.h"

/* What a stream of responses answers: bit i is set: the i-th request (the 32nd like the first) was HEAD. */
typedef uint32_t reply_trace_heads;

struct reply_trace {
    struct trace *t;
    const reply_trace_heads *heads;
    const char *s;
    struct reply r;
    size_t start, pos; /* of this response; of what has been read of the stream */
    bool has_head;     /* it is written down */
    struct trace_body body;
};

static void reply_trace_begin(struct reply_trace *x)
{
    x->start = x->pos;
    x->has_head = false;
    x->body = (struct trace_body){.hash = 2166136261u};
    reply_init(&x->r, *x->heads >> x->t->messages % 32 & 1);
    trace_require(reply_is_fresh(&x->r) && !reply_has_head(&x->r));
    trace_require(reply_end(&x->r) == REPLY_FAIL && !x->r.error);
}

/* Where it says that the Date is, there is one. */
static void reply_trace_date(const struct reply_trace *x)
{
    const char *date = x->s + x->start + x->r.date_off, *before = date - 1;

    if (!x->r.date_off)
        return;
    trace_add(x->t, " date %" PRIu32, x->r.date_off);
    if (x->r.interim)
        return; /* it counts from a head whose beginning we do not know */
    while (*before == ' ' || *before == '\t')
        before--;
    trace_require(*before == ':' && (before[-1] | 0x20) == 'e' && (before[-4] | 0x20) == 'd' &&
                  before[-5] == '\n');
    trace_require(x->r.date_off + REPLY_DATE_LEN < x->r.head_len && date[REPLY_DATE_LEN] == '\r');
}

static void reply_trace_head(struct reply_trace *x)
{
    if (x->has_head || !reply_has_head(&x->r))
        return;
    x->has_head = true;
    trace_require(x->r.status >= 200 && x->r.status <= 599);
    trace_require(x->r.interim <= REPLY_INTERIM_MAX);
    trace_require(x->r.head_len <= REPLY_HEAD_MAX && x->start + x->r.head_len <= x->t->fed);
    trace_require(x->r.interim || !memcmp(x->s + x->start + x->r.head_len - 4, "\r\n\r\n", 4));
    trace_add(x->t, "%s%d %s", x->t->len ? "; " : "", x->r.status,
              reply_persists(&x->r) ? "keep" : "close");
    if (x->r.interim)
        trace_add(x->t, " interim %d", x->r.interim);
    reply_trace_date(x);
}

static void reply_trace_done(struct reply_trace *x, const char *how)
{
    struct trace_message m = {.start = x->start,
                              .end = x->pos,
                              .reply = x->r,
                              .body_len = x->body.len,
                              .body_hash = x->body.hash};

    trace_require(x->has_head);
    if (x->body.len)
        trace_body_end(x->t, &x->body);
    trace_add(x->t, "%s", how);
    trace_keep(x->t, &m);
}

static void reply_trace_fail(struct reply_trace *x)
{
    x->t->error = x->r.error;
    trace_require(x->r.error != REPLY_ERROR_NONE && strlen(reply_error_text(&x->r)) > 5);
    trace_require((x->r.error == REPLY_ERROR_BODY) == reply_has_head(&x->r));
    trace_add(x->t, "%serror %s", x->t->len ? "; " : "", reply_error_name(&x->r));
}

/* s[x->pos..end), until it is used up. false: refused. */
static bool reply_trace_feed(struct reply_trace *x, size_t end)
{
    for (;;) {
        size_t len = end - x->pos, used = SIZE_MAX, piece_len = 0;
        const char *piece = NULL;
        char *copy = trace_copy(x->s + x->pos, len);
        enum reply_result result = reply_parse(&x->r, copy, len, &used, &piece, &piece_len);
        if (result == REPLY_FAIL) {
            free(copy);
            reply_trace_head(x);
            reply_trace_fail(x);
            return false;
        }
        trace_require(used <= len);
        x->pos += used;
        trace_require(reply_is_fresh(&x->r) == (x->pos == x->start));
        reply_trace_head(x);
        if (result == REPLY_BODY) {
            trace_require(x->has_head && piece_len > 0 && piece >= copy &&
                          piece + piece_len <= copy + used);
            trace_body_add(&x->body, piece, piece_len);
        }
        free(copy);
        if (result == REPLY_DONE) {
            reply_trace_done(x, "");
            reply_trace_begin(x);
        }
        if (result == REPLY_MORE || (result == REPLY_DONE && x->pos == end)) {
            trace_require(x->pos == end);
            return true;
        }
    }
}

/* The whole stream s[0..len) in the pieces that `cut` says, then its end. */
static void reply_trace_run(struct trace *t, const void *heads, const char *s, size_t len,
                            trace_cut *cut, void *arg)
{
    struct reply_trace x = {.t = t, .heads = heads, .s = s};

    trace_clear(t);
    reply_trace_begin(&x);
    while (t->fed < len) {
        t->fed += cut(arg, t->fed, len - t->fed);
        trace_require(t->fed <= len);
        if (!reply_trace_feed(&x, t->fed))
            return;
    }
    if (reply_is_fresh(&x.r))
        return;
    if (reply_end(&x.r) == REPLY_DONE) {
        trace_require(!reply_persists(&x.r));
        reply_trace_done(&x, " until end");
    } else {
        trace_add(t, "%scut %s", t->len ? "; " : "", x.has_head ? "body" : "head");
    }
}

#endif
