/* SPDX-License-Identifier: MIT */
/*
 * http_scan.h - how far a run of bytes of one class goes: 16 bytes at a time where the processor
 * can (SSE2), else by the table of classes, which is what defines them.
 *
 * A block's test may call bytes odd that are of the class but rare: those are looked up in the
 * table. It must call every byte odd that is not; tests/unit/test_parser.c tries all of them at
 * every place.
 */
#ifndef BIVALVE_HTTP_SCAN_H
#define BIVALVE_HTTP_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "util.h"

/* Classes of bytes, see the table in http_head.c. */
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

#ifdef __SSE2__
#define HTTP_BYTES(c) _mm_set1_epi8((char)(c))

static inline __m128i http_block(const char *s)
{
    return _mm_loadu_si128((const __m128i *)(const void *)s);
}

static inline unsigned http_mask(__m128i x)
{
    return (unsigned)_mm_movemask_epi8(x);
}

/* Bytes from `first` to `last`. */
static inline __m128i http_between(__m128i x, unsigned first, unsigned last)
{
    __m128i y = _mm_sub_epi8(x, HTTP_BYTES(first));

    return _mm_cmpeq_epi8(_mm_min_epu8(y, HTTP_BYTES(last - first)), y);
}

/* Letters of either case. */
static inline __m128i http_letters(__m128i x)
{
    return http_between(_mm_or_si128(x, HTTP_BYTES(0x20)), 'a', 'z');
}

/* Which of 16 bytes cannot be in a field value, as bits: controls but HTAB, and DEL. */
static inline unsigned http_not_value(const char *s)
{
    __m128i x = http_block(s);
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(x, HTTP_BYTES(0x1f)), x);
    __m128i stop = _mm_andnot_si128(_mm_cmpeq_epi8(x, HTTP_BYTES('\t')), control);

    return http_mask(_mm_or_si128(stop, _mm_cmpeq_epi8(x, HTTP_BYTES(0x7f))));
}

/* Which of them are odd in a target: all that are not HTTP_C_TARGET, and ! $ ~ */
static inline unsigned http_odd_target(__m128i x)
{
    __m128i low = _mm_cmpgt_epi8(HTTP_BYTES('&'), x); /* signed: 8-bit bytes, too */
    __m128i angle = _mm_cmpeq_epi8(_mm_and_si128(x, HTTP_BYTES(0xfd)), HTTP_BYTES('<')); /* < > */
    /* [ \ ] ^ { | } ~ DEL */
    __m128i high =
        _mm_andnot_si128(_mm_cmpeq_epi8(x, HTTP_BYTES('_')),
                         _mm_cmpgt_epi8(_mm_or_si128(x, HTTP_BYTES(0x20)), HTTP_BYTES('z')));
    __m128i tick = _mm_cmpeq_epi8(x, HTTP_BYTES('`'));

    return http_mask(_mm_or_si128(_mm_or_si128(low, angle), _mm_or_si128(high, tick)));
}

/* In a field's name: all but letters and '-'. */
static inline unsigned http_odd_token(__m128i x)
{
    return http_mask(_mm_or_si128(http_letters(x), _mm_cmpeq_epi8(x, HTTP_BYTES('-')))) ^ 0xffff;
}

/* In a host's name: all but letters, digits, '-' and '.'. */
static inline unsigned http_odd_name(__m128i x)
{
    __m128i rest = _mm_or_si128(http_between(x, '0', '9'), http_between(x, '-', '.'));

    return http_mask(_mm_or_si128(http_letters(x), rest)) ^ 0xffff;
}
#endif

/*
 * First byte at or after `s` that cannot be in a field value. Bytes from `buf` on may be read
 * again: the last 16 of the input are looked at together, whatever part of them has been seen.
 */
static inline const char *http_value_run(const char *buf, const char *s, const char *end)
{
#ifdef __SSE2__
    for (; end - s >= 16; s += 16) {
        unsigned stop = http_not_value(s);
        if (stop)
            return s + __builtin_ctz(stop);
    }
    if (end - buf >= 16 && s < end) {
        const char *last = end - 16;
        unsigned stop = http_not_value(last) >> (s - last);
        return stop ? s + __builtin_ctz(stop) : end;
    }
#else
    (void)buf;
#endif
    return http_run(s, end, HTTP_C_VALUE);
}

#ifdef __SSE2__
/*
 * Of the 16 bytes at `s`, how many come before the first that is odd in a target. *query, if NULL,
 * becomes the first '?' of them.
 */
static inline unsigned http_target_block(const char *s, const char **query)
{
    __m128i x = http_block(s);
    unsigned odd = http_odd_target(x) | 1u << 16;
    unsigned marks = http_mask(_mm_cmpeq_epi8(x, HTTP_BYTES('?'))) & (odd ^ (odd - 1));

    if (marks && !*query)
        *query = s + __builtin_ctz(marks);
    return (unsigned)__builtin_ctz(odd);
}
#endif

/* http_target_run() on from where a block ends, or from a rare byte. */
const char *http_target_run_on(const char *s, const char *end, const char **query);

/*
 * First byte at or after `s` that is not HTTP_C_TARGET: a space, '%', a bracket, or worse. *query,
 * if NULL, becomes the first '?' before it.
 */
static inline const char *http_target_run(const char *s, const char *end, const char **query)
{
#ifdef __SSE2__
    /* As many as most targets need, without a loop: its constants would be loaded first. */
    for (int i = 0; i < 2 && likely(end - s > 16); i++) {
        unsigned n = http_target_block(s, query);
        s += n;
        if (n == 16)
            continue;
        if (likely(!http_is(*s, HTTP_C_TARGET)))
            return s;
        break;
    }
#endif
    return http_target_run_on(s, end, query);
}

/* First byte at or after `s` that is no token's: a field's name ends there. */
static inline const char *http_token_run(const char *s, const char *end)
{
#ifdef __SSE2__
    if (likely(end - s >= 16))
        s += __builtin_ctz(http_odd_token(http_block(s)) | 1u << 16);
#endif
    return http_run(s, end, HTTP_C_TOKEN);
}

/* First byte at or after `s` that is not HTTP_C_NAME. */
static inline const char *http_name_run(const char *s, const char *end)
{
#ifdef __SSE2__
    if (likely(end - s >= 16))
        s += __builtin_ctz(http_odd_name(http_block(s)) | 1u << 16);
#endif
    return http_run(s, end, HTTP_C_NAME);
}

#endif
