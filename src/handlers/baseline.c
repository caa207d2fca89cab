/* SPDX-License-Identifier: MIT */
/*
 * baseline.c - GET or POST /baseline11: the sum of the query's integers and the body's.
 */
#include "config.h"

#include "handlers.h"
#include "integer.h"
#include "log.h"
#include "query.h"

static int baseline_begin(struct request *r, const struct request_head *head)
{
    struct integer_sum *sum = REQUEST_STATE(r, struct integer_sum);
    char name[REQUEST_ECHO_MAX], value[REQUEST_ECHO_MAX];
    struct query_pair bad;

    integer_sum_init(sum);
    if (!head->query_len)
        return HANDLER_CONTINUE;
    enum integer_status st = query_sum(head->query, head->query_len, sum, &bad);
    if (likely(st == INTEGER_OK))
        return HANDLER_CONTINUE;
    return request_reply_bad(r, "query parameter \"%s\": \"%s\" %s",
                             log_escape(name, sizeof(name), bad.name, bad.name_len),
                             log_escape(value, sizeof(value), bad.value, bad.value_len),
                             st == INTEGER_RANGE ? "is out of range" : "is not an integer");
}

static int baseline_body(struct request *r, const char *data, size_t len)
{
    if (r->method == HTTP_POST) /* content of a GET has no meaning (RFC 9110 section 9.3.1) */
        integer_body_feed(REQUEST_STATE(r, struct integer_sum), data, len);
    return HANDLER_CONTINUE;
}

static int baseline_finish(struct request *r)
{
    char text[INTEGER_TEXT_MAX];
    int64_t value;

    switch (integer_sum_finish(REQUEST_STATE(r, struct integer_sum), &value)) {
    case INTEGER_OK:
        return request_reply(r, 200, RESPONSE_TEXT, text,
                             (size_t)(integer_put(text, value) - text));
    case INTEGER_RANGE: return request_reply_bad(r, "the sum is out of the range of 64 bits");
    default: return request_reply_bad(r, "the body is not an integer");
    }
}

const struct handler baseline_handler = {
    .allow = "GET, HEAD, POST, OPTIONS",
    .methods =
        HANDLER_METHOD(GET) | HANDLER_METHOD(HEAD) | HANDLER_METHOD(POST) | HANDLER_METHOD(OPTIONS),
    .begin = baseline_begin,
    .body = baseline_body,
    .finish = baseline_finish,
};
