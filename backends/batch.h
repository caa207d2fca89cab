/* SPDX-License-Identifier: MIT */
/*
 * batch.h - the variant batch=TIME: fewer wake-ups for a longer wait.
 *
 * Below saturation nearly every request wakes a worker, and waking costs more than answering. With
 * this variant a wait that follows an iteration with few events begins with a window: what arrives
 * within it is met together when it ends. The first request after a pause is never delayed, later
 * ones by at most the window; a worker with as many events as BATCH_EVENTS has no window.
 */
#ifndef BIVALVE_BATCH_H
#define BIVALVE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BATCH_EVENTS 16    /* so many in an iteration are a batch */
#define BATCH_MAX_US 10000 /* the longest window */
#define BATCH_WANT   "1us to 10ms"

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

/* Does a wait of `timeout_us` (-1: without end) after an iteration with `events` begin with a window? */
static inline bool batch_begins(uint32_t batch_us, uint64_t events, int64_t timeout_us)
{
    return batch_us && events > 0 && events < BATCH_EVENTS &&
           (timeout_us < 0 || timeout_us > batch_us);
}

#endif
