/* SPDX-License-Identifier: MIT */
/*
 * http_scan_sse2.h - http_scan.h by SSE2, which every x86-64 has: 16 bytes in a block.
 */
#ifndef BIVALVE_HTTP_SCAN_SSE2_H
#define BIVALVE_HTTP_SCAN_SSE2_H

#include <emmintrin.h>
#include <string.h>

#include "http_class.h"
#include "util.h"

#define SSE2_BYTES(c) _mm_set1_epi8((char)(c))

static inline __m128i http_sse2_load(const char *s)
{
    return _mm_loadu_si128((const __m128i *)(const void *)s);
}

static inline unsigned http_sse2_mask(__m128i x)
{
    return (unsigned)_mm_movemask_epi8(x);
}

static inline unsigned http_sse2_first(unsigned bits)
{
    return (unsigned)__builtin_ctz(bits);
}

static inline unsigned http_sse2_none_or_first(unsigned bits)
{
    return (unsigned)__builtin_ctz(bits | 1u << 16);
}

static inline unsigned http_sse2_from(unsigned bits, unsigned n)
{
    return bits >> n << n;
}

static inline unsigned http_sse2_before_first(unsigned bits)
{
    return bits ^ (bits - 1);
}

static inline unsigned http_sse2_equal(__m128i x, char c)
{
    return http_sse2_mask(_mm_cmpeq_epi8(x, SSE2_BYTES(c)));
}

/* Bytes from `first` to `last`. */
static inline __m128i http_sse2_between(__m128i x, unsigned first, unsigned last)
{
    __m128i y = _mm_sub_epi8(x, SSE2_BYTES(first));

    return _mm_cmpeq_epi8(_mm_min_epu8(y, SSE2_BYTES(last - first)), y);
}

/* Letters of either case. */
static inline __m128i http_sse2_letters(__m128i x)
{
    return http_sse2_between(_mm_or_si128(x, SSE2_BYTES(0x20)), 'a', 'z');
}

/* Controls but HTAB, and DEL. */
static inline unsigned http_sse2_not_value(__m128i x)
{
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(x, SSE2_BYTES(0x1f)), x);
    __m128i stop = _mm_andnot_si128(_mm_cmpeq_epi8(x, SSE2_BYTES('\t')), control);

    return http_sse2_mask(_mm_or_si128(stop, _mm_cmpeq_epi8(x, SSE2_BYTES(0x7f))));
}

/* All that are not HTTP_C_TARGET, and ! $ ~ */
static inline unsigned http_sse2_odd_target(__m128i x)
{
    __m128i low = _mm_cmpgt_epi8(SSE2_BYTES('&'), x); /* signed: 8-bit bytes, too */
    __m128i angle = _mm_cmpeq_epi8(_mm_and_si128(x, SSE2_BYTES(0xfd)), SSE2_BYTES('<')); /* < > */
    /* [ \ ] ^ { | } ~ DEL */
    __m128i high =
        _mm_andnot_si128(_mm_cmpeq_epi8(x, SSE2_BYTES('_')),
                         _mm_cmpgt_epi8(_mm_or_si128(x, SSE2_BYTES(0x20)), SSE2_BYTES('z')));
    __m128i tick = _mm_cmpeq_epi8(x, SSE2_BYTES('`'));

    return http_sse2_mask(_mm_or_si128(_mm_or_si128(low, angle), _mm_or_si128(high, tick)));
}

/* All but letters and '-'. */
static inline unsigned http_sse2_odd_token(__m128i x)
{
    __m128i dash = _mm_cmpeq_epi8(x, SSE2_BYTES('-'));

    return http_sse2_mask(_mm_or_si128(http_sse2_letters(x), dash)) ^ 0xffff;
}

/* All but letters, digits, '-' and '.'. */
static inline unsigned http_sse2_odd_name(__m128i x)
{
    __m128i rest = _mm_or_si128(http_sse2_between(x, '0', '9'), http_sse2_between(x, '-', '.'));

    return http_sse2_mask(_mm_or_si128(http_sse2_letters(x), rest)) ^ 0xffff;
}

/*
 * What http_sse2_stride() does, 128 bytes at a time. Only where http_avx2_is_here(), which is asked
 * for what is long alone: a shorter run ends before wider registers could give anything.
 */
const char *http_avx2_stride(const char *s, const char *end);

static inline bool http_avx2_is_here(void)
{
    return __builtin_cpu_supports("avx2");
}

/*
 * 64 at a time. What is not SP to '~' is what is at least '~' - SP + 1 once SP is subtracted: the
 * largest byte of the four blocks tells of all.
 */
static inline const char *http_sse2_stride(const char *s, const char *end)
{
    if (http_avx2_is_here())
        s = http_avx2_stride(s, end);
    for (; end - s >= 64; s += 64) {
        __m128i a = _mm_sub_epi8(http_sse2_load(s), SSE2_BYTES(' '));
        __m128i b = _mm_sub_epi8(http_sse2_load(s + 16), SSE2_BYTES(' '));
        __m128i c = _mm_sub_epi8(http_sse2_load(s + 32), SSE2_BYTES(' '));
        __m128i d = _mm_sub_epi8(http_sse2_load(s + 48), SSE2_BYTES(' '));
        __m128i most = _mm_max_epu8(_mm_max_epu8(a, b), _mm_max_epu8(c, d));
        if (http_sse2_mask(_mm_cmpeq_epi8(_mm_max_epu8(most, SSE2_BYTES('~' - ' ' + 1)), most)))
            break;
    }
    return s;
}

static inline bool http_sse2_same_block(const char *a, const char *b)
{
    return http_sse2_mask(_mm_cmpeq_epi8(http_sse2_load(a), http_sse2_load(b))) == 0xffff;
}

#define SCAN(name)       http_sse2_##name
#define SCAN_BITS        unsigned /* one for each byte */
#define SCAN_VECTOR      __m128i
#define SCAN_BLOCK       16
#define SCAN_VALUE_CLOSE 112
#include "http_scan_loops.h"

#endif
