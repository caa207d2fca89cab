/* SPDX-License-Identifier: MIT */
/*
 * integer.c - see integer.h.
 *
 * A term is below 10^36 < 2^120, which leaves the top byte of term[1] for the state of the one being read. The sum has 127
 * bits: room for 170 of the longest terms. More of them than that do not wrap: the sum is marked as lost.
 */
#include "config.h"

#include "integer.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "util.h"

__extension__ typedef __int128 wide;
__extension__ typedef unsigned __int128 uwide;

static_assert(sizeof(struct integer_sum) == 32, "fits the slot");

/* The top byte of term[1]. */
enum {
    TERM_PHASE = 7,      /* enum integer_phase */
    TERM_NEGATIVE = 8,
    TERM_HUGE = 16,      /* more than INTEGER_DIGITS_MAX significant digits */
    TERM_LOST = 32,      /* the sum has left 127 bits, or a huge term went into it */
};
#define TERM_SHIFT 56
#define TERM_HIGH_MASK ((UINT64_C(1) << TERM_SHIFT) - 1)

/* 10^35: a term of at least this much takes no further digit */
#define TERM_LIMIT ((uwide)UINT64_C(10000000000000000000) * UINT64_C(10000000000000000))

/* A term while it is worked on. */
struct term {
    uwide magnitude;
    unsigned flags;
};

static struct term term_load(const struct integer_sum *s)
{
    return (struct term){.magnitude = (uwide)(s->term[1] & TERM_HIGH_MASK) << 64 | s->term[0],
                         .flags = (unsigned)(s->term[1] >> TERM_SHIFT)};
}

static void term_store(struct integer_sum *s, struct term t)
{
    s->term[0] = (uint64_t)t.magnitude;
    s->term[1] = (uint64_t)(t.magnitude >> 64) | (uint64_t)t.flags << TERM_SHIFT;
}

static inline void term_digit(struct term *t, unsigned digit)
{
    if (unlikely(t->magnitude >= TERM_LIMIT))
        t->flags |= TERM_HUGE;
    else
        t->magnitude = t->magnitude * 10 + digit;
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static wide sum_load(const struct integer_sum *s)
{
    return (wide)((uwide)s->sum[1] << 64 | s->sum[0]);
}

/* Add or subtract the magnitude; false: the sum does not fit. */
static bool sum_take(struct integer_sum *s, uwide magnitude, bool negative)
{
    wide sum = sum_load(s), term = (wide)magnitude;

    if (__builtin_add_overflow(sum, negative ? -term : term, &sum))
        return false;
    s->sum[0] = (uint64_t)(uwide)sum;
    s->sum[1] = (uint64_t)((uwide)sum >> 64);
    return true;
}

void integer_sum_init(struct integer_sum *s)
{
    memset(s, 0, sizeof(*s));
}

/* Read all of `text` as `-?[0-9]+`. */
static enum integer_status integer_read(const char *text, size_t len, struct term *t)
{
    size_t i = 0;

    *t = (struct term){0};
    if (!len)
        return INTEGER_EMPTY;
    if (text[0] == '-') {
        t->flags |= TERM_NEGATIVE;
        if (++i == len)
            return INTEGER_SYNTAX;
    }
    if (likely(len - i <= 18)) { /* fits 64 bits: the usual way */
        uint64_t v = 0;
        for (; i < len; i++) {
            if (!is_digit(text[i]))
                return INTEGER_SYNTAX;
            v = v * 10 + (unsigned)(text[i] - '0');
        }
        t->magnitude = v;
        return INTEGER_OK;
    }
    for (; i < len; i++) {
        if (!is_digit(text[i]))
            return INTEGER_SYNTAX;
        term_digit(t, (unsigned)(text[i] - '0'));
    }
    return t->flags & TERM_HUGE ? INTEGER_RANGE : INTEGER_OK;
}

enum integer_status integer_sum_add(struct integer_sum *s, const char *text, size_t len)
{
    struct term t;
    enum integer_status st = integer_read(text, len, &t);

    if (likely(st == INTEGER_OK) && !sum_take(s, t.magnitude, t.flags & TERM_NEGATIVE))
        s->term[1] |= (uint64_t)TERM_LOST << TERM_SHIFT;
    return st;
}

void integer_body_feed(struct integer_sum *s, const char *data, size_t len)
{
    struct term t = term_load(s);
    unsigned phase = t.flags & TERM_PHASE;

    for (size_t i = 0; i < len && phase != INTEGER_BAD; i++) {
        char c = data[i];
        if (is_digit(c) && phase <= INTEGER_DIGITS) {
            phase = INTEGER_DIGITS;
            term_digit(&t, (unsigned)(c - '0'));
        } else if (is_space(c) && phase != INTEGER_SIGN) {
            if (phase == INTEGER_DIGITS)
                phase = INTEGER_TRAIL;
        } else if (c == '-' && phase == INTEGER_LEAD) {
            phase = INTEGER_SIGN;
            t.flags |= TERM_NEGATIVE;
        } else {
            phase = INTEGER_BAD;
        }
    }
    t.flags = (t.flags & ~(unsigned)TERM_PHASE) | phase;
    term_store(s, t);
}

enum integer_status integer_sum_finish(struct integer_sum *s, int64_t *value)
{
    struct term t = term_load(s);
    unsigned phase = t.flags & TERM_PHASE;

    if (phase == INTEGER_BAD || phase == INTEGER_SIGN)
        return INTEGER_SYNTAX;
    if (t.flags & (TERM_HUGE | TERM_LOST) || !sum_take(s, t.magnitude, t.flags & TERM_NEGATIVE))
        return INTEGER_RANGE;
    wide sum = sum_load(s);
    if (sum < INT64_MIN || sum > INT64_MAX)
        return INTEGER_RANGE;
    *value = (int64_t)sum;
    return INTEGER_OK;
}

enum integer_status integer_parse(const char *text, size_t len, int64_t *value)
{
    struct term t;
    enum integer_status st = integer_read(text, len, &t);

    if (st != INTEGER_OK)
        return st;
    if (t.magnitude > (uwide)INT64_MAX + !!(t.flags & TERM_NEGATIVE))
        return INTEGER_RANGE;
    *value = (int64_t)(t.flags & TERM_NEGATIVE ? -(wide)t.magnitude : (wide)t.magnitude);
    return INTEGER_OK;
}

size_t integer_text_len(int64_t v)
{
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    size_t n = 1 + (v < 0);

    for (;;) { /* four digits a step: totals have few */
        if (u < 10)
            return n;
        if (u < 100)
            return n + 1;
        if (u < 1000)
            return n + 2;
        if (u < 10000)
            return n + 3;
        u /= 10000;
        n += 4;
    }
}

size_t integer_format(char out[INTEGER_TEXT_MAX], int64_t v)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    size_t len = integer_text_len(v), at = len;

    while (u >= 100) {
        at -= 2;
        memcpy(out + at, pairs + u % 100 * 2, 2);
        u /= 100;
    }
    if (u >= 10)
        memcpy(out + at - 2, pairs + u * 2, 2);
    else
        out[at - 1] = (char)('0' + u);
    if (v < 0)
        out[0] = '-';
    return len;
}
