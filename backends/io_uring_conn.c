/* SPDX-License-Identifier: MIT */
/*
 * io_uring_conn.c - the connections of the io_uring backend: what they receive, what is reported of
 * it, and what has to wait until the next wait() begins. What they send is io_uring_send.c.
 *
 * Invariants:
 *   - a connection has at most one receive and one send in flight (URING_RECV_ARMED,
 *     URING_SEND_ARMED); both are cleared by the last completion of the operation, never before
 *   - a slot whose connection is in the queue is not released: detach() says IO_PENDING
 *   - a buffer goes back to the pool in the iteration it came; input for a paused connection
 *     is copied out of it, so a client that does not read costs nobody else a buffer. What is held
 *     is at most what one socket had in the kernel: the receive is cancelled when the next wait()
 *     begins, and from then on that connection receives one piece at a time
 *   - after an upcall nothing of the slot is used unless uring_is_live()
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io_uring_internal.h"
#include "util.h"

/* Is the connection that had fd and gen before an upcall still there, and not being detached? */
static inline bool uring_is_live(struct uring_backend *b, int fd, uint32_t gen)
{
    return uring_gen(b, fd) == gen &&
           (uring_conn(b, fd)->flags & (URING_ATTACHED | URING_DETACHING)) == URING_ATTACHED;
}

static void uring_queue_add(struct uring_backend *b, struct uring_queue *q, int fd)
{
    uring_conn(b, fd)->next = -1;
    if (q->tail >= 0)
        uring_conn(b, q->tail)->next = fd;
    else
        q->head = fd;
    q->tail = fd;
}

/* There is one. */
static int uring_queue_take(struct uring_backend *b, struct uring_queue *q)
{
    int fd = q->head;

    q->head = uring_conn(b, fd)->next;
    if (q->head < 0)
        q->tail = -1;
    return fd;
}

static void uring_enqueue_in(struct uring_backend *b, struct uring_queue *q, int fd)
{
    struct uring_conn *c = uring_conn(b, fd);

    if (c->flags & URING_QUEUED)
        return;
    c->flags |= URING_QUEUED;
    uring_queue_add(b, q, fd);
}

void uring_enqueue(struct uring_backend *b, int fd)
{
    uring_enqueue_in(b, &b->queue, fd);
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
    uring_stats(b)->in_flight++;
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
        if (uring_cancel(b, URING_OP_CANCEL_SEND, uring_user_data(uring_send_op(c), gen, fd)))
            c->flags |= URING_SEND_CANCEL;
        else
            uring_enqueue(b, fd);
    }
}

/* ---- input that is held ---- */

static void uring_held_free(struct uring_backend *b, struct uring_held *h)
{
    b->base.held_bytes -= sizeof(*h) + h->len;
    free(h);
}

