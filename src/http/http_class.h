/* SPDX-License-Identifier: MIT */
/*
 * http_class.h - the classes of bytes in a message's head, and the end of a run of one by the table
 * that defines them. http_scan.h is the quick way.
 */
#ifndef BIVALVE_HTTP_CLASS_H
#define BIVALVE_HTTP_CLASS_H

#include <stdbool.h>
#include <stdint.h>

/* See the table in http_class.c. */
enum {
    HTTP_C_TOKEN = 1,
    HTTP_C_TARGET = 2,
    HTTP_C_NAME = 4,
    HTTP_C_HEX = 8,
    HTTP_C_VALUE = 16,
    HTTP_C_DIGIT = 32,
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

#endif
