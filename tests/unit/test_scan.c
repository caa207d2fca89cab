/* SPDX-License-Identifier: MIT */
/*
 * test_scan.c - each implementation of http_scan.h that is compiled gives what the table of classes
 * gives byte by byte: any byte at any place of runs of any length, at all alignments, and nothing is
 * read before or behind the input: its pages' neighbours are not there.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "scan_check.h"

#define SHORT_MAX 40  /* every byte at every place */
#define LONG_MAX  300 /* some bytes at every place: two of the longest strides, and more */
#define ALIGN     32

static char *pages, *pages_end; /* what may be read */

static int setup(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *all = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    if (all == MAP_FAILED || mprotect(all + page, page, PROT_READ | PROT_WRITE) < 0)
        return -1;
    pages = all + page;
    pages_end = pages + page;
    return 0;
}

static void check(const char *buf, const char *s, const char *end)
{
    const char *who, *what = scan_check(buf, s, end, &who);

    if (what)
        fail_msg("%s of %s: %zu bytes, %zu of them before, the address ends in %zu", what, who,
                 (size_t)(end - buf), (size_t)(s - buf), (size_t)s % ALIGN);
}

/* `len` bytes at `s` are of all classes, but the one at `at`. */
static void fill(char *s, size_t len, size_t at, int c)
{
    memset(s, 'a', len);
    s[at] = (char)c;
}

static void test_every_byte(void **state)
{
    (void)state;
    for (size_t len = 1; len <= SHORT_MAX; len++) {
        char *last = pages_end - len;
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                fill(last, len, at, c);
                check(last, last, pages_end);
                last[len / 2] = '?';
                check(last, last, pages_end);
                fill(pages, len, at, c);
                check(pages, pages, pages + len);
            }
        }
    }
}

/* A byte behind the end that would end the run does not, and one that would go on is not seen. */
static void test_every_length_and_alignment(void **state)
{
    static const char bytes[] = {'a', '\0', '\t', '\r', ' ', '%', '?', '~', '\x7f', (char)0x80};

    (void)state;
    for (size_t len = 1; len <= LONG_MAX; len++) {
        char *s = pages + ALIGN + len % ALIGN;
        for (size_t at = 0; at < len; at++) {
            char c = bytes[(len + at) % sizeof(bytes)];
            memset(pages, c, ALIGN + LONG_MAX + 2 * ALIGN);
            fill(s, len, at, c);
            check(s, s, s + len);
            check(pages, s, s + len);
        }
    }
    for (size_t align = 0; align < ALIGN; align++) {
        char *s = pages + align;
        for (size_t len = 0; len <= LONG_MAX; len++) {
            memset(s, 'a', LONG_MAX + 1);
            s[len] = '\r';
            check(s, s, s + len);
            check(pages, s, s + len + 1);
            check(s, s, s + LONG_MAX);
        }
    }
}

/* From any place within the input: its end is read again. */
static void test_from_the_middle(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 2 * SHORT_MAX; len++) {
        char *buf = pages_end - len;
        for (size_t at = 0; at < len; at++) {
            fill(buf, len, at, '\n');
            for (size_t from = 0; from <= len; from++)
                check(buf, buf + from, pages_end);
        }
    }
}

static void test_same(void **state)
{
    char *a = pages;

    (void)state;
    for (size_t len = HTTP_SCAN_SAME_MIN; len <= 100; len++) {
        char *b = pages_end - len;
        for (size_t at = 0; at < len; at++) {
            fill(a, len, at, 'b');
            memcpy(b, a, len);
            assert_true(scan_check_same(a, b, len));
            for (unsigned bit = 0; bit < 8; bit++) {
                b[at] = (char)(a[at] ^ 1u << bit);
                assert_true(scan_check_same(a, b, len));
            }
        }
    }
}

/* What is said to scan is one of them. */
static void test_name(void **state)
{
    (void)state;
    assert_non_null(http_scan_name());
#ifdef BIVALVE_HTTP_SCAN_SSE2_H
    assert_true(!strncmp(http_scan_name(), "SSE2", 4));
#elif defined(BIVALVE_HTTP_SCAN_NEON_H)
    assert_string_equal(http_scan_name(), "NEON");
#else
    assert_string_equal(http_scan_name(), "64-bit words");
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_every_length_and_alignment),
        cmocka_unit_test(test_from_the_middle),
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_name),
    };
    return cmocka_run_group_tests_name("scan", tests, setup, NULL);
}
