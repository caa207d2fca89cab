/* SPDX-License-Identifier: MIT */
/*
 * shim.c - an LD_PRELOAD library that makes system calls of the server fail.
 *
 * Which, and how, is said by the environment: see fault.h. A fault is one that the kernel may
 * return at that call; a short transfer is done for real with one byte; a failing close() has
 * closed. What io_uring does is not called for: see shim_uring.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fault.h"

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

/*
 * EAGAIN for a socket that has been told of and has input is what a checksum that was found wrong
 * looks like. Who is told edges looks once more then; a second one in a row is no kernel's.
 */
ssize_t recv(int fd, void *buf, size_t len, int flags)
{
    static int doubted = -1; /* the fd that had EAGAIN last, and was not read since */
    REAL(recv);
    int what = fault_pick("recv", WAYS(EAGAIN, EINTR, FAULT_SHORT, ECONNRESET, ENOMEM));
    if (what == EAGAIN && fd == doubted)
        what = 0;
    if (what == EAGAIN)
        doubted = fd;
    else if (fd == doubted && what != EINTR)
        doubted = -1;
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

/* Taking out needs no memory: the kernel knows no failure of it for what is there. */
int epoll_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
    REAL(epoll_ctl);
    if (op != EPOLL_CTL_DEL)
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

/* ---- files ---- */

/* openat2(2) has no function of its own. */
long syscall(long number, ...)
{
    long arg[6];
    va_list ap;

    va_start(ap, number);
    for (int i = 0; i < 6; i++)
        arg[i] = va_arg(ap, long);
    va_end(ap);
    REAL(syscall);
#ifdef SYS_openat2
    if (number == SYS_openat2)
        FAIL_WITH(openat2, WAYS(EMFILE, EAGAIN, EINTR, EIO, ENOMEM, EACCES, ENFILE), -1);
#endif
    return real(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

int fstat(int fd, struct stat *st)
{
    REAL(fstat);
    FAIL_WITH(fstat, WAYS(EIO, ENOMEM), -1);
    return real(fd, st);
}

ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    REAL(preadv2);
    int what = fault_pick("preadv2", WAYS(EAGAIN, FAULT_SHORT, EINTR, EIO, EOPNOTSUPP));
    if (what > 0) {
        errno = what;
        return -1;
    }
    const struct iovec one = {.iov_base = iov->iov_base, .iov_len = 1};
    return what == FAULT_SHORT ? real(fd, &one, 1, offset, flags)
                               : real(fd, iov, count, offset, flags);
}

/* No EAGAIN: of a socket that has room nobody tells again that it has. */
ssize_t sendfile(int out, int in, off_t *offset, size_t len)
{
    REAL(sendfile);
    int what = fault_pick("sendfile", WAYS(FAULT_SHORT, EIO, EINTR, ENOMEM, EPIPE));
    if (what > 0) {
        errno = what;
        return -1;
    }
    return real(out, in, offset, what == FAULT_SHORT ? 1 : len);
}
