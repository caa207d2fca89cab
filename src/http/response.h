/* SPDX-License-Identifier: MIT */
/*
 * response.h - status lines and header sections, written into the connection's output.
 */
#ifndef BIVALVE_RESPONSE_H
#define BIVALVE_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bufpool.h"
#include "clock.h"
#include "out.h"

enum response_type { RESPONSE_NONE, RESPONSE_TEXT, RESPONSE_JSON };

/* What a head says besides Date. */
struct response_head {
    int status;
    enum response_type type; /* RESPONSE_NONE: no Content-Type */
    bool has_length; /* Content-Length is sent; false for 1xx and 204 (RFC 9110 section 8.6) */
    uint64_t length;
    bool close;        /* "Connection: close" */
    bool keep_alive;   /* "Connection: keep-alive": an HTTP/1.0 client asked for it */
    const char *allow; /* value of Allow, or NULL */
};

#define RESPONSE_HEAD_MAX 320 /* no head is longer */

/* Append the head. 0, or -ENOMEM: close the connection. */
int response_head(struct out *o, struct bufpool *p, const struct clock_cache *clock,
                  const struct response_head *h);

/*
 * Append a whole response with a body of `len` bytes (`len` <= RESPONSE_BODY_MAX), in one piece;
 * `head_only`: without the body, for HEAD. The hot path of the small answers. 0 or -ENOMEM.
 */
#define RESPONSE_BODY_MAX 1024
int response_small(struct out *o, struct bufpool *p, const struct clock_cache *clock,
                   const struct response_head *h, const char *body, size_t len, bool head_only);

/* "HTTP/1.1 100 Continue" and an empty line. 0 or -ENOMEM. */
int response_continue(struct out *o, struct bufpool *p);

/* Reason phrase of a status that this server sends; "Unknown" otherwise. */
const char *response_reason(int status);

#endif
