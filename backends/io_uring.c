/* SPDX-License-Identifier: MIT */
/*
 * io_uring.c - the completion engine.
 *
 * One request's way: the connection's multishot receive, started once at accept, completes with a
 * piece of the worker's pool of buffers; conn_on_input() parses there, answers, and calls send(),
 * which queues one entry; the buffer goes back to the pool. When all completions of the turn are
 * through, one io_uring_enter() submits the sends and waits for what comes next.
 * (Long answers go out before: see uring_submit_early().)
 *
 * Every completion carries op:8 | generation:24 | fd:32. The core closes an fd after the last
 * completion for it, so a completion of another generation cannot come; if it does it is counted
 * (`stale`) and dropped.
 *
 * Invariants:
 *   - a connection has at most one receive and one send in flight (URING_RECV_ARMED,
 *     URING_SEND_ARMED); both are cleared by the last completion of the operation, never before
 *   - a slot whose connection is in the queue of those that need attention is not released:
 *     detach() says IO_PENDING
 *   - a buffer goes back to the pool in the turn it came; input for a connection that is paused is
 *     copied out of it, so a client that does not read costs nobody else a buffer. What is held is
 *     at most what one socket had in the kernel: the receive is cancelled when the next wait()
 *     begins, and from then on that connection receives one piece at a time
 *   - after an upcall nothing of the slot is used unless uring_is_live()
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
#include <sys/socket.h>
#include <unistd.h>

#include "engines.h"
#include "io_uring_internal.h"
#include "util.h"

#define URING_RETRY_NS \
    1000000 /* the kernel takes no submission now: wait for it to complete something, so long at \
               most */

/* ---- submitting ---- */

struct io_uring_sqe *uring_sqe(struct uring_backend *b)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&b->r.ring);

    if (unlikely(!sqe)) {
        uring_stats(b)->sq_full++;
        uring_stats(b)->enters++;
        io_uring_submit(&b->r.ring);
        sqe = io_uring_get_sqe(&b->r.ring);
        if (!sqe) {
            uring_stats(b)->engine_errors++;
            return NULL;
        }
    }
    uring_stats(b)->sqes++;
    return sqe;
}

/* Have fd looked at when the next wait() begins. */
static void uring_enqueue(struct uring_backend *b, int fd)
{
    struct uring_conn *c = uring_conn(b, fd);

    if (c->flags & URING_QUEUED)
        return;
    c->flags |= URING_QUEUED;
    c->next = -1;
    if (b->queue_tail >= 0)
        uring_conn(b, b->queue_tail)->next = fd;
    else
        b->queue_head = fd;
    b->queue_tail = fd;
}

