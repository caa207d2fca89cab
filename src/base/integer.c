/* SPDX-License-Identifier: MIT */
/*
 * integer.c - decimal integers in pieces, summed exactly, and written.
 *
 * A term is below 10^36, which is less than 2^120, so 2^71 of them would have to come to overflow
 * the 192 bits of a sum; a request target carries a few thousand.
 */
#include "config.h"

#include "integer.h"

#include <assert.h>

#include "util.h"
#include "wide.h"

#define INTEGER_WORD_DIGITS 18 /* digits that always fit an int64_t */
#define INTEGER_E18         UINT64_C(1000000000000000000)

/* A term that has reached this has INTEGER_DIGITS_MAX significant digits: one more is too many. */
#define INTEGER_TERM_FULL wide_product(INTEGER_E18, INTEGER_E18 / 10)
static_assert(INTEGER_DIGITS_MAX == 36, "INTEGER_TERM_FULL is 10^35");

enum integer_phase {
    INTEGER_LEAD, /* white space, or nothing yet */
    INTEGER_SIGN,
    INTEGER_DIGITS,
    INTEGER_TRAIL, /* white space behind the digits */
    INTEGER_BAD,   /* no integer, whatever follows */
};

static inline bool integer_is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* White space around a body's integer; not RFC 9110's OWS, since bodies end in line ends. */
static inline bool integer_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void integer_sum_init(struct integer_sum *s)
{
    memset(s, 0, sizeof(*s));
}

/* Add a term's magnitude, or take it away. */
static inline void integer_sum_apply(struct integer_sum *s, wide magnitude, bool negative)
{
    wide sum = wide_of(s->sum[1], s->sum[0]);
    wide next = negative ? wide_subtract(sum, magnitude) : wide_add(sum, magnitude);

    if (negative)
        s->sum[2] -= wide_less(sum, next);
    else
        s->sum[2] += wide_less(next, sum);
    s->sum[0] = wide_low(next);
    s->sum[1] = wide_high(next);
}

void integer_sum_add_value(struct integer_sum *s, int64_t value)
{
    bool negative = value < 0;

    integer_sum_apply(s, wide_of(0, negative ? 0 - (uint64_t)value : (uint64_t)value), negative);
}

/*
 * Multiply in digits until something else comes; returns where. *full is set instead of passing
 * INTEGER_DIGITS_MAX significant digits.
 */
static const char *integer_read_digits(const char *p, const char *end, wide *term, bool *full)
{
    wide t = *term;

    for (; p < end && integer_is_digit(*p); p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (likely(wide_less(t, wide_of(0, INTEGER_E18))))
            t = wide_of(0, wide_low(t) * 10 + digit);
        else if (likely(wide_less(t, INTEGER_TERM_FULL)))
            t = wide_add(wide_times_ten(t), wide_of(0, digit));
        else
            *full = true;
    }
    *term = t;
    return p;
}

enum integer_status integer_sum_add(struct integer_sum *s, const char *text, size_t len)
{
    const char *p = text, *end = text + len;
    wide term = wide_of(0, 0);
    bool full = false;
    bool negative = len && *p == '-';

    p += negative;
    if (p == end)
        return INTEGER_EMPTY;
    if (integer_read_digits(p, end, &term, &full) != end)
        return INTEGER_SYNTAX;
    if (full)
        return INTEGER_RANGE;
    integer_sum_apply(s, term, negative);
    return INTEGER_OK;
}

static inline const char *integer_skip_space(const char *p, const char *end)
{
    while (p < end && integer_is_space(*p))
        p++;
    return p;
}

#define INTEGER_PLAIN_DIGITS 18 /* which fit 64 bits, and are below INTEGER_E18 */

/* What most bodies are: a few digits and nothing else, in one piece. False: nothing has happened. */
static inline bool integer_body_plain(struct integer_sum *s, const char *data, size_t len)
{
    uint64_t term = 0;

    if (s->phase != INTEGER_LEAD || len - 1 >= INTEGER_PLAIN_DIGITS)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned char)(data[i] - '0');
        if (digit > 9)
            return false;
        term = term * 10 + digit;
    }
    s->term[0] = term;
    s->phase = INTEGER_DIGITS;
    return true;
}

