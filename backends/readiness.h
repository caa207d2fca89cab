/* SPDX-License-Identifier: MIT */
/*
 * readiness.h - the system calls that every readiness backend makes when it is told that an fd is
 * ready: they differ in how they are told, not in what they do then.
 */
#ifndef BIVALVE_READINESS_H
#define BIVALVE_READINESS_H

#include "backend.h"

/*
 * Accept one connection on listener `index` and report it, or the error. `first`: of those that it was
 * said to be ready for; when there is none, another process was faster, which is counted. True: there
 * may be more, and room for it.
 */
bool readiness_accept(struct backend *be, unsigned index, int lfd, bool first);

/* connect(2). 0: it has been done or is under way, writability tells the end; or -errno. */
int readiness_connect(int fd, const struct sockaddr *addr, socklen_t len);

/* How it ended: 0 or a positive errno. */
int readiness_connect_result(int fd);

/* readiness_send() of several segments, or a file, or where the first try did not do. */
int readiness_send_slow(struct backend *be, int fd, const struct backend_segment *segments,
                        unsigned count);

/* As backend_ops.send; IO_PENDING: the socket's buffer is full, and nothing was taken. */
static inline int readiness_send(struct backend *be, int fd, const struct backend_segment *segments,
                                 unsigned count)
{
    if (likely(count == 1 && segments->data)) {
        ssize_t n = send(fd, segments->data, segments->len, MSG_NOSIGNAL);
        be->cfg.stats->send_calls++;
        if (likely(n > 0))
            return (int)n;
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return -errno;
    }
    return readiness_send_slow(be, fd, segments, count);
}

/* backend_ops.send_now */
size_t readiness_send_now(struct backend *be, int fd, const struct backend_segment *segments,
                          unsigned count);

/*
 * How much the receive may carry of which `expect` was said, at most READINESS_LARGE_BYTES: then it
 * goes to the backend's buffer for those, which is made when it is first needed, and which free(3)
 * takes. 0: no more than usual.
 *
 * It begins with a page: where it did not even begin at a multiple of 64, an echo of 1 MiB took 1170
 * microseconds of CPU time instead of 720, and the kernel's copying was what had grown.
 */
#define READINESS_LARGE_BYTES 262144
#define READINESS_ALIGN       4096
size_t readiness_large(const struct backend *be, size_t expect, char **buffer);

#endif
