/* SPDX-License-Identifier: MIT */
/*
 * load_process.h - one process of a run: a client on its own CPU.
 */
#ifndef BIVALVE_LOAD_PROCESS_H
#define BIVALVE_LOAD_PROCESS_H

#include <stdint.h>

#include "load_client.h"
#include "registry.h"

/* In memory that all processes of a run share. */
struct load_shared {
    uint64_t start_us; /* CLOCK_MONOTONIC; set before the gate opens */
    struct load_results results[];
};

struct load_process {
    struct load_plan plan;
    struct registry_choice backend;
    struct load_shared *shared;
    unsigned index;
    int ready; /* a byte is written here when everything is in place */
    int gate;  /* the load begins when this is at its end */
};

/*
 * After the fork: the process's whole life. Its exit status: 0, or 1 with the reason in its
 * results' `error`.
 */
int load_process_run(const struct load_process *p);

#endif
