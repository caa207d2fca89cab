/* SPDX-License-Identifier: MIT */
/*
 * load_match.h - the short way to check an answer: is it byte for byte the one that the parser has
 * found right before, but for the Date? Then it is right, too.
 */
#ifndef BIVALVE_LOAD_MATCH_H
#define BIVALVE_LOAD_MATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "reply.h"
#include "util.h"

#define LOAD_MATCH_MAX    16384 /* bytes of an answer; longer ones seldom arrive in one piece */
#define LOAD_MATCH_MISSES 16    /* in a row: the answers vary, it is not tried any more */

/* Of one request. All zero: none is known. */
struct load_match {
    char *bytes;
    uint32_t len;  /* 0: none */
    uint32_t date; /* where the value of its Date is; 0: it has none */
    uint32_t misses;
};

/* The Date has changed: may it be any other of its length? Then it is taken over. */
bool load_match_date(struct load_match *m, const char *data);

/* Bytes of an answer at `data` like the known one, or 0: ask the parser. */
static inline size_t load_match(struct load_match *m, const char *data, size_t len)
{
    size_t rest = m->date + (m->date ? REPLY_DATE_LEN : 0);

    if (unlikely(m->len == 0 || len < m->len))
        return 0;
    if (likely(!memcmp(data, m->bytes, m->len))) {
        m->misses = 0;
        return m->len;
    }
    if (m->date && !memcmp(data, m->bytes, m->date) &&
        !memcmp(data + rest, m->bytes + rest, m->len - rest) && load_match_date(m, data))
        return m->len;
    return 0;
}

/* The parser has found the answer of `len` bytes right; its Date is at `date`, 0: it has none. */
void load_match_learn(struct load_match *m, const char *data, size_t len, uint32_t date);

void load_match_free(struct load_match *m);

#endif
