/* SPDX-License-Identifier: MIT */
/*
 * integer.h - decimal integers, `-?[0-9]+`, fed in any number of pieces, summed exactly.
 *
 * Only the final sum must fit 64 bits, so terms are kept in 120 bits and sums in 192: a term of up
 * to INTEGER_DIGITS_MAX significant digits is exact, and so is the sum of more such terms (2^71)
 * than any request can carry. A term with more significant digits than that is reported as out of
 * range; leading zeros do not count, however many.
 */
#ifndef BIVALVE_INTEGER_H
#define BIVALVE_INTEGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "util.h"

#define INTEGER_DIGITS_MAX 36 /* significant digits of a term: 10^36 < 2^120 */

enum integer_status {
    INTEGER_OK = 0,
    INTEGER_EMPTY,  /* no digit */
    INTEGER_SYNTAX, /* something that is not a digit */
    INTEGER_RANGE,  /* does not fit */
};

/* A running sum, and the body's term that is being read. Private to integer.c. */
struct integer_sum {
    uint64_t sum[3];         /* a signed number of 192 bits, least significant word first */
    uint64_t term[2];        /* magnitude of the body's term, likewise */
    uint8_t phase;           /* how far the body has been read: integer.c's enum integer_phase */
    bool negative, too_long; /* of the body's term */
};

/* The sum of nothing, no body read. */
void integer_sum_init(struct integer_sum *s);

/*
 * Add the whole term of `len` bytes (percent-decoded already, no white space allowed). On failure
 * the sum is as before.
 */
enum integer_status integer_sum_add(struct integer_sum *s, const char *text, size_t len);

/* Add a value. */
void integer_sum_add_value(struct integer_sum *s, int64_t value);

/*
 * Feed a piece of a body: optional white space (SP HTAB CR LF), `-?[0-9]+` or nothing, white space.
 * Errors are kept and reported by integer_sum_finish(): a body is always read to its end.
 */
void integer_body_feed(struct integer_sum *s, const char *data, size_t len);

/*
 * End of input: adds the body's term if there was one; *value is the exact sum when INTEGER_OK, and
 * untouched otherwise. An empty body adds 0. A body that is no integer is reported as such whatever
 * the sum.
 */
enum integer_status integer_sum_finish(const struct integer_sum *s, int64_t *value);

/* `-?[0-9]+` of `len` bytes as an int64; *value is untouched on failure. */
enum integer_status integer_parse(const char *text, size_t len, int64_t *value);

/* Decimal digits of v into out (no NUL); returns the length, at most INTEGER_TEXT_MAX. */
#define INTEGER_TEXT_MAX 20
size_t integer_format(char out[INTEGER_TEXT_MAX], int64_t v);

/* [n], n < 20: the least number of n + 1 digits; [0] is 0. */
extern const uint64_t integer_powers[20];

/* Digits of u: bits x log10(2), rounded down, is that or one less. */
static inline unsigned integer_digits(uint64_t u)
{
    unsigned bits = ((unsigned)__builtin_clzll(u | 1) ^ 63) + 1;
    unsigned guess = bits * 1233 >> 12;

    return guess + (u >= integer_powers[guess]);
}

/* Length of that text without writing it. */
static inline size_t integer_text_len(int64_t v)
{
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    return integer_digits(u) + (v < 0);
}

/* "00" "01" ... "99" */
extern const char integer_pairs[200];

#define INTEGER_E8 100000000

/* integer_put() of more than eight digits, or of a negative number. */
char *integer_put_long(char *p, int64_t v);

/* The four digits of u < 10000, also those that are 0 and lead. */
static inline char *integer_put_four(char *p, unsigned u)
{
    memcpy(p, integer_pairs + 2 * (u / 100), 2);
    memcpy(p + 2, integer_pairs + 2 * (u % 100), 2);
    return p + 4;
}

/* integer_put() of u < 10000. */
static inline __attribute__((always_inline)) char *integer_put_small(char *p, unsigned u)
{
    if (u < 10) {
        *p = (char)('0' + u);
        return p + 1;
    }
    if (u < 100) {
        memcpy(p, integer_pairs + 2 * u, 2);
        return p + 2;
    }
    if (u < 1000) {
        *p = (char)('0' + u / 100);
        memcpy(p + 1, integer_pairs + 2 * (u % 100), 2);
        return p + 3;
    }
    return integer_put_four(p, u);
}

/*
 * For writers: integer_format() at p, which has room for INTEGER_TEXT_MAX bytes; returns its end. Up
 * to eight digits inline.
 */
static inline __attribute__((always_inline)) char *integer_put(char *p, int64_t v)
{
    uint64_t u = (uint64_t)v;

    if (u < 10000)
        return integer_put_small(p, (unsigned)u);
    if (unlikely(u >= INTEGER_E8))
        return integer_put_long(p, v);
    p = integer_put_small(p, (unsigned)u / 10000);
    return integer_put_four(p, (unsigned)u % 10000);
}

#endif
