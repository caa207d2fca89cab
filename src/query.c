/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "query.h"

#include <string.h>

#include "util.h"

/* A value that decodes to more bytes than this is no integer that could be in range; it is refused as such. */
#define QUERY_DECODED_MAX 8192

void query_iter_init(struct query_iter *it, const char *query, size_t len)
{
    it->pos = query;
    it->end = query + len;
}

bool query_iter_next(struct query_iter *it, struct query_pair *pair)
{
    while (it->pos < it->end && *it->pos == '&')
        it->pos++;
    if (it->pos == it->end)
        return false;
    const char *p = it->pos;
    while (p < it->end && *p != '=' && *p != '&')
        p++;
    pair->name = it->pos;
    pair->name_len = (size_t)(p - it->pos);
    pair->value = p;
    if (p < it->end && *p == '=') {
        pair->value = ++p;
        while (p < it->end && *p != '&')
            p++;
    }
    pair->value_len = (size_t)(p - pair->value);
    it->pos = p < it->end ? p + 1 : p;
    return true;
}

void query_split(const char *target, size_t len, size_t *path_len, const char **query, size_t *query_len)
{
    const char *mark = len ? memchr(target, '?', len) : NULL;

    *path_len = mark ? (size_t)(mark - target) : len;
    *query = mark ? mark + 1 : NULL;
    *query_len = mark ? len - *path_len - 1 : 0;
}

static int query_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

ptrdiff_t query_decode(char *out, size_t out_size, const char *in, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        int c = (unsigned char)in[i];
        if (c == '%') {
            if (len - i < 3)
                return -1;
            int high = query_hex(in[i + 1]), low = query_hex(in[i + 2]);
            if (high < 0 || low < 0)
                return -1;
            c = high << 4 | low;
            i += 2;
        }
        if (n == out_size)
            return -1;
        out[n++] = (char)c;
    }
    return (ptrdiff_t)n;
}

bool query_equals(const char *in, size_t len, const char *plain)
{
    size_t plain_len = strlen(plain);
    char decoded[64];

    if (likely(!memchr(in, '%', len)))
        return len == plain_len && !memcmp(in, plain, len);
    ptrdiff_t n = query_decode(decoded, sizeof(decoded), in, len);
    return n >= 0 && (size_t)n == plain_len && !memcmp(decoded, plain, plain_len);
}

/* The value as text that integer.c reads: itself, or decoded into `buf`. */
static const char *query_value(const struct query_pair *pair, char buf[QUERY_DECODED_MAX], ptrdiff_t *len)
{
    if (likely(!pair->value_len || !memchr(pair->value, '%', pair->value_len))) {
        *len = (ptrdiff_t)pair->value_len;
        return pair->value;
    }
    *len = query_decode(buf, QUERY_DECODED_MAX, pair->value, pair->value_len);
    return buf;
}

enum integer_status query_sum(const char *query, size_t len, struct integer_sum *sum, struct query_pair *bad)
{
    char buf[QUERY_DECODED_MAX];
    struct query_iter it;
    ptrdiff_t n;

    query_iter_init(&it, query, len);
    while (query_iter_next(&it, bad)) {
        const char *text = query_value(bad, buf, &n);
        enum integer_status st = n < 0 ? INTEGER_SYNTAX : integer_sum_add(sum, text, (size_t)n);
        if (unlikely(st != INTEGER_OK))
            return st;
    }
    return INTEGER_OK;
}

enum integer_status query_integer(const struct query_pair *pair, int64_t *value)
{
    char buf[QUERY_DECODED_MAX];
    ptrdiff_t n;
    const char *text = query_value(pair, buf, &n);

    return n < 0 ? INTEGER_SYNTAX : integer_parse(text, (size_t)n, value);
}
