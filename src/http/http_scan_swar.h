/* SPDX-License-Identifier: MIT */
/*
 * http_scan_swar.h - http_scan.h by arithmetic on words of 64 bits (SIMD within a register), for
 * processors of any kind and either byte order: 8 bytes in a block.
 *
 * A test's result is the highest bit of each byte. Bytes are compared by adding to their lower seven
 * bits what makes the eighth if they are large enough: nothing is carried into the next byte.
 */
#ifndef BIVALVE_HTTP_SCAN_SWAR_H
#define BIVALVE_HTTP_SCAN_SWAR_H

#include <string.h>

#include "http_class.h"
#include "util.h"

/* Eight bytes `c`. */
#define SWAR_BYTES(c) ((uint64_t)(c)*UINT64_C(0x0101010101010101))
#define SWAR_HIGH     SWAR_BYTES(0x80)
#define SWAR_LOW      SWAR_BYTES(0x7f)

static inline uint64_t http_swar_load(const char *s)
{
    uint64_t x;

    memcpy(&x, s, sizeof(x));
    return x;
}

/* The order of bytes matters to these alone. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static inline unsigned http_swar_first(uint64_t bits)
{
    return (unsigned)__builtin_ctzll(bits) / 8;
}

static inline uint64_t http_swar_from(uint64_t bits, unsigned n)
{
    return bits >> 8 * n << 8 * n;
}

static inline uint64_t http_swar_before_first(uint64_t bits)
{
    return bits ^ (bits - 1);
}
#else
static inline unsigned http_swar_first(uint64_t bits)
{
    return (unsigned)__builtin_clzll(bits) / 8;
}

static inline uint64_t http_swar_from(uint64_t bits, unsigned n)
{
    return bits << 8 * n >> 8 * n;
}

static inline uint64_t http_swar_before_first(uint64_t bits)
{
    return bits ? ~(UINT64_MAX >> __builtin_clzll(bits)) : UINT64_MAX;
}
#endif

static inline unsigned http_swar_none_or_first(uint64_t bits)
{
    return bits ? http_swar_first(bits) : 8;
}

/* The four below: of `x`, whose bytes have no highest bit; what else the result has is not cleared. */

/* Bytes from `first` on. */
static inline uint64_t http_swar_at_least(uint64_t x, unsigned first)
{
    return x + SWAR_BYTES(0x80 - first);
}

/* Bytes from `first` to `last`. */
static inline uint64_t http_swar_between(uint64_t x, unsigned first, unsigned last)
{
    return http_swar_at_least(x, first) & ~http_swar_at_least(x, last + 1);
}

/* Bytes that are not `c`. */
static inline uint64_t http_swar_not(uint64_t x, char c)
{
    return (x ^ SWAR_BYTES(c)) + SWAR_LOW;
}

/* Letters of either case. */
static inline uint64_t http_swar_letters(uint64_t x)
{
    return http_swar_between(x | SWAR_BYTES(0x20), 'a', 'z');
}

static inline uint64_t http_swar_equal(uint64_t x, char c)
{
    return ~(http_swar_not(x & SWAR_LOW, c) | x) & SWAR_HIGH;
}

/* Controls but HTAB, and DEL. */
static inline uint64_t http_swar_not_value(uint64_t x)
{
    uint64_t low = x & SWAR_LOW;
    uint64_t stop = http_swar_not(low, '\t') & ~http_swar_at_least(low, ' ');

    return (stop | http_swar_at_least(low, 0x7f)) & ~x & SWAR_HIGH;
}

/* All that are not HTTP_C_TARGET, and ! $ _ ~ */
static inline uint64_t http_swar_odd_target(uint64_t x)
{
    uint64_t low = x & SWAR_LOW;
    uint64_t angle = ~http_swar_not(low & SWAR_BYTES(0x7d), '<'); /* < > */
    uint64_t brackets = http_swar_between(low, '[', '`'), braces = http_swar_at_least(low, '{');

    return (~http_swar_at_least(low, '&') | angle | brackets | braces | x) & SWAR_HIGH;
}

/* All but letters and '-'. */
static inline uint64_t http_swar_odd_token(uint64_t x)
{
    uint64_t low = x & SWAR_LOW;

    return ((~http_swar_letters(low) & http_swar_not(low, '-')) | x) & SWAR_HIGH;
}

/* All but letters, digits, '-' and '.'. */
static inline uint64_t http_swar_odd_name(uint64_t x)
{
    uint64_t low = x & SWAR_LOW;
    uint64_t rest = http_swar_between(low, '0', '9') | http_swar_between(low, '-', '.');

    return (~(http_swar_letters(low) | rest) | x) & SWAR_HIGH;
}

/*
 * Whose highest bits are all 0 if each byte is SP to '~'. Only what is not makes a borrow or a carry.
 */
static inline uint64_t http_swar_not_plain(uint64_t x)
{
    return (x - SWAR_BYTES(' ')) | (x + SWAR_BYTES(1));
}

/* 32 at a time. */
static inline const char *http_swar_stride(const char *s, const char *end)
{
    for (; end - s >= 32; s += 32) {
        uint64_t a = http_swar_not_plain(http_swar_load(s));
        uint64_t b = http_swar_not_plain(http_swar_load(s + 8));
        uint64_t c = http_swar_not_plain(http_swar_load(s + 16));
        uint64_t d = http_swar_not_plain(http_swar_load(s + 24));
        if ((a | b | c | d) & SWAR_HIGH)
            break;
    }
    return s;
}

static inline bool http_swar_same_block(const char *a, const char *b)
{
    return http_swar_load(a) == http_swar_load(b);
}

#define SCAN(name)       http_swar_##name
#define SCAN_BITS        uint64_t /* the highest of each byte */
#define SCAN_VECTOR      uint64_t
#define SCAN_BLOCK       8
#define SCAN_VALUE_CLOSE 24
#include "http_scan_loops.h"

#endif
