/* SPDX-License-Identifier: MIT */
/*
 * io_uring_accept.c - the listeners of the io_uring backend.
 *
 * A multishot accept, started once, takes all that wait before anybody can say stop: what it has
 * taken cannot be given back. But every connection is a completion, so between two looks it takes
 * no more than the completion queue has places, over all listeners. It is used while there is room
 * for twice that: enough for what comes until it is seen that the room is less, and until the
 * cancel has worked. Below that, and for a listener that is to be taken from in small bursts, the
 * listener is polled, and accept4(2) called one by one.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "io_uring_internal.h"
#include "readiness.h"
#include "util.h"

#define URING_BURST_MAX 256 /* accept4(2)s in a row, however many wait */

static bool uring_may_multishot(struct uring_backend *b, const struct uring_listener *l)
{
    return l->burst == BACKEND_BURST_ANY &&
           b->base.accept_room > 2 * b->r.ring.cq.ring_entries + BACKEND_LISTENERS_MAX;
}

static enum uring_op uring_listener_op(const struct uring_listener *l)
{
    return l->multishot ? URING_OP_ACCEPT : URING_OP_POLL;
}

/* Where others wait for clients, too, one of us is enough to wake. The flag has been taken since 5.9. */
static unsigned uring_poll_events(const struct uring_listener *l)
{
    return l->burst == BACKEND_BURST_ANY ? POLLIN : POLLIN | EPOLLEXCLUSIVE;
}

static void uring_listener_arm(struct uring_backend *b, unsigned index)
{
    struct uring_listener *l = &b->listener[index];

    if (b->base.accept_room == 0) {
        b->listeners_starved = true;
        return;
    }
    struct io_uring_sqe *sqe = uring_sqe(b);
    if (!sqe) {
        b->listeners_deferred = true;
        return;
    }
    l->multishot = uring_may_multishot(b, l);
    if (l->multishot)
        io_uring_prep_multishot_accept(sqe, l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    else
        io_uring_prep_poll_add(sqe, l->fd, uring_poll_events(l));
    sqe->user_data = uring_user_data(uring_listener_op(l), 0, (int)index);
    l->armed = true;
    uring_stats(b)->in_flight++;
}

static void uring_listener_cancel(struct uring_backend *b, unsigned index)
{
    struct uring_listener *l = &b->listener[index];

    l->cancelling = uring_cancel(b, URING_OP_CANCEL_LISTENER,
                                 uring_user_data(uring_listener_op(l), 0, (int)index));
    if (!l->cancelling)
        b->listeners_deferred = true;
}

/* Has what is in flight to go: is nothing wanted, or nothing that takes all there is? */
static bool uring_listener_is_wrong(struct uring_backend *b, const struct uring_listener *l)
{
    return l->armed && (!l->wanted || (l->multishot && !uring_may_multishot(b, l)));
}

static void uring_listener_check(struct uring_backend *b, unsigned index)
{
    struct uring_listener *l = &b->listener[index];

    if (l->wanted && !l->armed)
        uring_listener_arm(b, index);
    else if (uring_listener_is_wrong(b, l) && !l->cancelling)
        uring_listener_cancel(b, index);
}

void uring_listeners_retry(struct uring_backend *b)
{
    b->listeners_deferred = b->listeners_starved = false;
    for (unsigned i = 0; i < BACKEND_LISTENERS_MAX; i++)
        uring_listener_check(b, i);
}

/* What was in flight has ended: go on, or say that it is off. */
static void uring_listener_ended(struct uring_backend *b, unsigned index)
{
    struct uring_listener *l = &b->listener[index];

    if (l->armed)
        return; /* an upcall has turned it off and on */
    if (l->wanted) {
        if (l->multishot)
            uring_count(b, URING_ACCEPT_REARMED);
        uring_listener_arm(b, index);
    } else if (l->report_off) {
        l->report_off = false;
        backend_on_listen_off(&b->base, index);
    }
}

/* An error of either, or 0. An end by a cancel, or by a signal, is none. */
static void uring_listener_failed(struct uring_backend *b, unsigned index, int err)
{
    if (err && err != ECANCELED && err != EAGAIN && err != EINTR)
        backend_on_accept_failed(&b->base, index, err);
}

void uring_on_accept(struct uring_backend *b, unsigned index, int res, unsigned flags)
{
    struct uring_listener *l = &b->listener[index];
    bool ended = !(flags & IORING_CQE_F_MORE);

    if (ended) {
        l->armed = l->cancelling = false;
        uring_stats(b)->in_flight--;
    }
    if (res >= 0)
        backend_on_accepted(&b->base, index, res);
    else
        uring_listener_failed(b, index, -res);
    if (ended)
        uring_listener_ended(b, index);
    else if (unlikely(uring_listener_is_wrong(b, l)) && !l->cancelling)
        uring_listener_cancel(b, index);
}

void uring_on_poll(struct uring_backend *b, unsigned index, int res)
{
    struct uring_listener *l = &b->listener[index];

    l->armed = l->cancelling = false;
    uring_stats(b)->in_flight--;
    if (res < 0)
        uring_listener_failed(b, index, -res);
    else
        for (uint32_t i = 0; i < MIN(l->burst, URING_BURST_MAX) && l->wanted; i++)
            if (!readiness_accept(&b->base, index, l->fd, i == 0))
                break;
    uring_listener_ended(b, index);
}

void uring_on_listener_cancel_missed(struct uring_backend *b, unsigned index)
{
    b->listener[index].cancelling = false;
    b->listeners_deferred |= uring_listener_is_wrong(b, &b->listener[index]);
}

int uring_listen_ctl(struct backend *be, unsigned index, int lfd, bool on, uint32_t burst)
{
    struct uring_backend *b = uring_of(be);
    struct uring_listener *l = &b->listener[index];

    l->wanted = on;
    if (on) {
        l->fd = lfd;
        l->burst = burst;
        l->report_off = false;
        uring_listener_check(b, index);
        return 0;
    }
    if (!l->armed)
        return 0;
    l->report_off = true;
    if (!l->cancelling)
        uring_listener_cancel(b, index);
    return IO_PENDING;
}
