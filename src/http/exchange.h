/* SPDX-License-Identifier: MIT */
/*
 * exchange.h - one request and its response on a connection, while they are in transit: parser,
 * request, stored input. A connection that is idle has none.
 *
 *   state    event                                   next     why
 *   -------  --------------------------------------  -------  -------------------------------------
 *   HEAD     head complete, a body follows           BODY
 *   HEAD     head complete, no body                  -        finish() says what is next
 *   HEAD     answered at once, a body follows        DISCARD  the connection persists
 *   BODY     a piece of the body                     BODY     it goes to the handler
 *   BODY     answered before its end                 DISCARD
 *   BODY     end of the body                         -        finish() says what is next
 *   DISCARD  end of the body                         HEAD     the next request
 *   PRODUCE  room for output                         PRODUCE  the handler writes on
 *   any      HANDLER_MORE                            PRODUCE
 *   any      HANDLER_WAIT                            WAIT
 *   WAIT     time over, request_resume()             -        resume() says what is next
 *   any      HANDLER_DONE, the connection persists   HEAD     the next request
 *   any      HANDLER_DONE, the last one              (none)   the stream ends (stream.h)
 *   any      malformed, too slow, client gone        (none)   cancelled; the stream ends
 *
 * An exchange in HEAD that has seen no byte of a request is given back.
 */
#ifndef BIVALVE_EXCHANGE_H
#define BIVALVE_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "bufpool.h"
#include "http_parser.h"
#include "request.h"
#include "slot.h"
#include "timer.h"

enum exchange_state {
    EXCHANGE_HEAD,
    EXCHANGE_BODY,
    EXCHANGE_DISCARD,
    EXCHANGE_PRODUCE,
    EXCHANGE_WAIT,
};

/* request.flags */
enum {
    REQUEST_KEEP = 1 << 0,      /* the connection persists after the response */
    REQUEST_HTTP10 = 1 << 1,    /* HTTP/1.0 */
    REQUEST_HEAD_ONLY = 1 << 2, /* HEAD */
    REQUEST_BODY = 1 << 3,      /* its body has not been read to the end */
    REQUEST_BEGUN = 1 << 4,     /* begin() was called: cancel() is due unless it gets done */
    REQUEST_RESPONDED = 1 << 5, /* a head has been written */
    REQUEST_CHUNKED = 1 << 6,   /* the response's body is chunked */
    REQUEST_NO_BODY = 1 << 7,   /* the response has no body */
    REQUEST_PEER_DONE = 1 << 8, /* the client said that this is its last request */
    REQUEST_KEPT = 1 << 9,      /* watch_keep() has seen it */
};

struct access_log_note;

struct exchange {
    struct http_parser parser;
    struct request request;
    struct slot *slot;
    struct buf *in; /* stored input: an incomplete head, or what is not parsed yet */
    struct timer wait;
    struct exchange *run_next;    /* in http.run: the queue of exchanges to go on with */
    uint32_t unparsed;            /* bytes of input that have arrived behind what has been parsed */
    uint8_t state;                /* enum exchange_state */
    bool queued;                  /* in http.run */
    bool started;                 /* a byte of the current request has been seen */
    bool full;                    /* stopped because of output pending */
    bool resumed;                 /* in WAIT: resume() is due */
    uint16_t body_credit_ms;      /* earned by body bytes, not yet worth a tick: --min-body-rate */
    struct access_log_note *note; /* what access_log.h keeps of its head; NULL: nothing */
    uint16_t status;              /* of its response; 200 where nobody has said */
    bool unlogged;                /* it has begun, and its line in the access log is due */
    uint64_t begun_ns;            /* of a request that is REQUEST_KEPT: watch.h */
    uint64_t
        body_bytes; /* of its response, as far as written or announced; HEAD: as if it were GET */
    uint16_t looks; /* how often an end of input was looked behind */
};

static inline struct exchange *exchange_of(const struct request *r)
{
    return CONTAINER_OF(r, struct exchange, request);
}

#endif
