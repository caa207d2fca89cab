/* SPDX-License-Identifier: MIT */
/*
 * load_client.h - the client's side of HTTP/1.1 in one process: its connections, the requests in
 * flight on them, and what has become of each. A protocol on streams (stream.h).
 *
 * A connection:
 *
 *   state       event                                       next        why
 *   ----------  ------------------------------------------  ----------  -------------------------
 *   WAITING     its turn: ramp, back-off, connects at once  CONNECTING
 *   CONNECTING  connected                                   OPEN        its requests are sent
 *   CONNECTING  failed, or no answer within the timeout     WAITING     counted, with back-off
 *   OPEN        all its requests are answered, no more due  OPEN        idle: in the free list
 *   OPEN        the last one before a close is answered     WAITING     connects anew
 *   OPEN        closed, reset, timeout, malformed answer    WAITING     counted, each request
 *
 * Requests that were behind an announced close, or behind one that has failed by itself, are sent
 * again on the next connection; they stay due when they were due. Those that find none within the
 * timeout are failures, too: whatever the end, each request that was due is answered or has failed.
 */
#ifndef BIVALVE_LOAD_CLIENT_H
#define BIVALVE_LOAD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <time.h>

#include "load_match.h"
#include "load_request.h"
#include "load_results.h"
#include "load_schedule.h"
#include "loop_types.h"
#include "reply.h"

enum load_conn_state { LOAD_CONN_WAITING, LOAD_CONN_CONNECTING, LOAD_CONN_OPEN };

/* A request that has no answer yet. Times are microseconds of the client's clock, cut to 32 bits. */
struct load_flight {
    uint32_t due, sent;
    uint32_t request; /* which of the list */
};

struct load_conn {
    uint32_t next[2];   /* index of the next one in each list that it may be in */
    uint32_t since;     /* began to connect; once open: when it may read again, --read-rate */
    uint32_t written;   /* requests of this connection, those in flight included */
    uint8_t state : 2;  /* enum load_conn_state */
    uint8_t source : 6; /* which of load_plan.sources it was begun from */
    uint8_t flags;      /* load_client_internal.h's */
    uint16_t head;      /* the oldest in flight; a ring of load_client.depth */
    uint16_t flying;
    uint16_t unsent;  /* of those, the newest, which are not wholly on their way */
    uint32_t body_at; /* bytes of this answer's body so far, where a body is expected */
    uint32_t sent_at; /* bytes of the first unsent one that are on their way */
    int fd;           /* where its slot is; -1: it has none */
    struct reply reply;
    struct load_flight ring[];
};

/* Connections in order. */
struct load_list {
    uint32_t first, last; /* LOAD_NOBODY: empty */
    unsigned link;        /* which of load_conn.next */
};
#define LOAD_NOBODY UINT32_MAX

/* What a client is made of; the process's part of the whole. */
struct load_plan {
    const struct load_options *options;
    const struct load_target *target;
    const struct load_requests *requests;
    struct tls_context *tls;         /* NULL: without */
    const struct load_addr *sources; /* to connect from */
    unsigned source_count;
    bool in_turn; /* by --source; else another one only when the ports of one are used up */
    uint32_t connections;
    uint32_t idle; /* further ones, which are only kept open */
    bool by_count; /* the end is when `quota` requests have been sent, not when time is over */
    uint64_t quota;
    double rate_from, rate_to; /* of this process; 0: closed loop */
    double phase;
    uint64_t seed;
    uint64_t warmup_us, duration_us;
};

struct load_client {
    struct loop loop;
    struct load_plan plan;
    struct load_results *results;
    struct stats *stats;

    char *conns; /* first load_plan.connections of them, then .idle; conn_size bytes each */
    size_t conn_size;
    uint32_t *crcs;        /* --same-body: of the answer so far, one a connection; NULL: without */
    struct load_sum *sums; /* ... and of each request's answer */
    uint16_t depth;        /* requests in flight on one connection */

