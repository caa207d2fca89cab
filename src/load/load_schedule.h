/* SPDX-License-Identifier: MIT */
/*
 * load_schedule.h - when requests are due in the open loop: at a rate that is constant or changes
 * evenly, regularly or at random.
 */
#ifndef BIVALVE_LOAD_SCHEDULE_H
#define BIVALVE_LOAD_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "prng.h"

struct load_schedule {
    double from, to; /* requests a second at the start, and at the end */
    double slope;    /* how much more each second */
    double span_s;   /* so long it changes; then it stays */
    double arrivals; /* requests due up to the next one, as the integral of the rate */
    bool poisson;    /* independent of each other (the time between two is exponential) */
    struct prng prng;
    uint64_t due_us; /* the next request, from the start */
};

/*
 * From `from` to `to` requests a second (> 0 each) over `span_us`, the first due after `phase` (0
 * to 1) of the time between two.
 */
void load_schedule_init(struct load_schedule *s, double from, double to, uint64_t span_us,
                        bool poisson, uint64_t seed, double phase);

/* The next one is on its way: when is the one after it due? */
void load_schedule_advance(struct load_schedule *s);

#endif
