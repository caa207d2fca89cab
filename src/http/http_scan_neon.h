/* SPDX-License-Identifier: MIT */
/*
 * http_scan_neon.h - http_scan.h by NEON (Advanced SIMD), which every AArch64 has: 16 bytes in a block.
 *
 * There is no instruction that makes a bit of each byte: a shift that narrows makes four of each,
 * in a word of 64 bits.
 */
#ifndef BIVALVE_HTTP_SCAN_NEON_H
#define BIVALVE_HTTP_SCAN_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "http_class.h"
#include "util.h"

#define NEON_BYTES(c) vdupq_n_u8((uint8_t)(c))

static inline uint8x16_t http_neon_load(const char *s)
{
    return vld1q_u8((const uint8_t *)s);
}

static inline uint64_t http_neon_mask(uint8x16_t x)
{
    return vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(x), 4)), 0);
}

static inline unsigned http_neon_first(uint64_t bits)
{
    return (unsigned)__builtin_ctzll(bits) / 4;
}

static inline unsigned http_neon_none_or_first(uint64_t bits)
{
    return bits ? http_neon_first(bits) : 16;
}

static inline uint64_t http_neon_from(uint64_t bits, unsigned n)
{
    return bits >> 4 * n << 4 * n;
}

static inline uint64_t http_neon_before_first(uint64_t bits)
{
    return bits ^ (bits - 1);
}

static inline uint64_t http_neon_equal(uint8x16_t x, char c)
{
    return http_neon_mask(vceqq_u8(x, NEON_BYTES(c)));
}

/* Bytes from `first` to `last`. */
static inline uint8x16_t http_neon_between(uint8x16_t x, unsigned first, unsigned last)
{
    return vcleq_u8(vsubq_u8(x, NEON_BYTES(first)), NEON_BYTES(last - first));
}

/* Letters of either case. */
static inline uint8x16_t http_neon_letters(uint8x16_t x)
{
    return http_neon_between(vorrq_u8(x, NEON_BYTES(0x20)), 'a', 'z');
}

/* Controls but HTAB, and DEL. */
static inline uint64_t http_neon_not_value(uint8x16_t x)
{
    uint8x16_t control = vbicq_u8(vcltq_u8(x, NEON_BYTES(' ')), vceqq_u8(x, NEON_BYTES('\t')));

    return http_neon_mask(vorrq_u8(control, vceqq_u8(x, NEON_BYTES(0x7f))));
}

/* All that are not HTTP_C_TARGET, and ! $ ~ */
static inline uint64_t http_neon_odd_target(uint8x16_t x)
{
    uint8x16_t low = vcltq_u8(x, NEON_BYTES('&'));
    uint8x16_t angle = vceqq_u8(vandq_u8(x, NEON_BYTES(0xfd)), NEON_BYTES('<')); /* < > */
    /* [ \ ] ^ { | } ~ DEL, and 8-bit bytes */
    uint8x16_t high = vbicq_u8(vcgtq_u8(vorrq_u8(x, NEON_BYTES(0x20)), NEON_BYTES('z')),
                               vceqq_u8(x, NEON_BYTES('_')));
    uint8x16_t tick = vceqq_u8(x, NEON_BYTES('`'));

    return http_neon_mask(vorrq_u8(vorrq_u8(low, angle), vorrq_u8(high, tick)));
}

/* All but letters and '-'. */
static inline uint64_t http_neon_odd_token(uint8x16_t x)
{
    return ~http_neon_mask(vorrq_u8(http_neon_letters(x), vceqq_u8(x, NEON_BYTES('-'))));
}

/* All but letters, digits, '-' and '.'. */
static inline uint64_t http_neon_odd_name(uint8x16_t x)
{
    uint8x16_t rest = vorrq_u8(http_neon_between(x, '0', '9'), http_neon_between(x, '-', '.'));

    return ~http_neon_mask(vorrq_u8(http_neon_letters(x), rest));
}

/* 64 at a time, as by SSE2: the largest byte tells of all. */
static inline const char *http_neon_stride(const char *s, const char *end)
{
    for (; end - s >= 64; s += 64) {
        uint8x16_t a = vsubq_u8(http_neon_load(s), NEON_BYTES(' '));
        uint8x16_t b = vsubq_u8(http_neon_load(s + 16), NEON_BYTES(' '));
        uint8x16_t c = vsubq_u8(http_neon_load(s + 32), NEON_BYTES(' '));
        uint8x16_t d = vsubq_u8(http_neon_load(s + 48), NEON_BYTES(' '));
        if (vmaxvq_u8(vmaxq_u8(vmaxq_u8(a, b), vmaxq_u8(c, d))) > '~' - ' ')
            break;
    }
    return s;
}

static inline bool http_neon_same_block(const char *a, const char *b)
{
    return vminvq_u8(vceqq_u8(http_neon_load(a), http_neon_load(b))) == 0xff;
}

#define SCAN(name)       http_neon_##name
#define SCAN_BITS        uint64_t /* four for each byte */
#define SCAN_VECTOR      uint8x16_t
#define SCAN_BLOCK       16
#define SCAN_VALUE_CLOSE 112
#include "http_scan_loops.h"

#endif
