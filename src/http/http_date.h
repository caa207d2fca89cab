/* SPDX-License-Identifier: MIT */
/*
 * http_date.h - HTTP-date as a client sends it. Writing one: clock_format_date().
 */
#ifndef BIVALVE_HTTP_DATE_H
#define BIVALVE_HTTP_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/*
 * Read a date in any of the three forms of RFC 9110 section 5.6.7 (IMF-fixdate, that of RFC 850,
 * asctime's), exactly so long, into seconds since the epoch. `now` tells which century a year of
 * two digits is in. The name of the day is not held against the date. False: it is none of them, or
 * names no moment (31 February) or none that a time_t can hold; *t is untouched then.
 */
bool http_date_parse(const char *text, size_t len, time_t now, time_t *t);

#endif
