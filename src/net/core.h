/* SPDX-License-Identifier: MIT */
/*
 * core.h - all that one worker's connections share. Created by worker.c (or a test), used by conn.c
 * and the handlers; engines see only a pointer to it that they hand back in upcalls.
 */
#ifndef BIVALVE_CORE_H
#define BIVALVE_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "bufpool.h"
#include "clock.h"
#include "dataset.h"
#include "settings.h"
#include "slot.h"
#include "stats.h"
#include "timer.h"

struct backend;

#define CORE_LISTENERS_MAX 64

struct core_listener {
    int fd;      /* -1: closed */
    bool shared; /* other workers accept from it too: take few at a time */
    bool unix_socket;
};

struct core {
    const struct settings *set;
    const struct dataset *data;
    struct stats *stats; /* this worker's block */
    struct backend *be;  /* the engine; the core never asks which */

    struct slot_table slots;
    struct bufpool in_pool; /* stored input: head limit + one receive */
    struct bufpool out_pool;
    struct timer_wheel timers;
    struct clock_cache clock;

    int32_t run_head, run_tail; /* connections with stored input to go on with, by fd; -1: none */

    struct core_listener listeners[CORE_LISTENERS_MAX];
    unsigned listener_count;
    uint32_t connections_max; /* accepting pauses at so many */
    bool accepting;           /* listeners are armed */
    bool accept_free;         /* far from connections_max: engines accept all there is */
    bool paused_full;         /* accepting is paused: --max-connections reached */
    bool paused_fds;          /* accepting is paused: the kernel has no fds or memory */
    bool told_fds;            /* ... and the log has said so */
    uint64_t resume_ms;       /* when to try again after paused_fds */
    bool draining;            /* SIGTERM seen: the last response to what has arrived says close */
    /* of conn_serve.c: bytes behind the request being answered are here already */
    bool more_input;

    bool in_wait;      /* upcalls are allowed: asserted on both sides of the seam */
    bool clock_stale;  /* the next upcall reads the clock first */
    bool trim_pending; /* a slot_table_trim() would have something to do */
    uint64_t trim_ms;  /* when the next one is due */
};

/*
 * Set up everything but listeners: slot table for fds below `fds`, pools, wheel, clock, and the
 * engine `ops` with `variant`, opened in this process. What is pointed to must outlive the core. 0,
 * or -errno with one line in `error` (BACKEND_TEXT_MAX bytes), and nothing left behind.
 */
struct backend_ops;
int core_init(struct core *c, const struct settings *set, const struct dataset *data,
              struct stats *stats, const struct backend_ops *ops, const char *variant, uint32_t fds,
              char *error);

/* No connection is open any more, or the process is about to end. */
void core_destroy(struct core *c);

/*
 * One turn of the worker's loop: go on with queued connections, expire timers, wait at most
 * `max_ms` (-1: as long as nothing is due) and make the upcalls. 0, or -errno when the engine is
 * broken.
 */
int core_turn(struct core *c, int64_t max_ms);

#endif
