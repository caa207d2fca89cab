/* SPDX-License-Identifier: MIT */
/*
 * io_uring_send.c - what the connections of the io_uring backend send, and how they connect. A
 * connection has one operation of these at a time (URING_SEND_ARMED); what a send needs besides the
 * slot, because it is of several pieces or waits for a place in the queue, is in uring_conn.extra.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "io_uring_internal.h"
#include "util.h"

struct uring_extra *uring_extra(struct uring_conn *c)
{
    if (!c->extra) {
        c->extra = calloc(1, sizeof(*c->extra));
        if (c->extra)
            c->extra->tail = &c->extra->head;
    }
    return c->extra;
}

void uring_extra_trim(struct uring_conn *c)
{
    if (likely(!c->extra) || c->extra->head || (c->flags & (URING_SEND_ARMED | URING_DEFERRED)))
        return;
    free(c->extra->file_buf);
    free(c->extra);
    c->extra = NULL;
}

/* ---- what is submitted ---- */

/* The operation in `sqe` is the connection's send. */
static void uring_send_armed(struct uring_backend *b, int fd, struct uring_conn *c,
                             struct io_uring_sqe *sqe)
{
    sqe->user_data = uring_user_data(uring_send_op(c), uring_gen(b, fd), fd);
    c->flags |= URING_SEND_ARMED;
    uring_stats(b)->in_flight++;
}

/* One piece of memory. False: no place in the queue. */
static bool uring_send_arm(struct uring_backend *b, int fd, struct uring_conn *c, const char *buf,
                           size_t len)
{
    struct io_uring_sqe *sqe = uring_sqe(b);

    if (unlikely(!sqe))
        return false;
    io_uring_prep_send(sqe, fd, buf, len, MSG_NOSIGNAL);
    uring_send_armed(b, fd, c, sqe);
    b->send_bytes += (unsigned)len;
    uring_stats(b)->send_calls++;
    return true;
}

/* What c->extra describes: a connect, a read of a file, or several pieces; or a poll for room, which
 * has nothing there. False: no place. */
static bool uring_extra_arm(struct uring_backend *b, int fd, struct uring_conn *c)
{
    struct uring_extra *x = c->extra;
    struct io_uring_sqe *sqe = uring_sqe(b);

    if (!sqe)
        return false;
    if (c->flags & URING_CONNECTING) {
        io_uring_prep_connect(sqe, fd, (struct sockaddr *)&x->addr, x->addr_len);
    } else if (c->flags & URING_READING) {
        io_uring_prep_read(sqe, x->file, x->file_buf, x->file_len, (uint64_t)x->file_offset);
    } else if (c->flags & URING_AWAITING) {
        io_uring_prep_poll_add(sqe, fd, POLLOUT);
    } else {
        io_uring_prep_sendmsg(sqe, fd, &x->msg, MSG_NOSIGNAL);
        for (size_t i = 0; i < x->msg.msg_iovlen; i++)
            b->send_bytes += (unsigned)x->iov[i].iov_len;
        uring_stats(b)->send_calls++;
    }
    uring_send_armed(b, fd, c, sqe);
    return true;
}

void uring_extra_arm_or_defer(struct uring_backend *b, int fd, struct uring_conn *c)
{
    if (likely(uring_extra_arm(b, fd, c)))
        return;
    c->flags |= URING_DEFERRED;
    uring_enqueue(b, fd);
}

/* ---- completions ---- */

struct uring_conn *uring_send_ended(struct uring_backend *b, int fd, uint32_t gen)
{
    struct uring_conn *c = uring_conn(b, fd);

    if (unlikely(uring_gen(b, fd) != gen || !(c->flags & URING_SEND_ARMED))) {
        uring_stats(b)->stale++;
        return NULL;
    }
    c->flags &= (uint16_t) ~(URING_SEND_ARMED | URING_SEND_CANCEL);
    uring_stats(b)->in_flight--;
    if (unlikely(c->flags & URING_DETACHING)) {
        uring_report_detached(b, fd, c);
        return NULL;
    }
    return c;
}

void uring_on_send(struct uring_backend *b, int fd, uint32_t gen, int res)
{
    struct uring_conn *c = uring_send_ended(b, fd, gen);

    if (unlikely(!c))
        return;
    uring_extra_trim(c);
    if (unlikely(res == -EINTR || res == -EAGAIN))
        res = 0; /* nothing was taken: the core sends again */
    backend_on_sent(&b->base, fd, res);
}

void uring_on_connect(struct uring_backend *b, int fd, uint32_t gen, int res)
{
    struct uring_conn *c = uring_send_ended(b, fd, gen);

    if (unlikely(!c))
        return;
    c->flags &= (uint16_t)~URING_CONNECTING;
    uring_extra_trim(c);
    backend_on_connected(&b->base, fd, res < 0 ? -res : 0);
}

/* ---- the contract's members ---- */

int uring_connect(struct backend *be, int fd, const struct sockaddr *addr, socklen_t len)
{
    struct uring_backend *b = uring_of(be);
    struct uring_conn *c = uring_conn(b, fd);

    if (len > sizeof(c->extra->addr))
        return -EINVAL;
    struct uring_extra *x = uring_extra(c);
    if (!x)
        return -ENOMEM;
    memcpy(&x->addr, addr, len);
    x->addr_len = len;
    c->flags |= URING_CONNECTING;
    uring_extra_arm_or_defer(b, fd, c);
    return 0;
}

static bool uring_has_file(const struct backend_segment *segments, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!segments[i].data)
            return true;
    return false;
}

/* Memory: in one operation. */
static int uring_send_memory(struct uring_backend *b, int fd, struct uring_conn *c,
                             const struct backend_segment *segments, unsigned count)
{
    struct uring_extra *x = uring_extra(c);

    if (!x)
        return -ENOMEM;
    x->msg = (struct msghdr){.msg_iov = x->iov};
    for (unsigned i = 0; i < count; i++)
        x->iov[x->msg.msg_iovlen++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)segments[i].data,
                           .iov_len = MIN(segments[i].len, (size_t)INT32_MAX)};
    uring_extra_arm_or_defer(b, fd, c);
    return IO_PENDING;
}

int uring_send(struct backend *be, int fd, const struct backend_segment *segments, unsigned count)
{
    struct uring_backend *b = uring_of(be);
    struct uring_conn *c = uring_conn(b, fd);

    assert(count > 0 && count <= BACKEND_SEGMENTS_MAX &&
           !(c->flags & (URING_SEND_ARMED | URING_DEFERRED | URING_DETACHING)));
    if (unlikely(!segments->data))
        return uring_send_file(b, fd, c, segments, count);
    if (unlikely(count > 1 && uring_has_file(segments, count))) /* the file's head */
        return uring_send_now(b, fd, c, segments, count);
    uring_stats(b)->send_pending++;
    if (likely(count == 1) &&
        likely(uring_send_arm(b, fd, c, segments->data, MIN(segments->len, (size_t)INT32_MAX))))
        return IO_PENDING;
    return uring_send_memory(b, fd, c, segments, count);
}
