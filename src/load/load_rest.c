/* SPDX-License-Identifier: MIT */
/*
 * load_rest.c - --turns in the closed loop: no request is begun out of turn, nor so shortly before the turn's
 * end that its answer would be late. In the open loop nothing is due then, and nothing is done here.
 */
#include "config.h"

#include "load_client_internal.h"

/* What the turn has been, as far as it was measured, if it ended then. */
static uint64_t rest_measured(const struct load_client *c, uint64_t end)
{
    uint64_t from = MAX(c->turn_us, c->measure_us), to = MIN(end, c->end_us);

    return to > from ? to - from : 0;
}

void client_set_turn(struct load_client *c, uint64_t now)
{
    c->resting = true;
    c->turn_us = MAX(now, load_turns_begin(&c->plan.options->turns, c->zero_us + now) - c->zero_us);
}

/* The turn is over. The next one's rest begins as early as it took to come to this end. */
static void rest_end_turn(struct load_client *c, uint64_t now)
{
    uint64_t length_us = c->plan.options->turns.length_us, end = MAX(c->last_us, c->turn_stop_us);

    c->draining = false;
    c->turns_us += rest_measured(c, end);
    c->turn_drain_us = MIN(end - c->turn_stop_us, length_us / 2);
    client_set_turn(c, MAX(now, c->turn_us + length_us));
}

static void rest_begin_turn(struct load_client *c, uint64_t now)
{
    const struct load_turns *turns = &c->plan.options->turns;
    uint64_t begin = load_turns_begin(turns, c->zero_us + now) - c->zero_us;

    if (begin > now) { /* it has been slept through */
        c->turn_us = begin;
        return;
    }
    c->resting = false;
    c->turn_us = now;
    c->turn_stop_us = MAX(now, begin + turns->length_us - c->turn_drain_us);
    for (uint32_t i = 0; i < c->begun; i++) {
        struct load_conn *conn = client_conn(c, i);
        if (conn->state == LOAD_CONN_OPEN)
            client_feed(c, conn, now);
    }
}

void client_take_turn(struct load_client *c, uint64_t now)
{
    if (!c->resting && now >= c->turn_stop_us)
        c->resting = c->draining = true;
    if (c->draining && c->flying == 0)
        rest_end_turn(c, now);
    if (c->resting && !c->draining && now >= c->turn_us)
        rest_begin_turn(c, now);
}

uint64_t client_next_turn(const struct load_client *c)
{
    return !c->resting ? c->turn_stop_us : c->draining ? CLIENT_NEVER : c->turn_us;
}

uint64_t client_own_us(const struct load_client *c, uint64_t until)
{
    const struct load_turns *turns = &c->plan.options->turns;
    uint64_t all = c->turns_us;

    if (!load_turns_some(turns))
        return until > c->measure_us ? until - c->measure_us : 1;
    if (client_is_open_loop(c))
        all = load_turns_own(turns, c->zero_us + MAX(until, c->measure_us)) -
              load_turns_own(turns, c->zero_us + c->measure_us);
    else if (!c->resting)
        all += rest_measured(c, until);
    else if (c->draining)
        all += rest_measured(c, MAX(c->last_us, c->turn_stop_us));
    return MAX(all, 1);
}
