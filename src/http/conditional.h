/* SPDX-License-Identifier: MIT */
/*
 * conditional.h - is what the client has still good, and which part does it ask for? The fields of
 * RFC 9110 sections 13 and 14, for a representation that has a strong entity tag and a time.
 */
#ifndef BIVALVE_CONDITIONAL_H
#define BIVALVE_CONDITIONAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "request.h"

/* What is about to be sent. */
struct representation {
    uint64_t size;
    const char *etag; /* a strong one, with its quotes */
    time_t modified;
};

enum conditional {
    CONDITIONAL_PROCEED,
    CONDITIONAL_NOT_MODIFIED, /* 304 */
    CONDITIONAL_FAILED,       /* 412 */
};

/*
 * If-Match, If-Unmodified-Since, If-None-Match, If-Modified-Since, in the order of RFC 9110 section
 * 13.2.2, of a GET or HEAD. A date that is none is passed over.
 */
enum conditional conditional_check(const struct request_head *head,
                                   const struct representation *rep, time_t now);

enum range {
    RANGE_WHOLE,
    RANGE_PART,          /* 206 */
    RANGE_UNSATISFIABLE, /* 416 */
};

/*
 * Range and If-Range of a GET: which bytes, as *first and *count (> 0), for RANGE_PART. What is no
 * range of bytes, is malformed or asks for several parts is passed over, as RFC 9110 section 14.2
 * has it: RANGE_WHOLE.
 */
enum range conditional_range(const struct request_head *head, const struct representation *rep,
                             time_t now, uint64_t *first, uint64_t *count);

/*
 * Is `etag` in the list of entity tags, `value`? "*" is no tag. `weak`: by weak comparison (section
 * 8.8.3.2). What is malformed ends the list.
 */
bool etag_in_list(const char *value, size_t len, const char *etag, bool weak);

/* The value of a Range field for a representation of `size` bytes. */
enum range range_parse(const char *value, size_t len, uint64_t size, uint64_t *first,
                       uint64_t *count);

#endif
