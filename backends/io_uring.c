/* SPDX-License-Identifier: MIT */
/*
 * io_uring.c - the completion backend: iterations, and the backend as a whole. Its connections are
 * io_uring_conn.c and io_uring_send.c, its listeners io_uring_accept.c, the ring with its options and
 * buffers io_uring_ring.c.
 *
 * One request's way: the connection's multishot receive, started once at attach, completes with a
 * piece of the process's pool of buffers; the core's input() parses there, answers, and calls
 * send(), which queues one entry; the buffer goes back to the pool. When all completions of the
 * iteration are through, one io_uring_enter() submits the sends and waits for what comes next.
 * (Long answers go out before: see uring_submit_early().)
 *
 * Every completion carries op:8 | generation:24 | fd:32. The core closes an fd after the last
 * completion for it, so a completion of another generation cannot come; if it does it is counted
 * (`stale`) and dropped.
 *
 * Tried on Linux 6.18, measured, and left out: IORING_RECVSEND_POLL_FIRST (a multishot receive
 * started with it does not report an end that lies behind data already there), send(2) before a
 * send is queued (2 to 10 % dearer), direct descriptors (the core calls shutdown(2), setsockopt(2)
 * and close(2) on a connection; worth 4 % at the most), receive bundles and minimum-wait (no
 * difference), MSG_WAITALL (no difference, and hides how much went out before an error), zero-copy
 * sends, with and without registered buffers (8 to 11 % dearer over loopback at 12 kB).
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "list.h"
#include "io_uring_internal.h"
#include "util.h"

#define URING_WAKE_FAILURES_MAX 8 /* in a row, until the backend counts as broken */
#define URING_RETRY_NS \
    1000000 /* the kernel takes no submission now: wait for it to complete something, so long at \
               most */

#define URING_TAKEN_BYTES 16384 /* longer sends are parts of streams: see uring_take_sent() */
#define URING_UNASKED_MAX 128   /* completions, until a submission asks the kernel for others */

/* ---- waking ---- */

static void uring_wake_arm(struct uring_backend *b)
{
    struct io_uring_sqe *sqe = uring_sqe(b);

    b->wake_deferred = !sqe;
    if (!sqe)
        return;
    io_uring_prep_read(sqe, b->wake_fd, &b->wake_count, sizeof(b->wake_count), 0);
    sqe->user_data = uring_user_data(URING_OP_WAKE, 0, 0);
}

/* One that goes on failing would do so at once, and nobody could wake this process any more. */
static void uring_on_wake(struct uring_backend *b, int res)
{
    if (likely(res >= 0 || res == -EINTR || res == -EAGAIN)) {
        b->wake_failures = 0;
    } else {
        uring_stats(b)->backend_errors++;
        if (++b->wake_failures > URING_WAKE_FAILURES_MAX) {
            b->broken = res;
            return;
        }
    }
    uring_wake_arm(b);
}

/* ---- an iteration ---- */

static void uring_complete(struct uring_backend *b, uint64_t user_data, int res, unsigned flags)
{
    int fd = (int)(uint32_t)user_data;
    uint32_t gen = (uint32_t)(user_data >> 32) & SLOT_GEN_MASK;
    enum uring_op op = uring_op_of(user_data);

    switch (op) {
    case URING_OP_TAKEN: break;
    case URING_OP_RECV: uring_on_recv(b, fd, gen, res, flags); break;
    case URING_OP_SEND: uring_on_send(b, fd, gen, res); break;
    case URING_OP_READ: uring_on_read(b, fd, gen, res); break;
    case URING_OP_ROOM: uring_on_room(b, fd, gen, res); break;
    case URING_OP_CONNECT: uring_on_connect(b, fd, gen, res); break;
    case URING_OP_ACCEPT: uring_on_accept(b, (unsigned)fd, res, flags); break;
    case URING_OP_POLL: uring_on_poll(b, (unsigned)fd, res); break;
    case URING_OP_WAKE: uring_on_wake(b, res); break;
    /* A cancel completes only when it failed: nothing was found, or too late. */
    case URING_OP_CANCEL_RECV:
    case URING_OP_CANCEL_SEND: uring_on_conn_cancel_missed(b, op, fd, gen); break;
    case URING_OP_CANCEL_LISTENER: uring_on_listener_cancel_missed(b, (unsigned)fd); break;
    default: uring_stats(b)->stale++; break;
    }
}

