/* SPDX-License-Identifier: MIT */
/*
 * logger.h - the process that writes the access log: it reads the workers' rings and is alone in
 * waiting for a disk, a pipe or syslog.
 */
#ifndef BIVALVE_LOGGER_H
#define BIVALVE_LOGGER_H

#include <stdint.h>

#include "access_log.h"
#include "side.h"
#include "wakeup.h"

#define LOGGER_ERROR_MAX  512
#define LOGGER_RING_BYTES (1u << 20) /* of each worker: some 7000 lines */

struct logger {
    const char *target; /* a path, "-" for standard output, or "syslog" */
    enum { LOGGER_FILE, LOGGER_STREAM, LOGGER_SYSLOG } kind;
    int fd;               /* -1: not open */
    struct wakeup wakeup; /* by the workers */
    unsigned count;
    struct access_log_config *workers; /* count of them */
    struct side side;

    /* in the process itself */
    bool torn;     /* of the last line a part was written */
    uint64_t lost; /* lines that could not be written, since that was said last */
};

/*
 * Open what is to be written to, and a ring for each of `workers`; fill l->side. 0, or -errno with
 * one line in `error` (LOGGER_ERROR_MAX bytes), and nothing left behind.
 */
int logger_open(struct logger *l, const char *target, enum access_log_format format,
                unsigned workers, char *error);

/* Have its process open the file anew, after a rotation. */
void logger_reopen(const struct logger *l);

/* Close this process's copy of what is written to: who has it open keeps a rotated file alive. */
void logger_forget(struct logger *l);

void logger_close(struct logger *l);

#endif
