/* SPDX-License-Identifier: MIT */
/*
 * supervisor_state.h - what the supervisor knows, and its parts share: supervisor_run.c is the loop,
 * supervisor_generation.c starts and replaces workers, supervisor_restart.c has those that die,
 * supervisor_process.c is what runs in their processes.
 */
#ifndef BIVALVE_SUPERVISOR_STATE_H
#define BIVALVE_SUPERVISOR_STATE_H

#include <poll.h>

#include "supervisor.h"
#include "worker.h"

#define SUPERVISOR_START_MS  30000 /* all workers report within this, or it has failed */
#define SUPERVISOR_OLD_MAX   16    /* generations that retire; then a reload waits */
#define SUPERVISOR_MARGIN_MS 3000  /* beyond the drain timeout, before workers are killed */

enum supervisor_state { SUPERVISOR_STARTING, SUPERVISOR_SERVING, SUPERVISOR_DRAINING };

struct supervisor_report {
    int error;                   /* 0: it is ready; -errno: it is not, and ends */
    char text[BACKEND_TEXT_MAX]; /* the backend's features, or what is wrong */
};

enum generation_state { GENERATION_STARTING, GENERATION_SERVING, GENERATION_RETIRING };

struct generation {
    enum generation_state state;
    const struct supervisor_plan *plan;
    const struct backend_ops *ops; /* what is tried, or serves */
    const char *variant;
    unsigned seats;       /* that its workers have */
    uint64_t deadline_ms; /* of the start, or of the retirement; 0: none */
    char features[BACKEND_TEXT_MAX];
};

/* A seat. */
struct supervisor_worker {
    struct generation *of; /* NULL: it is free */
    unsigned index;        /* which of the generation's */
    pid_t pid;             /* 0: none now */
    int report_fd;         /* our end of its sockets, -1: closed */
    bool ready;            /* it has reported that it is ready */
    bool waiting;          /* dead, to be started again at restart_ms */
    uint64_t started_ms;
    uint64_t restart_ms;
    uint32_t backoff_ms; /* the next delay */
    uint64_t seen;       /* its iterations, when they were looked at: supervisor_watch.h */
    unsigned silent;     /* looks without any more */
};

/* Another server that is to take this one's place. */
struct supervisor_upgrade {
    bool wanted;
    pid_t pid;   /* 0: there is none */
    int word_fd; /* by which it says that it serves; -1: closed */
    uint64_t deadline_ms;
};

struct supervisor {
    const struct supervisor_config *cfg;
    const sigset_t *mask;
    enum supervisor_state state;
    struct generation *now;                     /* that serves, or is to be the first */
    struct generation *next;                    /* that is to take over; NULL: none */
    struct generation *old[SUPERVISOR_OLD_MAX]; /* that retire */
    bool reload;                                /* wanted, as soon as it can be */
    struct supervisor_upgrade upgrade;
    bool sides_run;                   /* the processes beside the workers have been started */
    struct supervisor_worker *worker; /* the seats */
    struct worker_control *control;   /* ... and what their workers are told, in shared memory */
    unsigned used;                    /* so many of them have been taken so far */
    struct pollfd *poll;              /* one for each seat, and the upgrade's */
    uint64_t watch_ms;                /* when workers are looked at next */
    uint64_t drain_ms;    /* --drain-delay: when the drain begins; 0: not told to end yet */
    uint64_t deadline_ms; /* of the drain; 0: none */
    bool failed;          /* a worker ended in disorder during the drain, or had to be killed */
    char trouble[BACKEND_TEXT_MAX]; /* why the start failed; empty: it has not */
};

#endif