/*
 * What was submitted early has mostly been sent by now. These completions do not wait for their turn
 * behind all the receives of this iteration: their connections give back the blocks of output that
 * were sent from, which are still in the first cache and will do for the next answers; or else every
 * connection that is ready in an iteration writes to blocks of its own.
 *
 * Not those of a body that streams through: what arrives of it until their turn goes out in one piece
 * (an echo of 1 MiB was 1.5 times as dear). And no more in an iteration than it began with
 * completions: sends that bring about the next ones would keep everybody else waiting.
 */
static void uring_take_sent(struct uring_backend *b)
{
    struct io_uring *ring = &b->r.ring;
    unsigned tail = io_uring_smp_load_acquire(ring->cq.ktail);

    for (; b->sent_tail != tail && b->sent_left > 0; b->sent_tail++) {
        struct io_uring_cqe *cqe = &ring->cq.cqes[b->sent_tail & ring->cq.ring_mask];
        if (uring_op_of(cqe->user_data) != URING_OP_SEND || cqe->res >= URING_TAKEN_BYTES)
            continue;
        uint64_t user_data = cqe->user_data;
        cqe->user_data = uring_user_data(URING_OP_TAKEN, 0, 0);
        b->sent_left--;
        uring_complete(b, user_data, cqe->res, cqe->flags);
    }
}

/* So that who waits next waits for something that is still to be dealt with. */
static void uring_drop_taken(struct uring_backend *b)
{
    struct io_uring *ring = &b->r.ring;
    unsigned head = *ring->cq.khead, n = 0;

    while (head + n != b->sent_tail &&
           uring_op_of(ring->cq.cqes[(head + n) & ring->cq.ring_mask].user_data) == URING_OP_TAKEN)
        n++;
    uring_stats(b)->events += n;
    io_uring_cq_advance(ring, n);
}

/*
 * Large answers do not wait for the end of a long iteration: their clients would have nothing to do
 * while this iteration goes on, and the worker nothing after it. They would take turns, and
 * sleep in between.
 *
 * Of what the kernel has deferred - receives, accepts, the ends of what was cancelled - it works off
 * a portion each time that it is asked for events, since Linux 6.13 twenty or as many as are
 * submitted. Sends that complete at once and bring about the next ones would have hundreds of
 * completions for each portion of the others; so after some completions they ask, too. Not always:
 * the more is under way at a time, the more memory it takes.
 */
static void uring_submit_early(struct uring_backend *b)
{
    b->send_bytes = 0;
    if (io_uring_sq_ready(&b->r.ring) == 0)
        return; /* the queue was full and has been submitted for that */
    uring_stats(b)->enters++;
    unsigned head = *b->r.ring.cq.khead;
    int rc;
    if (head - b->asked_head < URING_UNASKED_MAX) {
        rc = io_uring_submit(&b->r.ring);
    } else {
        b->asked_head = head;
        rc = io_uring_submit_and_get_events(&b->r.ring);
    }
    if (unlikely(rc < 0))
        uring_stats(b)
            ->backend_errors++; /* what it leaves is submitted when the iteration is over */
    uring_take_sent(b);
}

/* Work off the completions that are there now; those that upcalls bring about are for the next
 * iteration, but for ends of sends. */
static void uring_reap(struct uring_backend *b)
{
    struct io_uring *ring = &b->r.ring;
    unsigned head = *ring->cq.khead;
    unsigned tail = io_uring_smp_load_acquire(ring->cq.ktail);

    if (unlikely(*(volatile unsigned *)ring->sq.kflags & IORING_SQ_CQ_OVERFLOW))
        /* kept by the kernel, which hands them over when the queue has room */
        uring_count(b, URING_CQ_OVERFLOW);
    uring_stats(b)->events += tail - head;
    b->reap_tail = b->sent_tail = tail;
    b->sent_left = tail - head;
    for (; head != tail; head++) {
        const struct io_uring_cqe *cqe = &ring->cq.cqes[head & ring->cq.ring_mask];
        uint64_t user_data = cqe->user_data;
        int res = cqe->res;
        unsigned flags = cqe->flags;
        io_uring_cq_advance(ring, 1); /* its place is free before the upcall, which may submit */
        uring_complete(b, user_data, res, flags);
        if (unlikely(b->send_bytes >= b->submit_bytes) && !b->joined_len)
            uring_submit_early(b);
    }
    uring_drop_taken(b);
}

