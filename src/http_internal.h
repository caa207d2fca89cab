/* SPDX-License-Identifier: MIT */
/*
 * http_internal.h - what http_parser.c (heads) and http_body.c (bodies) share.
 */
#ifndef BIVALVE_HTTP_INTERNAL_H
#define BIVALVE_HTTP_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http_parser.h"

/* Classes of bytes, see the table in http_parser.c. */
enum {
    HTTP_C_TOKEN = 1,
    HTTP_C_TARGET = 2,
    HTTP_C_NAME = 4,
    HTTP_C_HEX = 8,
    HTTP_C_VALUE = 16,
};

extern const uint8_t http_class[256];

static inline bool http_is(char c, unsigned classes)
{
    return http_class[(unsigned char)c] & classes;
}

/* First byte at or after `s`, before `end`, that is in none of `classes`; or `end`. */
static inline const char *http_run(const char *s, const char *end, unsigned classes)
{
    for (; end - s >= 4; s += 4) {
        if (!http_is(s[0], classes))
            return s;
        if (!http_is(s[1], classes))
            return s + 1;
        if (!http_is(s[2], classes))
            return s + 2;
        if (!http_is(s[3], classes))
            return s + 3;
    }
    while (s < end && http_is(*s, classes))
        s++;
    return s;
}

/* Does s[0..len) equal `lower` (letters in lower case, '-') but for the case of its letters? */
static inline bool http_lower_equals(const char *s, const char *lower, size_t len)
{
    unsigned differ = 0;

    for (size_t i = 0; i < len; i++)
        differ |= (unsigned char)(s[i] | 0x20) ^ (unsigned char)lower[i];
    return !differ;
}

/* The head announced a body: set the parser up for http_parse_body(). */
void http_body_begin(struct http_parser *p);

#endif
