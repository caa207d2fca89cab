/* SPDX-License-Identifier: MIT */
/*
 * load_search.c - see load_search.h.
 */
#include "config.h"

#include "load_search.h"

#include "load_report.h"
#include "load_verdict.h"
#include "util.h"

#define SEARCH_PRECISION 1.02
#define SEARCH_RATE_MIN  1.0

struct search {
    const struct load_setup *setup;
    FILE *out;
    struct load_step *steps;
    unsigned count;
    bool interrupted;
    char *error;
};

/* The run of one step; at rate 0 in the closed loop. Negative, or whether it was held. */
static int search_step(struct search *s, double rate, bool confirms)
{
    static struct load_results r; /* histograms are large */
    struct load_run run = load_run_of(&s->setup->options);
    struct load_step *step = &s->steps[s->count++];
    char p50[LOAD_DURATION_TEXT_MAX], p99[LOAD_DURATION_TEXT_MAX];

    run.rate_from = run.rate_to = rate;
    int rc = load_run(s->setup, &run, NULL, NULL, &r, &s->interrupted, s->error);
    if (rc < 0)
        return rc;
    struct load_verdict v = load_verdict_of(s->setup, &run, &r);
    *step = (struct load_step){.rate = rate,
                               .rps = v.rps,
                               .p50_us = (double)hist_percentile(&r.response, 50),
                               .p99_us = (double)hist_percentile(&r.response, 99),
                               .failures = load_results_failures(&r),
                               .held = rate > 0 && v.rate_held && v.errors_ok && v.slo_ok,
                               .full = v.full,
                               .confirms = confirms};
    if (rate > 0)
        fprintf(s->out, "%10.0f requests/s", rate);
    else
        fprintf(s->out, "%21s", "closed loop");
    fprintf(s->out, "  got %10.0f  p50 %-9s p99 %-9s errors %-6llu %s%s\n", step->rps,
            load_duration_text(p50, step->p50_us), load_duration_text(p99, step->p99_us),
            (unsigned long long)step->failures,
            rate == 0     ? ""
            : !step->held ? "not held"
            : confirms    ? "held again"
                          : "held",
            step->full ? ", the load's own CPU was full" : "");
    fflush(s->out);
    return step->held;
}

static bool search_has_steps(const struct search *s)
{
    return !s->interrupted && s->count < LOAD_STEPS_MAX;
}

/* Between `low`, which was held (0: nothing was), and `high`, which was not. */
static int search_between(struct search *s, double low, double high, double *found)
{
    int held = 0;

    while (search_has_steps(s) && high > SEARCH_RATE_MIN &&
           (low == 0 || high > low * SEARCH_PRECISION)) {
        /* While nothing is held, down in larger strides. */
        double rate = low > 0 ? (low + high) / 2 : high / 2;
        held = search_step(s, rate, false);
        if (held < 0)
            return held;
        if (held)
            low = rate;
        else
            high = rate;
    }
    *found = low;
    return 0;
}

int load_search(const struct load_setup *setup, FILE *out, struct load_step steps[LOAD_STEPS_MAX],
                unsigned *count, double *max_rate, bool *interrupted, char *error)
{
    struct search s = {.setup = setup, .out = out, .steps = steps, .error = error};
    double found = 0;
    int rc = search_step(&s, 0, false);

    /* At the rate of the closed loop itself every hiccup leaves a queue that is never worked off. */
    double high = rc >= 0 ? steps[0].rps * 1.05 : 0;
    while (rc >= 0 && search_has_steps(&s)) {
        rc = search_between(&s, 0, high, &found);
        if (rc < 0 || found == 0 || !search_has_steps(&s))
            break;
        rc = search_step(&s, found, true); /* once may have been luck */
        if (rc != 0)
            break;
        high = found;
        found = 0;
    }
    *count = s.count;
    *interrupted = s.interrupted;
    *max_rate = s.interrupted ? 0 : found;
    return MIN(rc, 0);
}
