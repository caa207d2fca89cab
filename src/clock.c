/* SPDX-License-Identifier: MIT */
/*
 * clock.c - see clock.h. The coarse clocks cost a few nanoseconds and are at most one kernel tick (1 to 10 ms) old.
 */
#include "config.h"

#include "clock.h"

#include <string.h>

static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static void clock_two_digits(char *out, int n)
{
    out[0] = (char)('0' + n / 10 % 10);
    out[1] = (char)('0' + n % 10);
}

void clock_format_date(char out[CLOCK_DATE_LEN + 1], time_t t)
{
    struct tm tm;

    /* strftime(3) would use the locale's names */
    gmtime_r(&t, &tm);
    memcpy(out, "Sun, 00 Jan 0000 00:00:00 GMT", CLOCK_DATE_LEN + 1);
    memcpy(out, days[tm.tm_wday], 3);
    clock_two_digits(out + 5, tm.tm_mday);
    memcpy(out + 8, months[tm.tm_mon], 3);
    clock_two_digits(out + 12, (tm.tm_year + 1900) / 100);
    clock_two_digits(out + 14, (tm.tm_year + 1900) % 100);
    clock_two_digits(out + 17, tm.tm_hour);
    clock_two_digits(out + 20, tm.tm_min);
    clock_two_digits(out + 23, tm.tm_sec);
}

void clock_update(struct clock_cache *c)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    c->now_ms = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    if (t.tv_sec != c->date_s || !c->date[0]) {
        c->date_s = t.tv_sec;
        clock_format_date(c->date, t.tv_sec);
    }
}

uint64_t clock_monotonic_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
