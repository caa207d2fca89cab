/* SPDX-License-Identifier: MIT */
/*
 * watch.c - see watch.h. The clock is read once an iteration and once for each batch of requests
 * that is answered, not for each request.
 */
#include "config.h"

#include "watch.h"

#include <time.h>

static uint64_t watch_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* For the self-test of the benchmark (--burn-ns): cost a known time. */
static void watch_burn(uint32_t ns)
{
    uint64_t end = watch_now_ns() + ns;

    while (watch_now_ns() < end)
        ;
}

void watch_start(struct http *h, struct watch *w, bool meter, struct access_log *log)
{
    if (!meter && !log && !h->loop.set->burn_ns)
        return;
    *w = (struct watch){.meter = meter,
                        .log = log,
                        .alone = log || h->loop.set->burn_ns,
                        .iteration = UINT64_MAX,
                        .bytes = UINT64_MAX};
    h->watch = w;
    if (log)
        h->look_from = 0;
}

void watch_begin(struct http *h, struct exchange *x, const char *head, size_t len)
{
    access_log_begin(h->watch->log, x, head, len);
    x->unlogged = true;
    x->status = 200;
    x->body_bytes = 0;
}

static void watch_duration(struct http *h, uint64_t begun_ns, unsigned count)
{
    stats_observe(&h->loop.stats->duration_ns, STATS_TIME_SHIFT, STATS_TIME_STEP,
                  watch_now_ns() - begun_ns, count);
}

/* Those whose size has not been counted yet. */
static void watch_sizes(struct http *h)
{
    struct watch *w = h->watch;

    if (w->done > w->sized)
        stats_observe(&h->loop.stats->response_bytes, STATS_BYTES_SHIFT, STATS_BYTES_STEP, w->bytes,
                      w->done - w->sized);
    w->sized = w->done;
}

void watch_before(struct http *h)
{
    struct watch *w = h->watch;

    if (w->iteration == h->loop.stats->iterations)
        return;
    w->iteration = h->loop.stats->iterations;
    w->start_ns = watch_now_ns();
}

/* A request that lasts longer than the batch which it came in. */
static void watch_keep(struct http *h, struct exchange *x)
{
    struct parked *p = (struct parked *)x;
    bool parked = x->state == EXCHANGE_PARKED;
    uint16_t *flags = parked ? &p->flags : &x->request.flags;

    if (x->state == EXCHANGE_HEAD || (*flags & REQUEST_KEPT))
        return;
    *flags |= REQUEST_KEPT;
    *(parked ? &p->begun_ns : &x->begun_ns) = h->watch->start_ns;
    if (h->watch->log && !parked)
        access_log_keep(h->watch->log, x);
}

void watch_after(struct http *h, struct slot *s)
{
    struct watch *w = h->watch;

    if (w->done) {
        watch_sizes(h);
        watch_duration(h, w->start_ns, w->done);
        w->done = w->sized = 0;
    }
    if (s->exchange) /* a slot that has been released has none */
        watch_keep(h, s->exchange);
}

/* The line of a request that has ended. */
static void watch_log(struct http *h, struct exchange *x, int status)
{
    struct watch *w = h->watch;
    uint64_t duration_ns = 0;

    /* Nobody else asks; and there is none where the head was too bad, or too slow, to begin. */
    if (w->log->cfg.format == ACCESS_LOG_JSON && x->unlogged)
        duration_ns =
            watch_now_ns() - (x->request.flags & REQUEST_KEPT ? x->begun_ns : w->start_ns);
    access_log_end(w->log, &h->loop, x, status, duration_ns);
    x->unlogged = false;
}

void watch_refused(struct http *h, struct exchange *x, int status)
{
    if (h->watch->log)
        watch_log(h, x, status);
}

void watch_gone(struct http *h, struct exchange *x)
{
    /* 499 is nginx's for a client that did not wait. */
    watch_log(h, x, x->request.flags & REQUEST_RESPONDED ? x->status : 499);
}

void watch_done_odd(struct http *h, struct exchange *x)
{
    struct watch *w = h->watch;
    uint64_t bytes = x->request.flags & REQUEST_HEAD_ONLY ? 0 : x->body_bytes;
    bool kept = x->request.flags & REQUEST_KEPT;

    if (h->loop.set->burn_ns)
        watch_burn(h->loop.set->burn_ns);
    if (w->log)
        watch_log(h, x, x->status);
    if (!w->meter)
        return;
    watch_sizes(h);
    w->bytes = w->alone ? UINT64_MAX : bytes;
    w->done += !kept;
    if (kept)
        watch_duration(h, x->begun_ns, 1);
    if (kept || w->alone) {
        stats_observe(&h->loop.stats->response_bytes, STATS_BYTES_SHIFT, STATS_BYTES_STEP, bytes,
                      1);
        w->sized = w->done;
    }
}
