/* SPDX-License-Identifier: MIT */
/*
 * test_load.c - what bivalve-load is made of, as far as it needs no server: random numbers, when
 * requests are due, what is compared, and what follows from results.
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

#include "load_match.h"
#include "load_schedule.h"
#include "load_turns.h"
#include "load_verdict.h"
#include "prng.h"
#include "util.h"

static void assert_near(double is, double wanted, double by)
{
    if (!(fabs(is - wanted) <= by))
        fail_msg("%.15g is not %.15g within %.15g", is, wanted, by);
}

/* ---- random numbers ---- */

/* The first numbers of SplitMix64 from 1234567, as the literature has them. */
static void test_prng_is_splitmix64(void **state)
{
    static const uint64_t wanted[] = {UINT64_C(6457827717110365317), UINT64_C(3203168211198807973),
                                      UINT64_C(9817491932198370423), UINT64_C(4593380528125082431),
                                      UINT64_C(16408922859458223821)};
    struct prng p = {.state = 1234567};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(wanted); i++)
        assert_true(prng_next(&p) == wanted[i]);
}

static void test_prng_ranges(void **state)
{
    struct prng p = {.state = 3};
    unsigned seen[7] = {0};
    double sum = 0;

    (void)state;
    for (unsigned i = 0; i < 70000; i++) {
        uint64_t n = prng_below(&p, 7);
        double u = prng_unit(&p);
        assert_true(n < 7 && u > 0 && u <= 1);
        seen[n]++;
        sum += u;
    }
    for (unsigned i = 0; i < 7; i++)
        assert_near(seen[i], 10000, 400); /* four standard deviations */
    assert_near(sum / 70000, 0.5, 0.005);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(prng_below(&p, 1), 0);
        assert_true(prng_below(&p, UINT64_MAX) < UINT64_MAX);
    }
}

/* ---- when requests are due ---- */

#define SECOND UINT64_C(1000000)

/* How many are due before `until_us`. */
static unsigned due_before(struct load_schedule *s, uint64_t until_us)
{
    unsigned n = 0;

    for (uint64_t last = 0; s->due_us < until_us; n++) {
        assert_true(s->due_us >= last);
        last = s->due_us;
        load_schedule_advance(s);
    }
    return n;
}

static void test_uniform_times(void **state)
{
    struct load_schedule s;

    (void)state;
    load_schedule_init(&s, 1000, 1000, 10 * SECOND, false, 1, 0);
    for (unsigned i = 0; i < 20000; i++) { /* the end of the span changes nothing */
        assert_int_equal(s.due_us, i * 1000);
        load_schedule_advance(&s);
    }
    load_schedule_init(&s, 1000, 1000, 10 * SECOND, false, 1, 0.25);
    assert_int_equal(s.due_us, 250);
    load_schedule_advance(&s);
    assert_int_equal(s.due_us, 1250);
}

/* Processes share a rate: together they are as regular as one. */
static void test_phases_interleave(void **state)
{
    struct load_schedule s;
    unsigned taken[300] = {0};

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        load_schedule_init(&s, 1000.0 / 3, 1000.0 / 3, SECOND, false, i, i / 3.0);
        for (; s.due_us < 300000; load_schedule_advance(&s)) {
            assert_near((double)(s.due_us % 1000), (double)(s.due_us % 1000 < 500 ? 0 : 1000), 1);
            taken[MIN((s.due_us + 500) / 1000, 299)]++;
        }
    }
    for (unsigned i = 0; i < 299; i++)
        assert_int_equal(taken[i], 1);
}

/* From A to B over T seconds (A + B) / 2 * T are due; by half of it (3 A + B) / 8 * T. */
static void test_ramp_is_the_integral(void **state)
{
    static const double rates[][2] = {{200, 1800}, {1800, 200}, {1, 5000}, {5000, 1}, {700, 700}};
    struct load_schedule s;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rates); i++) {
        double a = rates[i][0], b = rates[i][1];
        load_schedule_init(&s, a, b, 4 * SECOND, false, 1, 0);
        unsigned half = due_before(&s, 2 * SECOND);
        assert_near(half, (3 * a + b) / 2, 1);
        unsigned whole = half + due_before(&s, 4 * SECOND);
        assert_near(whole, (a + b) * 2, 1);
        assert_near(due_before(&s, 6 * SECOND), 2 * b, 2); /* then it stays */
    }
}

