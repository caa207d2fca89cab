/* SPDX-License-Identifier: MIT */
/*
 * load_report.h - results for people: a line a second, and a table at the end.
 */
#ifndef BIVALVE_LOAD_REPORT_H
#define BIVALVE_LOAD_REPORT_H

#include <stdio.h>

#include "load_run.h"
#include "load_verdict.h"

#define LOAD_DURATION_TEXT_MAX 24

/* Microseconds as a person reads them: "842 us", "1.53 ms", "12.0 s". Returns `out`. */
const char *load_duration_text(char out[LOAD_DURATION_TEXT_MAX], double us);

/* What a run is about to do, in a line or two. */
void load_report_begin(FILE *out, const struct load_setup *s, const struct load_run *run);

void load_report_moment(FILE *out, const struct load_moment *moment);

void load_report_end(FILE *out, const struct load_setup *s, const struct load_run *run,
                     const struct load_results *r, const struct load_verdict *v);

#endif