/* Submit what is queued, wait for so many completions, at most timeout_us (-1: without end). */
static int uring_enter(struct uring_backend *b, int64_t timeout_us, unsigned completions)
{
    struct io_uring *ring = &b->r.ring;
    struct io_uring_cqe *cqe;
    struct __kernel_timespec ts = {.tv_sec = timeout_us / 1000000,
                                   .tv_nsec = timeout_us % 1000000 * 1000};
    int rc;

    b->send_bytes = 0;
    b->asked_head = *ring->cq.khead;
    uring_stats(b)->enters++;
    /*
     * Completions of what was submitted early are there already, and nobody would wait. But only
     * who asks for events lets the kernel do what it has deferred: receives, accepts, cancels.
     */
    if (timeout_us == 0 || io_uring_cq_ready(ring) > 0)
        rc = io_uring_submit_and_get_events(ring);
    else if (timeout_us < 0)
        rc = io_uring_submit_and_wait(ring, completions);
    else
        rc = io_uring_submit_and_wait_timeout(ring, &cqe, completions, &ts, NULL);
    if (likely(rc >= 0) || rc == -ETIME || rc == -EINTR)
        return 0;
    uring_stats(b)->backend_errors++;
    if (rc != -EAGAIN && rc != -EBUSY && rc != -ENOMEM)
        return rc;
    /* The kernel is short of memory, or wants completions taken first: it can still wait, and what
     * is queued stays so. */
    ts = (struct __kernel_timespec){.tv_nsec = URING_RETRY_NS};
    uring_stats(b)->enters++;
    (void)io_uring_wait_cqe_timeout(ring, &cqe, &ts); /* whatever it says, it is tried again */
    return 0;
}

/* uring_enter() for one completion, behind a window (batch.h) where there is to be one. */
static int uring_enter_batched(struct uring_backend *b, int64_t timeout_us)
{
    if (unlikely(b->batch.us) && batch_begins(&b->batch, uring_stats(b)->recv_calls, timeout_us)) {
        uring_count(b, URING_BATCH_WAITS);
        int rc = uring_enter(b, b->batch.us, BATCH_RECEIVES);
        if (rc < 0 || io_uring_cq_ready(&b->r.ring) > 0)
            return rc;
        if (timeout_us > 0)
            timeout_us -= b->batch.us;
    }
    return uring_enter(b, timeout_us, 1);
}

static int uring_wait(struct backend *be, int64_t timeout_us)
{
    struct uring_backend *b = uring_of(be);

    if (unlikely(b->broken))
        return b->broken;
    if (unlikely(b->listeners_deferred || (b->listeners_starved && be->accept_room > 0)))
        uring_listeners_retry(b);
    if (unlikely(b->wake_deferred))
        uring_wake_arm(b);
    if (unlikely(uring_has_queued(b)) && uring_run_queue(b))
        timeout_us = 0; /* something has happened */
    if (unlikely(uring_has_queued(b) || b->listeners_deferred || b->wake_deferred))
        timeout_us = 0; /* something is to be tried again */
    int rc = uring_enter_batched(b, timeout_us);
    uring_reap(b);
    return rc;
}

/* ---- the contract's other members ---- */

static void uring_version(char *out, size_t out_size)
{
#ifdef IO_URING_VERSION_MAJOR
    snprintf(out, out_size, "liburing %d.%d", io_uring_major_version(), io_uring_minor_version());
#else
    snprintf(out, out_size, "liburing 2.3");
#endif
}

static int uring_open(const struct backend_config *cfg, struct backend **be, char *error)
{
    struct uring_backend *b = calloc(1, sizeof(*b));
    struct uring_options o;
    struct uring_failure why;
    int rc;

    if (!b) {
        snprintf(error, BACKEND_TEXT_MAX, "no memory for the io_uring backend");
        return -ENOMEM;
    }
    b->base.ops = &uring_backend_ops;
    b->base.cfg = *cfg;
    b->queue = b->starved = (struct uring_queue){-1, -1};
    rc = uring_options_parse(&o, cfg->variant, cfg->connections_max, &why);
    b->submit_bytes = o.submit_bytes;
    b->batch.us = o.batch_us;
    if (rc == 0)
        rc = uring_ring_open(&b->r, &o, cfg->recv_buffer_bytes, &why);
    if (rc == 0) {
        b->wake_fd =
            eventfd(0, EFD_CLOEXEC); /* blocking: io_uring waits for it instead of failing */
        if (b->wake_fd < 0) {
            rc = -errno;
            snprintf(why.reason, sizeof(why.reason), "eventfd: %s", strerror(errno));
            snprintf(why.hint, sizeof(why.hint),
                     "raise the limit of open files (ulimit -n, LimitNOFILE=)");
            uring_ring_close(&b->r);
        }
    }
    if (rc < 0) {
        snprintf(error, BACKEND_TEXT_MAX, "%s%s%s", why.reason, why.hint[0] ? "; " : "", why.hint);
        free(b);
        return rc;
    }
    uring_wake_arm(b);
    *be = &b->base;
    return 0;
}

