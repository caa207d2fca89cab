/* SPDX-License-Identifier: MIT */
/*
 * http_scan.c - what of http_scan.h is chosen while the process runs.
 */
#include "config.h"

#include "http_scan.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

#if defined(__SSE2__) && !defined(HTTP_SCAN_PORTABLE)
__attribute__((target("avx2"))) const char *http_avx2_stride(const char *s, const char *end)
{
    const __m256i space = _mm256_set1_epi8(' '), odd = _mm256_set1_epi8('~' - ' ' + 1);

    for (; end - s >= 128; s += 128) {
        const __m256i *x = (const __m256i *)(const void *)s;
        __m256i a = _mm256_sub_epi8(_mm256_loadu_si256(x), space);
        __m256i b = _mm256_sub_epi8(_mm256_loadu_si256(x + 1), space);
        __m256i c = _mm256_sub_epi8(_mm256_loadu_si256(x + 2), space);
        __m256i d = _mm256_sub_epi8(_mm256_loadu_si256(x + 3), space);
        __m256i most = _mm256_max_epu8(_mm256_max_epu8(a, b), _mm256_max_epu8(c, d));
        if (_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(most, odd), most)))
            break;
    }
    return s;
}
#endif

const char *http_scan_name(void)
{
#if defined(__SSE2__) && !defined(HTTP_SCAN_PORTABLE)
    return http_avx2_is_here() ? "SSE2, and AVX2 what is long" : "SSE2";
#elif defined(__aarch64__) && !defined(__AARCH64EB__) && !defined(HTTP_SCAN_PORTABLE)
    return "NEON";
#else
    return "64-bit words";
#endif
}
