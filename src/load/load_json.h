/* SPDX-License-Identifier: MIT */
/*
 * load_json.h - results for programs; doc/load-results.md describes them.
 */
#ifndef BIVALVE_LOAD_JSON_H
#define BIVALVE_LOAD_JSON_H

#include <stdio.h>

#include "load_run.h"
#include "load_verdict.h"

#define LOAD_JSON_SCHEMA 1 /* grows with every change that a reader has to know of */

/* One run as an object. 0, or -ENOMEM or -EIO. */
int load_json_write(FILE *out, const struct load_setup *s, const struct load_run *run,
                    const struct load_results *r, const struct load_verdict *v);

/* One second of a run as a line. 0, or -ENOMEM or -EIO. */
int load_json_moment(FILE *out, const struct load_moment *moment);

/* A step of a search for the highest rate, and its result. */
struct load_step {
    double rate, rps;
    double p50_us, p99_us;
    uint64_t failures;
    bool held;     /* the rate, without errors, within the limit */
    bool full;     /* the load's own CPU was */
    bool confirms; /* it repeats an earlier one */
};
int load_json_search(FILE *out, const struct load_setup *s, const struct load_step *steps,
                     unsigned count, double max_rate);

#endif
