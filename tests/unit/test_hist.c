/* SPDX-License-Identifier: MIT */
/*
 * test_hist.c - the histogram against the plainest way of saying the same: where a value is
 * counted, by a loop; percentiles, by rank in whole numbers; sums of histograms, by recording
 * everything into one.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "hist.h"
#include "prng.h"
#include "util.h"

static struct hist a, b, both, since;

static int setup(void **state)
{
    (void)state;
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    memset(&both, 0, sizeof(both));
    memset(&since, 0xff, sizeof(since)); /* what is there must not matter */
    return 0;
}

static void assert_near(double is, double wanted, double by)
{
    if (!(fabs(is - wanted) <= by))
        fail_msg("%.15g is not %.15g", is, wanted);
}

/* ---- where values are counted ---- */

/* Halve until it fits into HIST_SUB: HdrHistogram's layout in its plainest words. */
static uint32_t plain_index(uint64_t value)
{
    uint32_t halved = 0;

    while (value >> halved >= HIST_SUB)
        halved++;
    return halved * HIST_HALF + (uint32_t)(value >> halved);
}

static void test_every_boundary(void **state)
{
    (void)state;
    assert_int_equal(hist_lowest(0), 0);
    for (uint32_t i = 0; i < HIST_COUNTS; i++) {
        uint64_t lowest = hist_lowest(i), highest = hist_highest(i);
        uint64_t size = highest - lowest + 1;

        assert_true(lowest <= highest);
        assert_int_equal(size & (size - 1), 0);
        assert_int_equal(hist_middle(i), lowest + size / 2);
        assert_int_equal(plain_index(lowest), i);
        assert_int_equal(plain_index(highest), i);
        assert_int_equal(hist_index(lowest), i);
        assert_int_equal(hist_index(highest), i);
        assert_true(size == 1 || size * HIST_HALF <= lowest);
        if (i + 1 < HIST_COUNTS)
            assert_int_equal(hist_lowest(i + 1), highest + 1);
    }
    assert_true(hist_index(HIST_MAX) < HIST_COUNTS);
    assert_int_equal(hist_highest(HIST_COUNTS - 1) + 1, (uint64_t)HIST_SUB << (HIST_BUCKETS - 1));
    assert_int_equal(hist_index(2047), 2047);
    assert_int_equal(hist_index(2048), 2048);
    assert_int_equal(hist_index(2049), 2048);
    assert_int_equal(hist_index(HIST_MAX), 23220);
}

static void test_recorded_where_it_belongs(void **state)
{
    struct prng rng = {1};

    (void)state;
    for (int i = 0; i < 100000; i++) {
        uint64_t value = prng_next(&rng) >> (32 + i % 32);
        if (value > HIST_MAX)
            continue;
        uint64_t before = a.count[plain_index(value)];
        hist_record(&a, value);
        assert_int_equal(a.count[plain_index(value)], before + 1);
        both.total += 1;
        both.sum += value;
    }
    assert_true(both.total > 90000);
    assert_int_equal(a.total, both.total);
    assert_int_equal(a.sum, both.sum);
}

static void test_least_and_greatest(void **state)
{
    (void)state;
    hist_record(&a, 7);
    assert_int_equal(a.min, 7);
    assert_int_equal(a.max, 7);
    hist_record(&a, 9);
    hist_record(&a, 5);
    hist_record(&a, 6);
    assert_int_equal(a.min, 5);
    assert_int_equal(a.max, 9);
    hist_record(&a, 0);
    hist_record(&a, 3);
    assert_int_equal(a.min, 0);
    assert_int_equal(a.count[0], 1);
}

