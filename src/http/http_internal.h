/* SPDX-License-Identifier: MIT */
/*
 * http_internal.h - what http_head.c (heads) and http_field.c (their fields) share.
 */
#ifndef BIVALVE_HTTP_INTERNAL_H
#define BIVALVE_HTTP_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "http_parser.h"
#include "http_scan.h"

/*
 * Does s[0..len), len >= 4, equal `lower` (letters in lower case, '-') but for the case of its
 * letters? No controls.
 */
static inline bool http_lower_equals(const char *s, const char *lower, size_t len)
{
    uint64_t differ = 0;
    size_t i = 0;

    for (; len - i >= 8; i += 8) {
        uint64_t a, b;
        memcpy(&a, s + i, 8);
        memcpy(&b, lower + i, 8);
        differ |= (a | 0x2020202020202020) ^ b;
    }
    for (; i < len; i += 4) {
        uint32_t a, b;
        if (len - i < 4)
            i = len - 4; /* some bytes twice */
        memcpy(&a, s + i, 4);
        memcpy(&b, lower + i, 4);
        differ |= (a | 0x20202020) ^ b;
    }
    return !differ;
}

/* The fields that are looked at, as http_parser.header names them. */
enum {
    FIELD_OTHER,
    FIELD_HOST,
    FIELD_CONNECTION,
    FIELD_LENGTH,
    FIELD_CODING,
    FIELD_EXPECT,
    FIELD_ACCEPT,  /* Accept-Encoding */
    FIELD_CONTENT, /* Content-Encoding */
};

/* ---- http_field.c ---- */

/*
 * uri-host [":" port], RFC 9110 section 7.2, without userinfo; `port`: a port must be there
 * (authority-form).
 */
bool http_host_valid(const char *s, size_t len, bool port);

/*
 * http://authority/path?query as s[0..len), `off` behind the head's first byte: leaves the path and
 * query in target_off, target_len. A request for an https resource must not be served in the clear
 * (RFC 9110 section 7.4).
 */
enum http_error http_target_absolute(struct http_parser *p, const char *s, size_t len,
                                     uint32_t off);

/* The line of a known field (p->header) has ended: its value is s[0..len). */
enum http_error http_field_end(struct http_parser *p, const char *s, size_t len);

#endif
