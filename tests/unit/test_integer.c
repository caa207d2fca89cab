/* SPDX-License-Identifier: MIT */
/*
 * test_integer.c - integers against oracles: strtoll() for single values, __int128 arithmetic and
 * printf() for sums and texts; a body gives the same result however it is cut.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "integer.h"
#include "util.h"

#define MAX_TEXT "9223372036854775807"
#define MIN_TEXT "-9223372036854775808"
#define NINES36  "999999999999999999999999999999999999"
#define ZEROS36  "000000000000000000000000000000000000"

static const int64_t untouched = INT64_C(0x5a5a5a5a5a5a5a5a);

struct parse_case {
    const char *text;
    enum integer_status status;
    int64_t value;
};

/* Of a whole term: no white space. */
static const struct parse_case parse_cases[] = {
    {"0", INTEGER_OK, 0},
    {"-0", INTEGER_OK, 0},
    {"7", INTEGER_OK, 7},
    {"-7", INTEGER_OK, -7},
    {"007", INTEGER_OK, 7},
    {"999999999999999999", INTEGER_OK, 999999999999999999},
    {"1000000000000000000", INTEGER_OK, 1000000000000000000},
    {"9223372036854775806", INTEGER_OK, INT64_MAX - 1},
    {MAX_TEXT, INTEGER_OK, INT64_MAX},
    {"9223372036854775808", INTEGER_RANGE, 0},
    {"18446744073709551616", INTEGER_RANGE, 0},
    {"18446744073709551617", INTEGER_RANGE, 0},
    {"340282366920938463463374607431768211456", INTEGER_RANGE, 0}, /* 2^128 */
    {"340282366920938463463374607431768211457", INTEGER_RANGE, 0},
    {MIN_TEXT, INTEGER_OK, INT64_MIN},
    {"-9223372036854775809", INTEGER_RANGE, 0},
    {"-18446744073709551616", INTEGER_RANGE, 0},
    {NINES36, INTEGER_RANGE, 0},
    {"1" ZEROS36, INTEGER_RANGE, 0},
    {ZEROS36 ZEROS36 "12", INTEGER_OK, 12},
    {"-" ZEROS36 ZEROS36 MAX_TEXT, INTEGER_OK, -INT64_MAX},
    {"", INTEGER_EMPTY, 0},
    {"-", INTEGER_EMPTY, 0},
    {"--1", INTEGER_SYNTAX, 0},
    {"-+1", INTEGER_SYNTAX, 0},
    {"+1", INTEGER_SYNTAX, 0},
    {"1-", INTEGER_SYNTAX, 0},
    {"1 ", INTEGER_SYNTAX, 0},
    {" 1", INTEGER_SYNTAX, 0},
    {"1\n", INTEGER_SYNTAX, 0},
    {"0x10", INTEGER_SYNTAX, 0},
    {"1e3", INTEGER_SYNTAX, 0},
    {"1.0", INTEGER_SYNTAX, 0},
    {"1/", INTEGER_SYNTAX, 0}, /* '0' - 1 */
    {"1:", INTEGER_SYNTAX, 0}, /* '9' + 1 */
    {"\xb1", INTEGER_SYNTAX, 0},
    {NINES36 NINES36 "x", INTEGER_SYNTAX, 0},
};

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parse_cases); i++) {
        const struct parse_case *c = &parse_cases[i];
        int64_t value = untouched;
        enum integer_status st = integer_parse(c->text, strlen(c->text), &value);
        if (st != c->status || value != (st == INTEGER_OK ? c->value : untouched))
            fail_msg("\"%s\": status %d, value %" PRId64, c->text, (int)st, value);
    }
    int64_t value = untouched;
    assert_int_equal(integer_parse("1\0", 2, &value), INTEGER_SYNTAX); /* a NUL is no end */
    assert_int_equal(integer_parse("12", 1, &value), INTEGER_OK);      /* the length is */
    assert_int_equal(value, 1);
}