/* The time between two is exponential: its mean is its deviation, and a third moment of 6; counts
 * of a second have a variance like their mean. */
static void test_poisson_moments(void **state)
{
    struct load_schedule s;
    double sum = 0, sum2 = 0, sum3 = 0, count_sum = 0, count_sum2 = 0;
    unsigned n = 200000, count = 0, seconds = 0;
    uint64_t last = 0;

    (void)state;
    load_schedule_init(&s, 100, 100, SECOND, true, 42, 0);
    for (unsigned i = 0; i < n; i++) {
        double x = (double)(s.due_us - last) / 1e4; /* in means */
        sum += x;
        sum2 += x * x;
        sum3 += x * x * x;
        for (; s.due_us / SECOND > seconds; seconds++, count = 0) {
            count_sum += count;
            count_sum2 += (double)count * count;
        }
        count++;
        last = s.due_us;
        load_schedule_advance(&s);
    }
    assert_near(sum / n, 1, 0.01);
    assert_near(sum2 / n, 2, 0.06);
    assert_near(sum3 / n, 6, 0.5);
    double mean = count_sum / seconds;
    assert_near(mean, 100, 1);
    assert_near(count_sum2 / seconds - mean * mean, 100, 15);
}

static void test_poisson_ramp_and_seed(void **state)
{
    struct load_schedule s, again, other;

    (void)state;
    load_schedule_init(&s, 1000, 9000, 10 * SECOND, true, 7, 0);
    load_schedule_init(&again, 1000, 9000, 10 * SECOND, true, 7, 0.5); /* the phase is not for it */
    load_schedule_init(&other, 1000, 9000, 10 * SECOND, true, 8, 0);
    unsigned same = 0;
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(s.due_us, again.due_us);
        same += s.due_us == other.due_us;
        load_schedule_advance(&s);
        load_schedule_advance(&again);
        load_schedule_advance(&other);
    }
    assert_true(same < 20);
    load_schedule_init(&s, 1000, 9000, 10 * SECOND, true, 7, 0);
    assert_near(due_before(&s, 5 * SECOND), 15000, 500);
    assert_near(due_before(&s, 10 * SECOND), 35000, 800);
}

/* Rates at the ends of what the command line takes: times grow, and are numbers. */
static void test_extreme_rates(void **state)
{
    static const double rates[][2] = {{1e-27, 1e-27}, {1e8, 1e-27}, {1e-27, 1e8}, {1e8, 1e8}};
    /* 1e8 - 1e8 / 5e-6 * 5e-6 is less than 0 as a double: the rate at the end is not to be had so */
    static const uint64_t spans_us[] = {1000, 5};
    struct load_schedule s;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rates) * ARRAY_LEN(spans_us) * 2; i++) {
        const double *rate = rates[i / 4];
        load_schedule_init(&s, rate[0], rate[1], spans_us[i / 2 % 2], i % 2, 1, 0);
        for (unsigned n = 0; n < 200000; n++) {
            uint64_t last = s.due_us;
            load_schedule_advance(&s);
            assert_true(s.due_us >= last && s.due_us <= UINT64_MAX / 4);
        }
    }
}

/* ---- comparing with a known answer ---- */

static const char answer_at[] =
    "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX: y\r\n\r\n";
#define ANSWER_LEN  (sizeof(answer_at) - 1)
#define ANSWER_DATE 23

