/* SPDX-License-Identifier: MIT */
/*
 * http1_timer.h - the deadlines of a connection that speaks HTTP/1.1, by what it waits for. For
 * http1*.c.
 */
#ifndef BIVALVE_HTTP1_TIMER_H
#define BIVALVE_HTTP1_TIMER_H

#include "http.h"
#include "stream.h"

/* slot.timer_kind */
enum http1_timer {
    HTTP1_TIMER_IDLE = STREAM_TIMER_PROTOCOL, /* between requests, and before the first */
    HTTP1_TIMER_HEADER,                       /* a head is too slow */
    HTTP1_TIMER_BODY,                         /* a body is too slow */
    HTTP1_TIMER_LOOK,                         /* look behind an end of input: http1_look_again() */
};

/* Between requests, or before the first. */
void http1_set_idle_timer(struct loop *l, struct slot *s);

/* Set the deadline that fits what the connection is waiting for. */
void http1_set_timer(struct loop *l, struct slot *s);

/*
 * `len` bytes of a body have come, and there is a --min-body-rate: a body that keeps coming at that
 * rate never times out, one that trickles uses up its allowance.
 */
void http1_body_credit(struct loop *l, struct slot *s, struct exchange *x, size_t len);

/* A head or a body is complete: the next one's time is its own. */
static inline void http1_timer_over(struct slot *s)
{
    if (s->timer_kind == HTTP1_TIMER_HEADER || s->timer_kind == HTTP1_TIMER_BODY)
        s->timer_kind = HTTP1_TIMER_IDLE;
}

#endif
