/* SPDX-License-Identifier: MIT */
/*
 * conn_internal.h - what conn.c (life and death of a connection) and conn_serve.c (requests and
 * responses) share.
 */
#ifndef BIVALVE_CONN_INTERNAL_H
#define BIVALVE_CONN_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "conn.h"

/*
 * Every function below that returns bool says whether the connection is still there: after false,
 * the slot is not touched again.
 */

/*
 * Hand output to the engine until it pends or is gone; at the end of the last response, begin to
 * close.
 */
bool conn_flush(struct core *c, int fd);

/* Parse and answer `len` bytes of fresh input. */
bool conn_serve_input(struct core *c, int fd, const char *data, size_t len);

/*
 * Go on with what is stored: unparsed input, a response not wholly written. Resumes receiving when
 * nothing is left.
 */
bool conn_serve_stored(struct core *c, int fd);

/* Answer the request in progress with 408 and close. */
bool conn_serve_timeout(struct core *c, int fd);

/* Set the deadline that fits what the connection is waiting for. */
void conn_arm_timer(struct core *c, int fd);

/*
 * No more responses on this connection: half-close and drain, or close at once if the client cannot
 * be harmed by it.
 */
bool conn_end(struct core *c, int fd);

/*
 * Detach from the engine and close, whatever is in transit. Always false: `return conn_close(c,
 * fd);`.
 */
bool conn_close(struct core *c, int fd);

/* Close an idle connection without losing a request that the kernel has already received. */
bool conn_close_idle(struct core *c, int fd);

/* Put fd in the queue that conn_run() works off. */
void conn_enqueue(struct core *c, int fd);

/* Is nothing of a request or a response in transit? */
static inline bool conn_is_idle(const struct slot *s)
{
    return s->state == SLOT_OPEN && !s->in && out_empty(&s->out) &&
           !(s->flags &
             (SLOT_IN_BODY | SLOT_STARTED | SLOT_SENDING | SLOT_PRODUCING | SLOT_RD_SHUT));
}

#endif
