/* SPDX-License-Identifier: MIT */
/*
 * http_section.h - the header section that was parsed last, and what it came to.
 *
 * A client sends the same header section with every request, and many clients send the same one. What
 * follows the target - version, fields, empty line - decides by itself what the parser makes of it;
 * only limits have a say besides, which do not change while a process runs. So a head that ends in
 * the very bytes of one that was parsed is not parsed again: they are compared, and the request line
 * alone is read. What differs in a byte, and what is not all there, is parsed like any other.
 */
#ifndef BIVALVE_HTTP_SECTION_H
#define BIVALVE_HTTP_SECTION_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "http_parser.h"
#include "http_scan.h"
#include "settings.h"
#include "util.h"

#define HTTP_SECTION_MIN 16  /* " HTTP/1.1", CRLF, a field, CRLF: no shorter one is kept */
#define HTTP_SECTION_MAX 992 /* bytes; longer ones are parsed every time */

static_assert(HTTP_SECTION_MIN >= HTTP_SCAN_SAME_MIN, "what is shorter cannot be compared");

/* All zero: nothing is kept. */
struct http_section {
    uint64_t left;  /* as in struct http_parser */
    uint16_t flags; /* likewise, but for those of the target */
    uint16_t len;   /* 0: nothing is kept */
    uint32_t other; /* heads that were not like this one */
    char text[HTTP_SECTION_MAX] __attribute__((aligned(16)));
};

/* The flags that come from the target. */
#define HTTP_SECTION_NOT (HTTP_F_ABSOLUTE | HTTP_F_ESCAPED | HTTP_F_QUERY)

/*
 * A head of `len` bytes at `buf` that http_section_head() did not know has been parsed: it may take
 * the place of the one that is kept.
 */
void http_section_keep(struct http_section *c, const struct http_parser *p, const char *buf,
                       size_t len);

/*
 * http_parse_head() for a fresh parser and a head that is whole, with a plain request line and the
 * section that is kept: the length of the head. 0: it is another one; nothing has happened.
 */
static inline size_t http_section_head(struct http_parser *p, const struct settings *set,
                                       const struct http_section *c, const char *buf, size_t len)
{
    const char *target = buf + 4, *end = buf + len, *query = NULL;
    enum http_method method = HTTP_GET;
    size_t rest = c->len;

    if (unlikely(p->state || !rest || len < rest + 5))
        return 0;
    if (unlikely(memcmp(buf, "GET /", 5))) {
        if (memcmp(buf, "POST /", 6))
            return 0;
        method = HTTP_POST;
        target++;
    }
    const char *s = http_target_run(target, end, &query);
    if (unlikely((size_t)(end - s) < rest || (size_t)(s - target) > set->max_uri_bytes ||
                 !http_scan_same(s, c->text, rest)))
        return 0;
    p->method = (uint8_t)method;
    p->target_off = (uint32_t)(target - buf);
    p->target_len = (uint32_t)(s - target);
    p->flags = c->flags;
    if (query) {
        p->flags |= HTTP_F_QUERY;
        p->path_len = (uint32_t)(query - target);
    }
    if (unlikely(c->flags & HTTP_F_BODY)) {
        p->left = c->left;
        http_body_begin(p);
    }
    return (size_t)(s - buf) + rest;
}

#endif
