/* SPDX-License-Identifier: MIT */
/*
 * plain.c - /baseline11, the sum of the query's integers and the body's, and /pipeline, the
 * shortest answer there is.
 */
#include "config.h"

#include "plain.h"

#include "integer.h"
#include "log.h"
#include "query.h"

#define PLAIN_ECHO_MAX 64 /* bytes of a client's value that an error message shows */

int plain_baseline_begin(struct request *r)
{
    struct query_pair bad;
    char name[PLAIN_ECHO_MAX], value[PLAIN_ECHO_MAX];

    integer_sum_init(&r->slot->u.sum);
    if (!r->query_len)
        return 0;
    enum integer_status st = query_sum(r->query, r->query_len, &r->slot->u.sum, &bad);
    if (likely(st == INTEGER_OK))
        return 0;
    return route_reply_bad(r->core, r->slot, "query parameter \"%s\": \"%s\" %s",
                           log_escape(name, sizeof(name), bad.name, bad.name_len),
                           log_escape(value, sizeof(value), bad.value, bad.value_len),
                           st == INTEGER_RANGE ? "is out of range" : "is not an integer");
}

void plain_baseline_body(struct slot *s, const char *data, size_t len)
{
    /* content of a GET has no meaning (RFC 9110 section 9.3.1) */
    if (s->parser.method == HTTP_POST)
        integer_body_feed(&s->u.sum, data, len);
}

int plain_baseline_finish(struct core *c, struct slot *s)
{
    char text[INTEGER_TEXT_MAX];
    int64_t value;

    switch (integer_sum_finish(&s->u.sum, &value)) {
    case INTEGER_OK: return route_reply_text(c, s, 200, text, integer_format(text, value));
    case INTEGER_RANGE: return route_reply_bad(c, s, "the sum is out of the range of 64 bits");
    default: return route_reply_bad(c, s, "the body is not an integer");
    }
}

int plain_pipeline_finish(struct core *c, struct slot *s)
{
    return route_reply_text(c, s, 200, "ok", 2);
}
