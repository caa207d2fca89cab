/* SPDX-License-Identifier: MIT */
/*
 * trace.h - static probes (USDT) for bpftrace, perf and SystemTap, where <sys/sdt.h> was found: a nop
 * each, and a note in the program that says where it is and where its arguments lie. Arguments are
 * what is at hand there, so that none has to be computed.
 *
 * Provider bivalve:
 *
 *   connection__open   slot, fd         accepted, and about to be served
 *   connection__close  slot, fd         about to be closed
 *   request__begin     slot, exchange   its head is complete
 *   request__end       exchange         its response is written whole, and not sent yet
 *   send               slot, result     bytes that were taken at once; IO_PENDING, or -errno
 *   iteration                           the loop has waited for events, and handled those that came
 *   input              slot, length     bytes have arrived
 *
 * A slot is a connection's address for as long as it is open, an exchange a request's.
 */
#ifndef BIVALVE_TRACE_H
#define BIVALVE_TRACE_H

#if HAVE_SYS_SDT_H

#include <sys/sdt.h>

#define TRACE0(name)       DTRACE_PROBE(bivalve, name)
#define TRACE1(name, a)    DTRACE_PROBE1(bivalve, name, a)
#define TRACE2(name, a, b) DTRACE_PROBE2(bivalve, name, a, b)

#else

#define TRACE0(name)       ((void)0)
#define TRACE1(name, a)    ((void)0)
#define TRACE2(name, a, b) ((void)0)

#endif

#endif
