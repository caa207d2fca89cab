/* SPDX-License-Identifier: MIT */
/*
 * sim_fixture.h - a whole worker without a process: HTTP over the simulated backend. Shared by
 * tests/sim and the fuzzer of the core. Header-only: each of its users is one program.
 */
#ifndef BIVALVE_SIM_FIXTURE_H
#define BIVALVE_SIM_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accept.h"
#include "handlers.h"
#include "http_process.h"
#include "loop.h"
#include "sim.h"
#include "stream.h"

#define SIM_FIXTURE_FDS 4096

struct sim_fixture {
    struct settings set;
    struct stats stats;
    struct dataset data;
    struct handlers_context context;
    const struct routes *routes; /* NULL: bivalve's */
    struct http http;
};

/*
 * `set` is adjusted by the caller after settings_init() and before this. The dataset may be empty.
 * Aborts on failure.
 */
static inline void sim_fixture_open(struct sim_fixture *f)
{
    char error[BACKEND_TEXT_MAX];

    memset(&f->stats, 0, sizeof(f->stats));
    f->context.data = &f->data;
    if (http_init(&f->http, &f->set, f->routes ? f->routes : &handlers_routes, &f->context,
                  &f->stats, &sim_backend_ops, NULL, SIM_FIXTURE_FDS, error) < 0) {
        fprintf(stderr, "%s\n", error);
        abort();
    }
    acceptor_add(
        &f->http.loop,
        &(struct accept_listener){.text = "sim", .protocol = &http1_protocol, .fd = SIM_LISTENER});
    acceptor_start(&f->http.loop);
}

static inline void sim_fixture_iterate(struct sim_fixture *f, int n)
{
    while (n-- > 0)
        loop_iterate(&f->http.loop, 0);
}

/* End every connection and check that everything has come back. Returns 0 when it has. */
static inline int sim_fixture_close(struct sim_fixture *f)
{
    struct http *h = &f->http;
    struct loop *l = &h->loop;

    sim_set_script(l->be, &sim_script_plain);
    acceptor_stop(l);
    l->acceptor.listener[0].fd = -1;
    loop_abort(l);
    for (int i = 0; i < 64 && l->slots.used; i++)
        loop_iterate(l, 0);
    loop_iterate(l, 0); /* the queue of exchanges lets go of those that ended in it */
    http_update(h);
    int leaked = l->slots.used != 0 || h->in_pool.used != 0 || l->out_pool.used != 0 ||
                 l->sent_pool.used != 0 || h->exchange_pool.used != (h->hot != NULL) ||
                 sim_in_flight(l->be) != 0 || l->timers.armed != 0 || h->waits.armed != 0 ||
                 h->parked_pool.used != 0 ||
                 f->stats.accepted != f->stats.closed + f->stats.rejected;
    if (leaked)
        fprintf(stderr,
                "not given back: slots %u, input blocks %zu, output blocks %zu, exchanges %zu, "
                "backend %u, timers %u, waits %u; accepted %llu, closed %llu, rejected %llu\n",
                l->slots.used, h->in_pool.used, l->out_pool.used + l->sent_pool.used,
                h->exchange_pool.used, sim_in_flight(l->be), l->timers.armed, h->waits.armed,
                (unsigned long long)f->stats.accepted, (unsigned long long)f->stats.closed,
                (unsigned long long)f->stats.rejected);
    http_destroy(h);
    return leaked;
}

#endif
