/* SPDX-License-Identifier: MIT */
/*
 * board.h - what the supervisor knows, for the process that shows it: one mapping that both share.
 * The supervisor alone writes; a reader sees values that are each correct, not a snapshot.
 */
#ifndef BIVALVE_BOARD_H
#define BIVALVE_BOARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "backend.h"

enum board_state { BOARD_STARTING, BOARD_SERVING, BOARD_DRAINING };

/*
 * A seat: a number by which a worker is known, and its block of counters. Whoever has it next goes on
 * counting there.
 */
struct board_worker {
    pid_t pid;   /* 0: there is none now */
    bool wanted; /* there should be one; else it is free, or its worker is about to end */
    bool serving;
    uint64_t started_ms; /* clock_monotonic_ms(), of the process that is there now */
};

#define BOARD_LISTENERS_MAX 2048

struct board {
    unsigned state; /* enum board_state */
    pid_t pid;      /* of the supervisor */
    time_t started_s;
    uint64_t started_ms;
    unsigned workers; /* that there should be; 1 with --workers 0 */
    unsigned seats;   /* of worker[] */
    unsigned used;    /* so many of them ever were */
    uint64_t reloads, reload_failures;
    uint64_t upgrade_failures;             /* SIGUSR2: who was to take over did not serve */
    char listeners[BOARD_LISTENERS_MAX];   /* addresses, separated by ", " */
    const struct backend_ops *_Atomic ops; /* ... that serves; NULL: not yet */
    char features[BACKEND_TEXT_MAX];       /* ... with; empty until `ops` is set */
    struct board_worker worker[];
};

/*
 * Map one of so many seats (at least 1), all free, shared between this process and its future
 * children: starting, from now on. NULL and errno on failure.
 */
struct board *board_map(unsigned seats);
void board_unmap(struct board *b);

/* The server has started, with this backend. */
void board_set_serving(struct board *b, const struct backend_ops *ops, const char *features);

/* Is there something to show of seat `k`, or of the totals alone? */
bool board_shows(const struct board *b, unsigned k);

/* Does any worker serve, and is the server not about to end? */
bool board_is_healthy(const struct board *b);

/* "starting", "serving" or "draining". */
const char *board_state_name(const struct board *b);

#endif