static void test_match_with_date(void **state)
{
    struct load_match m = {0};
    char other[sizeof(answer_at) + 8];

    (void)state;
    assert_int_equal(load_match(&m, answer_at, ANSWER_LEN), 0);
    load_match_learn(&m, answer_at, ANSWER_LEN, ANSWER_DATE);
    memset(other, 'z', sizeof(other));
    memcpy(other, answer_at, ANSWER_LEN);
    assert_int_equal(load_match(&m, other, sizeof(other)), ANSWER_LEN); /* others behind it */
    assert_int_equal(load_match(&m, other, ANSWER_LEN - 1), 0);
    for (unsigned i = 0; i < ANSWER_LEN; i++) {
        bool in_date = i >= ANSWER_DATE && i < ANSWER_DATE + REPLY_DATE_LEN;
        for (unsigned c = 0; c < 256; c++) {
            other[i] = (char)c;
            bool same = other[i] == answer_at[i], free = in_date && c >= ' ' && c <= '~';
            assert_int_equal(load_match(&m, other, ANSWER_LEN), same || free ? ANSWER_LEN : 0);
        }
        other[i] = answer_at[i];
        assert_int_equal(load_match(&m, other, ANSWER_LEN), ANSWER_LEN);
    }
    load_match_free(&m);
    assert_null(m.bytes);
}

static void test_match_without_date(void **state)
{
    struct load_match m = {0};
    char other[sizeof(answer_at)];

    (void)state;
    load_match_learn(&m, answer_at, ANSWER_LEN, 0);
    memcpy(other, answer_at, ANSWER_LEN);
    other[ANSWER_DATE]++;
    assert_int_equal(load_match(&m, other, ANSWER_LEN), 0);
    assert_int_equal(load_match(&m, answer_at, ANSWER_LEN), ANSWER_LEN);
    load_match_free(&m);
}

/* Answers that vary are given up, but not those that vary now and then. */
static void test_match_gives_up(void **state)
{
    static char large[LOAD_MATCH_MAX + 1];
    struct load_match m = {0};
    char one[] = "answer 0";

    (void)state;
    for (unsigned i = 0; i < 10 * LOAD_MATCH_MISSES; i++) {
        one[7] = (char)('a' + i % 26);
        load_match_learn(&m, one, sizeof(one), 0);
        assert_int_equal(load_match(&m, one, sizeof(one)), sizeof(one));
    }
    for (unsigned i = 0; i < LOAD_MATCH_MISSES; i++) {
        one[7]++;
        assert_int_equal(load_match(&m, one, sizeof(one)), 0);
        load_match_learn(&m, one, sizeof(one), 0);
    }
    one[7]++;
    load_match_learn(&m, one, sizeof(one), 0);
    assert_int_equal(load_match(&m, one, sizeof(one)), 0);
    load_match_learn(&m, one, sizeof(one), 0);
    assert_int_equal(load_match(&m, one, sizeof(one)), 0);
    load_match_free(&m);
    load_match_learn(&m, large, sizeof(large), 0);
    assert_int_equal(load_match(&m, large, sizeof(large)), 0);
    load_match_learn(&m, large, sizeof(large) - 1, 0);
    assert_int_equal(load_match(&m, large, sizeof(large)), LOAD_MATCH_MAX);
    load_match_learn(&m, one, sizeof(one), 0); /* shorter: in the same memory */
    assert_int_equal(load_match(&m, one, sizeof(one)), sizeof(one));
    load_match_free(&m);
}

/* ---- turns ---- */

/* Own time as the picture in load_turns.h has it, counted a microsecond at a time. */
static void test_turns(void **state)
{
    struct load_turns t = {.count = 3, .length_us = 1000};
    const uint64_t round_us = 3000, own_us = 875;

    (void)state;
    for (t.index = 0; t.index < t.count; t.index++) {
        uint64_t own = load_turns_own(&t, 5 * round_us);
        assert_int_equal(own, 5 * own_us);
        for (uint64_t now = 5 * round_us; now < 8 * round_us; now++) {
            uint64_t at = now % round_us, first = t.index * t.length_us;
            bool in_turn = at >= first && at < first + t.length_us;
            uint64_t begin = load_turns_begin(&t, now);
            assert_int_equal(begin % round_us, first);
            assert_true(in_turn ? begin <= now && now < begin + t.length_us
                                : begin > now && begin < now + round_us);
            assert_int_equal(load_turns_own(&t, now), own);
            own += at >= first && at < first + own_us;
        }
    }
}