static void test_beyond_an_hour(void **state)
{
    static const uint64_t values[] = {HIST_MAX, HIST_MAX + 1, UINT64_C(1) << 32, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        hist_record(&a, values[i]);
    assert_int_equal(a.total, 4);
    assert_int_equal(a.count[hist_index(HIST_MAX)], 4);
    assert_int_equal(a.min, HIST_MAX);
    assert_int_equal(a.max, HIST_MAX);
    assert_int_equal(a.sum, 4 * HIST_MAX);
    assert_int_equal(hist_percentile(&a, 50), HIST_MAX);
    assert_int_equal(hist_percentile(&a, 100), HIST_MAX);
}

/* ---- percentiles ---- */

/* A percentile as a fraction: what `percent` is as a double is the code's to deal with. */
static const struct {
    double percent;
    uint64_t part, of;
} percentiles[] = {
    {0, 0, 1},
    {0.1, 1, 1000},
    {1, 1, 100},
    {10, 1, 10},
    {25, 1, 4},
    {33.3, 333, 1000},
    {50, 1, 2},
    {57.9, 579, 1000},
    {75, 3, 4},
    {90, 9, 10},
    {95, 19, 20},
    {99, 99, 100},
    {99.9, 999, 1000},
    {99.99, 9999, 10000},
    {99.999, 99999, 100000},
    {99.9999, 999999, 1000000},
    {100, 1, 1},
};

/* The least rank of `total` that is `part` in `of` of them, but for none the first. */
static uint64_t plain_rank(uint64_t total, uint64_t part, uint64_t of)
{
    uint64_t rank = (total * part + of - 1) / of;

    return rank ? rank : 1;
}

/* Of 1, 2, ... n, counted exactly, the percentile is its rank. */
static void test_percentiles_are_exact(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < HIST_SUB; n++) {
        hist_record(&a, n);
        for (size_t i = 0; i < ARRAY_LEN(percentiles); i++) {
            uint64_t wanted = plain_rank(n, percentiles[i].part, percentiles[i].of);
            uint64_t is = hist_percentile(&a, percentiles[i].percent);
            if (is != wanted)
                fail_msg("p%g of 1..%d is %d, not %d", percentiles[i].percent, (int)n, (int)is,
                         (int)wanted);
        }
        if (n == 1000) {
            assert_int_equal(hist_percentile(&a, 50), 500);
            assert_int_equal(hist_percentile(&a, 90), 900);
            assert_int_equal(hist_percentile(&a, 99), 990);
            assert_int_equal(hist_percentile(&a, 99.9), 999);
            assert_int_equal(hist_percentile(&a, 99.99), 1000);
        }
    }
}

/* As many values as nobody will ever record: `first` of 1, and the rest of 2. */
static void test_percentiles_of_many(void **state)
{
    static const uint64_t totals[] = {
        100000, 999999, 1000000, 123456789, UINT64_C(10000000000), UINT64_C(1000000000000)};

    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(totals); t++) {
        for (size_t i = 0; i < ARRAY_LEN(percentiles); i++) {
            uint64_t rank = plain_rank(totals[t], percentiles[i].part, percentiles[i].of);
            setup(NULL);
            a.total = totals[t];
            a.min = 1;
            a.max = 2;
            a.count[1] = rank;
            a.count[2] = totals[t] - rank;
            assert_int_equal(hist_percentile(&a, percentiles[i].percent), 1);
            a.count[1]--;
            a.count[2]++;
            assert_int_equal(hist_percentile(&a, percentiles[i].percent), 2);
        }
    }
}

/* Of a run of values counted together it is the greatest, but for what was never recorded. */
static void test_percentiles_of_runs(void **state)
{
    (void)state;
    assert_int_equal(hist_percentile(&a, 50), 0); /* of nothing */
    hist_record(&a, 1000000);
    assert_int_equal(hist_percentile(&a, 0), 1000000);
    assert_int_equal(hist_percentile(&a, 50), 1000000);
    assert_int_equal(hist_percentile(&a, 100), 1000000);
    hist_record(&a, 2000000);
    assert_int_equal(hist_percentile(&a, 50), hist_highest(hist_index(1000000)));
    assert_int_equal(hist_percentile(&a, 50), 1000447);
    assert_int_equal(hist_percentile(&a, 50.1), 2000000);
    hist_record(&a, 0);
    assert_int_equal(hist_percentile(&a, 1), 0);
}

/* ---- mean and deviation ---- */

