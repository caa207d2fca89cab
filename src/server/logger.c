/* SPDX-License-Identifier: MIT */
/*
 * logger.c - see logger.h.
 *
 * A nap between two rounds lets lines gather, so that a write carries many; a worker whose ring is
 * half full, or who has the first line after a silence, ends it. Files are written to and waited
 * for; a pipe or a terminal is not, so that a reader who has stopped reading cannot keep the
 * process from its end. Nothing is written but whole lines, as long as there is room for them.
 */
#include "config.h"

#include "logger.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "sys.h"
#include "worker.h"

#define LOGGER_NAP_MS    50
#define LOGGER_IDLE_MS   1000        /* a wake-up may be missed: lines wait no longer than this */
#define LOGGER_ORPHAN_MS 1000        /* the workers' last lines, after the supervisor's death */
#define LOGGER_PIECE     65536       /* bytes of one write to a file */
#define LOGGER_PRIORITY  (3 * 8 + 6) /* daemon.info: syslog(3) */

static_assert(ACCESS_LOG_LINE_MAX <= PIPE_BUF, "a line is one piece to a pipe");

static volatile sig_atomic_t logger_stop, logger_orphan, logger_wants_reopen;
static pid_t logger_parent;

/* ---- opening ---- */

static int logger_open_syslog(void)
{
    const struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    int fd = sys_socket(AF_UNIX, SOCK_DGRAM, false);

    if (fd >= 0 && connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
        int err = errno;
        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

static int logger_open_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0640);
}

/*
 * O_NONBLOCK belongs to the open file description, which whoever started us may share: so ours is a
 * new one of the same pipe or terminal, as in log.c. What cannot be opened again is polled first.
 */
