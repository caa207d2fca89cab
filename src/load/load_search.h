/* SPDX-License-Identifier: MIT */
/*
 * load_search.h - the highest rate that a server holds within a limit of latency (--find-max).
 */
#ifndef BIVALVE_LOAD_SEARCH_H
#define BIVALVE_LOAD_SEARCH_H

#include <stdio.h>

#include "load_json.h"
#include "load_run.h"

#define LOAD_STEPS_MAX 40

/*
 * Search by a run in the closed loop, whose rate cannot be exceeded, and bisection below it, until
 * the rate is known to 2 % and has been held twice. Each step takes the duration that was asked
 * for; what is tried is printed to `out`. The steps and their number, and the rate: 0, when not
 * even the lowest was held. 0, or -errno with one line in `error` (LOAD_ERROR_MAX bytes).
 */
int load_search(const struct load_setup *s, FILE *out, struct load_step steps[LOAD_STEPS_MAX],
                unsigned *count, double *max_rate, bool *interrupted, char *error);

#endif
