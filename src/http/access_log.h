/* SPDX-License-Identifier: MIT */
/*
 * access_log.h - one line for each request, into a ring that another process writes out: the worker
 * formats and copies, and never waits. A line that finds no room is dropped and counted.
 *
 * A line is written when the answer is complete, or when it is clear that there will be none. What
 * the client sent is escaped, so that it cannot end a line or a quoted text.
 */
#ifndef BIVALVE_ACCESS_LOG_H
#define BIVALVE_ACCESS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clock.h"
#include "exchange.h"
#include "loop_types.h"
#include "peer.h"
#include "ring.h"

#define ACCESS_LOG_LINE_MAX 4096 /* as much as a pipe takes in one piece (PIPE_BUF) */

enum access_log_format { ACCESS_LOG_COMBINED, ACCESS_LOG_COMBINED_TLS, ACCESS_LOG_JSON };

/* What a line shows of a request's head; spans are NULL where there is nothing. */
struct access_log_head {
    const char *line, *referer, *agent; /* request line without its CRLF, two fields' values */
    size_t line_len, referer_len, agent_len;
};

/* The same of a request that lasts longer than its head's bytes. */
struct access_log_note {
    struct access_log_head head;
    char data[];
};

struct access_log_config {
    struct ring *ring; /* records of ACCESS_LOG_LINE_MAX */
    int wake_fd;       /* for wakeup_send(): the ring's reader */
    enum access_log_format format;
};

struct access_log {
    struct access_log_config cfg;
    struct peer_table peers;
    time_t date_s; /* the second that `date` shows */
    char date[CLOCK_CLF_LEN + 1];

    /* the request whose head has just been read, and where that is */
    const struct exchange *current;
    const char *text;
    size_t text_len;
};

/* For connections on fds 0..fds-1. 0, or -errno. */
int access_log_init(struct access_log *log, const struct access_log_config *cfg, uint32_t fds);
void access_log_destroy(struct access_log *log);

/* A head of `len` bytes is complete. It is looked at when the request is logged or kept. */
void access_log_begin(struct access_log *log, struct exchange *x, const char *text, size_t len);

/* The head's bytes are about to go, and the request is not done. */
void access_log_keep(struct access_log *log, struct exchange *x);

/*
 * The request has ended, with this status; `duration_ns` is how long it took (shown by JSON lines).
 */
void access_log_end(struct access_log *log, struct loop *l, struct exchange *x, int status,
                    uint64_t duration_ns);

#endif
