/* SPDX-License-Identifier: MIT */
/*
 * prng.h - pseudo-random numbers for load and tests, the same for the same seed on every machine:
 * SplitMix64 (Steele, Lea and Flood 2014). Not for secrets.
 */
#ifndef BIVALVE_PRNG_H
#define BIVALVE_PRNG_H

#include <stdint.h>

#include "wide.h"

/* Any value is a good seed. */
struct prng {
    uint64_t state;
};

/* 64 uniform bits. */
static inline uint64_t prng_next(struct prng *p)
{
    uint64_t z = p->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/*
 * Uniform in 0..n-1, n > 0. By the upper half of a product (Lemire 2019) without its rejection
 * step: for n far below 2^64 the bias is beyond notice.
 */
static inline uint64_t prng_below(struct prng *p, uint64_t n)
{
    return wide_high(wide_product(prng_next(p), n));
}

/* Uniform in (0, 1]: its logarithm is finite. */
static inline double prng_unit(struct prng *p)
{
    return ((double)(prng_next(p) >> 11) + 1.0) * 0x1.0p-53;
}

#endif
