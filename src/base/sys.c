/* SPDX-License-Identifier: MIT */
/*
 * sys.c - see sys.h.
 */
#include "config.h"

#include "sys.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/uio.h>

#ifdef HAVE_PRCTL
#include <sys/prctl.h>
#endif

#include "util.h"

/* ---- descriptors ---- */

/* What takes no flags is given them afterwards: a fork in between, in another thread, would inherit. */
UNUSED static int sys_set_flags(int fd, bool nonblocking)
{
    int flags = nonblocking ? fcntl(fd, F_GETFL) : 0;

    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
        (!nonblocking || (flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0)))
        return fd;
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

UNUSED static int sys_set_flags_of_both(int fds[2], bool nonblocking)
{
    if (sys_set_flags(fds[0], nonblocking) < 0) {
        int err = errno;
        close(fds[1]);
        errno = err;
        return -1;
    }
    if (sys_set_flags(fds[1], nonblocking) < 0) {
        int err = errno;
        close(fds[0]);
        errno = err;
        return -1;
    }
    return 0;
}

#ifndef HAVE_ACCEPT4
int sys_accept(int fd)
{
    int accepted = accept(fd, NULL, NULL);

    return accepted < 0 ? -1 : sys_set_flags(accepted, true);
}
#endif

#if HAVE_DECL_SOCK_CLOEXEC

int sys_socket(int family, int type, bool nonblocking)
{
    return socket(family, type | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
}

int sys_socketpair(int type, bool nonblocking, int fds[2])
{
    return socketpair(AF_UNIX, type | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0, fds);
}

#else

int sys_socket(int family, int type, bool nonblocking)
{
    int fd = socket(family, type, 0);

    return fd < 0 ? -1 : sys_set_flags(fd, nonblocking);
}

int sys_socketpair(int type, bool nonblocking, int fds[2])
{
    return socketpair(AF_UNIX, type, 0, fds) < 0 ? -1 : sys_set_flags_of_both(fds, nonblocking);
}

#endif

int sys_pipe(int fds[2])
{
#ifdef HAVE_PIPE2
    return pipe2(fds, O_CLOEXEC);
#else
    return pipe(fds) < 0 ? -1 : sys_set_flags_of_both(fds, false);
#endif
}

#ifndef HAVE_SYS_SENDFILE_H
ssize_t sys_send_file(int fd, int file, off_t offset, size_t len)
{
    char piece[16384];
    ssize_t n = pread(file, piece, MIN(len, sizeof(piece)), offset);

    return n <= 0 ? n : send(fd, piece, (size_t)n, MSG_NOSIGNAL);
}
#endif

ssize_t sys_read_cached(int file, void *buf, size_t len, off_t offset)
{
#if defined(HAVE_PREADV2) && HAVE_DECL_RWF_NOWAIT
    struct iovec iov = {.iov_base = buf, .iov_len = len};

    return preadv2(file, &iov, 1, offset, RWF_NOWAIT);
#else
    (void)file, (void)buf, (void)len, (void)offset;
    errno = ENOSYS;
    return -1;
#endif
}

int sys_limit_unsent(int fd, int bytes)
{
#if HAVE_DECL_TCP_NOTSENT_LOWAT
    return setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
#else
    (void)fd, (void)bytes;
    errno = ENOPROTOOPT;
    return -1;
#endif
}

/* ---- memory ---- */

#if HAVE_DECL_MADV_NOHUGEPAGE /* it is Linux, whose MADV_DONTNEED zeroes private memory */

void sys_no_huge_pages(void *p, size_t bytes)
{
    (void)madvise(p, bytes, MADV_NOHUGEPAGE); /* fails only where there are none */
}

int sys_discard(void *p, size_t bytes)
{
    return madvise(p, bytes, MADV_DONTNEED);
}

#else

void sys_no_huge_pages(void *p, size_t bytes)
{
    (void)p, (void)bytes;
}

int sys_discard(void *p, size_t bytes)
{
    void *fresh = mmap(p, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | SYS_MAP_NORESERVE, -1, 0);

    return fresh == MAP_FAILED ? -1 : 0;
}

#endif

/* ---- the process ---- */

#ifdef HAVE_PRCTL

void sys_on_orphaned(int signo)
{
    prctl(PR_SET_PDEATHSIG, (unsigned long)signo);
}

void sys_name_process(const char *name)
{
    prctl(PR_SET_NAME, name);
}

int sys_not_dumpable(void)
{
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int sys_no_new_privileges(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

#else

void sys_on_orphaned(int signo)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signo};
    const struct itimerspec each_second = {.it_value.tv_sec = 1, .it_interval.tv_sec = 1};
    timer_t timer;

    if (timer_create(CLOCK_MONOTONIC, &event, &timer) == 0)
        timer_settime(timer, 0, &each_second, NULL);
}

void sys_name_process(const char *name)
{
    (void)name;
}

int sys_not_dumpable(void)
{
    const struct rlimit none = {0, 0};

    return setrlimit(RLIMIT_CORE, &none);
}

int sys_no_new_privileges(void)
{
    return 0;
}

#endif
