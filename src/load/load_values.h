/* SPDX-License-Identifier: MIT */
/*
 * load_values.h - the values that bivalve-load's options take, from text. Each returns false where the
 * text is none, and what it was to fill in is undefined then.
 */
#ifndef BIVALVE_LOAD_VALUES_H
#define BIVALVE_LOAD_VALUES_H

#include <stdbool.h>
#include <stdint.h>

/* Digits, and k, m or g behind them for 10^3, 10^6, 10^9; from `min` to `max`. */
bool load_value_count(const char *text, uint64_t min, uint64_t max, uint64_t *value);

/* Digits, and k, m or g behind them for 2^10, 2^20, 2^30 bytes; from 1 to `max`. */
bool load_value_size(const char *text, uint64_t max, uint64_t *bytes);

/* Digits with perhaps a fraction; no sign, no exponent, no infinity. `end`: what follows them. */
bool load_value_decimal(const char *text, double *value, const char **end);

/* A number and us, ms, s, m or nothing, which is seconds; from `min` to `max` microseconds. */
bool load_value_time(const char *text, uint64_t min, uint64_t max, uint64_t *us);

/* Requests a second, "10k", or a change of them, "1k:50k". */
bool load_value_rate(const char *text, double *from, double *to);

/* "200,404,3xx": 1 for each that is named. */
bool load_value_statuses(const char *text, uint8_t wanted[600]);

/* A token, RFC 9110 section 9.1. What else the server makes of it is for it to say. */
bool load_value_method(const char *text);

#endif
