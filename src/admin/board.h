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

struct board_worker {
    pid_t pid; /* 0: there is none now */
    bool serving;
    uint64_t started_ms; /* clock_monotonic_ms(), of the process that is there now */
};

struct board {
    unsigned state; /* enum board_state */
    pid_t pid;      /* of the supervisor */
    time_t started_s;
    uint64_t started_ms;
    unsigned workers;                      /* 1 with --workers 0 */
    const struct backend_ops *_Atomic ops; /* ... that serves; NULL: not yet */
    char features[BACKEND_TEXT_MAX];       /* ... with; empty until `ops` is set */
    struct board_worker worker[];
};

/*
 * Map one for `workers` (at least 1) workers, shared between this process and its future children:
 * starting, from now on. NULL and errno on failure.
 */
struct board *board_map(unsigned workers);
void board_unmap(struct board *b);

/* The server has started, with this backend. */
void board_set_serving(struct board *b, const struct backend_ops *ops, const char *features);

/* Does any worker serve, and is the server not about to end? */
bool board_is_healthy(const struct board *b);

/* "starting", "serving" or "draining". */
const char *board_state_name(const struct board *b);

#endif
