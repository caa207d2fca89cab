/* SPDX-License-Identifier: MIT */
/*
 * response.h - status lines and header sections, written into a connection's output.
 */
#ifndef BIVALVE_RESPONSE_H
#define BIVALVE_RESPONSE_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bufpool.h"
#include "clock.h"
#include "integer.h"
#include "out.h"
#include "util.h"

enum response_type {
    RESPONSE_NONE,
    RESPONSE_TEXT,
    RESPONSE_JSON,
    RESPONSE_JSON_CODED, /* Accept-Encoding has a say in it: with Vary */
    RESPONSE_BYTES
};

/* A field of a handler's own. Controls in the value are sent as spaces: no value makes a line. */
struct response_field {
    const char *name; /* a token */
    const char *value;
};

/* What a head says besides Date. */
struct response_head {
    int status;
    enum response_type type; /* RESPONSE_NONE: no Content-Type */
    bool has_length; /* Content-Length is sent; false for 1xx and 204 (RFC 9110 section 8.6) */
    bool chunked;    /* Transfer-Encoding: chunked */
    bool close;      /* "Connection: close" */
    bool keep_alive; /* "Connection: keep-alive": an HTTP/1.0 client asked for it */
    bool plain_only; /* "Accept-Encoding: identity": why 415 (RFC 9110 section 15.5.16) */
    uint64_t length;
    const char *allow; /* value of Allow, or NULL */
    const struct response_field *fields;
    unsigned field_count;
};

#define RESPONSE_HEAD_MAX   384  /* no head is longer, without a handler's fields */
#define RESPONSE_FIELDS_MAX 8192 /* bytes of a handler's fields, each with 4 bytes besides */

/* Append the head. 0; -ENOMEM: close the connection; -EMSGSIZE: the fields are too long, and
 * nothing is written. */
int response_head(struct out *o, struct bufpool *p, const struct clock_cache *clock,
                  const struct response_head *h);

/*
 * Append a whole response with a body of `len` bytes (`len` <= RESPONSE_BODY_MAX) and no fields of
 * a handler's, in one piece; `head_only`: without the body, for HEAD. The hot path of the small
 * answers. 0 or -ENOMEM.
 */
#define RESPONSE_BODY_MAX 1024
int response_small(struct out *o, struct bufpool *p, const struct clock_cache *clock,
                   const struct response_head *h, const char *body, size_t len, bool head_only);

/* The head of most answers, 200 with a text of some length, as far as that: made once a second. */
#define RESPONSE_OK_LEN 96
struct response_ok {
    time_t date_s; /* the second it shows; 0: none yet */
    char text[RESPONSE_OK_LEN];
};

/* Make it for the second that it is. */
void response_ok_make(struct response_ok *ok, const struct clock_cache *clock);

/* Bodies that are copied without a call. */
#define RESPONSE_SHORT_MAX 16

/* Copy a body of up to so many bytes to p; returns the end. */
static inline char *response_put_short(char *p, const char *text, size_t len)
{
    if (len >= 8) {
        memcpy(p, text, 8);
        memcpy(p + len - 8, text + len - 8, 8);
    } else if (len >= 4) {
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

/*
 * response_small() for status 200, RESPONSE_TEXT, not HEAD, and a connection of HTTP/1.1 that
 * persists, with a body of up to RESPONSE_SHORT_MAX bytes, where it takes no call. False: it would;
 * nothing has been written.
 */
static inline bool response_ok_now(const struct response_ok *ok, struct out *o,
                                   struct bufpool *pool, const struct clock_cache *clock,
                                   const char *body, size_t len)
{
    if (unlikely(len > RESPONSE_SHORT_MAX || ok->date_s != clock->date_s))
        return false;
    char *p = out_reserve_now(o, pool, RESPONSE_HEAD_MAX);
    if (unlikely(!p))
        return false;
    char *start = p;
    memcpy(p, ok->text, RESPONSE_OK_LEN);
    p += RESPONSE_OK_LEN;
    if (unlikely(len >= 10))
        *p++ = '1';
    *p++ = (char)('0' + (len < 10 ? len : len - 10));
    memcpy(p, "\r\n\r\n", 4);
    p = response_put_short(p + 4, body, len);
    out_commit(o, (size_t)(p - start));
    return true;
}

/* "HTTP/1.1 100 Continue" and an empty line. 0 or -ENOMEM. */
int response_continue(struct out *o, struct bufpool *p);

/* The beginning of a chunk of `len` bytes, its end, and the last chunk (RFC 9112 section 7.1). 0 or
 * -ENOMEM. */
int response_chunk_begin(struct out *o, struct bufpool *p, uint64_t len);
int response_chunk_end(struct out *o, struct bufpool *p);
int response_chunk_last(struct out *o, struct bufpool *p);

/* Reason phrase of a status (RFC 9110 section 15); "Unknown" otherwise. */
const char *response_reason(int status);

#endif
