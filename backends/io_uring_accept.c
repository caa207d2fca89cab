/* SPDX-License-Identifier: MIT */
/*
 * io_uring_accept.c - the listeners of the io_uring engine.
 *
 * A multishot accept, started once, takes all that wait, as many as the completion queue holds,
 * before anybody can say stop. So it is for a burst that need not be kept (BACKEND_ACCEPT_FREE);
 * otherwise one accept is in flight, and when it completes the rest of the burst is taken with
 * accept4(2).
 */
#include "config.h"

#include <errno.h>
#include <sys/socket.h>

#include "engines.h"
#include "io_uring_internal.h"
#include "util.h"

static void uring_accept_arm(struct uring_backend *b, unsigned index)
{
    struct uring_listener *l = &b->listener[index];
    struct io_uring_sqe *sqe = uring_sqe(b);

    if (!sqe) {
        b->listeners_wait = true;
        return;
    }
    l->multishot =
        l->burst >= BACKEND_ACCEPT_FREE; /* takes all that wait before anybody can say stop */
    if (l->multishot)
        io_uring_prep_multishot_accept(sqe, l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    else
        io_uring_prep_accept(sqe, l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    sqe->user_data = uring_user_data(URING_OP_ACCEPT, 0, (int)index);
    l->armed = true;
    uring_stats(b)->engine_inflight++;
}

static void uring_accept_cancel(struct uring_backend *b, unsigned index)
{
    struct uring_listener *l = &b->listener[index];

    l->cancelling =
        uring_cancel(b, URING_OP_CANCEL_ACCEPT, uring_user_data(URING_OP_ACCEPT, 0, (int)index));
    if (!l->cancelling)
        b->listeners_wait = true;
}

/* Has the accept in flight to go: is none wanted, or none that takes all there is? */
static bool uring_accept_is_unwanted(const struct uring_listener *l)
{
    return l->armed && (!l->wanted || (l->multishot && l->burst < BACKEND_ACCEPT_FREE));
}

void uring_listeners_retry(struct uring_backend *b)
{
    b->listeners_wait = false;
    for (unsigned i = 0; i < URING_LISTENERS; i++) {
        struct uring_listener *l = &b->listener[i];
        if (l->wanted && !l->armed)
            uring_accept_arm(b, i);
        else if (uring_accept_is_unwanted(l) && !l->cancelling)
            uring_accept_cancel(b, i);
    }
}

/* A single accept is complete: take what else the listener may give in this turn. */
static void uring_accept_more(struct uring_backend *b, unsigned index)
{
    struct uring_listener *l = &b->listener[index];

    for (unsigned i = 1; i < l->burst && l->wanted; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return; /* the accept that is armed next reports what is the matter */
        conn_on_open(b->base.cfg.core, index, fd);
    }
}

void uring_on_accept(struct uring_backend *b, unsigned index, int res, unsigned flags)
{
    struct uring_listener *l = &b->listener[index];
    bool ended = !(flags & IORING_CQE_F_MORE);

    if (ended) {
        l->armed = l->cancelling = false;
        uring_stats(b)->engine_inflight--;
    }
    if (res >= 0) {
        conn_on_open(b->base.cfg.core, index, res);
        if (ended && !l->multishot)
            uring_accept_more(b, index);
    } else if (!backend_accept_goes_on(-res) && res != -EAGAIN && res != -ECANCELED) {
        l->wanted &= !ended;
        conn_on_accept_error(b->base.cfg.core, index, -res, ended);
    }
    if (!ended || l->armed)
        return;
    if (l->wanted) {
        if (l->multishot)
            uring_stats(b)->accept_rearmed++;
        uring_accept_arm(b, index);
    } else if (l->report_off) {
        l->report_off = false;
        conn_on_listen_off(b->base.cfg.core, index);
    }
}

void uring_on_accept_cancel_missed(struct uring_backend *b, unsigned index)
{
    b->listener[index].cancelling = false;
    b->listeners_wait |= uring_accept_is_unwanted(&b->listener[index]);
}

int uring_listen_ctl(struct backend *be, unsigned index, int lfd, bool on, unsigned burst)
{
    struct uring_backend *b = uring_of(be);
    struct uring_listener *l = &b->listener[index];

    if (on) {
        l->fd = lfd;
        l->burst = burst;
        l->wanted = true;
        l->report_off = false;
        if (!l->armed)
            uring_accept_arm(b, index);
        return 0;
    }
    l->wanted = false;
    if (l->armed) {
        l->report_off = true;
        if (!l->cancelling)
            uring_accept_cancel(b, index);
    }
    return l->report_off ? IO_PENDING : 0;
}
