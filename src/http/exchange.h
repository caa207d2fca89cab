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
 *   WAIT     nothing to do, and its handler can      PARKED   it takes less memory
 *   PARKED   anything but the client's end           WAIT
 *   any      HANDLER_DONE, the connection persists   HEAD     the next request
 *   any      HANDLER_DONE, the last one              (none)   the stream ends (stream.h)
 *   any      malformed, too slow, client gone        (none)   cancelled; the stream ends
 *
 * An exchange in HEAD that has seen no byte of a request is given back.
 */
#ifndef BIVALVE_EXCHANGE_H
#define BIVALVE_EXCHANGE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
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
    EXCHANGE_PARKED, /* a struct parked, which is all that there is of it */
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
    /* of the current request: exchange_reset() */
    uint8_t state;           /* enum exchange_state */
    bool started;            /* a byte of it has been seen */
    bool full;               /* stopped because of output pending */
    bool resumed;            /* in WAIT: resume() is due */
    uint16_t body_credit_ms; /* earned by body bytes, not yet worth a tick: --min-body-rate */
    uint16_t looks;          /* how often an end of input was looked behind */

    bool queued;       /* in http.run */
    uint32_t unparsed; /* bytes of input that have arrived behind what has been parsed */
    struct slot *slot;
    struct timer wait;
    struct buf *in;            /* stored input: an incomplete head, or what is not parsed yet */
    struct exchange *run_next; /* in http.run: the queue of exchanges to go on with */
    struct http_parser parser;
    struct request request;
    struct access_log_note *note; /* what access_log.h keeps of its head; NULL: nothing */
    uint16_t status;              /* of its response; 200 where nobody has said */
    bool unlogged;                /* it has begun, and its line in the access log is due */
    uint64_t begun_ns;            /* of a request that is REQUEST_KEPT: watch.h */
    uint64_t body_bytes; /* of its response, written or announced; HEAD: as if it were GET */
};

/*
 * What is left of an exchange while it waits and has neither input nor output, if its handler needs
 * no more: so that a crowd can wait. It stands in the place of the exchange (slot.exchange), and
 * what both have lies where the exchange has it.
 */
struct parked {
    uint8_t state; /* EXCHANGE_PARKED */
    uint8_t method;
    uint16_t flags; /* of the request, as are method and handler */
    _Alignas(8) const struct handler *handler;
    _Alignas(8) struct slot *slot; /* where it is with pointers of 32 bits, too */
    struct timer wait;
    uint64_t begun_ns;
    uint64_t kept[REQUEST_PARKED_BYTES / 8]; /* the handler's state */
};

static_assert(offsetof(struct parked, state) == offsetof(struct exchange, state) &&
                  offsetof(struct parked, slot) == offsetof(struct exchange, slot) &&
                  offsetof(struct parked, wait) == offsetof(struct exchange, wait),
              "what both have lies in the same place");

static inline struct exchange *exchange_of(const struct request *r)
{
    return CONTAINER_OF(r, struct exchange, request);
}

#endif