void integer_body_feed(struct integer_sum *s, const char *data, size_t len)
{
    const char *p = data, *end = data + len;

    if (likely(integer_body_plain(s, data, len)))
        return;
    if (s->phase == INTEGER_LEAD) {
        p = integer_skip_space(p, end);
        if (p == end)
            return;
        s->negative = *p == '-';
        p += s->negative;
        s->phase = INTEGER_SIGN;
    }
    if (p == end)
        return;
    if (s->phase == INTEGER_SIGN)
        s->phase = integer_is_digit(*p) ? INTEGER_DIGITS : INTEGER_BAD;
    if (s->phase == INTEGER_DIGITS) {
        wide term = wide_of(s->term[1], s->term[0]);
        p = integer_read_digits(p, end, &term, &s->too_long);
        s->term[0] = wide_low(term);
        s->term[1] = wide_high(term);
        if (p < end)
            s->phase = INTEGER_TRAIL;
    }
    if (s->phase == INTEGER_TRAIL && integer_skip_space(p, end) != end)
        s->phase = INTEGER_BAD;
}

enum integer_status integer_sum_finish(const struct integer_sum *s, int64_t *value)
{
    struct integer_sum total;

    if (s->phase == INTEGER_SIGN)
        return INTEGER_EMPTY;
    if (s->phase == INTEGER_BAD)
        return INTEGER_SYNTAX;
    if (s->too_long)
        return INTEGER_RANGE;
    /* Nearly always: two numbers that are not negative, below 2^62. */
    if (likely(
            !(s->sum[1] | s->sum[2] | s->term[1] | s->negative | (s->sum[0] | s->term[0]) >> 62))) {
        *value = (int64_t)(s->sum[0] + s->term[0]);
        return INTEGER_OK;
    }
    total = *s;
    integer_sum_apply(&total, wide_of(s->term[1], s->term[0]), s->negative);
    uint64_t extension = (int64_t)total.sum[0] < 0 ? UINT64_MAX : 0;
    if (total.sum[1] != extension || total.sum[2] != extension)
        return INTEGER_RANGE;
    *value = (int64_t)total.sum[0];
    return INTEGER_OK;
}

enum integer_status integer_parse(const char *text, size_t len, int64_t *value)
{
    struct integer_sum s;

    integer_sum_init(&s);
    enum integer_status st = integer_sum_add(&s, text, len);
    return st == INTEGER_OK ? integer_sum_finish(&s, value) : st;
}

const char integer_pairs[200] = {"00010203040506070809101112131415161718192021222324252627282930313"
                                 "23334353637383940414243444546474849"
                                 "50515253545556575859606162636465666768697071727374757677787980818"
                                 "28384858687888990919293949596979899"};

const uint64_t integer_powers[20] = {
    UINT64_C(0),
    UINT64_C(10),
    UINT64_C(100),
    UINT64_C(1000),
    UINT64_C(10000),
    UINT64_C(100000),
    UINT64_C(1000000),
    UINT64_C(10000000),
    UINT64_C(100000000),
    UINT64_C(1000000000),
    UINT64_C(10000000000),
    UINT64_C(100000000000),
    UINT64_C(1000000000000),
    UINT64_C(10000000000000),
    UINT64_C(100000000000000),
    UINT64_C(1000000000000000),
    UINT64_C(10000000000000000),
    UINT64_C(100000000000000000),
    UINT64_C(1000000000000000000),
    UINT64_C(10000000000000000000),
};

size_t integer_format(char out[INTEGER_TEXT_MAX], int64_t v)
{
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    char *p = out;

    *p = '-';
    p += v < 0;
    char *end = p + integer_digits(u);
    for (p = end; u >= 100; u /= 100)
        memcpy(p -= 2, integer_pairs + 2 * (u % 100), 2);
    if (u >= 10)
        memcpy(p - 2, integer_pairs + 2 * u, 2);
    else
        p[-1] = (char)('0' + u);
    return (size_t)(end - out);
}

char *integer_put_long(char *p, int64_t v)
{
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    *p = '-';
    p += v < 0;
    if (u < INTEGER_E8)
        return integer_put(p, (int64_t)u);
    p = integer_put(p,
                    (int64_t)(u / INTEGER_E8)); /* not negative any more, and at most 12 digits */
    p = integer_put_four(p, (unsigned)(u % INTEGER_E8 / 10000));
    return integer_put_four(p, (unsigned)(u % 10000));
}
