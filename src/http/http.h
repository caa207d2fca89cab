/* SPDX-License-Identifier: MIT */
/*
 * http.h - what HTTP has in one process: its event loop, what exchanges are made of, the program's
 * handlers.
 */
#ifndef BIVALVE_HTTP_H
#define BIVALVE_HTTP_H

#include "bufpool.h"
#include "exchange.h"
#include "http_section.h"
#include "loop_types.h"
#include "request.h"
#include "timer.h"

struct watch;

struct http {
    struct loop loop;
    const struct routes *routes;
    const void *context; /* the handlers': request_context() */

    struct watch *watch; /* who wants to see every request; NULL: nobody */
    uint32_t look_from;  /* so many exchanges into a connection there is more to do than to answer:
                            --max-requests; 0: always, for the access log */

    struct exchange *hot; /* the one used last, to be used next; NULL: in use, or none yet */
    struct bufpool exchange_pool;     /* the others */
    struct bufpool parked_pool;       /* what is left of those that wait and are parked */
    struct bufpool in_pool;           /* stored input: head limit + one receive */
    struct response_ok ok;            /* the head of most answers */
    struct http_section section;      /* of the heads to come, mostly */
    struct timer_wheel waits;         /* of exchanges, in milliseconds */
    struct exchange *run, **run_tail; /* exchanges to go on with, in order */
};

static inline struct http *http_of(struct loop *l)
{
    return CONTAINER_OF(l, struct http, loop);
}

#endif
