/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "response.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "integer.h"
#include "util.h"

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {100, "Continue"},
    {200, "OK"},
    {204, "No Content"},
    {400, "Bad Request"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {417, "Expectation Failed"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

const char *response_reason(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}

#define PUT(p, text)                                                                               \
    do {                                                                                           \
        memcpy(p, text, sizeof(text) - 1);                                                         \
        p += sizeof(text) - 1;                                                                     \
    } while (0)

static char *put_text(char *p, const char *text)
{
    size_t len = strlen(text);

    memcpy(p, text, len);
    return p + len;
}

/* Status line to the empty line at `p`, which has room for RESPONSE_HEAD_MAX bytes. Returns the end. */
static char *response_write_head(char *p, const struct clock_cache *clock, const struct response_head *h)
{
    if (likely(h->status == 200)) {
        PUT(p, "HTTP/1.1 200 OK\r\nDate: ");
    } else {
        PUT(p, "HTTP/1.1 ");
        p += integer_format(p, h->status);
        *p++ = ' ';
        p = put_text(p, response_reason(h->status));
        PUT(p, "\r\nDate: ");
    }
    memcpy(p, clock->date, CLOCK_DATE_LEN);
    p += CLOCK_DATE_LEN;
    if (likely(h->type == RESPONSE_TEXT))
        PUT(p, "\r\nContent-Type: text/plain");
    else if (h->type == RESPONSE_JSON)
        PUT(p, "\r\nContent-Type: application/json");
    if (likely(h->has_length)) {
        PUT(p, "\r\nContent-Length: ");
        p += integer_format(p, (int64_t)h->length);
    }
    if (unlikely(h->allow)) {
        PUT(p, "\r\nAllow: ");
        p = put_text(p, h->allow);
    }
    if (unlikely(h->close))
        PUT(p, "\r\nConnection: close");
    else if (unlikely(h->keep_alive))
        PUT(p, "\r\nConnection: keep-alive");
    PUT(p, "\r\n\r\n");
    return p;
}

int response_head(struct out *o, struct bufpool *p, const struct clock_cache *clock, const struct response_head *h)
{
    char *start = out_reserve(o, p, RESPONSE_HEAD_MAX);

    if (!start)
        return -ENOMEM;
    char *end = response_write_head(start, clock, h);
    assert(end - start <= RESPONSE_HEAD_MAX);
    out_commit(o, (size_t)(end - start));
    return 0;
}

int response_small(struct out *o, struct bufpool *p, const struct clock_cache *clock, const struct response_head *h,
                   const char *body, size_t len, bool head_only)
{
    assert(len <= RESPONSE_BODY_MAX);
    char *start = out_reserve(o, p, RESPONSE_HEAD_MAX + len);

    if (unlikely(!start))
        return -ENOMEM;
    char *end = response_write_head(start, clock, h);
    assert(end - start <= RESPONSE_HEAD_MAX);
    if (likely(!head_only)) {
        memcpy(end, body, len);
        end += len;
    }
    out_commit(o, (size_t)(end - start));
    return 0;
}

int response_continue(struct out *o, struct bufpool *p)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

    return out_append(o, p, text, sizeof(text) - 1);
}
