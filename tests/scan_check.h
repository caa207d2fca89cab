/* SPDX-License-Identifier: MIT */
/*
 * scan_check.h - every implementation of http_scan.h that is compiled, held to the table of classes
 * byte by byte. For test_scan.c and fuzz_scan.c.
 */
#ifndef BIVALVE_SCAN_CHECK_H
#define BIVALVE_SCAN_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "http_scan.h"
#include "http_scan_swar.h"
#include "util.h"

struct scan {
    const char *name;
    const char *(*value)(const char *buf, const char *s, const char *end);
    const char *(*stride)(const char *s, const char *end);
    const char *(*target)(const char *s, const char *end, const char **query);
    const char *(*token)(const char *s, const char *end);
    const char *(*host)(const char *s, const char *end);
    bool (*same)(const char *a, const char *b, size_t len);
    bool (*here)(void); /* NULL: always */
};

static const struct scan scan_all[] = {
#define SCAN_ROW_(by)        \
    {#by,                    \
     http_##by##_value_run,  \
     http_##by##_stride,     \
     http_##by##_target_run, \
     http_##by##_token_run,  \
     http_##by##_name_run,   \
     http_##by##_same,       \
     NULL},
    SCAN_ROW_(swar)
#ifdef BIVALVE_HTTP_SCAN_SSE2_H
        SCAN_ROW_(sse2){.name = "avx2", .stride = http_avx2_stride, .here = http_avx2_is_here},
#endif
#ifdef BIVALVE_HTTP_SCAN_NEON_H
    SCAN_ROW_(neon)
#endif
#undef SCAN_ROW_
};

/* Where a run of bytes of `class` ends: what defines it. */
static inline const char *scan_by_table(const char *s, const char *end, unsigned class)
{
    while (s < end && http_is(*s, class))
        s++;
    return s;
}

/* stride() may stop early, but is of no use if it does so where there is nothing odd. */
static inline bool scan_stride_is_right(const struct scan *by, const char *s, const char *end)
{
    enum { STRIDE_MAX = 128 };
    const char *odd = s, *at = by->stride(s, end);

    while (odd < end && *odd >= ' ' && *odd <= '~')
        odd++;
    return at >= s && at <= odd && odd - at < STRIDE_MAX;
}

/*
 * All scanners on what is at `s`, of an input from `buf` to `end`. NULL, or what was wrong; *who is
 * the implementation then.
 */
static inline const char *scan_check(const char *buf, const char *s, const char *end,
                                     const char **who)
{
    const char *value = scan_by_table(s, end, HTTP_C_VALUE);
    const char *target = scan_by_table(s, end, HTTP_C_TARGET), *mark = NULL;
    const char *token = scan_by_table(s, end, HTTP_C_TOKEN);
    const char *host = scan_by_table(s, end, HTTP_C_NAME);

    if (target > s)
        mark = memchr(s, '?', (size_t)(target - s));
    for (size_t i = 0; i < ARRAY_LEN(scan_all); i++) {
        const struct scan *by = &scan_all[i];
        const char *query = NULL;
        *who = by->name;
        if (by->here && !by->here())
            continue;
        if (!scan_stride_is_right(by, s, end))
            return "stride";
        if (!by->value)
            continue;
        if (by->value(buf, s, end) != value)
            return "value_run";
        if (by->target(s, end, &query) != target || query != mark)
            return "target_run";
        if (by->token(s, end) != token)
            return "token_run";
        if (by->host(s, end) != host)
            return "name_run";
    }
    return NULL;
}

/* Whether all say of a[0..len) and b[0..len), at least HTTP_SCAN_SAME_MIN long, what memcmp() does. */
static inline bool scan_check_same(const char *a, const char *b, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(scan_all); i++)
        if (scan_all[i].same && scan_all[i].same(a, b, len) != !memcmp(a, b, len))
            return false;
    return true;
}

#endif
