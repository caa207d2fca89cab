/* SPDX-License-Identifier: MIT */
/*
 * http_scan.h - how far a run of bytes of one class goes: a block at a time by what the processor
 * has, where each implementation is held to the table of classes, which is what defines them.
 *
 *   http_scan_sse2.h    x86-64: 16 bytes, and AVX2 for what is long, where the processor has it
 *   http_scan_neon.h    AArch64, little-endian: 16 bytes
 *   http_scan_swar.h    anywhere: 8 bytes in a word of 64 bits, of either byte order
 *
 * What they have in common is http_scan_loops.h. tests/unit/test_scan.c and tests/fuzz/fuzz_scan.c
 * compare all that are compiled. Built with -DHTTP_SCAN_PORTABLE, the last one is used anywhere.
 */
#ifndef BIVALVE_HTTP_SCAN_H
#define BIVALVE_HTTP_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "http_class.h"

/* What scans here, for people: "SSE2", "SSE2, and AVX2 what is long", "NEON", "64-bit words". */
const char *http_scan_name(void);

#if defined(__SSE2__) && !defined(HTTP_SCAN_PORTABLE)
#include "http_scan_sse2.h"
#define HTTP_SCAN(name) http_sse2_##name
#elif defined(__aarch64__) && !defined(__AARCH64EB__) && !defined(HTTP_SCAN_PORTABLE)
#include "http_scan_neon.h"
#define HTTP_SCAN(name) http_neon_##name
#else
#include "http_scan_swar.h"
#define HTTP_SCAN(name) http_swar_##name
#endif

/*
 * First byte at or after `s` that cannot be in a field value. Bytes from `buf` on may be read
 * again: the last ones of the input are looked at together, whatever part of them has been seen.
 */
static inline const char *http_value_run(const char *buf, const char *s, const char *end)
{
    return HTTP_SCAN(value_run)(buf, s, end);
}

/*
 * First byte at or after `s` that is not HTTP_C_TARGET: a space, '%', a bracket, or worse. *query,
 * if NULL, becomes the first '?' before it.
 */
static inline const char *http_target_run(const char *s, const char *end, const char **query)
{
    return HTTP_SCAN(target_run)(s, end, query);
}

/* First byte at or after `s` that is no token's: a field's name ends there. */
static inline const char *http_token_run(const char *s, const char *end)
{
    return HTTP_SCAN(token_run)(s, end);
}

/* First byte at or after `s` that is not HTTP_C_NAME. */
static inline const char *http_name_run(const char *s, const char *end)
{
    return HTTP_SCAN(name_run)(s, end);
}

#define HTTP_SCAN_SAME_MIN 16 /* bytes: no block is longer */

/* a[0..len) equals b[0..len), len >= HTTP_SCAN_SAME_MIN. */
static inline bool http_scan_same(const char *a, const char *b, size_t len)
{
    return HTTP_SCAN(same)(a, b, len);
}

#endif
