/* SPDX-License-Identifier: MIT */
/*
 * fuzz_query.c - query_sum(), which reads most pairs in a fast way of its own, gives what going
 * pair by pair gives, with every value decoded whole and added; what query_decode() takes,
 * query_equals() finds equal.
 */
#include "config.h"

#include "fuzz/fuzz.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

static enum integer_status add_pair(struct integer_sum *s, const struct query_pair *pair)
{
    char *text = malloc(pair->value_len + 1);
    ptrdiff_t len = query_decode(text, pair->value_len, pair->value, pair->value_len);
    enum integer_status st = INTEGER_SYNTAX;

    if (len >= 0) {
        int64_t direct = 0, parsed = 0;
        text[len] = '\0';
        st = integer_sum_add(s, text, (size_t)len);
        /* a NUL ends `plain` early */
        require(query_equals(pair->value, pair->value_len, text) == (strlen(text) == (size_t)len));
        enum integer_status one = query_integer(pair, &direct);
        require(one == integer_parse(text, (size_t)len, &parsed) && direct == parsed);
        /* decoding needs as many bytes as it yields and no more */
        require(len == 0 ||
                query_decode(text, (size_t)len - 1, pair->value, pair->value_len) == -1);
    } else {
        require(!query_equals(pair->value, pair->value_len, ""));
        int64_t unused;
        require(query_integer(pair, &unused) == INTEGER_SYNTAX);
    }
    free(text);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *target = (const char *)data, *query;
    struct integer_sum fast, slow;
    struct query_pair pair, bad = {0};
    struct query_iter it;
    size_t path_len, query_len, pairs = 0;
    int64_t a = 0, b = 0;

    query_split(target, size, &path_len, &query, &query_len);
    require(path_len + (query ? 1 : 0) + query_len == size);
    require(!path_len || !memchr(target, '?', path_len));
    if (!query)
        query = target, query_len = size;

    integer_sum_init(&fast);
    integer_sum_init(&slow);
    enum integer_status st = query_sum(query, query_len, &fast, &bad), expected = INTEGER_OK;
    query_iter_init(&it, query, query_len);
    while (expected == INTEGER_OK && query_iter_next(&it, &pair)) {
        require(++pairs <= query_len);
        require(pair.name >= query && pair.value + pair.value_len <= query + query_len);
        require(!memchr(pair.name, '&', pair.name_len) && !memchr(pair.name, '=', pair.name_len));
        require(!pair.value_len || !memchr(pair.value, '&', pair.value_len));
        expected = add_pair(&slow, &pair);
    }
    require(st == expected);
    if (st != INTEGER_OK) {
        require(bad.name == pair.name && bad.name_len == pair.name_len);
        require(bad.value == pair.value && bad.value_len == pair.value_len);
        return 0;
    }
    st = integer_sum_finish(&fast, &a);
    require(st == integer_sum_finish(&slow, &b) && a == b);
    return 0;
}
