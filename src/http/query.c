/* SPDX-License-Identifier: MIT */
/*
 * query.c - the query component: pairs, percent-decoding (RFC 3986 section 2.1), integers in
 * values.
 */
#include "config.h"

#include "query.h"

#include <string.h>

#include "util.h"

#define QUERY_FAST_DIGITS 18 /* digits that cannot overflow an int64_t */

void query_iter_init(struct query_iter *it, const char *query, size_t len)
{
    it->pos = query;
    it->end = query ? query + len : NULL;
}

bool query_iter_next(struct query_iter *it, struct query_pair *pair)
{
    const char *p = it->pos, *end = it->end, *equals = NULL;

    while (p < end && *p == '&')
        p++;
    if (p == end) {
        it->pos = end;
        return false;
    }
    pair->name = p;
    for (; p < end && *p != '&'; p++) {
        if (*p == '=' && !equals)
            equals = p;
    }
    pair->name_len = (size_t)((equals ? equals : p) - pair->name);
    pair->value = equals ? equals + 1 : p;
    pair->value_len = (size_t)(p - pair->value);
    it->pos = p;
    return true;
}

void query_split(const char *target, size_t len, size_t *path_len, const char **query,
                 size_t *query_len)
{
    const char *mark = len ? memchr(target, '?', len) : NULL;

    if (!mark) {
        *path_len = len;
        *query = NULL;
        *query_len = 0;
        return;
    }
    *path_len = (size_t)(mark - target);
    *query = mark + 1;
    *query_len = len - *path_len - 1;
}

static inline int query_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20; /* RFC 3986 section 2.1: upper and lower case are equivalent */
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The decoded byte at *p, which moves behind it; -1: a malformed escape. */
static inline int query_byte(const char **p, const char *end)
{
    const char *at = *p;

    if (likely(*at != '%')) {
        *p = at + 1;
        return (unsigned char)*at;
    }
    if (end - at < 3)
        return -1;
    int high = query_hex(at[1]), low = query_hex(at[2]);
    if (high < 0 || low < 0)
        return -1;
    *p = at + 3;
    return high << 4 | low;
}

ptrdiff_t query_decode(char *out, size_t out_size, const char *in, size_t len)
{
    const char *p = in, *end = in + len;
    size_t n = 0;

    while (p < end) {
        int c = query_byte(&p, end);
        if (c < 0 || n == out_size)
            return -1;
        out[n++] = (char)c;
    }
    return (ptrdiff_t)n;
}

bool query_equals(const char *in, size_t len, const char *plain)
{
    const char *p = in, *end = in + len;

    for (; p < end; plain++) {
        int c = query_byte(&p, end);
        if (c <= 0 || (unsigned char)*plain != c) /* a NUL would match the end of `plain` */
            return false;
    }
    return !*plain;
}

/*
 * Decode what should be an integer into `out`, leaving out the zeros that lead: they are free, in
 * any number. *len is its length. INTEGER_RANGE: more digits than any integer here may have.
 */
static enum integer_status query_value(const struct query_pair *pair,
                                       char out[INTEGER_DIGITS_MAX + 1], size_t *len)
{
    const char *p = pair->value, *end = p + pair->value_len;
    size_t n = 0, first = 0; /* first: where digits begin */
    bool digit = false, full = false;

    while (p < end) {
        int c = query_byte(&p, end);
        if (c == '-' && !n && !digit) {
            out[n++] = '-';
            first = 1;
            continue;
        }
        if (c < '0' || c > '9')
            return INTEGER_SYNTAX;
        digit = true;
        if (c == '0' && n == first)
            continue;
        if (n - first < INTEGER_DIGITS_MAX)
            out[n++] = (char)c;
        else
            full = true;
    }
    if (!digit)
        return INTEGER_EMPTY;
    if (full)
        return INTEGER_RANGE;
    if (n == first)
        out[n++] = '0';
    *len = n;
    return INTEGER_OK;
}

/* A pair of any form, beginning at `p`, which is not '&'; *next is its end. */
static enum integer_status query_sum_pair(const char *p, const char *end, struct integer_sum *sum,
                                          struct query_pair *bad, const char **next)
{
    char text[INTEGER_DIGITS_MAX + 1];
    struct query_iter it;
    size_t len;

    query_iter_init(&it, p, (size_t)(end - p));
    query_iter_next(&it, bad);
    *next = it.pos;
    enum integer_status st = query_value(bad, text, &len);
    return st == INTEGER_OK ? integer_sum_add(sum, text, len) : st;
}

/*
 * One pass over the bytes. What nearly every pair is, up to QUERY_FAST_DIGITS plain digits, is read
 * here into an int64_t; anything else sends that pair, from its beginning, to query_sum_pair().
 */
enum integer_status query_sum(const char *query, size_t len, struct integer_sum *sum,
                              struct query_pair *bad)
{
    const char *p = query, *end = query + len;
    int64_t partial = 0;

    while (p < end) {
        if (*p == '&') {
            p++;
            continue;
        }
        const char *pair = p;
        while (p < end && *p != '=' && *p != '&')
            p++;
        p += p < end && *p == '=';
        bool negative = p < end && *p == '-';
        p += negative;

        const char *digits = p, *stop = end - p > QUERY_FAST_DIGITS ? p + QUERY_FAST_DIGITS : end;
        int64_t value = 0;
        for (; p < stop; p++) {
            unsigned digit = (unsigned char)(*p - '0');
            if (digit > 9)
                break;
            value = value * 10 + digit;
        }
        if (likely(p > digits && (p == end || *p == '&'))) {
            value = negative ? -value : value;
            if (unlikely(__builtin_add_overflow(partial, value, &partial))) {
                /* what wrapped is 2^64 off: take back and begin anew */
                partial = (int64_t)((uint64_t)partial - (uint64_t)value);
                integer_sum_add_value(sum, partial);
                partial = value;
            }
            p += p < end; /* the '&' */
            continue;
        }
        enum integer_status st = query_sum_pair(pair, end, sum, bad, &p);
        if (st != INTEGER_OK)
            return st;
    }
    integer_sum_add_value(sum, partial);
    return INTEGER_OK;
}

enum integer_status query_integer(const struct query_pair *pair, int64_t *value)
{
    char text[INTEGER_DIGITS_MAX + 1];
    size_t len;
    enum integer_status st = query_value(pair, text, &len);

    return st == INTEGER_OK ? integer_parse(text, len, value) : st;
}
