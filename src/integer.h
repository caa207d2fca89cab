/* SPDX-License-Identifier: MIT */
/*
 * integer.h - decimal integers, `-?[0-9]+`, fed in any number of pieces, summed exactly.
 *
 * Only the final sum must fit 64 bits, so terms and partial sums are kept in 128: a term of up to
 * INTEGER_DIGITS_MAX significant digits is exact, and so is a sum of as many terms as a request can carry.
 * A term with more digits than that is reported as out of range.
 */
#ifndef BIVALVE_INTEGER_H
#define BIVALVE_INTEGER_H

#include <stddef.h>
#include <stdint.h>

#define INTEGER_DIGITS_MAX 36 /* 10^36 x 10^2 terms' worth of head room below 2^127 at 8 KiB of query */

enum integer_status {
    INTEGER_OK = 0,
    INTEGER_EMPTY,  /* no digit */
    INTEGER_SYNTAX, /* something that is not a digit */
    INTEGER_RANGE,  /* does not fit */
};

/* Where a body's integer stands between two pieces; fits what the slot has room for. */
enum integer_phase { INTEGER_LEAD = 0, INTEGER_SIGN, INTEGER_DIGITS, INTEGER_TRAIL, INTEGER_BAD };

/* A running sum plus the term that is being read. 32 bytes, any alignment the compiler likes: two words each. */
struct integer_sum {
    uint64_t sum[2];  /* signed 128-bit, low word first */
    uint64_t term[2]; /* unsigned magnitude of the term being read: bits 0..119; then its phase, sign and digit count */
};

void integer_sum_init(struct integer_sum *s);

/*
 * Add the whole term of `len` bytes (percent-decoded already, no white space allowed).
 */
enum integer_status integer_sum_add(struct integer_sum *s, const char *text, size_t len);

/*
 * Feed a piece of a body: optional white space (SP HTAB CR LF), `-?[0-9]+` or nothing, white space. Errors are kept and
 * reported by integer_sum_finish(): a body is always read to its end.
 */
void integer_body_feed(struct integer_sum *s, const char *data, size_t len);

/* End of input: adds the body's term if there was one; *value is the exact sum when INTEGER_OK. An empty body adds 0. */
enum integer_status integer_sum_finish(struct integer_sum *s, int64_t *value);

/* `-?[0-9]+` of `len` bytes as an int64. */
enum integer_status integer_parse(const char *text, size_t len, int64_t *value);

/* Decimal digits of v into out (no NUL); returns the length, at most INTEGER_TEXT_MAX. */
#define INTEGER_TEXT_MAX 20
size_t integer_format(char out[INTEGER_TEXT_MAX], int64_t v);

/* Length of that text without writing it. */
size_t integer_text_len(int64_t v);

#endif
