/* SPDX-License-Identifier: MIT */
/*
 * test_query.c - pairs, percent-decoding, and the sum of values: the fast path and the general one
 * agree.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "query.h"
#include "util.h"
#include "wide.h"

static void test_split(void **state)
{
    size_t path_len, query_len;
    const char *query;

    (void)state;
    query_split("/a", 2, &path_len, &query, &query_len);
    assert_int_equal(path_len, 2);
    assert_null(query);
    assert_int_equal(query_len, 0);
    query_split("", 0, &path_len, &query, &query_len);
    assert_int_equal(path_len, 0);
    assert_null(query);
    query_split("/a?", 3, &path_len, &query, &query_len);
    assert_int_equal(path_len, 2);
    assert_non_null(query);
    assert_int_equal(query_len, 0);
    const char *target = "/a?b=1?c=2"; /* the first '?' (RFC 3986 section 3.4: others are data) */
    query_split(target, strlen(target), &path_len, &query, &query_len);
    assert_int_equal(path_len, 2);
    assert_ptr_equal(query, target + 3);
    assert_int_equal(query_len, 7);
}

static void test_iter(void **state)
{
    static const struct {
        const char *query, *pairs; /* each as <name|value> */
    } cases[] = {
        {"", ""},
        {"&", ""},
        {"&&&", ""},
        {"a", "<a|>"},
        {"a=", "<a|>"},
        {"=", "<|>"},
        {"=1", "<|1>"},
        {"a=1", "<a|1>"},
        {"a=1=2", "<a|1=2>"},
        {"a=1&b=2", "<a|1><b|2>"},
        {"&&a=1&&b&", "<a|1><b|>"},
        {"a;b=1;2", "<a;b|1;2>"},
        {"%26=%3d&+=+", "<%26|%3d><+|+>"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char got[128] = "";
        size_t n = 0;
        struct query_iter it;
        struct query_pair p;
        query_iter_init(&it, cases[i].query, strlen(cases[i].query));
        while (query_iter_next(&it, &p))
            n += (size_t)snprintf(got + n, sizeof(got) - n, "<%.*s|%.*s>", (int)p.name_len, p.name,
                                  (int)p.value_len, p.value);
        assert_string_equal(got, cases[i].pairs);
        assert_false(query_iter_next(&it, &p));
    }
    struct query_iter none;
    struct query_pair p;
    query_iter_init(&none, NULL, 0);
    assert_false(query_iter_next(&none, &p));
}

static void test_decode(void **state)
{
    static const char *const malformed[] = {"%",   "%4",  "%g0", "%0g", "a%",  "a%1", "%%41",
                                            "%-1", "% 1", "%/0", "%:0", "%@0", "%G0", "%`0"};
    char out[8];

    (void)state;
    assert_int_equal(query_decode(out, sizeof(out), "", 0), 0);
    assert_int_equal(query_decode(out, sizeof(out), "a+b", 3), 3);
    assert_memory_equal(out, "a+b", 3);
    assert_int_equal(query_decode(out, sizeof(out), "%41%6a%6A%00%fF", 15), 5);
    assert_memory_equal(out, "Ajj\0\xff", 5);
    assert_int_equal(query_decode(out, sizeof(out), "%2541", 5), 3); /* once */
    assert_memory_equal(out, "%41", 3);
    assert_int_equal(query_decode(out, 3, "abc", 3), 3);
    assert_int_equal(query_decode(out, 2, "abc", 3), -1);
    assert_int_equal(query_decode(out, 2, "%61bc", 5), -1);
    assert_int_equal(query_decode(out, sizeof(out), "%414", 2),
                     -1); /* the escape ends beyond the length */
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++)
        assert_int_equal(query_decode(out, sizeof(out), malformed[i], strlen(malformed[i])), -1);
    for (int c = 0; c < 256; c++) { /* every byte, both cases of hex */
        char in[8];
        snprintf(in, sizeof(in), c & 1 ? "%%%02x" : "%%%02X", c);
        assert_int_equal(query_decode(out, 1, in, 3), 1);
        assert_int_equal((unsigned char)out[0], c);
    }
}

static void test_equals(void **state)
{
    (void)state;
    assert_true(query_equals("m", 1, "m"));
    assert_true(query_equals("%6d", 3, "m"));
    assert_true(query_equals("%6D", 3, "m"));
    assert_true(query_equals("", 0, ""));
    assert_true(query_equals("\xc3\xa9", 2, "\xc3\xa9"));
    assert_true(query_equals("%c3\xa9", 4, "\xc3\xa9"));
    assert_false(query_equals("M", 1, "m"));
    assert_false(query_equals("mm", 2, "m"));
    assert_false(query_equals("m", 1, "mm"));
    assert_false(query_equals("", 0, "m"));
    assert_false(query_equals("m%00", 4, "m"));
    assert_false(query_equals("%00", 3, ""));
    assert_false(query_equals("%6", 2, "m"));
    assert_false(query_equals("%6d", 2, "m"));
}

