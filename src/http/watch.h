/* SPDX-License-Identifier: MIT */
/*
 * watch.h - what is done for each request besides answering it, while anybody wants it: how long it
 * took and how much it was (--admin), its line in the access log, a spin (--burn-ns). struct http has a watch only then; without
 * one a request runs into none of this.
 *
 * A duration is counted from when the loop began to look at the input of an iteration, so waiting
 * behind others counts, to when the answer was handed to the backend.
 */
#ifndef BIVALVE_WATCH_H
#define BIVALVE_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "access_log.h"
#include "http.h"

/*
 * Requests of one batch of input mostly begin and end in it, with answers of the same size: they are
 * counted together when the batch has been served.
 */
struct watch {
    bool meter;             /* the histograms in struct stats are kept */
    bool alone;             /* every request is looked at by itself */
    struct access_log *log; /* NULL: none */
    uint64_t iteration;     /* of the loop, in which */
    uint64_t start_ns;      /* ... looking at input began: CLOCK_MONOTONIC */
    unsigned done;          /* requests of this batch that are answered */
    unsigned sized;         /* ... those of them whose size is in its histogram, which are not of */
    uint64_t bytes;         /* ... this size; UINT64_MAX: of none */
};

/*
 * From now on: `meter` and `log` (NULL: none) as above. Does nothing where there is nothing to do.
 */
void watch_start(struct http *h, struct watch *w, bool meter, struct access_log *log);

/* The head of a request, `len` bytes, is complete. */
void watch_begin(struct http *h, struct exchange *x, const char *head, size_t len);

/* The request ends without watch_done(): it was refused with `status`, or its client is gone. */
void watch_refused(struct http *h, struct exchange *x, int status);
void watch_gone(struct http *h, struct exchange *x);

/*
 * A batch of input of connection `s` is about to be served; it has been, and its answers are handed
 * over. The connection may be gone then.
 */
void watch_before(struct http *h);
void watch_after(struct http *h, struct slot *s);

/* For watch_done(). */
void watch_done_odd(struct http *h, struct exchange *x);

/* A response is written whole. */
static inline void watch_done(struct http *h, struct exchange *x)
{
    if (likely(x->body_bytes == h->watch->bytes &&
               !(x->request.flags & (REQUEST_KEPT | REQUEST_HEAD_ONLY))))
        h->watch->done++;
    else
        watch_done_odd(h, x);
}

#endif
