/* SPDX-License-Identifier: MIT */
/*
 * loop_types.h - what an event loop is made of: for loop.h, which runs it, and for accept.h and
 * stream.h, which are parts of it.
 */
#ifndef BIVALVE_LOOP_TYPES_H
#define BIVALVE_LOOP_TYPES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend.h"
#include "bufpool.h"
#include "clock.h"
#include "settings.h"
#include "slot.h"
#include "stats.h"
#include "timer.h"

#define LOOP_TICK_SHIFT 7 /* resolution of the connections' deadlines */
#define LOOP_TICK_MS    (1u << LOOP_TICK_SHIFT)

struct loop;
struct protocol;
struct peer_table;
struct proxy_trust;
struct stream_layer;
struct tls_streams;
struct readers;

/* A listener as one process knows it. The first part is the caller's to fill. */
struct accept_listener {
    const char *text; /* the address, for the log; outlives the loop */
    const struct protocol *protocol;
    int fd;                          /* -1: closed */
    bool shared;                     /* other processes accept from it too: take few at a time */
    bool unix_socket;                /* no TCP options */
    const struct proxy_trust *proxy; /* for proxy_streams_open(), which sets `inner`; NULL: none */
    unsigned inner;                  /* the listener that its connections become ones of */
    bool tls;                        /* for tls_streams_open(), which sets the next two */

    const struct stream_layer *layer; /* NULL: what is written is sent as it is */
    const struct protocol *above;     /* the protocol that is served by way of the layer */

    bool kept;           /* at the drain: others go on accepting from it */
    bool failing;        /* off after an error, until resume_ms */
    bool told;           /* ... which the log has; until a connection is accepted */
    bool starved;        /* ... for want of fds or memory, which another's end may bring */
    uint8_t refused;     /* EPERM in a row */
    uint32_t backoff_ms; /* the next one */
    uint64_t resume_ms;
};

struct acceptor {
    struct accept_listener listener[BACKEND_LISTENERS_MAX];
    unsigned count;
    uint32_t connections_max; /* so many are open at most */
    bool started;
    bool full;        /* all places are taken */
    bool starved;     /* some listener is */
    unsigned failing; /* listeners that are */
    uint64_t closed;  /* connections that had ended when that was looked at last */
};

/* What a program does in the loop besides its protocols. */
struct loop_hooks {
    size_t output_block_bytes; /* room in a block of output */

    /*
     * Once an iteration, outside the wait: go on with what is queued. Microseconds until there is
     * something to do again, 0: now, -1: only events will bring it.
     */
    int64_t (*before_wait)(struct loop *l);

    /*
     * About once a second, while memory may be given back to the kernel: the bytes that were.
     * *pending: another call may have something to do even if nothing else happens.
     */
    size_t (*trim)(struct loop *l, bool *pending);
};

struct loop {
    const struct settings *set;
    const struct loop_hooks *hooks;
    struct stats *stats; /* this process's block */
    struct backend *be;

    struct slot_table slots;
    struct bufpool out_pool;
    struct bufpool sent_pool;     /* of what the backend sends later, where it is little */
    struct bufpool_budget budget; /* --max-buffer-bytes: of all that connections hold */
    struct timer_wheel timers;    /* of the slots */
    struct clock_cache clock;
    struct acceptor acceptor;
    struct peer_table *peers; /* of who logs clients' addresses; NULL: nobody */

    struct tls_streams *tls; /* stream_tls_internal.h; NULL: no listener has TLS */

    struct slot *current; /* the connection that is being served: not to be closed for room */

    struct readers *readers; /* NULL: none have been needed yet */
    atomic_bool reads_done;  /* set by them: readers_collect() has something to do */

    bool draining;     /* the last response to what has arrived says close */
    bool patient;      /* ... and who is idle need not hurry: loop_retire() */
    bool clock_stale;  /* the next upcall reads the clock first */
    bool trim_pending; /* memory may be given back */
    bool trim_again;   /* ... or is wanted by the program's hook, which says so */
    uint64_t trim_ms;  /* when that is looked at next */
};

/*
 * How much output a connection may have pending before it is not read from: --max-output-bytes, or
 * a block where memory is short.
 */
static inline size_t loop_output_max(const struct loop *l)
{
    if (unlikely(l->budget.used >= l->budget.max / 4 * 3))
        return MIN(l->set->max_output_bytes, l->hooks->output_block_bytes);
    return l->set->max_output_bytes;
}

#endif
