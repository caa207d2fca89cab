/* SPDX-License-Identifier: MIT */
/*
 * log.h - one line a message on stderr, each line one write(2), rate-limited for each call site.
 *
 * A line is `2026-01-31T12:00:00Z LEVEL [PID] text`; where stderr is systemd's journal, <3> to <7>
 * stands before it, which is where the journal takes the priority from (sd-daemon(3)). Control characters and bytes above 0x7e in the
 * text are escaped as \xNN, so nothing a client sends can forge a line or drive a terminal.
 */
#ifndef BIVALVE_LOG_H
#define BIVALVE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};

/* State of one rate-limited call site; zero-initialised, static. */
struct log_site {
    uint64_t window_s;   /* monotonic second in which `count` lines were seen */
    unsigned count;      /* lines in this window, written or not */
    unsigned suppressed; /* lines not written since the last one that was */
};

#define LOG_LINE_MAX 8192 /* bytes; a longer line is cut, and ends in "..." */

/* Of one call site; more are counted, and reported with its next line. */
#define LOG_LINES_PER_SECOND 5

/*
 * From now on no line waits for whoever reads stderr: what finds no room is dropped, and the next
 * line that does is preceded by one that says how many were. Pipes and terminals are opened anew
 * for that (proc(5), /proc/PID/fd), sockets take MSG_DONTWAIT. Where a pipe cannot be opened again
 * (another user's), it is asked for room by poll(2) first: that blocks only where several processes
 * write at once into the last of the room, until somebody reads. Call once, before forking. Finds out
 * by $JOURNAL_STREAM whether stderr is the journal.
 */
void log_open(void);

/* Count in *counter, too, every line of this process that finds no room. Of a worker: its stats. */
void log_count_dropped(uint64_t *counter);

/* Lines above `level` are dropped from now on. The default is LOG_LEVEL_NOTICE. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* Level named `name`: error, warn, notice, info, debug, as LEVEL in a line; or -EINVAL. */
int log_level_parse(const char *name);

/* Write one line unconditionally (subject to the level). Never fails; keeps errno. */
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The same at most LOG_LINES_PER_SECOND times a second for `site`. */
void log_write_limited(struct log_site *site, enum log_level level, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/*
 * Escape `len` bytes of `in` into `out` of `out_size` bytes, NUL-terminated, truncated with "..."
 * if needed; backslashes as well, so that the escapes are unambiguous. Returns `out`. For client
 * data that goes into a message.
 */
const char *log_escape(char *out, size_t out_size, const char *in, size_t len);

#define log_error(...)  log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)   log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_notice(...) log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)   log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)  log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* A call site that a client or the kernel could trigger at will uses these. */
#define log_limited(level, ...)                              \
    do {                                                     \
        static struct log_site log_site_;                    \
        log_write_limited(&log_site_, (level), __VA_ARGS__); \
    } while (0)

#endif
