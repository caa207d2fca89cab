/* SPDX-License-Identifier: MIT */
/*
 * echo.c - POST /echo: the body, sent back while it is being received; with its length where the
 * request said it, chunked otherwise.
 *
 * The response begins with the first piece of the body, not with the head of the request: whoever
 * waits for 100 Continue gets that first.
 */
#include "config.h"

#include "handlers.h"

struct echo_state {
    int64_t length; /* -1: not known */
    bool begun;
};

static int echo_begin(struct request *r, const struct request_head *head)
{
    (void)head;
    *REQUEST_STATE(r, struct echo_state) = (struct echo_state){.length = request_body_length(r)};
    return HANDLER_CONTINUE;
}

static int echo_respond(struct request *r)
{
    struct echo_state *state = REQUEST_STATE(r, struct echo_state);

    if (state->begun)
        return 0;
    state->begun = true;
    bool sized = state->length >= 0;
    return request_respond(
        r, &(struct request_response){.status = 200,
                                      .type = RESPONSE_BYTES,
                                      .has_length = sized,
                                      .length = sized ? (uint64_t)state->length : 0});
}

static int echo_body(struct request *r, const char *data, size_t len)
{
    int rc = echo_respond(r);

    return unlikely(rc < 0) ? rc : request_write(r, data, len);
}

static int echo_finish(struct request *r)
{
    int rc = echo_respond(r); /* there was nothing in it */

    return unlikely(rc < 0) ? rc : request_end(r);
}

const struct handler echo_handler = {
    .allow = "POST, OPTIONS",
    .methods = HANDLER_METHOD(POST) | HANDLER_METHOD(OPTIONS),
    .streams = true,
    .begin = echo_begin,
    .body = echo_body,
    .finish = echo_finish,
};
