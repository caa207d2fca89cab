/* SPDX-License-Identifier: MIT */
/*
 * coding.h - content codings, and which of them a client takes: Accept-Encoding (RFC 9110 section
 * 12.5.3).
 */
#ifndef BIVALVE_CODING_H
#define BIVALVE_CODING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What makes the smaller body comes first. */
enum coding { CODING_BR, CODING_ZSTD, CODING_GZIP, CODING_IDENTITY, CODINGS };

#define CODING_BIT(coding) (1u << (coding))

/* What a client said. */
struct coding_accept {
    int16_t q[CODINGS]; /* weight in thousandths; -1: not named */
    int16_t others;     /* of "*" */
};

/* The client has said nothing: identity alone is what it gets. */
void coding_accept_init(struct coding_accept *a);

/*
 * Read a line of Accept-Encoding. An element that is malformed is passed over; of several that name
 * the same coding the last counts.
 */
void coding_accept_add(struct coding_accept *a, const char *value, size_t len);

/*
 * The codings of `available` (a set of CODING_BIT()) that the client takes, into `order`, the best
 * first: by weight; of equal weights what it has named, then identity, then what only its "*"
 * covers. Identity, if nothing excludes it, is last where it is not named. Their number; 0: not even
 * identity is acceptable (406).
 */
unsigned coding_order(const struct coding_accept *a, unsigned available, uint8_t order[CODINGS]);

/* "gzip" ..., as in Content-Encoding. */
const char *coding_name(enum coding coding);

#endif
