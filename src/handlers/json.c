/* SPDX-License-Identifier: MIT */
/*
 * json.c - GET /json/{count}?m=N: the first `count` records, each with its total, price x quantity
 * x m.
 *
 * The exact length is computed first, so that the head can state it; the records are then written
 * as far as output may pend, and go on from `next` when it has drained.
 *
 * Where the client takes a coding, the records are written to blocks of the request's own, and from
 * there compressed: an answer that fits JSON_CODED_BYTES states its length, a longer one is chunked.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "coding.h"
#include "compress.h"
#include "handlers.h"
#include "http.h"
#include "integer.h"
#include "json_writer.h"
#include "log.h"
#include "query.h"

#define JSON_PATH_LEN 6 /* "/json/" */

/* Compressed at a time; and about so much is written to be compressed. */
#define JSON_CODED_BYTES 16384

struct json_state {
    int64_t m;
    uint32_t next, count;          /* next record to write, records in all */
    struct compressor *compressor; /* NULL: none is at work */
    struct out plain;              /* what is to be compressed */
    uint8_t coding;                /* enum coding */
    bool identity;                 /* the client takes that, too */
    bool opened, closed;           /* the array */
};

static const struct handlers_context *json_context(const struct request *r)
{
    return request_context(r);
}

static const struct dataset *json_data(const struct request *r)
{
    return json_context(r)->data;
}

/* Which coding is it to be? HANDLER_CONTINUE, or the answer has been given: 406. */
static int json_choose_coding(struct request *r, const struct request_head *head,
                              struct json_state *state)
{
    static const char line[] = "/json is not to be had in a coding that you accept\n";
    unsigned available =
        json_context(r)->level ? compress_available() : CODING_BIT(CODING_IDENTITY);
    uint8_t order[CODINGS];
    unsigned n = request_codings(r, head, available, order);

    if (n == 0)
        return request_reply(r, 406, RESPONSE_TEXT, line, sizeof(line) - 1);
    state->coding = order[0];
    state->identity = memchr(order, CODING_IDENTITY, n) != NULL;
    return HANDLER_CONTINUE;
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

    *state = (struct json_state){.m = 1, .coding = CODING_IDENTITY};
    enum integer_status st = integer_parse(text, len, &count);
    if (st == INTEGER_EMPTY || st == INTEGER_SYNTAX)
        return request_reply_bad(r, "count: \"%s\" is not an integer",
                                 log_escape(echo, sizeof(echo), text, len));
    if (st != INTEGER_OK || count < 0 || count > most)
        return request_reply_bad(r, "count: \"%s\" is not in 0..%u",
                                 log_escape(echo, sizeof(echo), text, len), most);
    state->count = (uint32_t)count;
    if (unlikely(request_accepts(r))) {
        int next = json_choose_coding(r, head, state);
        if (next != HANDLER_CONTINUE)
            return next;
    }
    return head->query_len ? json_read_m(r, head, &state->m) : HANDLER_CONTINUE;
}

/* ---- compressed ---- */

/* More of the body into state->plain. 0 or -ENOMEM. */
static int json_write_plain(struct request *r, struct json_state *state)
{
    struct bufpool *p = request_out_pool(r);

    if (!state->opened && json_write_open(&state->plain, p) < 0)
        return -ENOMEM;
    state->opened = true;
    if (json_write_records(&state->plain, p, json_data(r), &state->next, state->count, state->m,
                           JSON_CODED_BYTES) < 0)
        return -ENOMEM;
    if (state->next < state->count)
        return 0;
    state->closed = true;
    return json_write_close(&state->plain, p, state->count);
}

/*
 * Compress up to JSON_CODED_BYTES into `to`. 1: that was the last of it; 0: there is more; or
 * -ENOMEM.
 */
static int json_compress(struct request *r, struct json_state *state, char *to, size_t *len)
{
    struct compress_io io = {.out = to, .out_len = JSON_CODED_BYTES};
    bool finished = false;

    while (!finished && io.out_len > 0) {
        if (out_empty(&state->plain) && !state->closed && json_write_plain(r, state) < 0)
            return -ENOMEM;
        struct backend_segment segment = {.len = 0};
        bool some = out_segments(&state->plain, &segment, 1);
        bool last = state->closed && (!some || out_is_simple(&state->plain));
        io.in = segment.data;
        io.in_len = segment.len;
        finished = compress_run(state->compressor, &io, last);
        if (segment.len > io.in_len)
            out_consume(&state->plain, segment.len - io.in_len);
    }
    *len = JSON_CODED_BYTES - io.out_len;
    return finished;
}

static void json_cancel(struct request *r)
{
    struct json_state *state = REQUEST_STATE(r, struct json_state);

    compress_close(state->compressor);
    state->compressor = NULL;
    out_clear(&state->plain);
}

/* The head: the length is known where everything has been compressed. 0 or -errno. */
static int json_respond_coded(struct request *r, const struct json_state *state, bool whole,
                              size_t length)
{
    const struct response_field field = {"Content-Encoding", coding_name(state->coding)};

    return request_respond(r, &(struct request_response){.status = 200,
                                                         .type = RESPONSE_JSON_CODED,
                                                         .has_length = whole,
                                                         .length = length,
                                                         .fields = &field,
                                                         .field_count = 1});
}

/* One thread serves: between two calls nobody needs it. */
static char json_coded[JSON_CODED_BYTES];

static int json_produce_coded(struct request *r, struct json_state *state)
{
    size_t len, written = 0;
    int finished;

    do {
        finished = json_compress(r, state, json_coded, &len);
        if (finished < 0 || request_write(r, json_coded, len) < 0)
            return -ENOMEM;
        written += len;
    } while (!finished && written < request_out_max(r));
    if (!finished)
        return HANDLER_MORE;
    json_cancel(r);
    return request_end(r);
}

static int json_finish_coded(struct request *r, struct json_state *state)
{
    size_t len;

    r->http->loop.stats->compressed++;
    if (r->method == HTTP_HEAD) {
        json_cancel(r);
        int rc = json_respond_coded(r, state, false, 0);
        return rc < 0 ? rc : HANDLER_DONE;
    }
    int finished = json_compress(r, state, json_coded, &len);
    if (finished < 0 || json_respond_coded(r, state, finished, len) < 0 ||
        request_write(r, json_coded, len) < 0)
        return -ENOMEM;
    if (!finished)
        return json_produce_coded(r, state);
    json_cancel(r);
    return request_end(r);
}

/* ---- as it is ---- */

static int json_produce(struct request *r)
{
    struct json_state *state = REQUEST_STATE(r, struct json_state);

    if (unlikely(state->compressor != NULL))
        return json_produce_coded(r, state);
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
    if (unlikely(state->coding != CODING_IDENTITY)) {
        state->compressor = compress_open(state->coding, json_context(r)->level);
        if (state->compressor)
            return json_finish_coded(r, state);
        r->http->loop.stats->limit_compress++;
        if (!state->identity)
            return request_reply(r, 503, RESPONSE_TEXT, "too much is being compressed\n", 29);
    }
    int rc =
        request_respond(r, &(struct request_response){
                               .status = 200,
                               .type = json_context(r)->level ? RESPONSE_JSON_CODED : RESPONSE_JSON,
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
    .cancel = json_cancel,
};
