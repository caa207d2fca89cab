/* SPDX-License-Identifier: MIT */
/*
 * load_run.h - one run of the load: processes started together, watched, and their results added
 * up.
 */
#ifndef BIVALVE_LOAD_RUN_H
#define BIVALVE_LOAD_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "load_options.h"
#include "load_request.h"
#include "load_results.h"
#include "load_target.h"
#include "registry.h"

/* What all runs of the program share, found out once. */
struct load_setup {
    struct load_options options;
    struct load_target target;
    struct load_requests requests;
    struct tls_context *tls; /* NULL: the target is none of https:// */
    struct load_addr sources[LOAD_SOURCES_MAX];
    unsigned source_count;
    struct registry_choice backend;
    uint32_t processes;
};

/* How a run differs from what the options say. */
struct load_run {
    double rate_from, rate_to;
    uint64_t warmup_us, duration_us;
    uint64_t requests; /* 0: by time */
};

/* The state of a run after a second of it, for whoever watches. */
struct load_moment {
    uint64_t elapsed_us;  /* since the measuring began; 0: it has not yet */
    uint64_t interval_us; /* what follows is of so long */
    uint64_t requests, failures;
    struct hist response;
};

/* Called about once a second; `last`: it is over. */
typedef void (*load_watch)(const struct load_moment *moment, bool last, void *arg);

/*
 * Look up and read what the options name, choose the backend, and make room for so many
 * connections. 0, or -errno with one line in `error` (LOAD_ERROR_MAX bytes).
 */
int load_setup_make(struct load_setup *s, char *error);
void load_setup_free(struct load_setup *s);

/* The run that the options ask for. */
struct load_run load_run_of(const struct load_options *o);

/*
 * Run it, and wait for its end; the results of all processes together into `sum`. SIGINT and
 * SIGTERM end it early: *interrupted. 0, or -errno with one line in `error` (LOAD_ERROR_MAX bytes)
 * when a process could not be started or broke.
 */
int load_run(const struct load_setup *s, const struct load_run *run, load_watch watch, void *arg,
             struct load_results *sum, bool *interrupted, char *error);

#endif
