/* SPDX-License-Identifier: MIT */
/*
 * exchange_pool.h - where exchanges come from and go to, and the queue of those to go on with: for
 * http1*.c, not for handlers.
 */
#ifndef BIVALVE_EXCHANGE_POOL_H
#define BIVALVE_EXCHANGE_POOL_H

#include <string.h>

#include "http.h"

/* An exchange from the pool, ready for a head; NULL: no memory. */
struct exchange *exchange_new(struct http *h);

/* Ready for the next request's head. */
static inline void exchange_reset(struct exchange *x)
{
    http_parser_init(&x->parser);
    x->request.flags = 0;
    static_assert(EXCHANGE_HEAD == 0 && offsetof(struct exchange, queued) == 8, "one store");
    memset(x, 0, offsetof(struct exchange, queued));
}

/* The exchange that a connection without one goes on with; NULL: no memory. */
static inline struct exchange *exchange_get(struct http *h, struct slot *s)
{
    struct exchange *x = h->hot;

    if (likely(x))
        h->hot = NULL;
    else if (unlikely(!(x = exchange_new(h))))
        return NULL;
    x->slot = s;
    s->exchange = x;
    return x;
}

/* Let a timer of http.waits run out `delay_ms` from now, and stop one. */
static inline void exchange_wait(struct http *h, struct timer *wait, uint32_t delay_ms)
{
    timer_set(&h->waits, wait, clock_monotonic_ms(), delay_ms);
    h->loop.stats->waiting = h->waits.armed;
}

static inline void exchange_wait_no_more(struct http *h, struct timer *wait)
{
    timer_stop(&h->waits, wait);
    h->loop.stats->waiting = h->waits.armed;
}

/* Take it from its connection and give it back; a request that is not done is cancelled. */
void exchange_release(struct http *h, struct exchange *x);

/* Tell the handler, if it has been asked and has not answered. */
void exchange_cancel(struct exchange *x);

/*
 * Park an exchange that waits, if its handler, its input and its output allow; it is given back
 * then. Where there is no memory for it, it stays as it is.
 */
void exchange_park(struct http *h, struct exchange *x);

/* The parked exchange of this connection, or one that is not, as one that waits. NULL: no memory. */
struct exchange *exchange_unpark(struct http *h, struct slot *s);

/* exchange_release() of the connection's, parked or not. */
void exchange_abandon(struct http *h, struct slot *s);

/* Has nothing of a request been seen? */
static inline bool exchange_is_idle(const struct exchange *x)
{
    return x->state == EXCHANGE_HEAD && !x->started && !x->in && http_parser_is_fresh(&x->parser);
}

/* exchange_release() of an idle one, as nearly all are. */
static inline void exchange_release_idle(struct http *h, struct exchange *x)
{
    assert(exchange_is_idle(x));
    if (unlikely(h->hot || x->queued)) {
        exchange_release(h, x);
        return;
    }
    x->slot->exchange = NULL;
    x->slot = NULL;
    h->hot = x;
}

/* Go on with it in the next iteration. */
void exchange_enqueue(struct http *h, struct exchange *x);

/* Go on with all that were queued when it is called. */
void exchange_run(struct http *h, void (*go_on)(struct http *h, struct exchange *x));

#endif
