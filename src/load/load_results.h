/* SPDX-License-Identifier: MIT */
/*
 * load_results.h - what one process of the load has seen, in memory that it shares with the program
 * that started it: plain stores by the one, reads by the other, no lock.
 */
#ifndef BIVALVE_LOAD_RESULTS_H
#define BIVALVE_LOAD_RESULTS_H

#include <stdint.h>

#include "backend.h" /* BACKEND_TEXT_MAX */
#include "hist.h"

#define LOAD_FIRST_MAX 240 /* bytes of the text of an error */
#define LOAD_TLS_MAX   80

/* X(symbol, its name in the results, what it means). */
#define LOAD_FAILURES(X)                                                                \
    X(CONNECT, "connect", "a connection that could not be made")                        \
    X(RESET, "reset", "a request whose connection was reset")                           \
    X(CLOSED_EARLY, "closed_early", "a request whose connection was closed unanswered") \
    X(TRUNCATED, "truncated", "an answer that was cut off")                             \
    X(MALFORMED, "malformed", "an answer that is no HTTP")                              \
    X(TLS_CERTIFICATE, "tls_certificate", "a server whose certificate is not trusted")  \
    X(TLS_ALERT, "tls_alert", "a connection that the server has refused by an alert")   \
    X(TLS, "tls", "a connection on which TLS has failed")                               \
    X(TLS_TRUNCATED, "tls_truncated", "an answer that may be cut off: no close_notify") \
    X(TIMEOUT, "timeout", "a request that was not answered in time")                    \
    X(STATUS, "status", "an answer with another status than --expect-status")           \
    X(BODY, "body", "an answer with another body than --expect-body")                   \
    X(LOCAL, "local", "a request that was not sent: this machine is out of fds or memory")

enum load_failure {
#define LOAD_FAILURE_ENUM_(sym, name, text) LOAD_FAILURE_##sym,
    LOAD_FAILURES(LOAD_FAILURE_ENUM_)
#undef LOAD_FAILURE_ENUM_
        LOAD_FAILURE_KINDS
};

struct load_results {
    /* X(name): sums, of the time that is measured; a request belongs to it by when it was due. */
#define LOAD_SUMS(X)                                                               \
    X(requests)    /* answered, and rightly */                                     \
    X(due)         /* that should have been sent: in the closed loop, that were */ \
    X(answered)    /* rightly, in that time, whenever the request was due */       \
    X(cpu_user_us) /* of this process */                                           \
    X(cpu_system_us)                                                               \
    X(bytes_in)                                                                    \
    X(bytes_out)                                                                   \
    X(tls_handshakes) /* completed */                                              \
    X(tls_resumed)    /* ... of them, by an earlier session */                     \
    /* of all the time */                                                          \
    X(status_2xx) /* answers that went through the parser */                       \
    X(status_3xx)                                                                  \
    X(status_4xx)                                                                  \
    X(status_5xx)                                                                  \
    X(matched) /* ... and that were like one that had been found right */          \
    X(connects)                                                                    \
    X(resent) /* requests, after the announced end of a connection */              \
    X(ports_used_up)                                                               \
    X(idle)      /* connections that were kept open beside the load, ... */        \
    X(idle_lost) /* ... and those of them that the server has closed */
#define LOAD_SUM_FIELD_(name) uint64_t name;
    LOAD_SUMS(LOAD_SUM_FIELD_)
#undef LOAD_SUM_FIELD_
    uint64_t failures[LOAD_FAILURE_KINDS];
    char first[LOAD_FAILURE_KINDS][LOAD_FIRST_MAX]; /* of each kind; empty: none yet */

    uint64_t begin_us;       /* CLOCK_MONOTONIC, when the measuring began */
    uint64_t measured_us;    /* how long it was */
    uint64_t own_us;         /* ... of that, with --turns, the turns; without, all of it */
    double busiest;          /* CPU time per time of the process that has the highest */
    uint32_t backlog_us_max; /* the longest that a request has waited for a free connection */
    char tls[LOAD_TLS_MAX];  /* version and cipher of the first connection; empty: no TLS */
    char features[BACKEND_TEXT_MAX];
    char error[BACKEND_TEXT_MAX]; /* why the process could not go on; empty: it did */

    struct hist response; /* from when a request was due to its answer's end, microseconds */
    struct hist service;  /* from when it was sent; of one process in the open loop alone */
    struct hist connect;
    struct hist lag; /* from due to sent, where a connection was free in time */
};

const char *load_failure_name(enum load_failure kind);

/* All failures together. */
uint64_t load_results_failures(const struct load_results *r);

/* sum += r. */
void load_results_add(struct load_results *sum, const struct load_results *r);

#endif