/* The moments of own time are those that it counts, each once, in order. */
static void test_moments_of_own_time(void **state)
{
    struct load_turns t = {.count = 4, .length_us = 1000};

    (void)state;
    for (t.index = 0; t.index < t.count; t.index++) {
        for (uint64_t from = 8000; from < 12000; from += 37) {
            uint64_t before = 0;
            for (uint64_t own = 0; own < 4000; own += 1) {
                uint64_t at = load_turns_after(&t, from, own);
                assert_true(at >= from && (own == 0 || at > before));
                assert_int_equal(load_turns_own(&t, at) - load_turns_own(&t, from), own);
                assert_int_equal(load_turns_own(&t, at + 1) - load_turns_own(&t, from), own + 1);
                before = at;
            }
        }
    }
}

static void test_turns_as_text(void **state)
{
    static const char *const wrong[] = {
        "",
        "25ms",
        "25ms:1",
        "25ms:0/2",
        "25ms:3/2",
        "25ms:1/65",
        "25ms:1/",
        "25ms:/2",
        "25ms:1/2/3",
        "900us:1/2",
        "11s:1/2",
        ":1/2",
        "25ms:1/2x",
        "x:1/2",
        "25ms:-1/2",
        "25ms:1 /2",
        "00000000000000000000000000000025ms:1/2",
        "25ms:00000000000000000000000000000000001/2",
    };
    struct load_turns t;

    (void)state;
    assert_true(load_turns_parse("25ms:1/2", &t));
    assert_true(t.length_us == 25000 && t.index == 0 && t.count == 2);
    assert_true(load_turns_parse("10s:64/64", &t));
    assert_true(t.length_us == 10 * SECOND && t.index == 63 && t.count == 64);
    assert_true(load_turns_parse("1ms:1/1", &t) && load_turns_some(&t));
    for (unsigned i = 0; i < ARRAY_LEN(wrong); i++)
        assert_false(load_turns_parse(wrong[i], &t));
}

/* ---- what follows from results ---- */

static struct load_setup setup;
static struct load_results results;

static struct load_verdict verdict(double rate)
{
    struct load_run run = {.rate_from = rate, .rate_to = rate};

    return load_verdict_of(&setup, &run, &results);
}

static int fresh(void **state)
{
    (void)state;
    memset(&setup, 0, sizeof(setup));
    memset(&results, 0, sizeof(results));
    setup.options.max_error_rate = -1;
    results = (struct load_results){.requests = 1000,
                                    .due = 1000,
                                    .answered = 990,
                                    .measured_us = 4 * SECOND,
                                    .own_us = 2 * SECOND,
                                    .cpu_user_us = 300,
                                    .cpu_system_us = 700,
                                    .busiest = 0.5};
    return 0;
}

static void test_verdict_of_a_good_run(void **state)
{
    (void)state;
    struct load_verdict v = verdict(0);
    assert_near(v.rps, 495, 1e-9);
    assert_near(v.cpu_us, 1, 1e-9);
    assert_true(v.wanted_rps == 0 && v.error_rate == 0 && v.rate_held && v.errors_ok && v.slo_ok);
    assert_string_equal(v.bottleneck, "server");
    assert_int_equal(load_verdict_status(&v), 0);
    v = verdict(500); /* 99 % of it is enough */
    assert_near(v.wanted_rps, 500, 1e-9);
    assert_true(v.rate_held);
    assert_string_equal(v.bottleneck, "none");
    results.answered = 989;
    v = verdict(500);
    assert_false(v.rate_held);
    assert_string_equal(v.bottleneck, "server");
    assert_int_equal(load_verdict_status(&v), 0); /* it is said, but no error */
    results.busiest = 0.96;
    v = verdict(500);
    assert_true(v.full);
    assert_string_equal(v.bottleneck, "generator");
}

