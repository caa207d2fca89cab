/* SPDX-License-Identifier: MIT */
/*
 * fuzz_integer.c - a body cut anywhere gives what it gives in one piece, and both what a plain
 * reading of it with
 * __int128 gives; single values are what strtoll() says.
 *
 * The input: one byte, how many terms of the query come first; each term's 8 bytes; one byte that
 * seeds the cuts; the rest is the body.
 */
#include "config.h"

#include "fuzz/fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "integer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The grammar read in the most obvious way. The value is meaningful for INTEGER_OK. */
static enum integer_status read_plainly(const char *p, size_t len, bool spaces, __int128 *value)
{
    size_t significant = 0, digits = 0;
    bool negative = false;

    *value = 0;
    while (spaces && len && is_space(*p))
        p++, len--;
    while (spaces && len && is_space(p[len - 1]))
        len--;
    if (!len)
        return spaces ? INTEGER_OK : INTEGER_EMPTY;
    if (*p == '-')
        negative = true, p++, len--;
    for (; len; p++, len--) {
        if (*p < '0' || *p > '9')
            return INTEGER_SYNTAX;
        digits++;
        if (significant || *p != '0')
            significant++;
        if (significant <= INTEGER_DIGITS_MAX)
            *value = *value * 10 + (*p - '0');
    }
    if (negative)
        *value = -*value;
    return !digits ? INTEGER_EMPTY : significant > INTEGER_DIGITS_MAX ? INTEGER_RANGE : INTEGER_OK;
}

/* Both are errors of form: which of them depends on how far reading went. */
static bool same_status(enum integer_status a, enum integer_status b)
{
    return a == b || ((a == INTEGER_EMPTY || a == INTEGER_SYNTAX) &&
                      (b == INTEGER_EMPTY || b == INTEGER_SYNTAX));
}

static void check_term(const char *text, size_t len)
{
    struct integer_sum s;
    int64_t value = 0;
    __int128 plain;
    enum integer_status expected = read_plainly(text, len, false, &plain);

    integer_sum_init(&s);
    require(integer_sum_add(&s, text, len) == expected);
    enum integer_status st = integer_parse(text, len, &value);
    if (expected != INTEGER_OK) {
        require(st == expected);
        return;
    }
    char *copy = malloc(len + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    errno = 0;
    long long oracle = strtoll(copy, NULL, 10);
    require(st == (errno == ERANGE ? INTEGER_RANGE : INTEGER_OK));
    require(st != INTEGER_OK || value == oracle);
    free(copy);
}

static void check_text(int64_t v)
{
    char text[INTEGER_TEXT_MAX], put[INTEGER_TEXT_MAX];
    size_t len = integer_format(text, v);
    int64_t back;

    require(len == integer_text_len(v));
    require(integer_parse(text, len, &back) == INTEGER_OK && back == v);
    require(integer_put(put, v) == put + len && !memcmp(put, text, len));
}

/* Every piece in memory of its own. */
static void feed(struct integer_sum *s, const char *body, size_t len, unsigned seed)
{
    while (len) {
        seed = seed * 1103515245 + 12345;
        size_t n = 1 + (seed >> 16) % 5;
        n = n < len ? n : len;
        char *piece = malloc(n);
        memcpy(piece, body, n);
        integer_body_feed(s, piece, n);
        free(piece);
        body += n;
        len -= n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct integer_sum whole, cut;
    __int128 sum = 0, term;
    int64_t a = 0, b = 0;

    if (size < 2)
        return 0;
    unsigned terms = data[0] % 8;
    data++, size--;
    integer_sum_init(&whole);
    for (; terms && size > 8; terms--, data += 8, size -= 8) {
        memcpy(&a, data, sizeof(a));
        check_text(a);
        integer_sum_add_value(&whole, a);
        sum += a;
    }
    cut = whole;
    unsigned seed = data[0];
    const char *body = (const char *)data + 1;
    size_t len = size - 1;

    check_term(body, len);
    enum integer_status expected = read_plainly(body, len, true, &term);
    integer_body_feed(&whole, body, len);
    feed(&cut, body, len, seed);
    enum integer_status st = integer_sum_finish(&whole, &a);
    require(integer_sum_finish(&cut, &b) == st);
    if (expected == INTEGER_OK) {
        sum += term;
        expected = sum < INT64_MIN || sum > INT64_MAX ? INTEGER_RANGE : INTEGER_OK;
    }
    require(same_status(st, expected));
    require(st != INTEGER_OK || (a == sum && b == sum));
    return 0;
}
