/* SPDX-License-Identifier: MIT */
/*
 * stream_proxy.h - listeners whose clients are proxies that name theirs: a connection begins with a
 * PROXY header (proxy_header.h), and goes on as one of the protocol that is served.
 *
 *   state    event                                     next
 *   -------  ----------------------------------------  -------------------------------------------
 *   (none)   accepted from an address not trusted      (closed), counted: proxy_refused
 *   (none)   accepted                                  HEADER
 *   HEADER   complete                                  the other protocol's beginning
 *   HEADER   malformed, or none                        (closed), counted: proxy_refused
 *   HEADER   --header-timeout, the end of input        (closed)
 */
#ifndef BIVALVE_STREAM_PROXY_H
#define BIVALVE_STREAM_PROXY_H

#include "loop_types.h"

/*
 * Have those of the loop's listeners that name whom they trust (.proxy) begin so. After
 * acceptor_add(), before tls_streams_open() and acceptor_start(). Each takes a second place among the
 * listeners, for what its connections go on as.
 */
void proxy_streams_open(struct loop *l);

#endif
