/* SPDX-License-Identifier: MIT */
/*
 * pipeline.c - GET /pipeline: the shortest answer there is.
 */
#include "config.h"

#include "handlers.h"

static int pipeline_finish(struct request *r)
{
    return request_reply(r, 200, RESPONSE_TEXT, "ok", 2);
}

const struct handler pipeline_handler = {
    .allow = "GET, HEAD, OPTIONS",
    .methods = HANDLER_METHOD(GET) | HANDLER_METHOD(HEAD) | HANDLER_METHOD(OPTIONS),
    .finish = pipeline_finish,
};
