/* SPDX-License-Identifier: MIT */
/*
 * http_date.c - see http_date.h.
 */
#include "config.h"

#include "http_date.h"

#include <stdint.h>
#include <string.h>

#include "util.h"

struct http_date {
    int year, month, day; /* month 0..11, day 1..31 */
    int hour, minute, second;
};

/* What a letter of a form stands for; any other byte stands for itself. */
static const char *const http_date_forms[] = {
    "w, D M Y h:m:s GMT", /* Sun, 06 Nov 1994 08:49:37 GMT */
    "W, D-M-y h:m:s GMT", /* Sunday, 06-Nov-94 08:49:37 GMT */
    "w M d h:m:s Y",      /* Sun Nov  6 08:49:37 1994 */
};

/* `n` digits at s. -1: they are not. */
static int http_date_digits(const char *s, const char *end, int n)
{
    int v = 0;

    if (end - s < n)
        return -1;
    for (int i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        v = v * 10 + s[i] - '0';
    }
    return v;
}

/* Which of the names, each 3 bytes long, stands at s? -1: none. */
static int http_date_name(const char *s, const char *end, const char *names)
{
    for (int i = 0; end - s >= 3 && names[3 * i]; i++)
        if (!memcmp(s, names + 3 * i, 3))
            return i;
    return -1;
}

/* Bytes of the whole name of a day at s. 0: it is none. */
static size_t http_date_weekday(const char *s, const char *end)
{
    static const char *const names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t len = strlen(names[i]);
        if ((size_t)(end - s) >= len && !memcmp(s, names[i], len))
            return len;
    }
    return 0;
}

/* One letter of a form at s: the bytes it takes, 0: they are not what it stands for. */
static size_t http_date_part(char letter, const char *s, const char *end, struct http_date *d)
{
    switch (letter) {
    case 'w': return http_date_name(s, end, "SunMonTueWedThuFriSat") >= 0 ? 3 : 0;
    case 'W': return http_date_weekday(s, end);
    case 'M':
        d->month = http_date_name(s, end, "JanFebMarAprMayJunJulAugSepOctNovDec");
        return d->month >= 0 ? 3 : 0;
    case 'Y': d->year = http_date_digits(s, end, 4); return d->year >= 0 ? 4 : 0;
    case 'y': d->year = http_date_digits(s, end, 2); return d->year >= 0 ? 2 : 0;
    case 'd':
        if (end - s >= 2 && *s == ' ') {
            d->day = http_date_digits(s + 1, end, 1);
            return d->day >= 0 ? 2 : 0;
        }
        /* fall through */
    case 'D': d->day = http_date_digits(s, end, 2); return d->day >= 0 ? 2 : 0;
    case 'h': d->hour = http_date_digits(s, end, 2); return d->hour >= 0 ? 2 : 0;
    case 'm': d->minute = http_date_digits(s, end, 2); return d->minute >= 0 ? 2 : 0;
    case 's': d->second = http_date_digits(s, end, 2); return d->second >= 0 ? 2 : 0;
    default: return s < end && *s == letter ? 1 : 0;
    }
}

static bool http_date_match(const char *form, const char *s, const char *end, struct http_date *d)
{
    for (; *form; form++) {
        size_t n;
        if (*form == 'G') /* "GMT" ends a form: its M is no month */
            return end - s == 3 && !memcmp(s, "GMT", 3);
        n = http_date_part(*form, s, end, d);
        if (n == 0)
            return false;
        s += n;
    }
    return s == end;
}

static bool http_date_is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days before 1 January of a year, counted from that of the year 1. */
static int64_t http_date_year_days(int year)
{
    int64_t y = year - 1;

    return 365 * y + y / 4 - y / 100 + y / 400;
}

static bool http_date_seconds(const struct http_date *d, time_t *t)
{
    static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    bool leap = http_date_is_leap(d->year);
    int days = before[d->month + 1] - before[d->month] + (d->month == 1 && leap);

    /* a leap second is the 60th (RFC 5322 section 3.3) */
    if (d->year < 1 || d->day < 1 || d->day > days || d->hour > 23 || d->minute > 59 ||
        d->second > 60)
        return false;
    int64_t day = http_date_year_days(d->year) - http_date_year_days(1970) + before[d->month] +
                  (d->month > 1 && leap) + d->day - 1;
    int64_t seconds = day * 86400 + d->hour * 3600 + d->minute * 60 + d->second;
    if ((time_t)seconds != seconds) /* of 32 bits it ends in 2038 */
        return false;
    *t = (time_t)seconds;
    return true;
}

/*
 * A year of two digits that would be more than 50 years in the future is the last with these
 * digits.
 */
static int http_date_century(int year, time_t now)
{
    int this_year = (int)(1970 + (now < 0 ? 0 : now) / 31556952); /* the mean year's seconds */
    int full = this_year / 100 * 100 + year;

    return full > this_year + 50 ? full - 100 : full;
}

bool http_date_parse(const char *text, size_t len, time_t now, time_t *t)
{
    for (size_t i = 0; i < ARRAY_LEN(http_date_forms); i++) {
        struct http_date d = {0};
        if (!http_date_match(http_date_forms[i], text, text + len, &d))
            continue;
        if (i == 1)
            d.year = http_date_century(d.year, now);
        return http_date_seconds(&d, t);
    }
    return false;
}