static void test_mean(void **state)
{
    (void)state;
    assert_true(hist_mean(&a) == 0 && hist_counted_mean(&a) == 0 && hist_stddev(&a) == 0);
    for (uint64_t v = 1; v <= 1000; v++)
        hist_record(&a, v);
    assert_near(hist_mean(&a), 500.5, 1e-9);
    assert_near(hist_counted_mean(&a), 500.5, 1e-9);
    assert_near(hist_stddev(&a), sqrt((1000.0 * 1000 - 1) / 12), 1e-9);
    /* 10000 to 10007 are counted together, with 10004 in their middle */
    hist_record(&b, 10001);
    hist_record(&b, 10006);
    assert_near(hist_mean(&b), 10003.5, 1e-9);
    assert_near(hist_counted_mean(&b), 10004, 1e-9);
    assert_near(hist_stddev(&b), 0, 1e-9);
    hist_record(&b, 20014); /* 20000 to 20015 */
    hist_record(&b, 20015);
    assert_near(hist_mean(&b), 15009, 1e-9);
    assert_near(hist_counted_mean(&b), 15006, 1e-9);
    assert_near(hist_stddev(&b), 5002, 1e-9);
}

/* ---- sums and differences ---- */

static void assert_same(const struct hist *x, const struct hist *y)
{
    assert_int_equal(x->total, y->total);
    assert_int_equal(x->sum, y->sum);
    assert_int_equal(x->min, y->min);
    assert_int_equal(x->max, y->max);
    assert_memory_equal(x->count, y->count, sizeof(x->count));
}

static void test_add(void **state)
{
    struct prng rng = {2};

    (void)state;
    hist_add(&a, &b);
    assert_same(&a, &both); /* nothing and nothing */
    for (int i = 0; i < 1000; i++) {
        uint64_t value = 100 + (prng_next(&rng) >> 40);
        hist_record(&b, value);
        hist_record(&both, value);
    }
    hist_add(&a, &b); /* to nothing */
    assert_same(&a, &both);
    setup(NULL);
    for (int i = 0; i < 1000; i++) {
        uint64_t value = prng_next(&rng) >> (34 + i % 30); /* 0 among them */
        hist_record(i % 3 ? &a : &b, value);
        hist_record(&both, value);
    }
    hist_add(&a, &b);
    assert_same(&a, &both);
    memset(&b, 0, sizeof(b));
    hist_add(&a, &b); /* of nothing: the least stays */
    assert_same(&a, &both);
    hist_record(&b, 7);
    hist_record(&both, 7);
    hist_add(&a, &b); /* of one */
    assert_same(&a, &both);
}

static void test_since(void **state)
{
    (void)state;
    for (uint64_t v = 100; v < 200; v++)
        hist_record(&a, v);
    hist_record(&a, 123456789);
    memcpy(&b, &a, sizeof(b));
    hist_since(&since, &a, &b);
    assert_same(&since, &both); /* nothing */
    for (uint64_t v = 150; v <= 250; v++)
        hist_record(&a, v);
    hist_record(&a, 5001); /* 5000 to 5003 */
    hist_since(&since, &a, &b);
    for (uint64_t v = 150; v <= 250; v++)
        hist_record(&both, v);
    hist_record(&both, 5001);
    both.max = 5003; /* as near as counts tell */
    assert_same(&since, &both);
    hist_record(&a, 6001); /* 6000 to 6003 */
    hist_record(&a, 123456789);
    memcpy(&b, &a, sizeof(b));
    hist_record(&a, 6002);
    hist_record(&a, 123456780);
    hist_since(&since, &a, &b);
    assert_int_equal(since.total, 2);
    assert_int_equal(since.sum, 6002 + 123456780);
    assert_int_equal(since.min, 6000);
    assert_int_equal(since.max, 123456789); /* not beyond what was ever recorded */
}

/* From the beginning: what was the least and the greatest is known. */
static void test_since_ever(void **state)
{
    (void)state;
    hist_record(&a, 5001);
    hist_record(&a, 70001);
    hist_since(&since, &a, &b);
    assert_same(&since, &a);
    hist_record(&a, 0);
    hist_since(&since, &a, &b);
    assert_same(&since, &a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_every_boundary, setup),
        cmocka_unit_test_setup(test_recorded_where_it_belongs, setup),
        cmocka_unit_test_setup(test_least_and_greatest, setup),
        cmocka_unit_test_setup(test_beyond_an_hour, setup),
        cmocka_unit_test_setup(test_percentiles_are_exact, setup),
        cmocka_unit_test_setup(test_percentiles_of_many, setup),
        cmocka_unit_test_setup(test_percentiles_of_runs, setup),
        cmocka_unit_test_setup(test_mean, setup),
        cmocka_unit_test_setup(test_add, setup),
        cmocka_unit_test_setup(test_since, setup),
        cmocka_unit_test_setup(test_since_ever, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