    uint64_t zero_us;    /* CLOCK_MONOTONIC when times of the client began */
    uint64_t start_us;   /* the load's beginning, of the client's time as all below */
    uint64_t measure_us; /* the measuring's */
    uint64_t end_us;     /* no request is due from here on */
    uint64_t last_us;    /* the last answer or failure */
    uint64_t sent_us;    /* where requests are counted: the last of them was begun */
    uint64_t tried_us;   /* the first connection was; 0: none yet */
    bool overdue;        /* pace_is_given_up() the last time, and once more is looked */
    bool measuring;      /* its beginning has been seen */
    bool measured;       /* ... and its end */
    bool stopped;        /* by load_client_stop() */
    bool aborted;
    struct rusage usage;          /* when the measuring began */
    uint64_t bytes_in, bytes_out; /* ... until then */
    uint64_t handshakes, resumed; /* of TLS, ... until then */

    bool gathering;       /* the idle ones are being opened, before the load begins */
    uint64_t gathered_us; /* the last of those that are was, or the first was begun */

    struct load_list waiting; /* to connect, in order */
    struct load_list free;    /* open loop: open, with room in the pipeline */
    uint32_t connecting;
    uint32_t begun; /* connections that the ramp has let go; each may be anew without it */
    uint64_t backoff_us, connect_at_us;
    unsigned source;    /* the next one's */
    unsigned exhausted; /* sources in a row that had no port */

    struct load_schedule schedule;
    uint64_t schedule_us; /* when it began */
    uint64_t due_us;      /* the next request, of the client's time */
    bool warming;         /* ... for the warm-up alone */
    bool backlogged;      /* requests are due and no connection is free */

    /* Turns of the closed loop (load_rest.c); in the open loop nothing is due out of turn. */
    bool resting;           /* no request is begun */
    bool draining;          /* ... and some are in flight */
    uint64_t turn_us;       /* when the turn began; resting: when the next one does */
    uint64_t turn_stop_us;  /* when the rest begins, or did */
    uint64_t turn_drain_us; /* what was in flight then took so long, the last time */
    uint64_t turns_us;      /* the turns that are over, as far as they were measured */

    uint64_t quota_left;
    uint64_t flying;  /* of all connections */
    uint32_t request; /* which of the list is next */
    struct prng prng;
    struct load_match *matches; /* one a request */
};

/* The body that an answer has to have: that of the first right one. */
struct load_sum {
    uint32_t crc, len; /* bytes, modulo 2^32 */
    bool known;
};

/* Microseconds of the client's clock. */
static inline uint64_t load_client_now(const struct load_client *c)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000 - c->zero_us;
}

/*
 * Put a client together on the backend `ops`; nothing is connected yet. `results` and what `plan`
 * points to outlive it. 0, or -errno with one line in `error` (BACKEND_TEXT_MAX bytes) and nothing
 * left behind.
 */
int load_client_init(struct load_client *c, const struct load_plan *plan,
                     const struct backend_ops *ops, const char *variant, struct stats *stats,
                     struct load_results *results, char *error);

/*
 * Before load_client_start(): open the idle connections, each with one request; the loop is to be gone on
 * with until load_client_gathered(). That is 0 while there are some to come, 1: all are there, or
 * -ETIMEDOUT: for the whole timeout there was none more; results->failures say why.
 */
void load_client_gather(struct load_client *c);
int load_client_gathered(struct load_client *c);

/* Begin at CLOCK_MONOTONIC microsecond `start_us`, or at once if that is over. */
void load_client_start(struct load_client *c, uint64_t start_us);

/* The end, before its time: nothing is due any more. */
void load_client_stop(struct load_client *c);

/* Is everything sent and answered, or the time for that over? */
bool load_client_done(struct load_client *c);

/* What is not answered now is a failure; close all connections. The loop is to be gone on with
 * until loop.slots.used is 0. */
void load_client_abort(struct load_client *c);

void load_client_destroy(struct load_client *c);

#endif