static enum integer_status sum_text(const char *query, int64_t *value, struct query_pair *bad)
{
    struct integer_sum s;

    integer_sum_init(&s);
    enum integer_status st = query_sum(query, strlen(query), &s, bad);
    return st == INTEGER_OK ? integer_sum_finish(&s, value) : st;
}

#define NINES18 "999999999999999999"
#define ZEROS18 "000000000000000000"
/* Ten pairs, more than 64 bits together, each of which is short enough for the fast path. */
#define TEN                                                                             \
    "&a=" NINES18 "&b=" NINES18 "&c=" NINES18 "&d=" NINES18 "&e=" NINES18 "&f=" NINES18 \
    "&g=" NINES18 "&h=" NINES18 "&i=" NINES18 "&j=" NINES18
#define MINUS_TEN                                                                             \
    "&a=-" NINES18 "&b=-" NINES18 "&c=-" NINES18 "&d=-" NINES18 "&e=-" NINES18 "&f=-" NINES18 \
    "&g=-" NINES18 "&h=-" NINES18 "&i=-" NINES18 "&j=-" NINES18

static void test_sum(void **state)
{
    static const struct {
        const char *query;
        enum integer_status status;
        int64_t value;
        const char *bad; /* the value complained about; NULL: the sum, or nothing */
    } cases[] = {
        {"a=13&b=42", INTEGER_OK, 55, NULL},
        {"", INTEGER_OK, 0, NULL},
        {"&", INTEGER_OK, 0, NULL},
        {"&&a=1&&&b=2&", INTEGER_OK, 3, NULL},
        {"=5&=6", INTEGER_OK, 11, NULL},
        {"a=-1&b=-%32", INTEGER_OK, -3, NULL},
        {"%61=%35", INTEGER_OK, 5, NULL},
        {"a=%2d5", INTEGER_OK, -5, NULL},
        {"a=" ZEROS18 ZEROS18 ZEROS18 "5", INTEGER_OK, 5, NULL},
        {"a=-" ZEROS18 "%30" ZEROS18 ZEROS18, INTEGER_OK, 0, NULL},
        {"a=" NINES18, INTEGER_OK, 999999999999999999, NULL},
        {"a=1" NINES18, INTEGER_OK, 1999999999999999999, NULL},
        {"a=9223372036854775807", INTEGER_OK, INT64_MAX, NULL},
        {"a=-9223372036854775808", INTEGER_OK, INT64_MIN, NULL},
        {"a=9223372036854775808", INTEGER_RANGE, 0, NULL},
        {"a=9223372036854775808&b=-1", INTEGER_OK, INT64_MAX, NULL},
        {"a=5&" TEN "&" TEN "&" TEN "&" MINUS_TEN "&" MINUS_TEN "&" MINUS_TEN, INTEGER_OK, 5, NULL},
        {MINUS_TEN "&a=-3&" MINUS_TEN "&" TEN "&" TEN, INTEGER_OK, -3, NULL},
        {TEN "&a=1", INTEGER_RANGE, 0, NULL},
        {"a=" NINES18 NINES18 "&b=-" NINES18 NINES18, INTEGER_OK, 0, NULL},
        {"a=1&b=1" NINES18 NINES18, INTEGER_RANGE, 0, "1" NINES18 NINES18},
        {"a=1&b=%30" ZEROS18 "1" NINES18 NINES18 "&c=x", INTEGER_RANGE, 0,
         "%30" ZEROS18 "1" NINES18 NINES18},
        {"a=1&b=1" NINES18 NINES18 "x", INTEGER_SYNTAX, 0, "1" NINES18 NINES18 "x"},
        {"a", INTEGER_EMPTY, 0, ""},
        {"a=", INTEGER_EMPTY, 0, ""},
        {"=", INTEGER_EMPTY, 0, ""},
        {"a=1&b&c=x", INTEGER_EMPTY, 0, ""},
        {"a=-", INTEGER_EMPTY, 0, "-"},
        {"a=%2D&b=1", INTEGER_EMPTY, 0, "%2D"},
        {"a=1&b=1=2", INTEGER_SYNTAX, 0, "1=2"},
        {"a=+5", INTEGER_SYNTAX, 0, "+5"},
        {"a=%2B5", INTEGER_SYNTAX, 0, "%2B5"},
        {"a=5%20", INTEGER_SYNTAX, 0, "5%20"},
        {"a=%205", INTEGER_SYNTAX, 0, "%205"},
        {"a=--5", INTEGER_SYNTAX, 0, "--5"},
        {"a=0-5", INTEGER_SYNTAX, 0, "0-5"},
        {"a=-0-5", INTEGER_SYNTAX, 0, "-0-5"},
        {"a=5-", INTEGER_SYNTAX, 0, "5-"},
        {"a=5%", INTEGER_SYNTAX, 0, "5%"},
        {"a=5%3&b=1", INTEGER_SYNTAX, 0, "5%3"},
        {"a=%00", INTEGER_SYNTAX, 0, "%00"},
        {"a=1%00", INTEGER_SYNTAX, 0, "1%00"},
        {"a=5;b=6", INTEGER_SYNTAX, 0, "5;b=6"},
        {"a=1.0", INTEGER_SYNTAX, 0, "1.0"},
        {"a=\xef\xbc\x91", INTEGER_SYNTAX, 0, "\xef\xbc\x91"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct query_pair bad = {0};
        int64_t value = 0;
        enum integer_status st = sum_text(cases[i].query, &value, &bad);
        if (st != cases[i].status || value != cases[i].value)
            fail_msg("\"%s\": status %d, value %" PRId64, cases[i].query, (int)st, value);
        if (cases[i].bad && (bad.value_len != strlen(cases[i].bad) ||
                             memcmp(bad.value, cases[i].bad, bad.value_len)))
            fail_msg("\"%s\": bad is \"%.*s\"", cases[i].query, (int)bad.value_len, bad.value);
    }
}

static uint64_t seed = 7;

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

/* `v` as a value; each character escaped with a chance of 1 in 2^`rare`, zeros put in front now and
 * then. */
static size_t put_value(char *out, int64_t v, unsigned rare)
{
    char text[40];
    size_t n = 0;

    snprintf(text, sizeof(text), "%s%s%" PRIu64, v < 0 ? "-" : "",
             random_next() % 8 ? "" : "00000000000", v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    for (const char *p = text; *p; p++) {
        if (random_next() >> (64 - rare) == 0)
            n += (size_t)sprintf(out + n, "%%%02x", (unsigned char)*p);
        else
            out[n++] = *p;
    }
    return n;
}

/* Random sums, long enough for the running total to leave 64 bits and come back. */
static void test_sum_random(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        char query[4096];
        size_t n = 0;
        wide total = wide_of(0, 0);
        unsigned count = (unsigned)(random_next() % 20), width = 1 + (unsigned)(random_next() % 64);
        for (unsigned k = 0; k < count; k++) {
            int64_t v = (int64_t)(random_next() >> (64 - width));
            v = random_next() & 1 ? v : (int64_t)(0 - (uint64_t)v);
            wide magnitude = wide_of(0, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
            total = v < 0 ? wide_subtract(total, magnitude) : wide_add(total, magnitude);
            n += (size_t)sprintf(query + n, "%sv%u=", k ? "&" : "", k);
            n += put_value(query + n, v, 5);
        }
        query[n] = '\0';
        const int64_t low = (int64_t)wide_low(total);
        bool fits = wide_high(total) == (low < 0 ? UINT64_MAX : 0);
        struct query_pair bad;
        int64_t value = 0;
        enum integer_status st = sum_text(query, &value, &bad);
        if (st != (fits ? INTEGER_OK : INTEGER_RANGE) || (fits && value != low))
            fail_msg("\"%s\": status %d, value %" PRId64, query, (int)st, value);
    }
}

static void test_integer(void **state)
{
    static const struct {
        const char *value;
        enum integer_status status;
        int64_t result;
    } cases[] = {
        {"7", INTEGER_OK, 7},
        {"%37", INTEGER_OK, 7},
        {"-%37", INTEGER_OK, -7},
        {"007", INTEGER_OK, 7},
        {ZEROS18 ZEROS18 ZEROS18 ZEROS18 "7", INTEGER_OK, 7},
        {"-9223372036854775808", INTEGER_OK, INT64_MIN},
        {"9223372036854775808", INTEGER_RANGE, 0},
        {"1" NINES18 NINES18, INTEGER_RANGE, 0},
        {"", INTEGER_EMPTY, 0},
        {"-", INTEGER_EMPTY, 0},
        {"%", INTEGER_SYNTAX, 0},
        {"1%2", INTEGER_SYNTAX, 0},
        {"x", INTEGER_SYNTAX, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct query_pair p = {"m", cases[i].value, 1, strlen(cases[i].value)};
        int64_t v = 0;
        if (query_integer(&p, &v) != cases[i].status || v != cases[i].result)
            fail_msg("\"%s\": %" PRId64, cases[i].value, v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),   cmocka_unit_test(test_iter),
        cmocka_unit_test(test_decode),  cmocka_unit_test(test_equals),
        cmocka_unit_test(test_sum),     cmocka_unit_test(test_sum_random),
        cmocka_unit_test(test_integer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
