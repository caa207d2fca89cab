/* SPDX-License-Identifier: MIT */
/*
 * load_schedule.c - see load_schedule.h.
 */
#include "config.h"

#include "load_schedule.h"

#include <math.h>

#define SCHEDULE_MAX_S 1e10 /* later than any end */

/*
 * The time at which so many requests are due: the integral of the rate, from * t + slope * t^2 / 2,
 * solved for t. Unit-rate arrivals taken through it are arrivals at that rate, Poisson ones too.
 */
static uint64_t schedule_time_us(const struct load_schedule *s, double arrivals)
{
    double span_arrivals = (s->from + s->to) / 2 * s->span_s, t;

    if (s->slope == 0)
        t = arrivals / s->from;
    else if (arrivals <= span_arrivals)
        t = 2 * arrivals / (s->from + sqrt(fmax(0, s->from * s->from + 2 * s->slope * arrivals)));
    else
        t = s->span_s + (arrivals - span_arrivals) / s->to;
    return (uint64_t)(fmin(t, SCHEDULE_MAX_S) * 1e6 + 0.5);
}

void load_schedule_init(struct load_schedule *s, double from, double to, uint64_t span_us,
                        bool poisson, uint64_t seed, double phase)
{
    s->from = from;
    s->to = to;
    s->span_s = (double)span_us / 1e6;
    s->slope = span_us ? (to - from) / s->span_s : 0;
    s->poisson = poisson;
    s->prng.state = seed;
    s->arrivals = poisson ? -log(prng_unit(&s->prng)) : phase;
    s->due_us = schedule_time_us(s, s->arrivals);
}

void load_schedule_advance(struct load_schedule *s)
{
    s->arrivals += s->poisson ? -log(prng_unit(&s->prng)) : 1;
    s->due_us = schedule_time_us(s, s->arrivals);
}
