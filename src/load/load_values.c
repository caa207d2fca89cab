/* SPDX-License-Identifier: MIT */
/*
 * load_values.c - see load_values.h.
 */
#include "config.h"

#include "load_values.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define RATE_MAX 1e8

bool load_value_count(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    uint64_t unit = *end == 'k' || *end == 'K'   ? 1000
                    : *end == 'm' || *end == 'M' ? 1000000
                    : *end == 'g' || *end == 'G' ? 1000000000
                                                 : 1;
    if (errno || end[unit > 1] || v > max / unit)
        return false;
    *value = v * unit;
    return *value >= min;
}

bool load_value_size(const char *text, uint64_t max, uint64_t *bytes)
{
    static const char letters[] = "kmg";
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    const char *letter = *end ? strchr(letters, *end | 0x20) : NULL;
    unsigned shift = letter && *letter ? 10 * (unsigned)(letter - letters + 1) : 0;
    if (errno || end[shift > 0] || v == 0 || v > max >> shift)
        return false;
    *bytes = (uint64_t)v << shift;
    return true;
}

bool load_value_decimal(const char *text, double *value, const char **end)
{
    size_t len = strspn(text, "0123456789.");
    char *stop, copy[40];

    if (len == 0 || len >= sizeof(copy))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    *value = strtod(copy, &stop);
    *end = text + len;
    return *stop == '\0';
}

bool load_value_time(const char *text, uint64_t min, uint64_t max, uint64_t *us)
{
    static const struct {
        const char *name;
        double us;
    } units[] = {{"", 1e6}, {"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"m", 60e6}};
    const char *end;
    double v;

    if (!load_value_decimal(text, &v, &end))
        return false;
    for (unsigned i = 0; i < ARRAY_LEN(units); i++) {
        if (strcmp(end, units[i].name))
            continue;
        v = ceil(v * units[i].us - 1e-6);
        if (v > (double)max || v < (double)min)
            return false;
        *us = (uint64_t)v;
        return true;
    }
    return false;
}

static bool value_one_rate(const char *text, char stop, double *rate, const char **end)
{
    if (!load_value_decimal(text, rate, end))
        return false;
    if (**end == 'k' || **end == 'm') {
        *rate *= **end == 'k' ? 1e3 : 1e6;
        ++*end;
    }
    return (**end == '\0' || **end == stop) && *rate > 0 && *rate <= RATE_MAX;
}

bool load_value_rate(const char *text, double *from, double *to)
{
    const char *end;

    if (!value_one_rate(text, ':', from, &end))
        return false;
    *to = *from;
    return *end == '\0' || value_one_rate(end + 1, '\0', to, &end);
}

bool load_value_statuses(const char *text, uint8_t wanted[600])
{
    memset(wanted, 0, 600);
    for (;;) {
        if (text[0] < '1' || text[0] > '5')
            return false;
        unsigned first = (unsigned)(text[0] - '0') * 100, count = 1;
        if (text[1] == 'x' && text[2] == 'x')
            count = 100;
        else if (text[1] >= '0' && text[1] <= '9' && text[2] >= '0' && text[2] <= '9')
            first += (unsigned)(text[1] - '0') * 10 + (unsigned)(text[2] - '0');
        else
            return false;
        memset(wanted + first, 1, count);
        if (text[3] == '\0')
            return true;
        if (text[3] != ',')
            return false;
        text += 4;
    }
}

bool load_value_method(const char *text)
{
    return *text && text[strspn(text, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                      "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0';
}
