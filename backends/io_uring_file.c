/* SPDX-License-Identifier: MIT */
/*
 * io_uring_file.c - files in the output of the io_uring backend.
 *
 * What is in the page cache is sent by sendfile(2), in the call down, as readiness backends do: the
 * pages themselves are queued for the peer, where a read and a send through the ring copy every byte
 * twice. When the socket has no room a poll by the ring tells when it has. What is not in the page cache is
 * read by the ring, which waits for nobody, and then sent.
 *
 * Left out: IORING_OP_SPLICE, which is always done by a thread of the kernel's, by way of a pipe that
 * each connection would need.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "io_uring_internal.h"
#include "page_cache.h"
#include "readiness.h"
#include "util.h"

#define URING_FILE_BYTES 65536 /* of a file, read and sent at a time */

int uring_send_now(struct uring_backend *b, int fd, struct uring_conn *c,
                   const struct backend_segment *segments, unsigned count)
{
    int rc = readiness_send_slow(&b->base, fd, segments, count);

    if (rc == IO_PENDING) {
        c->flags |= URING_AWAITING;
        uring_extra_arm_or_defer(b, fd, c);
    }
    return rc;
}

int uring_send_file(struct uring_backend *b, int fd, struct uring_conn *c,
                    const struct backend_segment *segments, unsigned count)
{
    if (segments->record || page_cache_surely_has(segments->file, segments->offset, segments->len))
        return uring_send_now(b, fd, c, segments, count);

    struct uring_extra *x = uring_extra(c);
    if (x && !x->file_buf)
        x->file_buf = malloc(URING_FILE_BYTES);
    if (!x || !x->file_buf)
        return -ENOMEM;
    x->file = segments->file;
    x->file_offset = segments->offset;
    x->file_len = (uint32_t)MIN(segments->len, (size_t)URING_FILE_BYTES);
    c->flags |= URING_READING;
    uring_stats(b)->send_pending++;
    uring_extra_arm_or_defer(b, fd, c);
    return IO_PENDING;
}

void uring_on_read(struct uring_backend *b, int fd, uint32_t gen, int res)
{
    struct uring_conn *c = uring_send_ended(b, fd, gen);

    if (unlikely(!c))
        return;
    c->flags &= (uint16_t)~URING_READING;
    if (res > 0) {
        struct uring_extra *x = c->extra;
        x->iov[0] = (struct iovec){.iov_base = x->file_buf, .iov_len = (size_t)res};
        x->msg = (struct msghdr){.msg_iov = x->iov, .msg_iovlen = 1};
        uring_extra_arm_or_defer(b, fd, c);
        return;
    }
    uring_extra_trim(c);
    if (res == 0)
        res = -EIO; /* the file has become shorter than was promised */
    backend_on_sent(&b->base, fd, res == -EINTR || res == -EAGAIN ? 0 : res);
}

void uring_on_room(struct uring_backend *b, int fd, uint32_t gen, int res)
{
    struct uring_conn *c = uring_send_ended(b, fd, gen);

    if (unlikely(!c))
        return;
    c->flags &= (uint16_t)~URING_AWAITING;
    /* Events, of which each says that the send is to be tried again; an error of the socket is told then. */
    backend_on_sent(&b->base, fd, res > 0 || res == -EINTR || res == -EAGAIN ? 0 : res);
}