/* ---- random numbers ---- */

static uint64_t seed = 1;

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

/* Of all magnitudes alike. */
static int64_t random_value(void)
{
    uint64_t v = random_next() >> random_next() % 64;

    return random_next() & 1 ? (int64_t)v : (int64_t)(0 - v);
}

static void test_parse_random(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        char text[64];
        /* at, around and beyond the edges of 64 bits */
        int len = snprintf(text, sizeof(text), "%s%" PRIu64 "%s", random_next() & 1 ? "-" : "",
                           random_next() >> random_next() % 64, random_next() % 8 ? "" : "0");
        errno = 0;
        long long expected = strtoll(text, NULL, 10);
        bool fits = errno != ERANGE;
        int64_t value = untouched;
        enum integer_status st = integer_parse(text, (size_t)len, &value);
        if (st != (fits ? INTEGER_OK : INTEGER_RANGE) || value != (fits ? expected : untouched))
            fail_msg("%s: status %d, value %" PRId64, text, (int)st, value);
    }
}

static void check_text(int64_t v)
{
    char expected[32], got[INTEGER_TEXT_MAX + 2];
    int len = snprintf(expected, sizeof(expected), "%" PRId64, v);

    memset(got, '#', sizeof(got));
    size_t n = integer_format(got, v);
    if (n != (size_t)len || memcmp(got, expected, n) || got[n] != '#')
        fail_msg("%s: formatted as %.*s", expected, (int)n, got);
    if (integer_text_len(v) != n)
        fail_msg("%s: length %zu", expected, integer_text_len(v));
    memset(got, '#', sizeof(got));
    n = (size_t)(integer_put(got, v) - got);
    if (n != (size_t)len || memcmp(got, expected, n) || got[INTEGER_TEXT_MAX] != '#')
        fail_msg("%s: put as %.*s", expected, (int)n, got);
}

static void test_format(void **state)
{
    (void)state;
    for (int64_t v = -20000; v <= 20000; v++)
        check_text(v);
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int64_t d = -2; d <= 2; d++) {
            check_text((int64_t)((UINT64_C(1) << bit) + (uint64_t)d));
            check_text((int64_t)(0 - (UINT64_C(1) << bit) + (uint64_t)d));
        }
    }
    uint64_t power = 1;
    for (int i = 0; i < 19; i++, power *= 10) {
        for (int64_t d = -2; d <= 2; d++) {
            check_text((int64_t)power + d);
            check_text(-(int64_t)power + d);
        }
    }
    for (int i = 0; i < 200000; i++)
        check_text(random_value());
}

/* ---- sums ---- */

static enum integer_status sum_of(const char *const *terms, size_t count, const char *body,
                                  int64_t *value)
{
    struct integer_sum s;

    integer_sum_init(&s);
    for (size_t i = 0; i < count; i++) {
        enum integer_status st = integer_sum_add(&s, terms[i], strlen(terms[i]));
        if (st != INTEGER_OK)
            return st;
    }
    if (body)
        integer_body_feed(&s, body, strlen(body));
    return integer_sum_finish(&s, value);
}

