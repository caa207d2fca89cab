/* SPDX-License-Identifier: MIT */
/*
 * delay.c - GET /delay/{ms}: the number, so many milliseconds after the request is complete; never
 * earlier.
 */
#include "config.h"

#include "handlers.h"
#include "integer.h"
#include "log.h"

#define DELAY_PATH     "/delay/"
#define DELAY_PATH_LEN (sizeof(DELAY_PATH) - 1)
#define DELAY_MAX_MS   60000

/* The number in text[0..len), which is digits alone; -1: it is none, or too large. */
static int64_t delay_parse(const char *text, size_t len)
{
    int64_t ms = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        ms = ms * 10 + (text[i] - '0');
        if (ms > DELAY_MAX_MS)
            return -1;
    }
    return ms;
}

static int delay_begin(struct request *r, const struct request_head *head)
{
    const char *text = head->path + DELAY_PATH_LEN;
    size_t len = head->path_len - DELAY_PATH_LEN; /* > 0: routes.c */
    char echo[REQUEST_ECHO_MAX];

    int64_t ms = delay_parse(text, len);
    if (ms < 0)
        return request_reply_bad(r, "\"%s\" is no number of milliseconds from 0 to %d",
                                 log_escape(echo, sizeof(echo), text, len), DELAY_MAX_MS);
    *REQUEST_STATE(r, uint32_t) = (uint32_t)ms;
    return HANDLER_CONTINUE;
}

static int delay_resume(struct request *r)
{
    char text[INTEGER_TEXT_MAX];
    uint32_t ms = *REQUEST_STATE(r, uint32_t);

    return request_reply(r, 200, RESPONSE_TEXT, text, integer_format(text, ms));
}

static int delay_finish(struct request *r)
{
    uint32_t ms = *REQUEST_STATE(r, uint32_t);

    return ms ? request_wait(r, ms) : delay_resume(r);
}

const struct handler delay_handler = {
    .allow = "GET, HEAD, OPTIONS",
    .methods = HANDLER_METHOD(GET) | HANDLER_METHOD(HEAD) | HANDLER_METHOD(OPTIONS),
    .parks = true,
    .begin = delay_begin,
    .finish = delay_finish,
    .resume = delay_resume,
};
