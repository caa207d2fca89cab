/* SPDX-License-Identifier: MIT */
/*
 * load_verdict.h - what follows from the results of a run.
 */
#ifndef BIVALVE_LOAD_VERDICT_H
#define BIVALVE_LOAD_VERDICT_H

#include <stdbool.h>

#include "load_run.h"

struct load_verdict {
    double rps;             /* right answers a second, as long as it was measured */
    double wanted_rps;      /* open loop: what was due a second; closed loop: 0 */
    double error_rate;      /* failures per request that was due, or failed before it was */
    double cpu_us;          /* of the load, per right answer */
    bool rate_held;         /* at least 99 % of the wanted rate; true in the closed loop */
    bool full;              /* a process of the load used its whole CPU: it may be the limit */
    bool errors_ok;         /* none, or no more than --max-error-rate, and there are answers */
    bool slo_ok;            /* the 99th percentile is within --slo-p99, or none was asked for */
    const char *bottleneck; /* "generator", "server", or "none" where the rate was held */
};

struct load_verdict load_verdict_of(const struct load_setup *s, const struct load_run *run,
                                    const struct load_results *r);

/* 0, 1 or 3, as the man page has it. */
int load_verdict_status(const struct load_verdict *v);

#endif
