/* SPDX-License-Identifier: MIT */
/*
 * route.h - from method and target to a handler, and the contract of a handler.
 *
 * A handler sees a request in three steps and never blocks, never keeps a pointer into the input:
 *   begin    at the end of the head; looks at the target, keeps numbers in slot->u; may already
 *            answer
 *   body     a piece of the body, any number of times
 *   finish   the request is complete: write the response
 *   produce  after finish returned ROUTE_MORE: write more as output drains
 */
#ifndef BIVALVE_ROUTE_H
#define BIVALVE_ROUTE_H

#include <stddef.h>

#include "core.h"
#include "response.h"
#include "util.h"

enum route_id { ROUTE_BASELINE, ROUTE_PIPELINE, ROUTE_JSON, ROUTE_NONE };

/*
 * What a request's head says, for the handler. Spans point into the input and die when begin()
 * returns.
 */
struct request {
    struct core *core;
    struct slot *slot;
    enum http_method method;
    const char *path, *query; /* query: NULL when there is none */
    size_t path_len, query_len;
};

/*
 * Answers are: 0 go on; ROUTE_ANSWERED the response has been written whole (an error, usually):
 * what is left of the body is discarded; ROUTE_MORE call produce() when there is room; -errno: no
 * memory, close the connection.
 */
enum { ROUTE_ANSWERED = 1, ROUTE_MORE = 2 };

struct route {
    enum route_id id;
    const char *allow; /* value of Allow */
    unsigned methods;  /* bit set of 1 << enum http_method */
    int (*begin)(struct request *r);
    void (*body)(struct slot *s, const char *data, size_t len);
    int (*finish)(struct core *c, struct slot *s);
    int (*produce)(struct core *c, struct slot *s);
};

/*
 * Find the route of a complete head and begin it. slot->route is set. Unknown path: 404, method not
 * taken: 405, written here. `target` is p->target_off... of the slot's parser. Returns as
 * route.begin.
 */
int route_begin(struct core *c, struct slot *s, const char *target, size_t target_len);

/* The route a slot is being served by; NULL for ROUTE_NONE. */
const struct route *route_get(enum route_id id);

/*
 * For handlers: write a whole small text response with the slot's keep-alive and HEAD rules
 * applied. 0 or -errno.
 */
int route_reply_text(struct core *c, struct slot *s, int status, const char *body, size_t len);

/*
 * 400 with one line, printf-formatted; returns ROUTE_ANSWERED or -errno. Client data in it must
 * have gone through log_escape().
 */
int route_reply_bad(struct core *c, struct slot *s, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The head fields every response of this slot shares: keep-alive, close. */
void route_head_init(const struct core *c, struct slot *s, struct response_head *h, int status);

#endif
