/* SPDX-License-Identifier: MIT */
/*
 * upload.c - POST /upload: the number of bytes of the body, which is counted as it arrives and kept
 * nowhere.
 */
#include "config.h"

#include "handlers.h"
#include "integer.h"

static int upload_begin(struct request *r, const struct request_head *head)
{
    (void)head;
    *REQUEST_STATE(r, uint64_t) = 0;
    return HANDLER_CONTINUE;
}

static int upload_body(struct request *r, const char *data, size_t len)
{
    (void)data;
    *REQUEST_STATE(r, uint64_t) += len;
    return HANDLER_CONTINUE;
}

static int upload_finish(struct request *r)
{
    char text[INTEGER_TEXT_MAX];
    int64_t bytes = (int64_t)*REQUEST_STATE(r, uint64_t); /* no limit is beyond INT64_MAX */

    return request_reply(r, 200, RESPONSE_TEXT, text, integer_format(text, bytes));
}

const struct handler upload_handler = {
    .allow = "POST, OPTIONS",
    .methods = HANDLER_METHOD(POST) | HANDLER_METHOD(OPTIONS),
    .streams = true,
    .begin = upload_begin,
    .body = upload_body,
    .finish = upload_finish,
};
