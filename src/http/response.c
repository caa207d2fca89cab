/* SPDX-License-Identifier: MIT */
/*
 * response.c - status lines and header sections.
 *
 * A head is written in one go into reserved room: status line and everything else constant by
 * memcpy of lengths known to the compiler, Date from the worker's cache, in the order
 *
 *   status line, Date, Content-Type, Content-Length or Transfer-Encoding, Allow, Connection, the
 *   handler's own, empty line.
 *
 * A Server field is left out: it is optional (RFC 9110 section 10.2.4), and every answer would
 * carry it.
 */
#include "config.h"

#include "response.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
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
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
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

static size_t response_fields_len(const struct response_head *h)
{
    size_t len = 0;

    for (unsigned i = 0; i < h->field_count; i++)
        len += strlen(h->fields[i].name) + strlen(h->fields[i].value) + 4;
    return len;
}

/* CRLF, then a field without its own. */
static char *response_put_field(char *p, const struct response_field *f)
{
    RESPONSE_PUT(p, "\r\n");
    p = response_put_text(p, f->name, strlen(f->name));
    RESPONSE_PUT(p, ": ");
    for (const char *v = f->value; *v; v++)
        *p++ = ((unsigned char)*v < 0x20 && *v != '\t') || *v == 0x7f ? ' ' : *v;
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
    if (h->chunked)
        RESPONSE_PUT(p, "\r\nTransfer-Encoding: chunked");
    if (h->plain_only)
        RESPONSE_PUT(p, "\r\nAccept-Encoding: identity");
    if (h->type == RESPONSE_BYTES)
        RESPONSE_PUT(p, "\r\nContent-Type: application/octet-stream");
    for (unsigned i = 0; i < h->field_count; i++)
        p = response_put_field(p, &h->fields[i]);
    RESPONSE_PUT(p, "\r\n\r\n");
    return p;
}

/*
 * The whole head at p, which has RESPONSE_HEAD_MAX bytes of room besides that of fields; returns
 * its end. The longest: a status line of 45 bytes, Date 37, Content-Type 42 or with
 * Vary 55, Content-Length 38 or
 * Transfer-Encoding 28, Allow 89, Connection 26, Accept-Encoding 27 and 2: below 350.
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
    else if (h->type == RESPONSE_JSON_CODED)
        RESPONSE_PUT(p, "\r\nContent-Type: application/json\r\nVary: Accept-Encoding");
    else if (h->type == RESPONSE_JSON)
        RESPONSE_PUT(p, "\r\nContent-Type: application/json");
    if (likely(h->has_length)) {
        assert(h->length <= INT64_MAX);
        RESPONSE_PUT(p, "\r\nContent-Length: ");
        p = integer_put(p, (int64_t)h->length);
    }
    if (unlikely(h->allow || h->close || h->keep_alive || h->chunked || h->field_count ||
                 h->plain_only || h->type == RESPONSE_BYTES))
        return response_put_rest(p, h);
    RESPONSE_PUT(p, "\r\n\r\n");
    return p;
}

int response_head(struct out *o, struct bufpool *pool, const struct clock_cache *clock,
                  const struct response_head *h)
{
    size_t room = RESPONSE_HEAD_MAX;

    if (unlikely(h->field_count)) {
        size_t len = response_fields_len(h);
        if (len > RESPONSE_FIELDS_MAX)
            return -EMSGSIZE;
        room += len;
    }
    char *start = out_reserve(o, pool, room);
    if (unlikely(!start))
        return -ENOMEM;
    char *p = response_put_head(start, clock, h);
    assert((size_t)(p - start) <= room);
    out_commit(o, (size_t)(p - start));
    return 0;
}

int response_small(struct out *o, struct bufpool *pool, const struct clock_cache *clock,
                   const struct response_head *h, const char *body, size_t len, bool head_only)
{
    assert(len <= RESPONSE_BODY_MAX && !h->field_count);
    char *start = out_reserve(o, pool, RESPONSE_HEAD_MAX + len);

    if (unlikely(!start))
        return -ENOMEM;
    char *p = response_put_head(start, clock, h);
    assert(p - start <= RESPONSE_HEAD_MAX);
    if (likely(!head_only)) /* a HEAD's answer ends at the empty line (RFC 9110 section 9.3.2) */
        p = response_put_text(p, body, len);
    out_commit(o, (size_t)(p - start));
    return 0;
}

void response_ok_make(struct response_ok *ok, const struct clock_cache *clock)
{
    char *p = ok->text;

    RESPONSE_PUT(p, "HTTP/1.1 200 OK\r\nDate: ");
    p = response_put_text(p, clock->date, CLOCK_DATE_LEN);
    RESPONSE_PUT(p, "\r\nContent-Type: text/plain\r\nContent-Length: ");
    assert(p == ok->text + RESPONSE_OK_LEN);
    ok->date_s = clock->date_s;
}

int response_continue(struct out *o, struct bufpool *pool)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n"; /* RFC 9110 section 15.2.1 */

    return out_append(o, pool, text, sizeof(text) - 1);
}

int response_chunk_begin(struct out *o, struct bufpool *pool, uint64_t len)
{
    char text[24];
    int n = snprintf(text, sizeof(text), "%" PRIx64 "\r\n", len);

    assert(len > 0); /* a chunk of none is the last */
    return out_append(o, pool, text, (size_t)n);
}

int response_chunk_end(struct out *o, struct bufpool *pool)
{
    return out_append(o, pool, "\r\n", 2);
}

int response_chunk_last(struct out *o, struct bufpool *pool)
{
    return out_append(o, pool, "0\r\n\r\n", 5);
}
