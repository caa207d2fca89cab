/* SPDX-License-Identifier: MIT */
/*
 * shim.c - an LD_PRELOAD library that makes system calls of the server fail.
 *
 *   BIVALVE_FAULT_AT=N       exactly the N-th call that can fail does (from 1), of the process
 *   BIVALVE_FAULT_RATE=R     of a thousand calls R fail, drawn from BIVALVE_FAULT_SEED
 *   BIVALVE_FAULT_KIND=K     which of the call's ways to fail (0, 1, ...; taken modulo their
 *                            number); RATE draws it
 *   BIVALVE_FAULT_CALLS=a,b  only these calls; default all
 *   BIVALVE_FAULT_ALONE=1    forked children are spared: the probe of the engines
 *   BIVALVE_FAULT_LOG=FILE   a line for each fault is appended there
 *
 * Operations of an io_uring are calls as well: see shim_uring.c.
 *
 * Counting and drawing start anew in a forked child. A fault is one that the kernel may return at
 * that call; a short transfer is done for real with one byte; a failing close() has closed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim.h"

static struct {
    bool ready;
    long at, rate, kind;
    uint64_t seed;
    const char *calls;
    int log_fd;
    pid_t first, pid; /* the process that was started, and this one */
    bool alone;
    unsigned long count;
} fault;

static long fault_env(const char *name)
{
    const char *s = getenv(name);
    return s ? strtol(s, NULL, 10) : 0;
}

static void fault_say(const char *call, int what)
{
    char line[128];

    if (fault.log_fd < 0)
        return;
    int n = snprintf(line, sizeof(line), "%d %lu %s %s\n", (int)getpid(), fault.count, call,
                     what == FAULT_SHORT ? "short" : strerrorname_np(what));
    if (write(fault.log_fd, line, (size_t)n) < 0)
        return;
}

static void fault_init(void)
{
    if (fault.ready && fault.pid == getpid())
        return;
    if (!environ)
        return; /* a sanitizer's start, before there is an environment to ask */
    if (!fault.ready) {
        fault.at = fault_env("BIVALVE_FAULT_AT");
        fault.rate = fault_env("BIVALVE_FAULT_RATE");
        fault.kind = fault_env("BIVALVE_FAULT_KIND");
        fault.calls = getenv("BIVALVE_FAULT_CALLS");
        const char *log = getenv("BIVALVE_FAULT_LOG");
        fault.log_fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
        fault.alone = fault_env("BIVALVE_FAULT_ALONE");
        fault.first = getpid();
        fault.ready = true;
    }
    fault.pid = getpid();
    fault.count = 0;
    /* nothing else: a seed can be run again */
    fault.seed = (uint64_t)fault_env("BIVALVE_FAULT_SEED") * 2654435761u;
}

static uint32_t fault_roll(void)
{
    fault.seed = fault.seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(fault.seed >> 33);
}

static bool fault_concerns(const char *call)
{
    size_t n = strlen(call);

    if (!fault.calls || !*fault.calls)
        return true;
    for (const char *p = strstr(fault.calls, call); p; p = strstr(p + 1, call))
        if ((p == fault.calls || p[-1] == ',') && (p[n] == ',' || !p[n]))
            return true;
    return false;
}

/* The fault this call meets: one of `ways`, which ends with FAULT_NONE, or FAULT_NONE. */
int fault_pick(const char *call, const int *ways)
{
    int n = 0;

    fault_init();
    if (!fault_concerns(call) || (fault.alone && fault.pid != fault.first))
        return FAULT_NONE;
    fault.count++;
    while (ways[n] != FAULT_NONE)
        n++;
    int way;
    if (fault.at)
        way = fault.count == (unsigned long)fault.at ? (int)(fault.kind % n) : -1;
    else
        way = fault.rate && fault_roll() % 1000 < (uint32_t)fault.rate
                  ? (int)(fault_roll() % (uint32_t)n)
                  : -1;
    if (way < 0)
        return FAULT_NONE;
    fault_say(call, ways[way]);
    return ways[way];
}

#define FAIL_WITH(name, ways, result)        \
    do {                                     \
        int what_ = fault_pick(#name, ways); \
        if (what_ > 0) {                     \
            errno = what_;                   \
            return result;                   \
        }                                    \
    } while (0)

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    REAL(accept4);
    FAIL_WITH(accept4, WAYS(EMFILE, ENFILE, ENOMEM, ENOBUFS, ECONNABORTED, EINTR, EAGAIN), -1);
    return real(fd, addr, len, flags);
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
    REAL(recv);
    int what = fault_pick("recv", WAYS(EAGAIN, EINTR, FAULT_SHORT, ECONNRESET, ENOMEM));
    if (what > 0) {
        errno = what;
        return -1;
    }
    return real(fd, buf, what == FAULT_SHORT && len > 1 ? 1 : len, flags);
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
    REAL(send);
    int what =
        fault_pick("send", WAYS(EAGAIN, EINTR, FAULT_SHORT, EPIPE, ECONNRESET, ENOBUFS, ENOMEM));
    if (what > 0) {
        errno = what;
        return -1;
    }
    return real(fd, buf, what == FAULT_SHORT && len > 1 ? 1 : len, flags);
}

int shutdown(int fd, int how)
{
    REAL(shutdown);
    FAIL_WITH(shutdown, WAYS(ENOTCONN), -1);
    return real(fd, how);
}

int close(int fd)
{
    REAL(close);
    int what = fault_pick("close", WAYS(EINTR, EIO));
    int rc = real(fd);
    if (what > 0 && rc == 0) {
        errno = what;
        return -1;
    }
    return rc;
}

int epoll_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
    REAL(epoll_ctl);
    FAIL_WITH(epoll_ctl, WAYS(ENOMEM, ENOSPC), -1);
    return real(ep, op, fd, ev);
}

int epoll_wait(int ep, struct epoll_event *events, int max, int timeout)
{
    REAL(epoll_wait);
    FAIL_WITH(epoll_wait, WAYS(EINTR), -1);
    return real(ep, events, max, timeout);
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
    REAL(mmap);
    FAIL_WITH(mmap, WAYS(ENOMEM, EAGAIN), MAP_FAILED);
    return real(addr, len, prot, flags, fd, off);
}

int madvise(void *addr, size_t len, int advice)
{
    REAL(madvise);
    FAIL_WITH(madvise, WAYS(EAGAIN, ENOMEM), -1);
    return real(addr, len, advice);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    REAL(setsockopt);
    FAIL_WITH(setsockopt, WAYS(ENOBUFS, ENOMEM), -1);
    return real(fd, level, name, value, len);
}

int socket(int domain, int type, int protocol)
{
    REAL(socket);
    FAIL_WITH(socket, WAYS(EMFILE, ENOBUFS, ENOMEM), -1);
    return real(domain, type, protocol);
}

/* `bind` and `listen` fail as under a race with another server. */
int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    REAL(bind);
    FAIL_WITH(bind, WAYS(EADDRINUSE, EACCES, ENOMEM), -1);
    return real(fd, addr, len);
}

int listen(int fd, int backlog)
{
    REAL(listen);
    FAIL_WITH(listen, WAYS(EADDRINUSE), -1);
    return real(fd, backlog);
}

pid_t fork(void)
{
    REAL(fork);
    FAIL_WITH(fork, WAYS(EAGAIN, ENOMEM), -1);
    return real();
}
