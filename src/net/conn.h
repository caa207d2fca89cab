/* SPDX-License-Identifier: MIT */
/*
 * conn.h - the connection state machine, between the engine (backend.h) and the handlers (route.h).
 *
 * The engine calls the conn_on_*() functions declared in backend.h. The worker calls what is here,
 * outside wait().
 */
#ifndef BIVALVE_CONN_H
#define BIVALVE_CONN_H

#include <stdbool.h>

#include "core.h"

/*
 * Bytes a block of the input pool must hold for these settings: the longest head plus one receive.
 */
size_t conn_input_block_bytes(const struct settings *set);

/* Room in an output block. */
#define CONN_OUTPUT_BLOCK_BYTES 16256

/* Start (or stop) accepting on all listeners. 0 or -errno. */
int conn_accept_start(struct core *c);
void conn_accept_stop(struct core *c);

/*
 * Go on with connections that have stored input and gave up the rest of their turn. True: some
 * still have.
 */
bool conn_run(struct core *c);

/*
 * Expire timers and whatever else is due now; then the milliseconds until there is something due
 * again, -1: never.
 */
int64_t conn_tick(struct core *c);

/*
 * Graceful end: accept what is queued, close the listeners, say `Connection: close` from now on,
 * close idle connections after a moment's grace, and no connection of whose request a byte has been
 * read. Done when core.slots.used is 0.
 */
void conn_drain(struct core *c);

/*
 * Close every connection now, whatever it is doing. Call until core.slots.used is 0 (the engine may
 * still hold some), waiting in between.
 */
void conn_abort_all(struct core *c);

#endif
