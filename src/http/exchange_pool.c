/* SPDX-License-Identifier: MIT */
/*
 * exchange_pool.c - see exchange_pool.h.
 */
#include "config.h"

#include "exchange_pool.h"

#include <string.h>

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
        bufpool_put(&h->exchange_pool, CONTAINER_OF((char *)x, struct buf, data));
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
        bufpool_put(&h->in_pool, x->in);
        x->in = NULL;
    }
    if (unlikely(timer_is_set(&x->wait)))
        timer_stop(&h->waits, &x->wait);
    x->slot->exchange = NULL;
    x->slot = NULL;
    exchange_reset(x);
    if (likely(!x->queued))
        exchange_free(h, x);
    /* else exchange_run() meets it */
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
