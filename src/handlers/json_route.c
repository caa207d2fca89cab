/* SPDX-License-Identifier: MIT */
/*
 * json_route.c - GET /json/{count}?m=N: the first `count` records, each with total = price x
 * quantity x m.
 *
 * The exact length is computed first, so that the head can state it; the records are then written
 * as far as output may pend, and go on from slot->u.json.next when it has drained.
 */
#include "config.h"

#include "json_route.h"

#include <errno.h>

#include "json.h"
#include "log.h"
#include "query.h"

#define JSON_PATH_LEN 6  /* "/json/" */
#define JSON_ECHO_MAX 64 /* bytes of a client's value that an error message shows */

static const char *json_why(enum integer_status st)
{
    return st == INTEGER_RANGE ? "is out of range" : "is not an integer";
}

/* The multiplier: `m` once or not at all; other parameters mean nothing here. */
static int json_read_m(struct request *r, int64_t *m)
{
    struct query_iter it;
    struct query_pair pair;
    char echo[JSON_ECHO_MAX];
    bool seen = false;

    *m = 1;
    query_iter_init(&it, r->query, r->query_len);
    while (query_iter_next(&it, &pair)) {
        if (!query_equals(pair.name, pair.name_len, "m"))
            continue;
        if (seen)
            return route_reply_bad(r->core, r->slot, "m is given more than once");
        seen = true;
        enum integer_status st = query_integer(&pair, m);
        if (st != INTEGER_OK)
            return route_reply_bad(r->core, r->slot, "m: \"%s\" %s",
                                   log_escape(echo, sizeof(echo), pair.value, pair.value_len),
                                   json_why(st));
    }
    return 0;
}

int json_route_begin(struct request *r)
{
    struct core *c = r->core;
    struct slot *s = r->slot;
    const char *text = r->path + JSON_PATH_LEN;
    size_t len = r->path_len - JSON_PATH_LEN;
    char echo[JSON_ECHO_MAX];
    int64_t count, m;

    enum integer_status st = integer_parse(text, len, &count);
    if (st == INTEGER_EMPTY || st == INTEGER_SYNTAX)
        return route_reply_bad(c, s, "count: \"%s\" is not an integer",
                               log_escape(echo, sizeof(echo), text, len));
    if (st != INTEGER_OK || count < 0 || count > c->data->count)
        return route_reply_bad(c, s, "count: \"%s\" is not in 0..%u",
                               log_escape(echo, sizeof(echo), text, len), c->data->count);
    if (r->query_len) {
        int rc = json_read_m(r, &m);
        if (rc)
            return rc;
    } else {
        m = 1;
    }
    s->u.json.m = m;
    s->u.json.next = 0;
    s->u.json.count = (uint32_t)count;
    return 0;
}

int json_route_finish(struct core *c, struct slot *s)
{
    struct response_head h;
    uint32_t bad;
    int64_t length = json_body_length(c->data, s->u.json.count, s->u.json.m, &bad);

    if (unlikely(length < 0))
        return route_reply_bad(c, s, "m: the total of record %u is out of range", bad + 1);
    route_head_init(c, s, &h, 200);
    h.type = RESPONSE_JSON;
    h.has_length = true;
    h.length = (uint64_t)length;
    if (response_head(&s->out, &c->out_pool, &c->clock, &h) < 0)
        return -ENOMEM;
    if (s->flags & SLOT_HEAD_ONLY)
        return 0;
    if (json_write_open(&s->out, &c->out_pool) < 0)
        return -ENOMEM;
    return json_route_produce(c, s);
}

int json_route_produce(struct core *c, struct slot *s)
{
    if (json_write_records(&s->out, &c->out_pool, c->data, &s->u.json.next, s->u.json.count,
                           s->u.json.m, c->set->max_output_bytes) < 0)
        return -ENOMEM;
    if (s->u.json.next < s->u.json.count)
        return ROUTE_MORE;
    return json_write_close(&s->out, &c->out_pool, s->u.json.count);
}
