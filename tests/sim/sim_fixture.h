/* SPDX-License-Identifier: MIT */
/*
 * sim_fixture.h - a whole worker without a process: the core over the simulated engine. Shared by
 * tests/sim and the fuzzer of the core. Header-only: each of its users is one program.
 */
#ifndef BIVALVE_SIM_FIXTURE_H
#define BIVALVE_SIM_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "core.h"
#include "sim.h"

#define SIM_FIXTURE_FDS 4096

struct sim_fixture {
    struct settings set;
    struct stats stats;
    struct dataset data;
    struct core core;
};

/*
 * `set` is adjusted by the caller after settings_init() and before this. The dataset may be empty.
 * Aborts on failure.
 */
static inline void sim_fixture_open(struct sim_fixture *f)
{
    char error[BACKEND_TEXT_MAX];

    memset(&f->stats, 0, sizeof(f->stats));
    if (core_init(&f->core, &f->set, &f->data, &f->stats, &sim_backend_ops, NULL, SIM_FIXTURE_FDS,
                  error) < 0) {
        fprintf(stderr, "%s\n", error);
        abort();
    }
    f->core.listener_count = 1;
    f->core.listeners[0].fd = 0; /* never touched: the simulated engine accepts from the test */
    conn_accept_start(&f->core);
}

static inline void sim_fixture_turns(struct sim_fixture *f, int n)
{
    while (n-- > 0)
        core_turn(&f->core, 0);
}

/* End every connection and check that everything has come back. Returns 0 when it has. */
static inline int sim_fixture_close(struct sim_fixture *f)
{
    sim_set_script(f->core.be, &sim_script_plain);
    f->core.listeners[0].fd = 0;
    conn_accept_stop(&f->core);
    f->core.listeners[0].fd = -1;
    conn_abort_all(&f->core);
    for (int i = 0; i < 64 && f->core.slots.used; i++)
        core_turn(&f->core, 0);
    conn_tick(&f->core);
    int leaked = f->core.slots.used != 0 || f->core.in_pool.used != 0 ||
                 f->core.out_pool.used != 0 || sim_in_flight(f->core.be) != 0 ||
                 f->core.timers.armed != 0 ||
                 f->stats.accepted != f->stats.closed + f->stats.rejected;
    if (leaked)
        fprintf(stderr,
                "not given back: slots %u, input blocks %zu, output blocks %zu, engine %u, timers "
                "%u; accepted %llu, closed %llu, rejected %llu\n",
                f->core.slots.used, f->core.in_pool.used, f->core.out_pool.used,
                sim_in_flight(f->core.be), f->core.timers.armed,
                (unsigned long long)f->stats.accepted, (unsigned long long)f->stats.closed,
                (unsigned long long)f->stats.rejected);
    core_destroy(&f->core);
    return leaked;
}

#endif
