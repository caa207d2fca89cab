/* SPDX-License-Identifier: MIT */
/*
 * log.c - see log.h. Nothing is allocated, opened or buffered: a line that log_write() returned
 * from is out.
 */
#include "config.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

static enum log_level log_level = LOG_LEVEL_NOTICE;

/* How a write to stderr is kept from blocking: see log_open(). */
static enum { LOG_WRITE, LOG_SEND, LOG_POLL } log_how = LOG_WRITE;

static bool log_priorities; /* each line begins with its priority, for the journal */

static unsigned log_dropped; /* lines that there was no room for, since the last that was written */
static bool log_torn;        /* of the last of them a part was written */
static uint64_t *log_counter; /* of all of them; NULL: nobody asks */

static const char *const log_names[] = {
    [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARN] = "warn",   [LOG_LEVEL_NOTICE] = "notice",
    [LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_DEBUG] = "debug",
};

/* What a line begins with: syslog(3) counts from 3, error. */
static const char *log_priority(enum log_level level)
{
    static const char *const prefixes[] = {"<3>", "<4>", "<5>", "<6>", "<7>"};

    return log_priorities ? prefixes[level] : "";
}

void log_set_level(enum log_level level)
{
    log_level = level;
}

enum log_level log_get_level(void)
{
    return log_level;
}

void log_count_dropped(uint64_t *counter)
{
    log_counter = counter;
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

/* Is it the stream that whoever started us has named as the journal's (systemd.exec(5))? */
static bool log_is_journal(const struct stat *st)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char ours[64];

    snprintf(ours, sizeof(ours), "%llu:%llu", (unsigned long long)st->st_dev,
             (unsigned long long)st->st_ino);
    return stream && !strcmp(stream, ours);
}

void log_open(void)
{
    struct stat st;

    if (fstat(STDERR_FILENO, &st) < 0)
        return;
    log_priorities = log_is_journal(&st);
    if (S_ISREG(st.st_mode))
        return;
    if (S_ISSOCK(st.st_mode)) {
        log_how = LOG_SEND;
        return;
    }
    /*
     * O_NONBLOCK belongs to the open file description, which whoever started us may share: so ours
     * is a new one of the same pipe or terminal.
     */
    int fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        log_how = LOG_POLL;
    if (fd >= 0)
        close(fd);
}

/* One attempt to write a line, without waiting. Bytes written, or -1. */
static ssize_t log_put_once(const char *line, size_t len)
{
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (log_how == LOG_SEND)
        return send(STDERR_FILENO, line, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (log_how == LOG_POLL && poll(&room, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(STDERR_FILENO, line, len);
}

/* The same again when a signal came. False, and counted, unless all of it was written. */
static bool log_put(const char *line, size_t len)
{
    ssize_t n;

    while ((n = log_put_once(line, len)) < 0 && errno == EINTR)
        ;
    if (n == (ssize_t)len)
        return true;
    log_dropped++;
    if (log_counter)
        ++*log_counter;
    log_torn = log_torn || n > 0;
    return false;
}

/* Say first what is missing before this line. False: there is no room for that either. */
static bool log_put_dropped(const char *when)
{
    char line[128];
    unsigned dropped = log_dropped;

    if (!dropped)
        return true;
    int n = snprintf(line, sizeof(line),
                     "%s%s%s %s [%ld] %u lines are missing here: the log was full\n",
                     log_torn ? "\n" : "", log_priority(LOG_LEVEL_WARN), when,
                     log_names[LOG_LEVEL_WARN], (long)getpid(), dropped);
    if (!log_put(line, (size_t)n))
        return false; /* and this counts for the line that will not be written now */
    log_dropped = 0;
    log_torn = false;
    return true;
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
    at = (size_t)snprintf(line, sizeof(line), "%s%s %s [%ld] ", log_priority(level), when,
                          log_names[level], (long)getpid());
    if (suppressed)
        at += (size_t)snprintf(line + at, sizeof(line) - at, "(%u like this were not logged) ",
                               suppressed);
    at += log_escape_into(line + at, sizeof(line) - at - 1, text, len, false);
    line[at++] = '\n';

    /* A log that cannot be written to must not hold up the server. */
    if (log_put_dropped(when))
        log_put(line, at);
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
