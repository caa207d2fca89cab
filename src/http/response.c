/* SPDX-License-Identifier: MIT */
/*
 * response.c - status lines and header sections.
 *
 * A head is written in one go into reserved room: status line and everything else constant by
 * memcpy of lengths known to the compiler, Date from the worker's cache, in the order
 *
 *   status line, Date, Content-Type, Content-Length, Allow, Connection, empty line.
 *
 * A Server field is left out: it is optional (RFC 9110 section 10.2.4), and every answer would
 * carry it.
 */
#include "config.h"

#include "response.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "integer.h"
#include "util.h"

#define RESPONSE_ALLOW_MAX 80 /* bytes of Allow that RESPONSE_HEAD_MAX has room for */

/* Status codes that the server sends or might, with their reason phrases (RFC 9110 section 15). */
struct response_status {
    int code;
    const char *reason;
};

static const struct response_status response_statuses[] = {
    {100, "Continue"},
    {200, "OK"},
    {204, "No Content"},
    {400, "Bad Request"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

const char *response_reason(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(response_statuses); i++) {
        if (response_statuses[i].code == status)
            return response_statuses[i].reason;
    }
    return "Unknown";
}

/* Append a string literal at p. */
#define RESPONSE_PUT(p, literal)                     \
    do {                                             \
        memcpy((p), (literal), sizeof(literal) - 1); \
        (p) += sizeof(literal) - 1;                  \
    } while (0)

static inline char *response_put_text(char *p, const char *text, size_t len)
{
    memcpy(p, text, len);
    return p + len;
}

/* The same without a call for the few bytes that most bodies are. */
static inline char *response_put_body(char *p, const char *text, size_t len)
{
    if (unlikely(len >= 8))
        return response_put_text(p, text, len);
    if (len >= 4) {
        memcpy(p, text, 4);
        memcpy(p + len - 4, text + len - 4, 4);
    } else if (len >= 2) {
        memcpy(p, text, 2);
        p[len - 1] = text[len - 1];
    } else if (len) {
        *p = *text;
    }
    return p + len;
}

static char *response_put_status(char *p, int status)
{
    const char *reason = response_reason(status);

    assert(status >= 100 && status <= 999);
    RESPONSE_PUT(p, "HTTP/1.1 ");
    p = integer_put(p, status);
    *p++ = ' ';
    p = response_put_text(p, reason, strlen(reason));
    RESPONSE_PUT(p, "\r\nDate: ");
    return p;
}

/* What few answers have; also the empty line that ends the section. */
static char *response_put_rest(char *p, const struct response_head *h)
{
    if (h->allow) {
        size_t len = strlen(h->allow);
        assert(len <= RESPONSE_ALLOW_MAX);
        RESPONSE_PUT(p, "\r\nAllow: ");
        p = response_put_text(p, h->allow, len);
    }
    if (h->close)
        RESPONSE_PUT(p, "\r\nConnection: close");
    else if (h->keep_alive)
        RESPONSE_PUT(p, "\r\nConnection: keep-alive");
    RESPONSE_PUT(p, "\r\n\r\n");
    return p;
}

/*
 * The whole head at p, which has RESPONSE_HEAD_MAX bytes of room; returns its end. The longest: a
 * status line of 45 bytes, Date 37, Content-Type 32, Content-Length 38, Allow 89, Connection 26 and
 * 2: below 320.
 */
static inline __attribute__((always_inline)) char *
response_put_head(char *p, const struct clock_cache *clock, const struct response_head *h)
{
    if (likely(h->status == 200))
        RESPONSE_PUT(p, "HTTP/1.1 200 OK\r\nDate: ");
    else
        p = response_put_status(p, h->status);
    memcpy(p, clock->date, CLOCK_DATE_LEN);
    p += CLOCK_DATE_LEN;
    if (h->type == RESPONSE_TEXT)
        RESPONSE_PUT(p, "\r\nContent-Type: text/plain");
    else if (h->type == RESPONSE_JSON)
        RESPONSE_PUT(p, "\r\nContent-Type: application/json");
    if (likely(h->has_length)) {
        assert(h->length <= INT64_MAX);
        RESPONSE_PUT(p, "\r\nContent-Length: ");
        p = integer_put(p, (int64_t)h->length);
    }
    if (unlikely(h->allow || h->close || h->keep_alive))
        return response_put_rest(p, h);
    RESPONSE_PUT(p, "\r\n\r\n");
    return p;
}

int response_head(struct out *o, struct bufpool *pool, const struct clock_cache *clock,
                  const struct response_head *h)
{
    char *start = out_reserve(o, pool, RESPONSE_HEAD_MAX);

    if (unlikely(!start))
        return -ENOMEM;
    char *p = response_put_head(start, clock, h);
    assert(p - start <= RESPONSE_HEAD_MAX);
    out_commit(o, (size_t)(p - start));
    return 0;
}

int response_small(struct out *o, struct bufpool *pool, const struct clock_cache *clock,
                   const struct response_head *h, const char *body, size_t len, bool head_only)
{
    assert(len <= RESPONSE_BODY_MAX);
    char *start = out_reserve(o, pool, RESPONSE_HEAD_MAX + len);

    if (unlikely(!start))
        return -ENOMEM;
    char *p = response_put_head(start, clock, h);
    assert(p - start <= RESPONSE_HEAD_MAX);
    if (likely(!head_only)) /* a HEAD's answer ends at the empty line (RFC 9110 section 9.3.2) */
        p = response_put_body(p, body, len);
    out_commit(o, (size_t)(p - start));
    return 0;
}

int response_continue(struct out *o, struct bufpool *pool)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n"; /* RFC 9110 section 15.2.1 */

    return out_append(o, pool, text, sizeof(text) - 1);
}
