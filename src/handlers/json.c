/* SPDX-License-Identifier: MIT */
/*
 * json.c - GET /json/{count}?m=N: the first `count` records, each with its total, price x quantity
 * x m.
 *
 * The exact length is computed first, so that the head can state it; the records are then written
 * as far as output may pend, and go on from `next` when it has drained.
 */
#include "config.h"

#include <errno.h>

#include "handlers.h"
#include "integer.h"
#include "json_writer.h"
#include "log.h"
#include "query.h"

#define JSON_PATH_LEN 6 /* "/json/" */

struct json_state {
    int64_t m;
    uint32_t next, count; /* next record to write, records in all */
};

static const struct dataset *json_data(const struct request *r)
{
    return ((const struct handlers_context *)request_context(r))->data;
}

/* The multiplier: `m` once or not at all; other parameters mean nothing here. */
static int json_read_m(struct request *r, const struct request_head *head, int64_t *m)
{
    struct query_iter it;
    struct query_pair pair;
    char echo[REQUEST_ECHO_MAX];
    bool seen = false;

    query_iter_init(&it, head->query, head->query_len);
    while (query_iter_next(&it, &pair)) {
        if (!query_equals(pair.name, pair.name_len, "m"))
            continue;
        if (seen)
            return request_reply_bad(r, "m is given more than once");
        seen = true;
        enum integer_status st = query_integer(&pair, m);
        if (st != INTEGER_OK)
            return request_reply_bad(r, "m: \"%s\" %s",
                                     log_escape(echo, sizeof(echo), pair.value, pair.value_len),
                                     st == INTEGER_RANGE ? "is out of range" : "is not an integer");
    }
    return HANDLER_CONTINUE;
}

static int json_begin(struct request *r, const struct request_head *head)
{
    struct json_state *state = REQUEST_STATE(r, struct json_state);
    const char *text = head->path + JSON_PATH_LEN;
    size_t len = head->path_len - JSON_PATH_LEN;
    uint32_t most = json_data(r)->count;
    char echo[REQUEST_ECHO_MAX];
    int64_t count;

    enum integer_status st = integer_parse(text, len, &count);
    if (st == INTEGER_EMPTY || st == INTEGER_SYNTAX)
        return request_reply_bad(r, "count: \"%s\" is not an integer",
                                 log_escape(echo, sizeof(echo), text, len));
    if (st != INTEGER_OK || count < 0 || count > most)
        return request_reply_bad(r, "count: \"%s\" is not in 0..%u",
                                 log_escape(echo, sizeof(echo), text, len), most);
    *state = (struct json_state){.m = 1, .count = (uint32_t)count};
    return head->query_len ? json_read_m(r, head, &state->m) : HANDLER_CONTINUE;
}

static int json_produce(struct request *r)
{
    struct json_state *state = REQUEST_STATE(r, struct json_state);
    struct out *o = request_out(r);
    struct bufpool *p = request_out_pool(r);

    if (json_write_records(o, p, json_data(r), &state->next, state->count, state->m,
                           request_out_max(r)) < 0)
        return -ENOMEM;
    if (state->next < state->count)
        return HANDLER_MORE;
    return json_write_close(o, p, state->count) < 0 ? -ENOMEM : HANDLER_DONE;
}

static int json_finish(struct request *r)
{
    struct json_state *state = REQUEST_STATE(r, struct json_state);
    uint32_t bad = 0;
    int64_t length = json_body_length(json_data(r), state->count, state->m, &bad);

    if (unlikely(length < 0))
        return request_reply_bad(r, "m: the total of record %u is out of range", bad + 1);
    int rc = request_respond(r, &(struct request_response){.status = 200,
                                                           .type = RESPONSE_JSON,
                                                           .has_length = true,
                                                           .length = (uint64_t)length});
    if (unlikely(rc < 0))
        return rc;
    if (!request_has_body(r))
        return HANDLER_DONE;
    if (json_write_open(request_out(r), request_out_pool(r)) < 0)
        return -ENOMEM;
    return json_produce(r);
}

const struct handler json_handler = {
    .allow = "GET, HEAD, OPTIONS",
    .methods = HANDLER_METHOD(GET) | HANDLER_METHOD(HEAD) | HANDLER_METHOD(OPTIONS),
    .begin = json_begin,
    .finish = json_finish,
    .produce = json_produce,
};