static void uring_close(struct backend *be)
{
    struct uring_backend *b = uring_of(be);

    uring_ring_close(&b->r);
    close(b->wake_fd);
    free(b);
}

/* How it accepts now. */
static const char *uring_accept_name(const struct uring_backend *b)
{
    bool multishot = false, polled = false;

    for (unsigned i = 0; i < BACKEND_LISTENERS_MAX; i++) {
        const struct uring_listener *l = &b->listener[i];
        multishot |= l->armed && l->multishot;
        polled |= l->armed && !l->multishot;
    }
    return multishot && polled ? "multishot accept, polled accept, "
           : multishot         ? "multishot accept, "
           : polled            ? "polled accept, "
                               : "";
}

static void uring_describe(struct backend *be, char *out, size_t out_size)
{
    struct uring_backend *b = uring_of(be);
    char version[32];
    int n = snprintf(out, out_size, "%smultishot receive, ", uring_accept_name(b));

    if (n > 0 && (size_t)n < out_size)
        n += uring_ring_describe(&b->r, out + n, out_size - (size_t)n);
    if (b->batch.us && n > 0 && (size_t)n < out_size)
        n += snprintf(out + n, out_size - (size_t)n, ", windows of %u us", b->batch.us);
    uring_version(version, sizeof(version));
    if (n > 0 && (size_t)n < out_size)
        snprintf(out + n, out_size - (size_t)n, ", %s", version);
}

static size_t uring_trim(struct backend *be)
{
    return uring_ring_trim(&uring_of(be)->r);
}

static void uring_wake(struct backend *be)
{
    struct uring_backend *b = uring_of(be);
    const uint64_t one = 1;
    int err = errno;

    if (write(b->wake_fd, &one, sizeof(one)) < 0) {
        /* The counter is at its maximum: the backend has been woken already. */
    }
    errno = err;
}

static int uring_check_variant(const char *variant, char *error)
{
    struct uring_options o;
    struct uring_failure why = {.reason = ""};

    if (uring_options_parse(&o, variant, 0, &why) == 0)
        return 0;
    snprintf(error, BACKEND_TEXT_MAX, "%s%s%s", why.reason, why.hint[0] ? "; " : "", why.hint);
    return -EINVAL;
}

static const char *const uring_counters[URING_COUNTERS + 1] = {
    [URING_SQES] = "sqes",                     /* submissions */
    [URING_RECV_REARMED] = "recv_rearmed",     /* multishot receives started again */
    [URING_ACCEPT_REARMED] = "accept_rearmed", /* multishot accepts started again */
    [URING_ENOBUFS] = "enobufs",               /* receive found no provided buffer */
    [URING_INPUT_HELD] = "input_held",         /* input kept while receiving is off */
    [URING_SQ_FULL] = "sq_full",               /* submission queue full: flushed early */
    [URING_CQ_OVERFLOW] = "cq_overflow",       /* completions the kernel had to keep */
    [URING_BATCH_WAITS] = "batch_waits",       /* that began with a window */
    [URING_CANCELS] = "cancels",
};

static const int uring_syscalls[] = {SYS_io_uring_enter, SYS_io_uring_register, SYS_sendfile, -1};

const struct backend_ops uring_backend_ops = {
    .contract = BACKEND_VERSION,
    .name = "io_uring",
    .slot_priv_size = sizeof(struct uring_conn),
    .sends_later = true,
    .help = "io_uring: completions, Linux 6.0 or newer; or io_uring:KEY=VALUE,... (man page)",
    .counters = uring_counters,
    .syscalls = uring_syscalls,
    .check_variant = uring_check_variant,
    .version = uring_version,
    .probe = uring_probe,
    .open = uring_open,
    .close = uring_close,
    .describe = uring_describe,
    .listen_ctl = uring_listen_ctl,
    .connect = uring_connect,
    .attach = uring_attach,
    .recv_ctl = uring_recv_ctl,
    .send = uring_send,
    .detach = uring_detach,
    .wait = uring_wait,
    .trim = uring_trim,
    .wake = uring_wake,
};
