/* SPDX-License-Identifier: MIT */
/*
 * batch.h - the variant batch=TIME: fewer wake-ups for a longer wait.
 *
 * Below saturation nearly every request wakes a worker, and waking can cost more than answering. With
 * this variant a wait that follows an iteration with few receives begins with a window: what arrives
 * within it is met together when it ends. The first request after a pause is not delayed, others
 * are by at most the window. A worker with BATCH_RECEIVES at a time has no window, and where
 * windows gather nothing they become rare: each is a wake-up of its own.
 */
#ifndef BIVALVE_BATCH_H
#define BIVALVE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "util.h"

#define BATCH_RECEIVES 16    /* so many in an iteration are a batch */
#define BATCH_SKIP_MAX 31    /* windows left out, at most, after one that gathered nothing */
#define BATCH_MAX_US   10000 /* the longest window */
#define BATCH_WANT     "1us to 10ms"

/* The microseconds of "50us" or "2ms", all of `text`; 0: not like that, or out of range. */
static inline uint32_t batch_parse(const char *text, size_t len)
{
    uint32_t n = 0;
    size_t i = 0;

    for (; i < len && i < 5 && text[i] >= '0' && text[i] <= '9'; i++)
        n = n * 10 + (uint32_t)(text[i] - '0');
    if (i == 0 || len - i != 2 || text[i + 1] != 's')
        return 0;
    if (text[i] == 'm')
        n *= 1000;
    else if (text[i] != 'u')
        return 0;
    return n <= BATCH_MAX_US ? n : 0;
}

/* All zero: no windows. */
struct batch {
    uint32_t us;         /* the window */
    uint16_t skip, left; /* windows to leave out, and those of them that are still to be */
    bool open;           /* the last wait began with one */
    uint64_t receives;   /* in all, when it began */
};

/* A wait of `timeout_us` (-1: without end) begins, after so many receives in all: with a window? */
static inline bool batch_begins(struct batch *b, uint64_t receives, int64_t timeout_us)
{
    uint64_t last = receives - b->receives; /* of the last iteration */

    if (b->open) {
        b->skip = last > 1 ? 0 : (uint16_t)MIN(2 * b->skip + 1, BATCH_SKIP_MAX);
        b->left = b->skip;
    }
    b->receives = receives;
    b->open = last > 0 && last < BATCH_RECEIVES && (timeout_us < 0 || timeout_us > b->us);
    if (b->open && b->left > 0) {
        b->left--;
        b->open = false;
    }
    return b->open;
}

#endif
