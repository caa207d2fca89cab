/* SPDX-License-Identifier: MIT */
/*
 * clock.c - see clock.h.
 *
 * The calendar is computed here: gmtime(3) would look for a time zone file in a process that may be
 * barred from opening files, and strftime(3) obeys the locale.
 */
#include "config.h"

#include "clock.h"

#include <string.h>

#include "sys.h"

struct clock_civil {
    unsigned year, month, day; /* month 0..11, day 1..31 */
    unsigned weekday;          /* 0: Sunday */
    unsigned hour, minute, second;
};

/* The proleptic Gregorian calendar, of years that begin on 1 March so that the leap day is the
 * last. */
static struct clock_civil clock_civil(time_t t)
{
    const int64_t last =
        INT64_C(253402300799); /* 9999-12-31T23:59:59Z: what four digits can show */
    int64_t s = t < 0 ? 0 : t > last ? last : t;
    uint32_t days = (uint32_t)(s / 86400), rest = (uint32_t)(s % 86400);
    uint32_t z = days + 719468; /* days since 0000-03-01 */
    uint32_t era = z / 146097, day_of_era = z % 146097;
    uint32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t month_from_march = (5 * day_of_year + 2) / 153;
    struct clock_civil c = {
        .year = year_of_era + era * 400 + (month_from_march >= 10),
        .month = (month_from_march + 2) % 12,
        .day = day_of_year - (153 * month_from_march + 2) / 5 + 1,
        .weekday = (days + 4) % 7, /* 1970-01-01 was a Thursday */
        .hour = rest / 3600,
        .minute = rest / 60 % 60,
        .second = rest % 60,
    };
    return c;
}

/* `n` digits of v, and what comes behind them. */
static char *clock_digits(char *out, unsigned v, int n, char behind)
{
    for (int i = n; i-- > 0; v /= 10)
        out[i] = (char)('0' + v % 10);
    out[n] = behind;
    return out + n + 1;
}

static const char clock_months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

void clock_format_date(char out[CLOCK_DATE_LEN + 1], time_t t)
{
    static const char weekdays[] = "SunMonTueWedThuFriSat";
    struct clock_civil c = clock_civil(t);
    char *p = out;

    memcpy(p, weekdays + 3 * c.weekday, 3);
    memcpy(p + 3, ", ", 2);
    p = clock_digits(p + 5, c.day, 2, ' ');
    memcpy(p, clock_months + 3 * c.month, 3);
    p[3] = ' ';
    p = clock_digits(p + 4, c.year, 4, ' ');
    p = clock_digits(p, c.hour, 2, ':');
    p = clock_digits(p, c.minute, 2, ':');
    p = clock_digits(p, c.second, 2, ' ');
    memcpy(p, "GMT", 4);
}

void clock_format_iso(char out[CLOCK_ISO_LEN + 1], time_t t)
{
    struct clock_civil c = clock_civil(t);
    char *p = out;

    p = clock_digits(p, c.year, 4, '-');
    p = clock_digits(p, c.month + 1, 2, '-');
    p = clock_digits(p, c.day, 2, 'T');
    p = clock_digits(p, c.hour, 2, ':');
    p = clock_digits(p, c.minute, 2, ':');
    p = clock_digits(p, c.second, 2, 'Z');
    *p = '\0';
}

void clock_format_clf(char out[CLOCK_CLF_LEN + 1], time_t t)
{
    struct clock_civil c = clock_civil(t);
    char *p = clock_digits(out, c.day, 2, '/');

    memcpy(p, clock_months + 3 * c.month, 3);
    p[3] = '/';
    p = clock_digits(p + 4, c.year, 4, ':');
    p = clock_digits(p, c.hour, 2, ':');
    p = clock_digits(p, c.minute, 2, ':');
    p = clock_digits(p, c.second, 2, ' ');
    memcpy(p, "+0000", 6);
}

void clock_update(struct clock_cache *c)
{
    struct timespec t;

    clock_gettime(SYS_CLOCK_MONOTONIC, &t);
    uint64_t now_ms = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    if (now_ms == c->now_ms)
        return; /* both clocks tick together */
    c->now_ms = now_ms;
    clock_gettime(SYS_CLOCK_REALTIME, &t);
    if (t.tv_sec != c->date_s || !c->date[0]) {
        c->date_s = t.tv_sec;
        clock_format_date(c->date, t.tv_sec);
    }
}

uint64_t clock_monotonic_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t clock_monotonic_ms(void)
{
    return clock_monotonic_us() / 1000;
}
