/* SPDX-License-Identifier: MIT */
/*
 * http1_timer.c - see http1_timer.h.
 */
#include "config.h"

#include "http1_timer.h"

#include "util.h"

/* At the drain an idle client may send one more request, and learn of the end. */
#define HTTP1_DRAIN_GRACE_MS 500

void http1_set_idle_timer(struct loop *l, struct slot *s)
{
    uint32_t delay_ms = l->set->idle_timeout_ms;

    if (unlikely(l->draining) && !l->patient && (!delay_ms || delay_ms > HTTP1_DRAIN_GRACE_MS))
        delay_ms = HTTP1_DRAIN_GRACE_MS;
    stream_set_timer(l, s, HTTP1_TIMER_IDLE, delay_ms);
}

void http1_set_timer(struct loop *l, struct slot *s)
{
    const struct exchange *x = s->exchange;

    /*
     * While a send is in flight its own deadline counts, which is not renewed by what the client
     * sends; after stream_shut_input() that of the end.
     */
    if (s->flags & (STREAM_SENDING | STREAM_SHUT_IN))
        return;
    if (likely(!x) || x->state == EXCHANGE_PRODUCE || (x->state == EXCHANGE_HEAD && !x->started)) {
        http1_set_idle_timer(l, s);
    } else if (x->state == EXCHANGE_HEAD) {
        if (s->timer_kind != HTTP1_TIMER_HEADER) /* counts from the first byte, not the last */
            stream_set_timer(l, s, HTTP1_TIMER_HEADER, l->set->header_timeout_ms);
    } else if (x->state == EXCHANGE_WAIT || x->state == EXCHANGE_PARKED) {
        stream_set_timer(l, s, STREAM_TIMER_NONE, 0); /* the handler's time */
    } else if (!l->set->min_body_rate || s->timer_kind != HTTP1_TIMER_BODY) {
        /* else it is extended by what is received: http1_body_credit() */
        stream_set_timer(l, s, HTTP1_TIMER_BODY, l->set->body_timeout_ms);
    }
}

void http1_body_credit(struct loop *l, struct slot *s, struct exchange *x, size_t len)
{
    uint64_t credit_ms = x->body_credit_ms + (uint64_t)len * 1000 / l->set->min_body_rate;
    uint64_t ticks = credit_ms / LOOP_TICK_MS;
    uint32_t full = (l->set->body_timeout_ms + LOOP_TICK_MS - 1) / LOOP_TICK_MS + 1;
    uint32_t left = s->timer.deadline - l->timers.now;

    x->body_credit_ms = (uint16_t)(credit_ms % LOOP_TICK_MS);
    if (timer_is_set(&s->timer) && (int32_t)left < (int32_t)full)
        timer_postpone(&s->timer, (uint32_t)MIN(ticks, full - left));
}
