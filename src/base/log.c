/* SPDX-License-Identifier: MIT */
/*
 * log.c - see log.h. Nothing is allocated, opened or buffered: a line that log_write() returned
 * from is out.
 */
#include "config.h"

#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

static enum log_level log_level = LOG_LEVEL_NOTICE;

static const char *const log_names[] = {
    [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARN] = "warn",   [LOG_LEVEL_NOTICE] = "notice",
    [LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_DEBUG] = "debug",
};

void log_set_level(enum log_level level)
{
    log_level = level;
}

enum log_level log_get_level(void)
{
    return log_level;
}

int log_level_parse(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(log_names); i++)
        if (strcmp(name, log_names[i]) == 0)
            return (int)i;
    return -EINVAL;
}

/*
 * Escape into `out`; a backslash too if `backslash`, so that what was escaped can be told from what
 * was sent. Stops at the last character behind which "..." fits when the rest does not. Returns the
 * length.
 */
static size_t log_escape_into(char *out, size_t out_size, const char *in, size_t len,
                              bool backslash)
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0, cut = 0; /* cut: where "..." would go */

    if (out_size == 0)
        return 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)in[i];
        bool escape = c < 0x20 || c > 0x7e || (c == '\\' && backslash);
        size_t need = escape ? 4 : 1;

        if (at + 3 < out_size)
            cut = at;
        if (at + need >= out_size) {
            at = cut + MIN((size_t)3, out_size - 1 - cut);
            memset(out + cut, '.', at - cut);
            break;
        }
        if (escape) {
            memcpy(out + at, (const char[4]){'\\', 'x', hex[c >> 4], hex[c & 15]}, 4);
        } else {
            out[at] = (char)c;
        }
        at += need;
    }
    out[at] = '\0';
    return at;
}

const char *log_escape(char *out, size_t out_size, const char *in, size_t len)
{
    log_escape_into(out, out_size, in, len, true);
    return out;
}

static void log_line(enum log_level level, unsigned suppressed, const char *fmt, va_list args)
    PRINTF_LIKE(3, 0);

static void log_line(enum log_level level, unsigned suppressed, const char *fmt, va_list args)
{
    int saved = errno;
    char text[LOG_LINE_MAX], line[LOG_LINE_MAX], when[CLOCK_ISO_LEN + 1];
    struct timespec now;
    size_t at, len;

    errno = saved; /* for %m */
    int n = vsnprintf(text, sizeof(text), fmt, args);
    len = n < 0 ? 0 : MIN((size_t)n, sizeof(text) - 1);
    clock_gettime(CLOCK_REALTIME, &now);
    clock_format_iso(when, now.tv_sec);
    at = (size_t)snprintf(line, sizeof(line), "%s %s [%ld] ", when, log_names[level],
                          (long)getpid());
    if (suppressed)
        at += (size_t)snprintf(line + at, sizeof(line) - at, "(%u like this were not logged) ",
                               suppressed);
    at += log_escape_into(line + at, sizeof(line) - at - 1, text, len, false);
    line[at++] = '\n';

    /* One attempt but for signals: a log that cannot be written to must not hold up the server. */
    while (write(STDERR_FILENO, line, at) < 0 && errno == EINTR)
        ;
    errno = saved;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    va_list args;

    if (level > log_level)
        return;
    va_start(args, fmt);
    log_line(level, 0, fmt, args);
    va_end(args);
}

void log_write_limited(struct log_site *site, enum log_level level, const char *fmt, ...)
{
    va_list args;

    if (level > log_level)
        return;
    uint64_t now_s = clock_monotonic_ms() / 1000;
    if (now_s != site->window_s) {
        site->window_s = now_s;
        site->count = 0;
    }
    if (site->count++ >= LOG_LINES_PER_SECOND) {
        site->suppressed++;
        return;
    }
    unsigned suppressed = site->suppressed;
    site->suppressed = 0;
    va_start(args, fmt);
    log_line(level, suppressed, fmt, args);
    va_end(args);
}
