/* SPDX-License-Identifier: MIT */
/*
 * clock.h - time as a worker sees it: read once per iteration of the loop, coarse, and the Date
 * text of the current second.
 */
#ifndef BIVALVE_CLOCK_H
#define BIVALVE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define CLOCK_DATE_LEN \
    29                   /* "Sun, 06 Nov 1994 08:49:37 GMT": IMF-fixdate, RFC 9110 section 5.6.7 \
                           */
#define CLOCK_ISO_LEN 20 /* "1994-11-06T08:49:37Z": RFC 3339 */
#define CLOCK_CLF_LEN 26 /* "06/Nov/1994:08:49:37 +0000": the Common Log Format */

struct clock_cache {
    uint64_t now_ms;               /* SYS_CLOCK_MONOTONIC at the last clock_update() */
    time_t date_s;                 /* wall-clock second that `date` shows */
    char date[CLOCK_DATE_LEN + 1]; /* empty before the first clock_update() of zeroed memory */
};

/*
 * Read the clocks; rewrites `date` when the wall-clock second has changed. Call first, on zeroed
 * memory, and after every wait. Both are as old as the kernel's last tick, so where the monotonic one
 * stands the other is not read: a clock that is set shows with the next tick.
 */
void clock_update(struct clock_cache *c);

/*
 * Write the IMF-fixdate of `t` (seconds since the epoch, UTC) and a NUL into `out`. Times before
 * the epoch and after the year 9999 are shown as the nearest that is neither. Async-signal-safe;
 * opens no files.
 */
void clock_format_date(char out[CLOCK_DATE_LEN + 1], time_t t);

/* The same as RFC 3339 has it, for the log. */
void clock_format_iso(char out[CLOCK_ISO_LEN + 1], time_t t);

/* The same as access logs have it. */
void clock_format_clf(char out[CLOCK_CLF_LEN + 1], time_t t);

/* Monotonic time now, precise; a system call's price at worst, so not for the hot path. */
uint64_t clock_monotonic_us(void);
uint64_t clock_monotonic_ms(void);

#endif