static void uring_recv_arm(struct uring_backend *b, int fd, struct uring_conn *c)
{
    struct io_uring_sqe *sqe = uring_sqe(b);

    if (unlikely(!sqe)) {
        uring_enqueue(b, fd);
        return;
    }
    if (likely(!(c->flags & URING_ONE_BY_ONE)))
        io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    else
        io_uring_prep_recv(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = URING_BUFFER_GROUP;
    sqe->user_data = uring_user_data(URING_OP_RECV, uring_gen(b, fd), fd);
    c->flags |= URING_RECV_ARMED;
    uring_stats(b)->engine_inflight++;
}

bool uring_cancel(struct uring_backend *b, enum uring_op op, uint64_t target)
{
    struct io_uring_sqe *sqe = uring_sqe(b);

    if (!sqe)
        return false;
    io_uring_prep_cancel64(sqe, target, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = (uint64_t)op << 56 | (target & ~(UINT64_C(0xff) << 56));
    uring_stats(b)->cancels++;
    return true;
}

/* Cancel what is in flight and not being cancelled: the receive, and the send as well when `all`.
 */
static void uring_conn_cancel(struct uring_backend *b, int fd, struct uring_conn *c, bool all)
{
    uint32_t gen = uring_gen(b, fd);

    if ((c->flags & (URING_RECV_ARMED | URING_RECV_CANCEL)) == URING_RECV_ARMED) {
        if (uring_cancel(b, URING_OP_CANCEL_RECV, uring_user_data(URING_OP_RECV, gen, fd)))
            c->flags |= URING_RECV_CANCEL;
        else
            uring_enqueue(b, fd);
    }
    if (all && (c->flags & (URING_SEND_ARMED | URING_SEND_CANCEL)) == URING_SEND_ARMED) {
        if (uring_cancel(b, URING_OP_CANCEL_SEND, uring_user_data(URING_OP_SEND, gen, fd)))
            c->flags |= URING_SEND_CANCEL;
        else
            uring_enqueue(b, fd);
    }
}

static bool uring_send_arm(struct uring_backend *b, int fd, struct uring_conn *c, const char *buf,
                           size_t len)
{
    struct io_uring_sqe *sqe = uring_sqe(b);

    if (unlikely(!sqe))
        return false;
    io_uring_prep_send(sqe, fd, buf, len, MSG_NOSIGNAL);
    sqe->user_data = uring_user_data(URING_OP_SEND, uring_gen(b, fd), fd);
    c->flags |= URING_SEND_ARMED;
    b->send_bytes += (unsigned)len;
    uring_stats(b)->engine_inflight++;
    uring_stats(b)->send_calls++;
    return true;
}

static void uring_wake_arm(struct uring_backend *b)
{
    struct io_uring_sqe *sqe = uring_sqe(b);

    b->wake_waits = !sqe;
    if (!sqe)
        return;
    io_uring_prep_read(sqe, b->wake_fd, &b->wake_count, sizeof(b->wake_count), 0);
    sqe->user_data = uring_user_data(URING_OP_WAKE, 0, 0);
}

/* ---- what a connection has besides its slot ---- */

static struct uring_extra *uring_extra(struct uring_conn *c)
{
    if (!c->extra) {
        c->extra = calloc(1, sizeof(*c->extra));
        if (c->extra)
            c->extra->tail = &c->extra->head;
    }
    return c->extra;
}

static void uring_extra_trim(struct uring_conn *c)
{
    if (c->extra && !c->extra->head && !c->extra->buf) {
        free(c->extra);
        c->extra = NULL;
    }
}

static void uring_extra_drop(struct uring_conn *c)
{
    if (!c->extra)
        return;
    while (c->extra->head) {
        struct uring_held *h = c->extra->head;
        c->extra->head = h->next;
        free(h);
    }
    free(c->extra);
    c->extra = NULL;
}

static inline bool uring_has_held(const struct uring_conn *c)
{
    return c->extra && c->extra->head;
}

/* Keep input until receiving is on again. Without memory for it the stream has a hole: the
 * connection has to end. */
static void uring_hold(struct uring_backend *b, struct uring_conn *c, const char *data, size_t len)
{
    struct uring_held *h = malloc(sizeof(*h) + len);
    struct uring_extra *x = h ? uring_extra(c) : NULL;

    uring_stats(b)->input_held++;
    if (!x || c->end) {
        free(h);
        if (!c->end)
            c->end = ENOMEM;
        return;
    }
    h->next = NULL;
    h->len = (uint32_t)len;
    h->off = 0;
    memcpy(h->data, data, len);
    *x->tail = h;
    x->tail = &h->next;
}

/* ---- reporting ---- */

/*
 * Report input in pieces of at most recv_buffer_bytes. Returns the bytes reported before the
 * connection was paused or went away.
 */
static size_t uring_report_input(struct uring_backend *b, int fd, const char *data, size_t len)
{
    uint32_t gen = uring_gen(b, fd);
    size_t off = 0;

    assert(b->in_wait);
    while (off < len) {
        size_t n = MIN(len - off, b->base.cfg.recv_buffer_bytes);
        conn_on_input(b->base.cfg.core, fd, data + off, n);
        off += n;
        if (!uring_is_live(b, fd, gen) || (uring_conn(b, fd)->flags & URING_PAUSED))
            break;
    }
    return off;
}

/* Receiving is over, by the client's end or an error. The core may turn it on once more after an
 * end. */
static void uring_report_end(struct uring_backend *b, int fd, struct uring_conn *c)
{
    uint16_t end = c->end;

    assert(b->in_wait);
    c->end = 0;
    c->flags |= URING_PAUSED;
    if (end == URING_END_EOF)
        conn_on_eof(b->base.cfg.core, fd);
    else
        conn_on_error(b->base.cfg.core, fd, end);
}

/* If the connection is being detached and nothing holds it any more, say so. */
static void uring_report_detached(struct uring_backend *b, int fd, struct uring_conn *c)
{
    assert(b->in_wait);
    if (c->flags & (URING_RECV_ARMED | URING_SEND_ARMED | URING_QUEUED))
        return;
    c->flags = 0;
    conn_on_detached(b->base.cfg.core, fd);
}

/* ---- the queue of connections that need attention ---- */

/* Hand over what was held. Returns whether the connection is still there and receiving. */
static bool uring_release_held(struct uring_backend *b, int fd, struct uring_conn *c)
{
    uint32_t gen = uring_gen(b, fd);

    while (uring_has_held(c)) {
        struct uring_extra *x = c->extra;
        struct uring_held *h = x->head;

        /* Out of the list while it is reported: detach() frees the list. */
        x->head = h->next;
        if (!x->head)
            x->tail = &x->head;
        h->off += (uint32_t)uring_report_input(b, fd, h->data + h->off, h->len - h->off);
        bool live = uring_is_live(b, fd, gen);
        if (live && h->off < h->len) {
            h->next = x->head;
            if (!x->head)
                x->tail = &h->next;
            x->head = h;
        } else {
            free(h);
        }
        if (!live)
            return false;
        if (c->flags & URING_PAUSED)
            break;
    }
    uring_extra_trim(c);
    return !(c->flags & URING_PAUSED);
}

/* Do for fd what could not be done in a call down. Returns whether an upcall was made. */
static bool uring_attend_one(struct uring_backend *b, int fd)
{
    struct uring_conn *c = uring_conn(b, fd);
    bool upcall = false;

    if (c->flags & URING_DETACHING) {
        uring_conn_cancel(b, fd, c, true);
        uring_report_detached(b, fd, c);
        return true;
    }
    if (c->flags & URING_SEND_WAITS) {
        if (uring_send_arm(b, fd, c, c->extra->buf, c->extra->len)) {
            c->flags &= (uint16_t)~URING_SEND_WAITS;
            c->extra->buf = NULL;
            uring_extra_trim(c);
        } else {
            uring_enqueue(b, fd);
        }
    }
    if (c->flags & URING_PAUSED) {
        if (c->flags & URING_RECV_ARMED) {
            c->flags |= URING_ONE_BY_ONE;
            uring_conn_cancel(b, fd, c, false);
        }
        return false;
    }
    if (uring_has_held(c)) {
        upcall = true;
        if (!uring_release_held(b, fd, c))
            return true;
    }
    if (c->end) {
        uring_report_end(b, fd, c);
        return true;
    }
    if (!(c->flags & URING_RECV_ARMED))
        uring_recv_arm(b, fd, c);
    return upcall;
}

/* Everything that was in the queue when wait() began. Returns whether an upcall was made. */
static bool uring_attend(struct uring_backend *b)
{
    int last = b->queue_tail;
    bool more = b->queue_head >= 0, upcall = false;

    while (more) {
        int fd = b->queue_head;
        struct uring_conn *c = uring_conn(b, fd);

        more = fd != last;
        b->queue_head = c->next;
        if (b->queue_head < 0)
            b->queue_tail = -1;
        c->flags &= (uint16_t)~URING_QUEUED;
        upcall |= uring_attend_one(b, fd);
    }
    return upcall;
}

/* ---- completions ---- */

static void uring_on_recv(struct uring_backend *b, int fd, uint32_t gen, int res, unsigned flags)
{
    struct uring_conn *c = uring_conn(b, fd);
    struct uring_pool *pool = &b->r.pool;
    unsigned bid = flags >> IORING_CQE_BUFFER_SHIFT;

    if (unlikely(uring_gen(b, fd) != gen || !(c->flags & URING_RECV_ARMED))) {
        uring_stats(b)->stale++;
        if (flags & IORING_CQE_F_BUFFER)
            uring_pool_done(pool, bid, res, flags);
        return;
    }
    if (unlikely(!(flags & IORING_CQE_F_MORE))) {
        c->flags &= (uint16_t) ~(URING_RECV_ARMED | URING_RECV_CANCEL);
        uring_stats(b)->engine_inflight--;
    }
    uring_stats(b)->recv_calls++;

    if (likely(res > 0)) {
        const char *data = uring_pool_data(pool, bid);
        if (likely(!(c->flags & (URING_PAUSED | URING_DETACHING)) && !uring_has_held(c))) {
            size_t n = uring_report_input(b, fd, data, (size_t)res);
            if (unlikely(n < (size_t)res) && uring_is_live(b, fd, gen))
                uring_hold(b, c, data + n, (size_t)res - n);
        } else if (!(c->flags & URING_DETACHING)) {
            uring_hold(b, c, data, (size_t)res);
        }
    }
    if (likely(flags & IORING_CQE_F_BUFFER))
        uring_pool_done(pool, bid, res, flags);
    if (likely(flags & IORING_CQE_F_MORE))
        return;

    /* The receive has ended: with data, for want of a buffer, cancelled, by the client's end, or by
     * an error. */
    if (uring_gen(b, fd) != gen || !(c->flags & URING_ATTACHED))
        return;
    if (c->flags & URING_DETACHING) {
        uring_report_detached(b, fd, c);
        return;
    }
    if (res == -ENOBUFS)
        uring_stats(b)->enobufs++;
    else if (res == 0 && !c->end)
        c->end = URING_END_EOF;
    else if (res < 0 && res != -ECANCELED && res != -EINTR && res != -EAGAIN && !c->end)
        c->end = (uint16_t)-res;

    if (c->flags & (URING_PAUSED | URING_RECV_ARMED | URING_QUEUED))
        return; /* goes on when it is turned on, has done so already, or will when the next wait()
                   begins */
    if (uring_has_held(c)) {
        uring_enqueue(b, fd);
    } else if (c->end) {
        uring_report_end(b, fd, c);
    } else {
        if (!(c->flags & URING_ONE_BY_ONE))
            uring_stats(b)->recv_rearmed++;
        uring_recv_arm(b, fd, c);
    }
}

static void uring_on_send(struct uring_backend *b, int fd, uint32_t gen, int res)
{
    struct uring_conn *c = uring_conn(b, fd);

    if (unlikely(uring_gen(b, fd) != gen || !(c->flags & URING_SEND_ARMED))) {
        uring_stats(b)->stale++;
        return;
    }
    c->flags &= (uint16_t) ~(URING_SEND_ARMED | URING_SEND_CANCEL);
    uring_stats(b)->engine_inflight--;
    if (unlikely(c->flags & URING_DETACHING))
        uring_report_detached(b, fd, c);
    else
        conn_on_sent(b->base.cfg.core, fd, res);
}

/* A cancel found nothing to cancel. If what it was for has not ended all the same, it is tried
 * again in the next turn. */
static void uring_on_cancel_missed(struct uring_backend *b, enum uring_op op, int fd, uint32_t gen)
{
    struct uring_conn *c = uring_conn(b, fd);
    uint16_t armed = op == URING_OP_CANCEL_RECV ? URING_RECV_ARMED : URING_SEND_ARMED;
    uint16_t cancel = op == URING_OP_CANCEL_RECV ? URING_RECV_CANCEL : URING_SEND_CANCEL;

    if (uring_gen(b, fd) != gen || (c->flags & (armed | cancel)) != (armed | cancel))
        return;
    c->flags &= (uint16_t)~cancel;
    uring_enqueue(b, fd);
}

/* ---- a turn ---- */

static void uring_complete(struct uring_backend *b, uint64_t user_data, int res, unsigned flags)
{
    int fd = (int)(uint32_t)user_data;
    uint32_t gen = (uint32_t)(user_data >> 32) & SLOT_GEN_MASK;
    enum uring_op op = (enum uring_op)(user_data >> 56);

    switch (op) {
    case URING_OP_RECV: uring_on_recv(b, fd, gen, res, flags); break;
    case URING_OP_SEND: uring_on_send(b, fd, gen, res); break;
    case URING_OP_ACCEPT: uring_on_accept(b, (unsigned)fd, res, flags); break;
    case URING_OP_WAKE: uring_wake_arm(b); break;
    case URING_OP_CANCEL_RECV:
    case URING_OP_CANCEL_SEND: uring_on_cancel_missed(b, op, fd, gen); break;
    case URING_OP_CANCEL_ACCEPT: uring_on_accept_cancel_missed(b, (unsigned)fd); break;
    default: uring_stats(b)->stale++; break;
    }
}

/*
 * Large answers do not wait for the end of a long turn: their clients would have nothing to do
 * while this turn goes on, and the worker nothing after it. It and its clients would take turns,
 * and sleep in between.
 */
static void uring_submit_early(struct uring_backend *b)
{
    b->send_bytes = 0;
    if (io_uring_sq_ready(&b->r.ring) == 0)
        return; /* the queue was full and has been submitted for that */
    uring_stats(b)->enters++;
    if (io_uring_submit(&b->r.ring) < 0)
        uring_stats(b)->engine_errors++; /* what it leaves is submitted when the turn is over */
}

/* Work off the completions that are there now; those that upcalls bring about are for the next
 * turn. */
static void uring_reap(struct uring_backend *b)
{
    struct io_uring *ring = &b->r.ring;
    unsigned head = *ring->cq.khead;
    unsigned tail = io_uring_smp_load_acquire(ring->cq.ktail);

    if (unlikely(*(volatile unsigned *)ring->sq.kflags & IORING_SQ_CQ_OVERFLOW))
        uring_stats(b)
            ->cq_overflow++; /* kept by the kernel, which hands them over when the queue has room */
    uring_stats(b)->cqes += tail - head;
    for (; head != tail; head++) {
        const struct io_uring_cqe *cqe = &ring->cq.cqes[head & ring->cq.ring_mask];
        uint64_t user_data = cqe->user_data;
        int res = cqe->res;
        unsigned flags = cqe->flags;
        io_uring_cq_advance(ring, 1); /* its place is free before the upcall, which may submit */
        uring_complete(b, user_data, res, flags);
        if (unlikely(b->send_bytes >= b->submit_bytes))
            uring_submit_early(b);
    }
}

/* Submit what is queued, wait for a completion, at most timeout_ms. */
static int uring_enter(struct uring_backend *b, int64_t timeout_ms)
{
    struct io_uring *ring = &b->r.ring;
    struct io_uring_cqe *cqe;
    struct __kernel_timespec ts = {.tv_sec = timeout_ms / 1000,
                                   .tv_nsec = timeout_ms % 1000 * 1000000};
    int rc;

    b->send_bytes = 0;
    uring_stats(b)->enters++;
    /*
     * Completions of what was submitted early are there already, and nobody would wait. But only
     * who asks for events lets the kernel do what it has deferred: receives, accepts, cancels.
     */
    if (timeout_ms == 0 || io_uring_cq_ready(ring) > 0)
        rc = io_uring_submit_and_get_events(ring);
    else if (timeout_ms < 0)
        rc = io_uring_submit_and_wait(ring, 1);
    else
        rc = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &ts, NULL);
    if (likely(rc >= 0) || rc == -ETIME || rc == -EINTR)
        return 0;
    uring_stats(b)->engine_errors++;
    if (rc != -EAGAIN && rc != -EBUSY && rc != -ENOMEM)
        return rc;
    /* The kernel is short of memory, or wants completions taken first: it can still wait, and what
     * is queued stays so. */
    ts = (struct __kernel_timespec){.tv_nsec = URING_RETRY_NS};
    uring_stats(b)->enters++;
    io_uring_wait_cqe_timeout(ring, &cqe, &ts);
    return 0;
}

static int uring_wait(struct backend *be, int64_t timeout_ms)
{
    struct uring_backend *b = uring_of(be);

    assert(!b->in_wait);
    b->in_wait = true;
    if (unlikely(b->listeners_wait))
        uring_listeners_retry(b);
    if (unlikely(b->wake_waits))
        uring_wake_arm(b);
    if (unlikely(b->queue_head >= 0) && uring_attend(b))
        timeout_ms = 0; /* something has happened */
    if (unlikely(b->queue_head >= 0 || b->listeners_wait || b->wake_waits))
        timeout_ms = 0; /* something is to be tried again */
    int rc = uring_enter(b, timeout_ms);
    uring_reap(b);
    b->in_wait = false;
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
        snprintf(error, BACKEND_TEXT_MAX, "no memory for the io_uring engine");
        return -ENOMEM;
    }
    b->base.ops = &uring_backend_ops;
    b->base.cfg = *cfg;
    b->queue_head = b->queue_tail = -1;
    rc = uring_options_parse(&o, cfg->variant, cfg->connections_max, &why);
    b->submit_bytes = o.submit_bytes;
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

static void uring_describe(struct backend *be, char *out, size_t out_size)
{
    struct uring_backend *b = uring_of(be);
    char version[32];
    int n = snprintf(out, out_size, "multishot accept and receive, ");

    if (n > 0 && (size_t)n < out_size)
        n += uring_ring_describe(&b->r, out + n, out_size - (size_t)n);
    uring_version(version, sizeof(version));
    if (n > 0 && (size_t)n < out_size)
        snprintf(out + n, out_size - (size_t)n, ", %s", version);
}

static int uring_attach(struct backend *be, int fd)
{
    struct uring_backend *b = uring_of(be);
    struct uring_conn *c = uring_conn(b, fd);

    c->flags = URING_ATTACHED;
    uring_recv_arm(b, fd, c);
    return 0;
}

static void uring_recv_ctl(struct backend *be, int fd, bool on)
{
    struct uring_backend *b = uring_of(be);
    struct uring_conn *c = uring_conn(b, fd);

    if (on == !(c->flags & URING_PAUSED))
        return;
    if (!on) {
        c->flags |= URING_PAUSED;
        if (c->flags & URING_RECV_ARMED)
            uring_enqueue(b, fd); /* cancelled only if it is still off when wait() begins */
        return;
    }
    c->flags &= (uint16_t)~URING_PAUSED;
    if (uring_has_held(c) || c->end)
        uring_enqueue(b, fd);
    else if (!(c->flags & (URING_RECV_ARMED | URING_QUEUED)))
        uring_recv_arm(b, fd, c);
}

/* The submission queue has no place: the send goes on when wait() begins. */
static int uring_send_later(struct uring_backend *b, int fd, struct uring_conn *c, const char *buf,
                            size_t len)
{
    struct uring_extra *x = uring_extra(c);

    if (!x)
        return -ENOMEM;
    x->buf = buf;
    x->len = (uint32_t)len;
    c->flags |= URING_SEND_WAITS;
    uring_enqueue(b, fd);
    return IO_PENDING;
}

static int uring_send(struct backend *be, int fd, const char *buf, size_t len)
{
    struct uring_backend *b = uring_of(be);
    struct uring_conn *c = uring_conn(b, fd);

    assert(len > 0 && !(c->flags & (URING_SEND_ARMED | URING_SEND_WAITS | URING_DETACHING)));
    len = MIN(len, (size_t)INT32_MAX);
    uring_stats(b)->send_pending++;
    return likely(uring_send_arm(b, fd, c, buf, len)) ? IO_PENDING
                                                      : uring_send_later(b, fd, c, buf, len);
}

static int uring_detach(struct backend *be, int fd)
{
    struct uring_backend *b = uring_of(be);
    struct uring_conn *c = uring_conn(b, fd);

    assert((c->flags & (URING_ATTACHED | URING_DETACHING)) == URING_ATTACHED);
    uring_extra_drop(c);
    c->flags &= (uint16_t)~URING_SEND_WAITS;
    if (!(c->flags & (URING_RECV_ARMED | URING_SEND_ARMED | URING_QUEUED))) {
        c->flags = 0;
        return 0;
    }
    c->flags |= URING_DETACHING;
    uring_conn_cancel(b, fd, c, true);
    return IO_PENDING;
}

static void uring_wake(struct backend *be)
{
    struct uring_backend *b = uring_of(be);
    const uint64_t one = 1;
    int err = errno;

    if (write(b->wake_fd, &one, sizeof(one)) < 0) {
        /* The counter is at its maximum: the engine has been woken already. */
    }
    errno = err;
}

const struct backend_ops uring_backend_ops = {
    .name = "io_uring",
    .slot_priv_size = sizeof(struct uring_conn),
    .version = uring_version,
    .probe = uring_probe,
    .open = uring_open,
    .close = uring_close,
    .describe = uring_describe,
    .listen_ctl = uring_listen_ctl,
    .attach = uring_attach,
    .recv_ctl = uring_recv_ctl,
    .send = uring_send,
    .detach = uring_detach,
    .wait = uring_wait,
    .wake = uring_wake,
};
