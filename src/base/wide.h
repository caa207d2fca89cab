/* SPDX-License-Identifier: MIT */
/*
 * wide.h - unsigned integers of 128 bits, modulo 2^128: what is needed of them. By the compiler's
 * own type where it has one, which it has on no machine of 32 bits, otherwise by two words.
 */
#ifndef BIVALVE_WIDE_H
#define BIVALVE_WIDE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef HAVE_UNSIGNED___INT128

typedef unsigned __int128 wide;

static inline wide wide_of(uint64_t high, uint64_t low)
{
    return (wide)high << 64 | low;
}

static inline uint64_t wide_low(wide w)
{
    return (uint64_t)w;
}

static inline uint64_t wide_high(wide w)
{
    return (uint64_t)(w >> 64);
}

static inline bool wide_less(wide a, wide b)
{
    return a < b;
}

static inline wide wide_add(wide a, wide b)
{
    return a + b;
}

static inline wide wide_subtract(wide a, wide b)
{
    return a - b;
}

static inline wide wide_product(uint64_t a, uint64_t b)
{
    return (wide)a * b;
}

static inline wide wide_times_ten(wide w)
{
    return w * 10;
}

#else

typedef struct {
    uint64_t high, low;
} wide;

static inline wide wide_of(uint64_t high, uint64_t low)
{
    return (wide){.high = high, .low = low};
}

static inline uint64_t wide_low(wide w)
{
    return w.low;
}

static inline uint64_t wide_high(wide w)
{
    return w.high;
}

static inline bool wide_less(wide a, wide b)
{
    return a.high < b.high || (a.high == b.high && a.low < b.low);
}

static inline wide wide_add(wide a, wide b)
{
    uint64_t low = a.low + b.low;

    return wide_of(a.high + b.high + (low < a.low), low);
}

static inline wide wide_subtract(wide a, wide b)
{
    return wide_of(a.high - b.high - (a.low < b.low), a.low - b.low);
}

/* By halves, as on paper. */
static inline wide wide_product(uint64_t a, uint64_t b)
{
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32); /* at most (2^32 - 1)^2 + 2^32 - 1: it fits */
    uint64_t other = a0 * b1 + (uint32_t)middle;

    return wide_of(a1 * b1 + (middle >> 32) + (other >> 32), a * b);
}

static inline wide wide_times_ten(wide w)
{
    wide low = wide_product(w.low, 10);

    return wide_of(low.high + w.high * 10, low.low);
}

#endif

#endif
