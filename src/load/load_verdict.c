/* SPDX-License-Identifier: MIT */
/*
 * load_verdict.c - see load_verdict.h.
 */
#include "config.h"

#include "load_verdict.h"

/* CPU time per time from which on a process is taken to have had no more to give. */
#define VERDICT_FULL 0.95

/* Part of the wanted rate that is near enough. */
#define VERDICT_HELD 0.99

struct load_verdict load_verdict_of(const struct load_setup *s, const struct load_run *run,
                                    const struct load_results *r)
{
    const struct load_options *o = &s->options;
    uint64_t failures = load_results_failures(r);
    double seconds = (double)MAX(r->own_us, 1) / 1e6, requests = (double)r->requests;
    struct load_verdict v = {.rps = (double)r->answered / seconds};

    if (run->rate_from > 0)
        v.wanted_rps = (double)r->due / seconds;
    if (failures)
        v.error_rate = (double)failures / (double)MAX(r->due, failures);
    if (r->requests)
        v.cpu_us = (double)(r->cpu_user_us + r->cpu_system_us) / requests;
    /* What was sent late has been answered in the end: what counts is what was while it lasted. */
    v.rate_held = v.wanted_rps == 0 || v.rps >= VERDICT_HELD * v.wanted_rps;
    v.full = r->busiest >= VERDICT_FULL;
    v.errors_ok = r->requests > 0 && v.error_rate <= MAX(o->max_error_rate, 0);
    v.slo_ok = o->slo_p99_us == 0 || (double)hist_percentile(&r->response, 99) <= o->slo_p99_us;
    v.bottleneck = v.full ? "generator" : run->rate_from > 0 && v.rate_held ? "none" : "server";
    return v;
}

int load_verdict_status(const struct load_verdict *v)
{
    return !v->errors_ok ? 1 : !v->slo_ok ? 3 : 0;
}
