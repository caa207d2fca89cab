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

/* Length of that text without writing it. */
size_t integer_text_len(int64_t v);

/* "00" "01" ... "99" */
extern const char integer_pairs[200];

/* For writers: integer_format() at p, the common short values inline; returns the end. */
static inline char *integer_put(char *p, int64_t v)
{
    uint64_t u = (uint64_t)v;

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
    return p + integer_format(p, v);
}

#endif
