/* SPDX-License-Identifier: MIT */
/*
 * query.h - the query component of a request target: name=value pairs, percent-decoded.
 *
 * Pairs are separated by '&'; an empty pair ("a=1&&b=2", a lone "?") is none at all; a pair without
 * '=' has an empty value.
 * '+' stands for itself: values here are integers, in which neither a space nor '+' has a place.
 */
#ifndef BIVALVE_QUERY_H
#define BIVALVE_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "integer.h"

/* A cursor over the pairs of `query` (without its '?'), which must outlive it. */
struct query_iter {
    const char *pos, *end;
};

struct query_pair {
    const char *name, *value; /* as sent, not decoded */
    size_t name_len, value_len;
};

void query_iter_init(struct query_iter *it, const char *query, size_t len);
bool query_iter_next(struct query_iter *it, struct query_pair *pair);

/* Split `target` at its first '?': *path_len, and the query behind it (NULL, 0 when there is none).
 */
void query_split(const char *target, size_t len, size_t *path_len, const char **query,
                 size_t *query_len);

/*
 * Percent-decode `len` bytes into out (`out_size` bytes). Returns the decoded length, or -1 when it
 * does not fit or an escape is malformed.
 */
ptrdiff_t query_decode(char *out, size_t out_size, const char *in, size_t len);

/* Does the encoded text equal `plain` once decoded? */
bool query_equals(const char *in, size_t len, const char *plain);

/*
 * Add every value to `sum`. On failure the status of the first bad pair, with the pair in *bad for
 * the message.
 */
enum integer_status query_sum(const char *query, size_t len, struct integer_sum *sum,
                              struct query_pair *bad);

/* A value as an int64, decoded. */
enum integer_status query_integer(const struct query_pair *pair, int64_t *value);

#endif
