/* SPDX-License-Identifier: MIT */
/*
 * test_conditional.c - what a client has already, which part it wants, and in which coding: dates,
 * entity tags, ranges, Accept-Encoding.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "coding.h"
#include "conditional.h"
#include "http_date.h"
#include "util.h"

#define NOW 1700000000 /* Tue, 14 Nov 2023 22:13:20 GMT */

/* ---- dates ---- */

static void test_date(void **state)
{
    static const struct {
        const char *text;
        int64_t t; /* -1: none */
    } cases[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Sun Nov 16 08:49:37 1994", 784975777},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Wed, 31 Dec 1969 23:59:00 GMT", -60},
        {"Mon, 29 Feb 2016 00:00:00 GMT", 1456704000},
        {"Tue, 01 Mar 2016 00:00:00 GMT", 1456790400},
        {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
        {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800}, /* a leap second */
        {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777},  /* it was a Sunday */
        {"Monday, 06-Nov-73 08:49:37 GMT", 3277183777 /* 2073: 50 years from now */},
        {"Monday, 06-Nov-74 08:49:37 GMT", 152959777 /* 1974 */},
        {"Sun, 29 Feb 2015 00:00:00 GMT", -1},
        {"Sun, 29 Feb 1900 00:00:00 GMT", -1},
        {"Sun, 31 Apr 2015 00:00:00 GMT", -1},
        {"Sun, 00 Apr 2015 00:00:00 GMT", -1},
        {"Sun, 01 Apr 2015 24:00:00 GMT", -1},
        {"Sun, 01 Apr 2015 00:60:00 GMT", -1},
        {"Sun, 01 Apr 2015 00:00:61 GMT", -1},
        {"Sun, 01 Apr 0000 00:00:00 GMT", -1},
        {"sun, 06 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 06 nov 1994 08:49:37 GMT", -1},
        {"Sun, 6 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 06 Nov 1994 08:49:37 UTC", -1},
        {"Sun, 06 Nov 1994 08:49:37 GMT ", -1},
        {"Sun, 06 Nov 1994 08:49:37", -1},
        {"Sun Nov 6 08:49:37 1994", -1},
        {"Sunda, 06-Nov-94 08:49:37 GMT", -1},
        {"784111777", -1},
        {"", -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        time_t t = 4711;
        bool good = http_date_parse(cases[i].text, strlen(cases[i].text), NOW, &t);
        int64_t want = strstr(cases[i].text, "1969") || cases[i].t >= 0 ? cases[i].t : 4711;
        if ((time_t)want != want)
            want = 4711;
        if (good != (want != 4711) || t != want)
            fail_msg("\"%s\": %d, %lld", cases[i].text, good, (long long)t);
        /* a piece of it is none */
        for (size_t len = 0; len < strlen(cases[i].text); len++)
            assert_false(http_date_parse(cases[i].text, len, NOW, &t) && cases[i].text[len] != ' ');
    }
}

/* What the server writes, it reads. */
static void test_date_both_ways(void **state)
{
    char text[CLOCK_DATE_LEN + 1];

    (void)state;
    for (int64_t t = 0; t < INT64_C(253402300799) && (time_t)t == t; t += 86400 * 13 + 4711) {
        time_t got;
        clock_format_date(text, (time_t)t);
        assert_true(http_date_parse(text, CLOCK_DATE_LEN, NOW, &got));
        assert_int_equal(got, t);
    }
}

/* ---- entity tags and conditions ---- */

static void test_etag_list(void **state)
{
    static const struct {
        const char *list;
        bool strong, weak; /* is "a" in it? */
    } cases[] = {
        {"\"a\"", true, true},
        {"W/\"a\"", false, true},
        {"\"b\", \"a\"", true, true},
        {"\"b\",\"a\",\"c\"", true, true},
        {" , ,\"b\" ,\t\"a\"", true, true},
        {"W/\"a\", \"a\"", true, true},
        {"\"b\"", false, false},
        {"\"A\"", false, false},
        {"\"aa\"", false, false},
        {"\"\"", false, false},
        {"a", false, false},
        {"w/\"a\"", false, false},
        {"\"b\" \"a\"", false, false},
        {"\"b", false, false},
        {"b, \"a\"", false, false},
        {"*", false, false},
        {"W/", false, false},
        {"\"b,\"a\"", false, false},
        {"", false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *list = cases[i].list;
        if (etag_in_list(list, strlen(list), "\"a\"", false) != cases[i].strong ||
            etag_in_list(list, strlen(list), "\"a\"", true) != cases[i].weak)
            fail_msg("%s", list);
    }
}

#define MODIFIED "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE   "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER    "Sun, 06 Nov 1994 08:49:38 GMT"

static const struct representation rep = {.size = 100, .etag = "\"a\"", .modified = 784111777};

static struct request_head head_of(const char *fields)
{
    return (struct request_head){.fields = fields, .fields_len = strlen(fields)};
}

static void test_conditions(void **state)
{
    static const struct {
        const char *fields;
        enum conditional want;
    } cases[] = {
        {"Host: x\r\n", CONDITIONAL_PROCEED},
        {"If-None-Match: \"a\"\r\n", CONDITIONAL_NOT_MODIFIED},
        {"If-None-Match: W/\"a\"\r\n", CONDITIONAL_NOT_MODIFIED},
        {"If-None-Match: *\r\n", CONDITIONAL_NOT_MODIFIED},
        {"If-None-Match: \"b\"\r\n", CONDITIONAL_PROCEED},
        {"If-None-Match: \"b\"\r\nIf-None-Match: \"a\"\r\n", CONDITIONAL_NOT_MODIFIED},
        {"If-Modified-Since: " MODIFIED "\r\n", CONDITIONAL_NOT_MODIFIED},
        {"If-Modified-Since: " AFTER "\r\n", CONDITIONAL_NOT_MODIFIED},
        {"If-Modified-Since: " BEFORE "\r\n", CONDITIONAL_PROCEED},
        {"If-Modified-Since: yesterday\r\n", CONDITIONAL_PROCEED},
        {"If-Modified-Since: " AFTER "\r\nIf-Modified-Since: " AFTER "\r\n", CONDITIONAL_PROCEED},
        /* the tag says more than the time */
        {"If-None-Match: \"b\"\r\nIf-Modified-Since: " AFTER "\r\n", CONDITIONAL_PROCEED},
        {"If-None-Match: \"a\"\r\nIf-Modified-Since: " BEFORE "\r\n", CONDITIONAL_NOT_MODIFIED},
        {"If-Match: \"a\"\r\n", CONDITIONAL_PROCEED},
        {"If-Match: *\r\n", CONDITIONAL_PROCEED},
        {"If-Match: W/\"a\"\r\n", CONDITIONAL_FAILED},
        {"If-Match: \"b\"\r\n", CONDITIONAL_FAILED},
        {"If-Match: \"b\"\r\nIf-None-Match: \"a\"\r\n", CONDITIONAL_FAILED},
        {"If-Match: \"a\"\r\nIf-None-Match: \"a\"\r\n", CONDITIONAL_NOT_MODIFIED},
        {"If-Unmodified-Since: " BEFORE "\r\n", CONDITIONAL_FAILED},
        {"If-Unmodified-Since: " MODIFIED "\r\n", CONDITIONAL_PROCEED},
        {"If-Match: \"a\"\r\nIf-Unmodified-Since: " BEFORE "\r\n", CONDITIONAL_PROCEED},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request_head head = head_of(cases[i].fields);
        if (conditional_check(&head, &rep, NOW) != cases[i].want)
            fail_msg("%s", cases[i].fields);
    }
}

/* ---- ranges ---- */

static void test_range(void **state)
{
    static const struct {
        const char *value;
        enum range want;
        uint64_t first, count;
    } cases[] = {
        {"bytes=0-0", RANGE_PART, 0, 1},
        {"bytes=0-99", RANGE_PART, 0, 100},
        {"bytes=0-100", RANGE_PART, 0, 100},
        {"bytes=5-", RANGE_PART, 5, 95},
        {"bytes=99-", RANGE_PART, 99, 1},
        {"bytes=-1", RANGE_PART, 99, 1},
        {"bytes=-1000", RANGE_PART, 0, 100},
        {"BYTES= 5-9", RANGE_PART, 5, 5},
        {"bytes=5-99999999999999999999999999", RANGE_PART, 5, 95},
        {"bytes=100-", RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=100-200", RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=99999999999999999999999999-", RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-0", RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=9-5", RANGE_WHOLE, 0, 0},
        {"bytes=0-1,5-6", RANGE_WHOLE, 0, 0},
        {"bytes=0-1,", RANGE_WHOLE, 0, 0},
        {"bytes=", RANGE_WHOLE, 0, 0},
        {"bytes=-", RANGE_WHOLE, 0, 0},
        {"bytes=5", RANGE_WHOLE, 0, 0},
        {"bytes=a-b", RANGE_WHOLE, 0, 0},
        {"bytes=+1-2", RANGE_WHOLE, 0, 0},
        {"bytes=1 -2", RANGE_WHOLE, 0, 0},
        {"bytes=1-2x", RANGE_WHOLE, 0, 0},
        {"bytes 1-2", RANGE_WHOLE, 0, 0},
        {"items=1-2", RANGE_WHOLE, 0, 0},
        {"", RANGE_WHOLE, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t first = 0, count = 0;
        enum range got = range_parse(cases[i].value, strlen(cases[i].value), 100, &first, &count);
        if (got != cases[i].want || first != cases[i].first || count != cases[i].count)
            fail_msg("\"%s\"", cases[i].value);
    }
    uint64_t first, count;
    assert_int_equal(range_parse("bytes=0-", 8, 0, &first, &count), RANGE_UNSATISFIABLE);
    assert_int_equal(range_parse("bytes=-1", 8, 0, &first, &count), RANGE_WHOLE);
}

static void test_if_range(void **state)
{
    static const struct {
        const char *fields;
        enum range want;
    } cases[] = {
        {"Host: x\r\n", RANGE_WHOLE},
        {"Range: bytes=0-1\r\n", RANGE_PART},
        {"Range: bytes=0-1\r\nRange: bytes=0-1\r\n", RANGE_WHOLE},
        {"If-Range: \"a\"\r\nRange: bytes=0-1\r\n", RANGE_PART},
        {"If-Range: \"b\"\r\nRange: bytes=0-1\r\n", RANGE_WHOLE},
        {"If-Range: W/\"a\"\r\nRange: bytes=0-1\r\n", RANGE_WHOLE},
        {"If-Range: \"b\"\r\nRange: bytes=1000-\r\n", RANGE_WHOLE},
        {"If-Range: " MODIFIED "\r\nRange: bytes=0-1\r\n", RANGE_PART},
        {"If-Range: " AFTER "\r\nRange: bytes=0-1\r\n", RANGE_WHOLE},
        {"If-Range: " BEFORE "\r\nRange: bytes=0-1\r\n", RANGE_WHOLE},
        {"If-Range:\r\nRange: bytes=0-1\r\n", RANGE_WHOLE},
    };
    uint64_t first, count;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request_head head = head_of(cases[i].fields);
        if (conditional_range(&head, &rep, NOW, &first, &count) != cases[i].want)
            fail_msg("%s", cases[i].fields);
    }
    /* Within its second a time says little. */
    struct request_head head = head_of("If-Range: " MODIFIED "\r\nRange: bytes=0-1\r\n");
    assert_int_equal(conditional_range(&head, &rep, rep.modified, &first, &count), RANGE_WHOLE);
}

/* ---- codings ---- */

static void test_coding(void **state)
{
    /* b: br, z: zstd, g: gzip, i: identity */
    static const struct {
        const char *value, *want;
    } cases[] = {
        {"", "i"},
        {"gzip", "gi"},
        {"br, gzip, zstd", "bzgi"},
        {"gzip;q=1.0, br;q=0.5", "gbi"},
        {"GZIP ; Q=0.3 , bR;q=.5", "gi"}, /* ".5" is none */
        {"x-gzip", "gi"},
        {"deflate, gzip;q=0.001", "gi"},
        {"gzip;q=0", "i"},
        {"gzip;q=0.000", "i"},
        {"identity", "i"},
        {"identity, gzip;q=0.9", "ig"},
        {"identity;q=0.5, gzip;q=0.9", "gi"},
        {"identity;q=0", ""},
        {"identity;q=0, gzip", "g"},
        {"*;q=0", ""},
        {"*;q=0, identity", "i"},
        {"*;q=0, br", "b"},
        {"*", "ibzg"},
        {"*, identity;q=0", "bzg"},
        {"*;q=0.5, gzip", "gibz"},
        {"gzip;q=0, *", "ibz"},
        {"gzip;q=1.001", "i"},
        {"gzip;q=0.1234", "i"},
        {"gzip;q=2", "i"},
        {"gzip;q=", "i"},
        {"gzip;level=9", "i"},
        {"gzip;q=0.5;x=1", "i"},
        {"gzipp", "i"},
        {"gzip br", "i"},
        {",, gzip ,,", "gi"},
        {"gzip;q=0, gzip", "gi"},
        {"\"gzip\"", "i"},
        {"br;q=1.000,gzip;q=1.", "bgi"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct coding_accept a;
        uint8_t order[CODINGS];
        char got[CODINGS + 1] = "";
        coding_accept_init(&a);
        coding_accept_add(&a, cases[i].value, strlen(cases[i].value));
        unsigned n = coding_order(&a, (1u << CODINGS) - 1, order);
        for (unsigned k = 0; k < n; k++)
            got[k] = "bzgi"[order[k]];
        if (strcmp(got, cases[i].want))
            fail_msg("\"%s\": \"%s\", not \"%s\"", cases[i].value, got, cases[i].want);
        /* what there is not is not offered; the rest stays in order */
        n = coding_order(&a, CODING_BIT(CODING_GZIP) | CODING_BIT(CODING_IDENTITY), order);
        unsigned k = 0;
        for (const char *w = cases[i].want; *w; w++)
            if (*w == 'g' || *w == 'i')
                assert_int_equal("bzgi"[order[k++]], *w);
        assert_int_equal(n, k);
    }
    assert_string_equal(coding_name(CODING_ZSTD), "zstd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_date),      cmocka_unit_test(test_date_both_ways),
        cmocka_unit_test(test_etag_list), cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_range),     cmocka_unit_test(test_if_range),
        cmocka_unit_test(test_coding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
