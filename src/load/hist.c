/* SPDX-License-Identifier: MIT */
/*
 * hist.c - see hist.h. Not needed on the way of a request.
 */
#include "config.h"

#include "hist.h"

#include <float.h>
#include <math.h>
#include <string.h>

void hist_add(struct hist *sum, const struct hist *h)
{
    if (h->total == 0)
        return;
    if (sum->total == 0 || h->min < sum->min)
        sum->min = h->min;
    sum->max = MAX(sum->max, h->max);
    sum->sum += h->sum;
    for (uint32_t i = 0; i < HIST_COUNTS; i++) {
        uint64_t count = h->count[i]; /* once: the recorder goes on meanwhile */
        sum->count[i] += count;
        sum->total += count;
    }
}

void hist_since(struct hist *out, const struct hist *h, const struct hist *earlier)
{
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < HIST_COUNTS; i++) {
        /* As above: the sum over the counts is what is consistent. */
        uint64_t count = h->count[i] - earlier->count[i];
        if (!count)
            continue;
        if (out->total == 0)
            out->min = MAX(hist_lowest(i), h->min);
        out->max = MIN(hist_highest(i), h->max);
        out->total += count;
        out->count[i] = count;
    }
    out->sum = h->sum - earlier->sum;
}

/*
 * Of `total` values, how many are `percent` of them, rounded up. A product that is off a whole
 * number by the rounding of doubles alone counts as it: 99.9 % of 1000 are 999.
 */
static uint64_t hist_rank(uint64_t total, double percent)
{
    double wanted = percent / 100 * (double)total;
    double rank = ceil(wanted - wanted * 4 * DBL_EPSILON);

    return rank < 1 ? 1 : rank >= (double)total ? total : (uint64_t)rank;
}

uint64_t hist_percentile(const struct hist *h, double percent)
{
    uint64_t seen = 0, rank = hist_rank(h->total, percent);

    if (h->total == 0)
        return 0;
    for (uint32_t i = 0; i < HIST_COUNTS; i++) {
        seen += h->count[i];
        if (seen >= rank)
            return MIN(hist_highest(i), h->max);
    }
    return h->max;
}

double hist_mean(const struct hist *h)
{
    return h->total ? (double)h->sum / (double)h->total : 0;
}

double hist_counted_mean(const struct hist *h)
{
    double sum = 0;

    if (h->total == 0)
        return 0;
    for (uint32_t i = 0; i < HIST_COUNTS; i++)
        sum += (double)hist_middle(i) * (double)h->count[i];
    return sum / (double)h->total;
}

double hist_stddev(const struct hist *h)
{
    double mean = hist_counted_mean(h), squares = 0;

    if (h->total == 0)
        return 0;
    for (uint32_t i = 0; i < HIST_COUNTS; i++) {
        double off = (double)hist_middle(i) - mean;
        squares += off * off * (double)h->count[i];
    }
    return sqrt(squares / (double)h->total);
}
