/* SPDX-License-Identifier: MIT */
/*
 * stream_tls.h - TLS on streams: stands between a stream and the protocol that is served, for the
 * listeners that want it. To a protocol such a stream is like any other.
 *
 *   state      event                                    next       why
 *   ---------  ---------------------------------------  ---------  -----------------------------------
 *   NEW        accepted                                 NEW        costs a slot, until a byte comes
 *   NEW        the first byte is a letter               (plain)    HTTP without TLS: told so, and ended
 *   NEW        any other first byte                     HANDSHAKE
 *   HANDSHAKE  complete                                 OPEN       the protocol hears of it
 *   HANDSHAKE  failed                                   ENDED      the alert goes out, then the end
 *   OPEN       a record that is none                    ENDED      the protocol hears that it is gone
 *   OPEN       TLS_IDLE_MESSAGES without data           ENDED      as of a client that floods
 *   OPEN       the peer's close_notify                  OPEN       an end of input, as of a plain stream
 *   any        too many handshakes in this iteration,   the same   what has come is kept, receiving is
 *              or the protocol is not ready for more               off, and it goes on in a later one
 *   NEW,       --header-timeout                         (closed)
 *   HANDSHAKE
 *
 * Connections that stream_connect() has made are in HANDSHAKE at once, with a client's context. Their
 * protocol hears that they have failed as soon as they have, EPROTO: tls_blame() and tls_reason() say
 * more while it does. ECONNABORTED: the peer has closed in the handshake.
 */
#ifndef BIVALVE_STREAM_TLS_H
#define BIVALVE_STREAM_TLS_H

#include <stdbool.h>

#include "loop_types.h"
#include "tls.h"

/*
 * Serve those of the loop's listeners that have .tls by TLS, with `context`, which outlives the loop.
 * After acceptor_add(), before acceptor_start(); does nothing where none has. 0 or -ENOMEM.
 */
int tls_streams_open(struct loop *l, struct tls_context *context);

/* The TLS of a connection; NULL: it has none (yet). */
const struct tls *tls_stream_of(const struct loop *l, const struct slot *s);

/* After loop_destroy(). */
void tls_streams_close(struct loop *l);

#endif
