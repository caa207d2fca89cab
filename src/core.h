/* SPDX-License-Identifier: MIT */
/*
 * core.h - all that one worker's connections share. Created by worker.c (or a test), used by conn.c and the handlers;
 * engines see only a pointer to it that they hand back in upcalls.
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
    int fd;        /* -1: closed */
    bool shared;   /* other workers accept from it too: take few at a time */
    bool unix_socket;
};

struct core {
    const struct settings *set;
    const struct dataset *data;
    struct stats *stats;     /* this worker's block */
    struct backend *be;      /* the engine; the core never asks which */

    struct slot_table slots;
    struct bufpool in_pool;  /* stored input: head limit + one receive */
    struct bufpool out_pool;
    struct timer_wheel timers;
    struct clock_cache clock;

    int32_t run_head, run_tail; /* connections with stored input to go on with, by fd; -1: none */

    struct core_listener listeners[CORE_LISTENERS_MAX];
    unsigned listener_count;
    uint32_t connections_max;   /* accepting pauses at so many */
    bool accepting;             /* listeners are armed */
    bool paused_full;           /* accepting is paused: --max-connections reached */
    bool paused_fds;            /* accepting is paused: the kernel has no fds or memory */
    uint64_t resume_ms;         /* when to try again after paused_fds */
    bool draining;              /* SIGTERM seen: every response says close */

    bool in_wait;               /* upcalls are allowed: asserted on both sides of the seam */
    bool clock_stale;           /* the next upcall reads the clock first */
    bool trim_pending;          /* a slot_table_trim() would have something to do */
    uint64_t trim_ms;           /* when the next one is due */
};

#endif