static void test_verdict_of_errors(void **state)
{
    (void)state;
    results.failures[LOAD_FAILURE_RESET] = 4;
    results.failures[LOAD_FAILURE_TIMEOUT] = 6;
    struct load_verdict v = verdict(0);
    assert_near(v.error_rate, 0.01, 1e-12);
    assert_int_equal(load_verdict_status(&v), 1);
    setup.options.max_error_rate = 0.01;
    v = verdict(0);
    assert_int_equal(load_verdict_status(&v), 0);
    results.failures[LOAD_FAILURE_CONNECT] = 1;
    v = verdict(0);
    assert_int_equal(load_verdict_status(&v), 1);
    results.requests = results.due = results.answered = 0; /* nobody was there */
    setup.options.max_error_rate = 1;
    v = verdict(0);
    assert_near(v.error_rate, 1, 1e-12);
    assert_int_equal(load_verdict_status(&v), 1);
    memset(results.failures, 0, sizeof(results.failures));
    results.own_us = 0;
    v = verdict(0);
    assert_true(v.rps == 0 && v.cpu_us == 0 && !v.errors_ok);
}

static void test_verdict_of_latency(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 1000; i++)
        hist_record(&results.response, i);
    setup.options.slo_p99_us = 990;
    struct load_verdict v = verdict(0);
    assert_int_equal(load_verdict_status(&v), 0);
    setup.options.slo_p99_us = 989;
    v = verdict(0);
    assert_false(v.slo_ok);
    assert_int_equal(load_verdict_status(&v), 3);
    results.failures[LOAD_FAILURE_BODY] = 1; /* errors come first */
    v = verdict(0);
    assert_int_equal(load_verdict_status(&v), 1);
}

static void test_results_are_added(void **state)
{
    static struct load_results sum, other;

    (void)state;
    memset(&sum, 0, sizeof(sum));
    memset(&other, 0, sizeof(other));
    results.failures[LOAD_FAILURE_RESET] = 2;
    strcpy(results.first[LOAD_FAILURE_RESET], "first");
    other = (struct load_results){
        .requests = 5, .busiest = 0.7, .measured_us = 3, .own_us = 3, .backlog_us_max = 9};
    other.failures[LOAD_FAILURE_RESET] = 1;
    strcpy(other.first[LOAD_FAILURE_RESET], "second");
    hist_record(&other.lag, 3);
    load_results_add(&sum, &results);
    load_results_add(&sum, &other);
    assert_int_equal(sum.requests, 1005);
    assert_int_equal(load_results_failures(&sum), 3);
    assert_string_equal(sum.first[LOAD_FAILURE_RESET], "first");
    assert_near(sum.busiest, 0.7, 1e-12);
    assert_int_equal(sum.measured_us, 4 * SECOND);
    assert_int_equal(sum.own_us, 2 * SECOND);
    assert_int_equal(sum.backlog_us_max, 9);
    assert_int_equal(sum.lag.total, 1);
    assert_string_equal(load_failure_name(LOAD_FAILURE_CLOSED_EARLY), "closed_early");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prng_is_splitmix64),
        cmocka_unit_test(test_prng_ranges),
        cmocka_unit_test(test_uniform_times),
        cmocka_unit_test(test_phases_interleave),
        cmocka_unit_test(test_ramp_is_the_integral),
        cmocka_unit_test(test_poisson_moments),
        cmocka_unit_test(test_poisson_ramp_and_seed),
        cmocka_unit_test(test_extreme_rates),
        cmocka_unit_test(test_match_with_date),
        cmocka_unit_test(test_match_without_date),
        cmocka_unit_test(test_match_gives_up),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_moments_of_own_time),
        cmocka_unit_test(test_turns_as_text),
        cmocka_unit_test_setup(test_verdict_of_a_good_run, fresh),
        cmocka_unit_test_setup(test_verdict_of_errors, fresh),
        cmocka_unit_test_setup(test_verdict_of_latency, fresh),
        cmocka_unit_test_setup(test_results_are_added, fresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
