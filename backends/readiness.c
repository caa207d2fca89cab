/* SPDX-License-Identifier: MIT */
/*
 * readiness.c - see readiness.h.
 */
#include "config.h"

#include "readiness.h"

#include <stdlib.h>
#include <sys/uio.h>

#include "sys.h"

/* Of linux/tls.h and linux/socket.h, which not every libc has. */
#define READINESS_SOL_TLS         282 /* SOL_TLS */
#define READINESS_SET_RECORD_TYPE 1   /* TLS_SET_RECORD_TYPE */

/* accept(2) may return many errors of clients that are gone; others may have room for them. */
bool readiness_accept(struct backend *be, unsigned index, int lfd, bool first)
{
    if (be->accept_room == 0)
        return false;
    int fd = sys_accept(lfd);
    if (likely(fd >= 0)) {
        backend_on_accepted(be, index, fd);
        return true;
    }
    if (errno == EAGAIN) {
        if (first)
            be->cfg.stats->accept_empty++;
        return false;
    }
    if (errno == EINTR)
        return true;
    backend_on_accept_failed(be, index, errno);
    return false;
}

int readiness_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    int rc;

    do
        rc = connect(fd, addr, len);
    while (rc < 0 && errno == EINTR);
    return rc == 0 || errno == EINPROGRESS ? 0 : -errno;
}

int readiness_connect_result(int fd)
{
    int err = 0;
    socklen_t len = sizeof(err);

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        return errno;
    return err;
}

/* Memory: up to the first file, which follows if `more`. Bytes or -1 and errno. */
static ssize_t readiness_send_memory(int fd, const struct backend_segment *segments, unsigned count,
                                     bool more)
{
    struct iovec iov[BACKEND_SEGMENTS_MAX];
    const struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};

    assert(count <= BACKEND_SEGMENTS_MAX);
    for (unsigned i = 0; i < count; i++)
        iov[i] = (struct iovec){.iov_base = (void *)(uintptr_t)segments[i].data,
                                .iov_len = segments[i].len};
    return sendmsg(fd, &msg, MSG_NOSIGNAL | (more ? SYS_MSG_MORE : 0));
}

/* A range of a file. Bytes or -1 and errno. */
static ssize_t readiness_send_file(int fd, const struct backend_segment *segment)
{
    ssize_t n = sys_send_file(fd, segment->file, segment->offset, segment->len);

    if (n == 0) { /* it has become shorter than was promised */
        errno = EIO;
        n = -1;
    }
    return n;
}

/* A record of another type than the kernel would make it, for a socket whose TLS it does. Bytes or -1 and
 * errno. */
static ssize_t readiness_send_record(int fd, const struct backend_segment *segment)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(segment->record))];
    } control = {.head = {.cmsg_level = READINESS_SOL_TLS,
                          .cmsg_type = READINESS_SET_RECORD_TYPE,
                          .cmsg_len = CMSG_LEN(sizeof(segment->record))}};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)segment->text, .iov_len = segment->len};
    const struct msghdr msg = {.msg_iov = &iov,
                               .msg_iovlen = 1,
                               .msg_control = &control,
                               .msg_controllen = control.head.cmsg_len};

    *CMSG_DATA(&control.head) = segment->record;
    return sendmsg(fd, &msg, MSG_NOSIGNAL);
}

/* One system call's worth of the segments. Bytes or -1 and errno. */
static ssize_t readiness_send_some(int fd, const struct backend_segment *segments, unsigned count)
{
    unsigned memory = 0;

    if (!segments->data)
        return segments->record ? readiness_send_record(fd, segments)
                                : readiness_send_file(fd, segments);
    while (memory < count && segments[memory].data)
        memory++;
    return readiness_send_memory(fd, segments, memory, memory < count);
}

int readiness_send_slow(struct backend *be, int fd, const struct backend_segment *segments,
                        unsigned count)
{
    ssize_t n;

    do {
        n = readiness_send_some(fd, segments, count);
        be->cfg.stats->send_calls++;
    } while (n < 0 && errno == EINTR);
    if (likely(n > 0))
        return (int)n;
    if (n < 0 && errno == EAGAIN) {
        be->cfg.stats->send_pending++;
        return IO_PENDING;
    }
    return n < 0 ? -errno : -EPIPE;
}

size_t readiness_send_now(struct backend *be, int fd, const struct backend_segment *segments,
                          unsigned count)
{
    ssize_t n = readiness_send_memory(fd, segments, count, false);

    be->cfg.stats->send_calls++;
    return n > 0 ? (size_t)n : 0;
}

size_t readiness_large(const struct backend *be, size_t expect, char **buffer)
{
    size_t size = MIN(MIN(expect, be->recv_room), (size_t)READINESS_LARGE_BYTES);

    if (size <= be->cfg.recv_buffer_bytes)
        return 0;
    if (!*buffer)
        *buffer = aligned_alloc(READINESS_ALIGN, READINESS_LARGE_BYTES);
    return *buffer ? size : 0;
}
