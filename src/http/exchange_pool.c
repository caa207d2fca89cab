/* SPDX-License-Identifier: MIT */
/*
 * exchange_pool.c - see exchange_pool.h.
 */
#include "config.h"

#include "exchange_pool.h"

#include <string.h>

#include "stream.h"
#include "watch.h"

struct exchange *exchange_new(struct http *h)
{
    struct buf *b = bufpool_get(&h->exchange_pool);

    if (unlikely(!b))
        return NULL;
    struct exchange *x = (struct exchange *)(void *)b->data;
    memset(x, 0, sizeof(*x));
    x->request.http = h;
    return x;
}

static void exchange_free(struct http *h, struct exchange *x)
{
    /* It may be used again as it is: ready for a head. */
    assert(!x->in && !timer_is_set(&x->wait) && !x->queued);
    if (likely(!h->hot))
        h->hot = x;
    else
        bufpool_put(CONTAINER_OF((char *)x, struct buf, data));
}

void exchange_cancel(struct exchange *x)
{
    struct request *r = &x->request;

    if (!(r->flags & REQUEST_BEGUN))
        return;
    r->flags &= (uint16_t)~REQUEST_BEGUN;
    r->http->loop.stats->cancelled++;
    if (r->handler->cancel)
        r->handler->cancel(r);
}

void exchange_release(struct http *h, struct exchange *x)
{
    exchange_cancel(x);
    if (unlikely(x->unlogged))
        watch_gone(h, x);
    if (x->in) {
        bufpool_put(x->in);
        x->in = NULL;
    }
    if (unlikely(timer_is_set(&x->wait)))
        exchange_wait_no_more(h, &x->wait);
    x->slot->exchange = NULL;
    x->slot = NULL;
    exchange_reset(x);
    if (likely(!x->queued))
        exchange_free(h, x);
    /* else exchange_run() meets it */
}

/* ---- parking ---- */

/* Nothing but its time or the client can bring it on, and neither needs what is not kept. */
static bool exchange_can_park(const struct exchange *x)
{
    const struct slot *s = x->slot;

    return x->request.handler->parks && !x->in && !x->queued && !x->resumed && !x->unlogged &&
           !(x->request.flags & REQUEST_BODY) && !(s->flags & STREAM_SENDING) && out_empty(&s->out);
}

void exchange_park(struct http *h, struct exchange *x)
{
    const struct request *r = &x->request;
    struct buf *b;

    assert(x->state == EXCHANGE_WAIT);
    if (!exchange_can_park(x) || !(b = bufpool_get(&h->parked_pool)))
        return;
    struct parked *p = (struct parked *)(void *)b->data;
    *p = (struct parked){.state = EXCHANGE_PARKED,
                         .method = r->method,
                         .flags = r->flags,
                         .handler = r->handler,
                         .slot = x->slot,
                         .begun_ns = x->begun_ns};
    memcpy(p->kept, r->state, sizeof(p->kept));
    timer_move(&p->wait, &x->wait);
    p->slot->exchange = p;
    x->slot = NULL;
    exchange_reset(x);
    exchange_free(h, x);
}

static void parked_free(struct parked *p)
{
    assert(!timer_is_set(&p->wait));
    bufpool_put(CONTAINER_OF((char *)p, struct buf, data));
}

/* slot.exchange, if it is parked; else NULL. */
static struct parked *parked_of(const struct slot *s)
{
    const struct exchange *x = s->exchange;

    return x->state == EXCHANGE_PARKED ? s->exchange : NULL;
}

struct exchange *exchange_unpark(struct http *h, struct slot *s)
{
    struct parked *p = parked_of(s);

    if (!p)
        return s->exchange;
    h->loop.current = s; /* not to be closed for room */
    struct exchange *x = exchange_get(h, s);
    if (unlikely(!x))
        return NULL;
    x->state = EXCHANGE_WAIT;
    x->unparsed = 0;
    x->parser.method = p->method;
    x->request.method = p->method;
    x->request.flags = p->flags;
    x->request.handler = p->handler;
    x->begun_ns = p->begun_ns;
    memcpy(x->request.state, p->kept, sizeof(p->kept));
    timer_move(&x->wait, &p->wait);
    parked_free(p);
    return x;
}

void exchange_abandon(struct http *h, struct slot *s)
{
    struct parked *p = parked_of(s);

    if (!p) {
        exchange_release(h, s->exchange);
        return;
    }
    assert((p->flags & REQUEST_BEGUN) && !p->handler->cancel);
    h->loop.stats->cancelled++;
    s->exchange = NULL;
    exchange_wait_no_more(h, &p->wait);
    parked_free(p);
}

/* ---- the queue ---- */

void exchange_enqueue(struct http *h, struct exchange *x)
{
    if (x->queued)
        return;
    x->queued = true;
    x->run_next = NULL;
    *h->run_tail = x;
    h->run_tail = &x->run_next;
}

void exchange_run(struct http *h, void (*go_on)(struct http *h, struct exchange *x))
{
    struct exchange *x = h->run, *next;

    h->run = NULL; /* what is queued now waits for the next iteration */
    h->run_tail = &h->run;
    for (; x; x = next) {
        next = x->run_next;
        x->queued = false;
        if (x->slot)
            go_on(h, x);
        else
            exchange_free(h, x);
    }
}
