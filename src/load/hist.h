/* SPDX-License-Identifier: MIT */
/*
 * hist.h - latencies in a log-linear histogram of fixed size, in HdrHistogram's layout for values
 * from 1 to 3,600,000,000 (an hour in microseconds) with three significant digits.
 *
 * Values below HIST_SUB are counted exactly; from there on each power of two is cut into HIST_HALF
 * equal parts, so a value is known to one part in 1024 or better. What is longer than an hour is
 * counted as an hour.
 *
 * Plain stores and no lock: one process records, others may read, and see counts that are each
 * right.
 */
#ifndef BIVALVE_HIST_H
#define BIVALVE_HIST_H

#include <stdint.h>

#include "util.h"

#define HIST_MAX     UINT64_C(3600000000)
#define HIST_HALF    1024u /* parts of a power of two */
#define HIST_SUB     (2 * HIST_HALF)
#define HIST_BUCKETS 22 /* HIST_SUB << 21 is the first beyond HIST_MAX */
#define HIST_COUNTS  ((HIST_BUCKETS + 1) * HIST_HALF)

struct hist {
    uint64_t total; /* values recorded */
    uint64_t sum;   /* of them, each as it was given, or HIST_MAX */
    uint64_t min;   /* the same; 0: none yet, or it was 0 */
    uint64_t max;
    uint64_t count[HIST_COUNTS];
};

/* Where a value of 0 to HIST_MAX is counted. */
static inline uint32_t hist_index(uint64_t value)
{
    uint32_t bucket = 53 - (uint32_t)__builtin_clzll(value | (HIST_SUB - 1));

    return bucket * HIST_HALF + (uint32_t)(value >> bucket);
}

/* The least, the greatest and the middle value that are counted there. */
static inline uint64_t hist_lowest(uint32_t index)
{
    uint32_t bucket = index < HIST_SUB ? 0 : index / HIST_HALF - 1;

    return (uint64_t)(index - bucket * HIST_HALF) << bucket;
}

static inline uint64_t hist_highest(uint32_t index)
{
    uint32_t bucket = index < HIST_SUB ? 0 : index / HIST_HALF - 1;

    return hist_lowest(index) + (UINT64_C(1) << bucket) - 1;
}

static inline uint64_t hist_middle(uint32_t index)
{
    return (hist_lowest(index) + hist_highest(index) + 1) / 2;
}

static inline void hist_record(struct hist *h, uint64_t value)
{
    if (unlikely(value > HIST_MAX))
        value = HIST_MAX;
    if (unlikely(value < h->min || h->total == 0))
        h->min = value;
    if (unlikely(value > h->max))
        h->max = value;
    h->total++;
    h->sum += value;
    h->count[hist_index(value)]++;
}

/* sum += h, which may be recorded into meanwhile. */
void hist_add(struct hist *sum, const struct hist *h);

/* What h has recorded since it was `earlier`, into `out`; min and max as near as counts tell. */
void hist_since(struct hist *out, const struct hist *h, const struct hist *earlier);

/*
 * The least value that at least `percent` (0 to 100) of all values do not exceed, as the highest of
 * what is counted with it, but never more than the greatest recorded. 0: nothing is recorded.
 */
uint64_t hist_percentile(const struct hist *h, double percent);

/* Of the values as they were given. 0: nothing is recorded. */
double hist_mean(const struct hist *h);

/*
 * The mean and the standard deviation that HdrHistogram tells of the same counts: each value is
 * taken as the middle of what is counted with it. 0: nothing is recorded.
 */
double hist_counted_mean(const struct hist *h);
double hist_stddev(const struct hist *h);

#endif