/* Drop the input that was held. */
static void uring_held_drop(struct uring_backend *b, struct uring_conn *c)
{
    if (!c->extra)
        return;
    while (c->extra->head) {
        struct uring_held *h = c->extra->head;
        c->extra->head = h->next;
        uring_held_free(b, h);
    }
    c->extra->tail = &c->extra->head;
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

    uring_count(b, URING_INPUT_HELD);
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
    b->base.held_bytes += sizeof(*h) + len;
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

    while (off < len) {
        size_t n = MIN(len - off, b->base.cfg.recv_buffer_bytes);
        backend_on_input(&b->base, fd, data + off, n);
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

    c->end = 0;
    c->flags |= URING_PAUSED;
    if (end == URING_END_EOF)
        backend_on_eof(&b->base, fd);
    else
        backend_on_failed(&b->base, fd, end);
}

void uring_report_detached(struct uring_backend *b, int fd, struct uring_conn *c)
{
    if (c->flags & (URING_RECV_ARMED | URING_SEND_ARMED | URING_QUEUED))
        return;
    c->flags = 0;
    uring_extra_trim(c);
    backend_on_detached(&b->base, fd);
}

/* ---- the queue of connections to look at ---- */

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
            uring_held_free(b, h);
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
static bool uring_look_at(struct uring_backend *b, int fd)
{
    struct uring_conn *c = uring_conn(b, fd);
    bool upcall = false;

    if (c->flags & URING_DETACHING) {
        uring_conn_cancel(b, fd, c, true);
        uring_report_detached(b, fd, c);
        return true;
    }
    if (c->flags & URING_DEFERRED) {
        c->flags &= (uint16_t)~URING_DEFERRED;
        uring_extra_arm_or_defer(b, fd, c);
    }
    if (!(c->flags & URING_ATTACHED))
        return false;
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

/*
 * Have more buffers where some connections found none, and let some of these try again; all buffers
 * are back in the pool by now. If all tried at once, most would fail once more where each has much to
 * bring, and in such a crowd half of the operations would be for nothing: so as many as there are
 * buffers, and twice as many each time that nobody found none.
 */
static void uring_feed_starved(struct uring_backend *b)
{
    struct uring_pool *p = &b->r.pool;
    uint64_t failed = uring_stats(b)->backend[URING_ENOBUFS];

    if (likely(b->starved.head < 0)) {
        b->retries = 0;
        return;
    }
    uring_pool_grow(p);
    b->retries = b->retries && failed == b->retries_failed ? MIN(b->retries * 2, URING_RETRIES_MAX)
                                                           : p->circulating;
    b->retries_failed = failed;
    for (uint32_t n = b->retries; n > 0 && b->starved.head >= 0; n--)
        uring_queue_add(b, &b->queue, uring_queue_take(b, &b->starved));
}

bool uring_run_queue(struct uring_backend *b)
{
    uring_feed_starved(b);

    int last = b->queue.tail;
    bool more = b->queue.head >= 0, upcall = false;

    while (more) {
        int fd = uring_queue_take(b, &b->queue);

        more = fd != last;
        uring_conn(b, fd)->flags &= (uint16_t)~URING_QUEUED;
        upcall |= uring_look_at(b, fd);
    }
    return upcall;
}

/* ---- completions ---- */

/*
 * What arrived did not fit into the rest of an incremental buffer, and the next completion has what
 * follows: it is kept for that one, so that both are one input(). Else a batch of requests that
 * happens to lie there, one in 27 of sixteen short ones, would be answered by two sends.
 *
 * True: it is kept. The next completion is dealt with next, and nothing in between.
 */
static __attribute__((noinline)) bool uring_keep_cut(struct uring_backend *b, int fd, uint32_t gen,
                                                     const char *data, unsigned len)
{
    const struct io_uring_cq *cq = &b->r.ring.cq;
    unsigned head = *cq->khead; /* that of this one has been advanced */
    uint64_t user_data = uring_user_data(URING_OP_RECV, gen, fd);

    if (!b->r.pool.incremental || head == b->reap_tail)
        return false;
    const struct io_uring_cqe *next = &cq->cqes[head & cq->ring_mask];
    if (next->user_data != user_data || next->res <= 0 ||
        b->joined_len + len + (unsigned)next->res > sizeof(b->joined))
        return false;
    memcpy(b->joined + b->joined_len, data, len);
    b->joined_len += len;
    b->joined_for = user_data;
    return true;
}

/* The data of this completion behind what was kept for it. Returns their start, and *len of both. */
static __attribute__((noinline)) const char *uring_join(struct uring_backend *b, int fd,
                                                        uint32_t gen, const char *data, size_t *len)
{
    assert(b->joined_for == uring_user_data(URING_OP_RECV, gen, fd));
    memcpy(b->joined + b->joined_len, data, *len);
    *len += b->joined_len;
    b->joined_len = 0;
    return b->joined;
}

void uring_on_recv(struct uring_backend *b, int fd, uint32_t gen, int res, unsigned flags)
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
        uring_stats(b)->in_flight--;
    }
    uring_stats(b)->recv_calls++;

    if (likely(res > 0)) {
        const char *data = uring_pool_data(pool, bid);
        size_t len = (size_t)res;
        if (likely(!(c->flags & (URING_PAUSED | URING_DETACHING)) && !uring_has_held(c))) {
            if (unlikely((flags & (URING_CQE_F_BUF_MORE | IORING_CQE_F_MORE)) ==
                         IORING_CQE_F_MORE) &&
                uring_keep_cut(b, fd, gen, data, (unsigned)res)) {
                uring_pool_done(pool, bid, res, flags);
                return;
            }
            if (unlikely(b->joined_len))
                data = uring_join(b, fd, gen, data, &len);
            size_t n = uring_report_input(b, fd, data, len);
            if (unlikely(n < len) && uring_is_live(b, fd, gen))
                uring_hold(b, c, data + n, len - n);
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
        uring_count(b, URING_ENOBUFS);
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
            uring_count(b, URING_RECV_REARMED);
        if (res == -ENOBUFS)
            uring_enqueue_in(b, &b->starved, fd);
        else
            uring_recv_arm(b, fd, c);
    }
}

/* A cancel found nothing to cancel. If what it was for has not ended all the same, it is tried
 * again in the next iteration. */
void uring_on_conn_cancel_missed(struct uring_backend *b, enum uring_op op, int fd, uint32_t gen)
{
    struct uring_conn *c = uring_conn(b, fd);
    uint16_t armed = op == URING_OP_CANCEL_RECV ? URING_RECV_ARMED : URING_SEND_ARMED;
    uint16_t cancel = op == URING_OP_CANCEL_RECV ? URING_RECV_CANCEL : URING_SEND_CANCEL;

    if (uring_gen(b, fd) != gen || (c->flags & (armed | cancel)) != (armed | cancel))
        return;
    c->flags &= (uint16_t)~cancel;
    uring_enqueue(b, fd);
}

/* ---- the contract's members ---- */

int uring_attach(struct backend *be, int fd)
{
    struct uring_backend *b = uring_of(be);
    struct uring_conn *c = uring_conn(b, fd);

    c->flags |= URING_ATTACHED;
    uring_recv_arm(b, fd, c);
    return 0;
}

void uring_recv_ctl(struct backend *be, int fd, bool on)
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

int uring_detach(struct backend *be, int fd)
{
    struct uring_backend *b = uring_of(be);
    struct uring_conn *c = uring_conn(b, fd);

    assert((c->flags & (URING_ATTACHED | URING_CONNECTING)) && !(c->flags & URING_DETACHING));
    uring_held_drop(b, c);
    c->flags &= (uint16_t)~URING_DEFERRED;
    uring_extra_trim(c);
    if (!(c->flags & (URING_RECV_ARMED | URING_SEND_ARMED | URING_QUEUED))) {
        c->flags = 0;
        return 0;
    }
    c->flags |= URING_DETACHING;
    uring_conn_cancel(b, fd, c, true);
    return IO_PENDING;
}
