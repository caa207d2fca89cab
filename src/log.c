/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_MAX 4096 /* bytes of one line; the rest is cut */

static enum log_level log_level = LOG_LEVEL_NOTICE;
static const char *const log_names[] = {"error", "warn", "notice", "info", "debug"};

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
        if (!strcmp(name, log_names[i]))
            return (int)i;
    return -EINVAL;
}

/* Can this byte stand in a line as it is? */
static inline int log_is_plain(unsigned char c)
{
    return c >= 0x20 && c <= 0x7e;
}

const char *log_escape(char *out, size_t out_size, const char *in, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)in[i];
        size_t need = log_is_plain(c) && c != '\\' ? 1 : 4;
        size_t rest = i + 1 < len ? 4 : 1; /* room for "..." and the NUL, unless this is the last */
        if (n + need + rest > out_size) {
            for (const char *dots = "..."; *dots && n + 1 < out_size; dots++)
                out[n++] = *dots;
            break;
        }
        if (need == 1) {
            out[n++] = (char)c;
        } else {
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        }
    }
    if (out_size)
        out[n] = '\0';
    return out;
}

/* One line, one write(2): lines of several processes do not mix. */
static void log_emit(enum log_level level, unsigned suppressed, const char *fmt, va_list ap)
{
    char text[LOG_LINE_MAX / 2], line[LOG_LINE_MAX];
    struct tm tm;
    int saved = errno;
    time_t now = time(NULL);

    vsnprintf(text, sizeof(text), fmt, ap);
    gmtime_r(&now, &tm);
    size_t n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%SZ ", &tm);
    n += (size_t)snprintf(line + n, sizeof(line) - n, "%s [%d] ", log_names[level], (int)getpid());
    /* Messages are ours and plain; whatever else got in is escaped here, but not a second time: '\\' stays. */
    for (const char *p = text; *p && n + 64 < sizeof(line); p++) {
        if (log_is_plain((unsigned char)*p))
            line[n++] = *p;
        else
            n += (size_t)snprintf(line + n, 5, "\\x%02x", (unsigned char)*p);
    }
    if (suppressed)
        n += (size_t)snprintf(line + n, sizeof(line) - n, " (and %u like it)", suppressed);
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, n) < 0) { /* nowhere else to say it */
    }
    errno = saved;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    va_list ap;

    if (level > log_level)
        return;
    va_start(ap, fmt);
    log_emit(level, 0, fmt, ap);
    va_end(ap);
}

void log_write_limited(struct log_site *site, enum log_level level, const char *fmt, ...)
{
    struct timespec t;
    va_list ap;

    if (level > log_level)
        return;
    clock_gettime(CLOCK_MONOTONIC, &t);
    if ((uint64_t)t.tv_sec != site->window_s) {
        site->window_s = (uint64_t)t.tv_sec;
        site->count = 0;
    }
    if (++site->count > LOG_LINES_PER_SECOND) {
        site->suppressed++;
        return;
    }
    va_start(ap, fmt);
    log_emit(level, site->suppressed, fmt, ap);
    va_end(ap);
    site->suppressed = 0;
}