static int logger_open_stdout(void)
{
    int fd = open("/proc/self/fd/1", O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    return fd >= 0 ? fd : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
}

static int logger_open_target(struct logger *l)
{
    struct stat st;
    int fd;

    if (!strcmp(l->target, "syslog")) {
        l->kind = LOGGER_SYSLOG;
        return logger_open_syslog();
    }
    fd = strcmp(l->target, "-") ? logger_open_file(l->target) : logger_open_stdout();
    if (fd >= 0)
        l->kind = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? LOGGER_FILE : LOGGER_STREAM;
    return fd;
}

static int logger_run(void *arg, const sigset_t *mask);

void logger_forget(struct logger *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

static void logger_forget_side(void *arg)
{
    logger_forget(arg);
}

int logger_open(struct logger *l, const char *target, enum access_log_format format,
                unsigned workers, char *error)
{
    *l = (struct logger){.target = target, .count = workers, .wakeup = WAKEUP_NONE};
    l->fd = logger_open_target(l);
    if (l->fd < 0) {
        int err = errno;
        snprintf(error, LOGGER_ERROR_MAX, "--access-log %s: %s%s", target, strerror(err),
                 err == EACCES || err == ENOENT
                     ? " (its directory has to be there, and the user who serves may write to it)"
                     : "");
        return -err;
    }
    bool ok = wakeup_open(&l->wakeup) == 0;
    l->workers = calloc(workers, sizeof(*l->workers));
    ok = ok && l->workers;
    for (unsigned k = 0; ok && k < workers; k++) {
        l->workers[k] =
            (struct access_log_config){.ring = ring_map(LOGGER_RING_BYTES, ACCESS_LOG_LINE_MAX),
                                       .wake_fd = l->wakeup.write_fd,
                                       .format = format};
        ok = l->workers[k].ring != NULL;
    }
    if (!ok) {
        snprintf(error, LOGGER_ERROR_MAX, "--access-log: no memory for its buffers: %s",
                 strerror(errno));
        logger_close(l);
        return -ENOMEM;
    }
    l->side = (struct side){
        .name = "bivalve-log", .run = logger_run, .forget = logger_forget_side, .arg = l};
    return 0;
}

void logger_close(struct logger *l)
{
    for (unsigned k = 0; l->workers && k < l->count; k++)
        ring_unmap(l->workers[k].ring);
    free(l->workers);
    l->workers = NULL;
    wakeup_close(&l->wakeup);
    logger_forget(l);
}

void logger_reopen(const struct logger *l)
{
    if (l->side.pid)
        kill(l->side.pid, SIGUSR1);
}

/* ---- writing ---- */

/* Bytes of whole lines at the front of text[0..len), at most `max` where that is possible. */
static size_t logger_lines(const char *text, size_t len, size_t max)
{
    const char *end = memrchr(text, '\n', MIN(len, max));

    return end ? (size_t)(end - text) + 1 : 0;
}

static unsigned logger_count(const char *text, size_t len)
{
    unsigned n = 0;

    for (const char *p = text; (p = memchr(p, '\n', len - (size_t)(p - text))); p++)
        n++;
    return n;
}

/* One line to syslog, without its end. */
static ssize_t logger_send(const struct logger *l, const char *line, size_t len)
{
    char text[ACCESS_LOG_LINE_MAX + 64];
    int n = snprintf(text, sizeof(text), "<%d>bivalve[%d]: %.*s", LOGGER_PRIORITY, (int)getppid(),
                     (int)len - 1, line);

    return send(l->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -1 : (ssize_t)len;
}

/*
 * Write some of the whole lines text[0..len). Bytes that are done with; 0: there is no room for
 * them now.
 */
static size_t logger_put(struct logger *l, const char *text, size_t len)
{
    ssize_t n;

    if (l->torn && write(l->fd, "\n", 1) == 1)
        l->torn = false;
    if (l->kind == LOGGER_SYSLOG) {
        len = (size_t)((const char *)memchr(text, '\n', len) - text) + 1;
        n = logger_send(l, text, len);
    } else {
        len = logger_lines(text, len, l->kind == LOGGER_FILE ? LOGGER_PIECE : PIPE_BUF);
        n = write(l->fd, text, len);
    }
    if (n == (ssize_t)len)
        return len;
    if (n < 0 && errno == EINTR)
        return logger_stop ? 0 : logger_put(l, text, len);
    if (n < 0 && (errno == EAGAIN || errno == ENOBUFS))
        return 0;
    /* A full disk, a reader that is gone. What was begun is not finished: the rest might not come. */
    int err = n < 0 ? errno : ENOSPC;
    l->torn = l->torn || (n > 0 && text[n - 1] != '\n');
    l->lost += logger_count(text + MAX(n, 0), len - (size_t)MAX(n, 0));
    log_limited(LOG_LEVEL_ERROR, "the access log cannot be written to: %s; %llu lines are lost",
                strerror(err), (unsigned long long)l->lost);
    if (l->kind == LOGGER_SYSLOG && (err == ECONNREFUSED || err == ENOTCONN || err == ENOENT)) {
        int fd = logger_open_syslog(); /* it has been restarted */
        if (fd >= 0) {
            close(l->fd);
            l->fd = fd;
        }
    }
    return len;
}

/* Write what is in the ring of worker `k`. False: there is no room for it now. */
static bool logger_drain(struct logger *l, unsigned k, bool *any)
{
    static char line[ACCESS_LOG_LINE_MAX]; /* one that lies over the end of the ring */
    struct ring *r = l->workers[k].ring;
    struct iovec pieces[2];
    unsigned count;

    while ((count = ring_peek(r, pieces)) > 0) {
        const char *text = pieces[0].iov_base;
        size_t len = logger_lines(text, pieces[0].iov_len, pieces[0].iov_len), joined = 0;
        if (!len) {
            const char *rest = pieces[1].iov_base;
            joined = pieces[0].iov_len;
            len = joined + (size_t)((const char *)memchr(rest, '\n', pieces[1].iov_len) - rest) + 1;
            memcpy(line, text, joined);
            memcpy(line + joined, rest, len - joined);
            text = line;
        }
        *any = true;
        size_t done = logger_put(l, text, len);
        if (!done)
            return false;
        ring_consume(r, done);
    }
    return true;
}

/* ---- the process ---- */

static void logger_on_signal(int number)
{
    if (number == WORKER_ORPHAN_SIGNAL && getppid() == logger_parent)
        return; /* sys_on_orphaned() */
    if (number == SIGUSR1)
        logger_wants_reopen = 1;
    else
        logger_stop = 1;
    if (number == WORKER_ORPHAN_SIGNAL)
        logger_orphan = 1;
}

static void logger_signals(sigset_t *waiting)
{
    static const int numbers[] = {SIGTERM, SIGUSR1, WORKER_ORPHAN_SIGNAL};
    struct sigaction action = {.sa_handler = logger_on_signal};

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        sigaction(numbers[i], &action, NULL);
        sigdelset(waiting, numbers[i]);
    }
    signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole group: the supervisor decides */
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

static void logger_do_reopen(struct logger *l)
{
    logger_wants_reopen = 0;
    if (l->kind != LOGGER_FILE && l->kind != LOGGER_STREAM)
        return;
    if (!strcmp(l->target, "-"))
        return;
    int fd = logger_open_target(l);
    if (fd < 0) {
        log_error("--access-log %s cannot be opened again: %s; the old file is written to",
                  l->target, strerror(errno));
        return;
    }
    close(l->fd);
    l->fd = fd;
    l->torn = false;
}

/* Until a signal, a worker's word, room in what is full, or the time is over. */
static void logger_wait(struct logger *l, bool full, bool any, const sigset_t *waiting)
{
    struct pollfd fds[2] = {{.fd = l->wakeup.read_fd, .events = POLLIN},
                            {.fd = full ? l->fd : -1, .events = POLLOUT}};
    unsigned ms = any ? LOGGER_NAP_MS : LOGGER_IDLE_MS;
    const struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    bool wait = true;

    for (unsigned k = 0; k < l->count; k++) {
        struct ring *r = l->workers[k].ring;
        uint64_t at = any ? r->size / 2 : 1;
        atomic_store(&r->wake_at, full ? UINT64_MAX : at);
        wait = wait && (full || ring_used(r) < at);
    }
    if (wait)
        sys_ppoll(fds, 2, &limit, waiting);
    wakeup_clear(&l->wakeup);
}

static bool logger_round(struct logger *l, bool *any)
{
    bool room = true;

    *any = false;
    for (unsigned k = 0; k < l->count; k++)
        room = logger_drain(l, k, any) && room;
    return room;
}

static int logger_run(void *arg, const sigset_t *mask)
{
    struct logger *l = arg;
    sigset_t waiting = *mask;
    uint64_t end_ms = 0;
    bool any;

    logger_parent = getppid();
    logger_signals(&waiting);
    if (l->fd < 0) /* started again */
        l->fd = logger_open_target(l);
    if (l->fd < 0) {
        log_error("--access-log %s: %s", l->target, strerror(errno));
        return 1;
    }
    while (!logger_stop || (end_ms && clock_monotonic_ms() < end_ms)) {
        if (logger_wants_reopen)
            logger_do_reopen(l);
        bool room = logger_round(l, &any);
        logger_wait(l, !room, any || logger_orphan, &waiting);
        if (logger_orphan && !end_ms)
            end_ms = clock_monotonic_ms() + LOGGER_ORPHAN_MS;
    }
    bool room = logger_round(l, &any); /* nobody writes any more */
    if (!room)
        log_error("lines of the access log are lost: nobody reads %s", l->target);
    return 0;
}