static void test_sum_edges(void **state)
{
    static const struct {
        const char *term[4], *body;
        enum integer_status status;
        int64_t value;
    } cases[] = {
        {{0}, NULL, INTEGER_OK, 0},
        {{"13", "42"}, NULL, INTEGER_OK, 55},
        {{"13", "42"}, "20", INTEGER_OK, 75},
        {{MAX_TEXT, "1"}, NULL, INTEGER_RANGE, 0},
        {{MAX_TEXT, "1", "-1"}, NULL, INTEGER_OK, INT64_MAX},
        {{MAX_TEXT, "1"}, "-1", INTEGER_OK, INT64_MAX},
        {{MIN_TEXT, "-1"}, "1", INTEGER_OK, INT64_MIN},
        {{MIN_TEXT, "-1"}, "0", INTEGER_RANGE, 0},
        {{NINES36, NINES36}, "-" NINES36, INTEGER_RANGE, 0},
        {{NINES36, NINES36, "-" NINES36}, "-" NINES36, INTEGER_OK, 0},
        {{"-" NINES36}, NINES36, INTEGER_OK, 0},
        {{"1" NINES36}, NULL, INTEGER_RANGE, 0},
        {{"0"}, "1" NINES36, INTEGER_RANGE, 0},
        {{MAX_TEXT, MAX_TEXT, "2"}, NULL, INTEGER_RANGE, 0}, /* 2^64 */
        {{MAX_TEXT, MAX_TEXT, "2"}, "1", INTEGER_RANGE, 0},
        /* one digit too many is refused even where another term would cancel it */
        {{"1" ZEROS36, "-1" ZEROS36}, NULL, INTEGER_RANGE, 0},
        {{"-" NINES36}, NINES36 "9", INTEGER_RANGE, 0},
        {{"x"}, NULL, INTEGER_SYNTAX, 0},
        {{""}, NULL, INTEGER_EMPTY, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t count = 0;
        int64_t value = untouched;
        while (count < 4 && cases[i].term[count])
            count++;
        enum integer_status st = sum_of(cases[i].term, count, cases[i].body, &value);
        if (st != cases[i].status || value != (st == INTEGER_OK ? cases[i].value : untouched))
            fail_msg("case %zu: status %d, value %" PRId64, i, (int)st, value);
    }
}

/* A failed term leaves the sum as it was. */
static void test_sum_failure_keeps(void **state)
{
    struct integer_sum s;
    int64_t value;

    (void)state;
    integer_sum_init(&s);
    assert_int_equal(integer_sum_add(&s, "41", 2), INTEGER_OK);
    assert_int_equal(integer_sum_add(&s, "12x", 3), INTEGER_SYNTAX);
    assert_int_equal(integer_sum_add(&s, "1" NINES36, 37), INTEGER_RANGE);
    integer_sum_add_value(&s, INT64_MIN);
    integer_sum_add_value(&s, INT64_MAX);
    integer_sum_add_value(&s, 2);
    assert_int_equal(integer_sum_finish(&s, &value), INTEGER_OK);
    assert_int_equal(value, 42);
}

/*
 * More of the largest terms than 64 KiB of query could hold: their sum leaves 128 bits and comes
 * back, or is out of range for good, whatever the body brings.
 */
static void test_sum_beyond_128_bits(void **state)
{
    struct integer_sum s;
    int64_t value = untouched;

    (void)state;
    for (int sign = 0; sign < 2; sign++) {
        const char *there = sign ? "-" NINES36 : NINES36, *back = sign ? NINES36 : "-" NINES36;
        integer_sum_init(&s);
        for (int i = 0; i < 5000; i++)
            assert_int_equal(integer_sum_add(&s, there, strlen(there)), INTEGER_OK);
        struct integer_sum far = s;
        assert_int_equal(integer_sum_finish(&s, &value), INTEGER_RANGE);
        integer_body_feed(&far, back, strlen(back));
        assert_int_equal(integer_sum_finish(&far, &value), INTEGER_RANGE);
        for (int i = 0; i < 5000; i++)
            assert_int_equal(integer_sum_add(&s, back, strlen(back)), INTEGER_OK);
        integer_body_feed(&s, "-3", 2);
        assert_int_equal(integer_sum_finish(&s, &value), INTEGER_OK);
        assert_int_equal(value, -3);
    }
    /* 2^128 exactly would look like 0 if its upper word were forgotten: 512 times 2^119, of 36
     * digits */
    integer_sum_init(&s);
    for (int i = 0; i < 512; i++)
        assert_int_equal(integer_sum_add(&s, "664613997892457936451903530140172288", 36),
                         INTEGER_OK);
    struct integer_sum body = s;
    assert_int_equal(integer_sum_finish(&s, &value), INTEGER_RANGE);
    integer_body_feed(&body, "0", 1);
    assert_int_equal(integer_sum_finish(&body, &value), INTEGER_RANGE);
}

#ifdef HAVE_UNSIGNED___INT128

static size_t format_wide(char *out, __int128 v)
{
    char digits[48];
    size_t n = 0, len = 0;
    unsigned __int128 u = v < 0 ? 0 - (unsigned __int128)v : (unsigned __int128)v;

    do
        digits[n++] = (char)('0' + (int)(u % 10));
    while (u /= 10);
    if (v < 0)
        out[len++] = '-';
    while (n)
        out[len++] = digits[--n];
    out[len] = '\0';
    return len;
}

static __int128 random_wide(void)
{
    unsigned __int128 v = (unsigned __int128)random_next() << 64 | random_next();

    v >>= 10 + random_next() % 118; /* below 2^118 < 10^36 */
    return random_next() & 1 ? (__int128)v : -(__int128)v;
}

static void test_sum_random(void **state)
{
    (void)state;
    for (int i = 0; i < 50000; i++) {
        struct integer_sum s;
        __int128 total = 0, term;
        char text[64];
        unsigned count = (unsigned)(random_next() % 6);
        int64_t value = untouched;

        integer_sum_init(&s);
        for (unsigned k = 0; k < count; k++) {
            total += term = random_wide();
            size_t len = format_wide(text, term);
            assert_int_equal(integer_sum_add(&s, text, len), INTEGER_OK);
        }
        /* half of them brought back to where it matters: by the body, which has room for any term
         * up to 10^36 */
        term = random_next() & 1 ? random_wide() : random_value() - total;
        if (term > -((__int128)1 << 119) && term < (__int128)1 << 119 && random_next() % 8) {
            total += term;
            integer_body_feed(&s, text, format_wide(text, term));
        }
        enum integer_status st = integer_sum_finish(&s, &value);
        bool fits = total >= INT64_MIN && total <= INT64_MAX;
        if (st != (fits ? INTEGER_OK : INTEGER_RANGE) ||
            value != (fits ? (int64_t)total : untouched)) {
            format_wide(text, total);
            fail_msg("%s: status %d, value %" PRId64, text, (int)st, value);
        }
    }
}

#else

static void test_sum_random(void **state)
{
    (void)state;
    skip(); /* nothing to compare with */
}

#endif

/* ---- bodies ---- */

struct body_case {
    const char *text;
    enum integer_status status;
    int64_t value;
};

static const struct body_case body_cases[] = {
    {"", INTEGER_OK, 0},
    {" ", INTEGER_OK, 0},
    {" \t\r\n", INTEGER_OK, 0},
    {"20", INTEGER_OK, 20},
    {"-20", INTEGER_OK, -20},
    {" 20", INTEGER_OK, 20},
    {"20 ", INTEGER_OK, 20},
    {"\r\n -020 \t\r\n", INTEGER_OK, -20},
    {"-0", INTEGER_OK, 0},
    {MAX_TEXT, INTEGER_OK, INT64_MAX},
    {MIN_TEXT, INTEGER_OK, INT64_MIN},
    {"9223372036854775808", INTEGER_RANGE, 0},
    {"-9223372036854775809\n", INTEGER_RANGE, 0},
    {ZEROS36 ZEROS36 "5 ", INTEGER_OK, 5},
    {NINES36, INTEGER_RANGE, 0},
    {"1" NINES36 " ", INTEGER_RANGE, 0},
    {"1" NINES36 " x", INTEGER_SYNTAX, 0},
    {"1" NINES36 "-", INTEGER_SYNTAX, 0},
    {"-", INTEGER_EMPTY, 0},
    {" -", INTEGER_EMPTY, 0},
    {"- 20", INTEGER_SYNTAX, 0},
    {"-\n", INTEGER_SYNTAX, 0},
    {"--20", INTEGER_SYNTAX, 0},
    {"+20", INTEGER_SYNTAX, 0},
    {"2 0", INTEGER_SYNTAX, 0},
    {"20\n20", INTEGER_SYNTAX, 0},
    {"20-", INTEGER_SYNTAX, 0},
    {"20x", INTEGER_SYNTAX, 0},
    {"x20", INTEGER_SYNTAX, 0},
    {"x", INTEGER_SYNTAX, 0},
    {" x ", INTEGER_SYNTAX, 0},
    {"20\f", INTEGER_SYNTAX, 0},
    {"\v20", INTEGER_SYNTAX, 0},
    {"1e3", INTEGER_SYNTAX, 0},
    {"\xb2", INTEGER_SYNTAX, 0},
};

/* Piece by piece: the bits of `cuts` say behind which bytes (of the first 64) the body is cut. */
static enum integer_status feed_cut(const char *text, size_t len, uint64_t cuts, int64_t *value)
{
    struct integer_sum s;
    size_t from = 0;

    integer_sum_init(&s);
    integer_sum_add_value(&s, -1); /* the words that hold the body's term are in use before it */
    integer_sum_add_value(&s, 1);
    for (size_t i = 0; i < len; i++) {
        if (i < 64 && !(cuts >> i & 1))
            continue;
        /* of its own, so that a sanitizer sees a read beyond the piece */
        char *piece = malloc(i + 1 - from);
        memcpy(piece, text + from, i + 1 - from);
        integer_body_feed(&s, piece, i + 1 - from);
        free(piece);
        from = i + 1;
        integer_body_feed(&s, text, 0); /* an empty piece says nothing */
    }
    integer_body_feed(&s, text + from, len - from);
    return integer_sum_finish(&s, value);
}

static void check_body(const struct body_case *c, uint64_t cuts)
{
    int64_t value = untouched;
    enum integer_status st = feed_cut(c->text, strlen(c->text), cuts, &value);

    if (st != c->status || value != (st == INTEGER_OK ? c->value : untouched))
        fail_msg("\"%s\" cut at %" PRIx64 ": status %d, value %" PRId64, c->text, cuts, (int)st,
                 value);
}

static void test_body(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(body_cases); i++) {
        size_t len = strlen(body_cases[i].text);
        check_body(&body_cases[i], 0);
        check_body(&body_cases[i], UINT64_MAX); /* one byte at a time */
        for (uint64_t cuts = 0; len <= 10 && cuts < UINT64_C(1) << len; cuts++)
            check_body(&body_cases[i], cuts);
        for (size_t at = 0; at < MIN(len, (size_t)64); at++) /* in two */
            check_body(&body_cases[i], UINT64_C(1) << at);
        for (int k = 0; k < 1000; k++)
            check_body(&body_cases[i], random_next() & random_next());
    }
}

/* Nothing of a body is stored: a megabyte of zeros is free. */
static void test_body_endless(void **state)
{
    static char zeros[4096];
    struct integer_sum s;
    int64_t value;

    (void)state;
    memset(zeros, '0', sizeof(zeros));
    integer_sum_init(&s);
    for (int i = 0; i < 256; i++)
        integer_body_feed(&s, zeros, sizeof(zeros));
    integer_body_feed(&s, "17\r\n", 4);
    memset(zeros, ' ', sizeof(zeros));
    for (int i = 0; i < 256; i++)
        integer_body_feed(&s, zeros, sizeof(zeros));
    assert_int_equal(integer_sum_finish(&s, &value), INTEGER_OK);
    assert_int_equal(value, 17);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_random),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_sum_edges),
        cmocka_unit_test(test_sum_failure_keeps),
        cmocka_unit_test(test_sum_beyond_128_bits),
        cmocka_unit_test(test_sum_random),
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_body_endless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
