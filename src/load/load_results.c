/* SPDX-License-Identifier: MIT */
/*
 * load_results.c - see load_results.h.
 */
#include "config.h"

#include "load_results.h"

#include <string.h>

const char *load_failure_name(enum load_failure kind)
{
    static const char *const names[] = {
#define LOAD_FAILURE_NAME_(sym, name, text) name,
        LOAD_FAILURES(LOAD_FAILURE_NAME_)
#undef LOAD_FAILURE_NAME_
    };

    return names[kind];
}

uint64_t load_results_failures(const struct load_results *r)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < LOAD_FAILURE_KINDS; i++)
        sum += r->failures[i];
    return sum;
}

void load_results_add(struct load_results *sum, const struct load_results *r)
{
#define LOAD_SUM_ADD_(name) sum->name += r->name;
    LOAD_SUMS(LOAD_SUM_ADD_)
#undef LOAD_SUM_ADD_
    for (unsigned i = 0; i < LOAD_FAILURE_KINDS; i++) {
        sum->failures[i] += r->failures[i];
        if (!*sum->first[i])
            memcpy(sum->first[i], r->first[i], LOAD_FIRST_MAX);
    }
    sum->begin_us = r->begin_us;
    sum->measured_us = MAX(sum->measured_us, r->measured_us);
    sum->own_us = MAX(sum->own_us, r->own_us);
    sum->busiest = MAX(sum->busiest, r->busiest);
    sum->backlog_us_max = MAX(sum->backlog_us_max, r->backlog_us_max);
    if (!*sum->tls)
        memcpy(sum->tls, r->tls, sizeof(sum->tls));
    if (!*sum->features)
        memcpy(sum->features, r->features, sizeof(sum->features));
    if (!*sum->error)
        memcpy(sum->error, r->error, sizeof(sum->error));
    hist_add(&sum->response, &r->response);
    hist_add(&sum->service, &r->service);
    hist_add(&sum->connect, &r->connect);
    hist_add(&sum->lag, &r->lag);
}
