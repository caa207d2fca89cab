/* SPDX-License-Identifier: MIT */
/*
 * shim_uring.c - an LD_PRELOAD library that makes io_uring's operations fail, and liburing's calls.
 *
 * Which, and how, is said by the environment: see fault.h. The calls are
 *
 *   uring_accept, uring_recv, uring_send, uring_cancel, uring_wake (the read of an eventfd)
 *   uring_submit       any of the submitting functions: nothing is submitted
 *   uring_submit_part  one that has several entries to submit, of which only a part is ("short")
 *   uring_queue_init, uring_register, uring_register_ring_fd, uring_unregister_buf_ring,
 *   uring_probe_ring, uring_sync_cancel
 *
 * An operation is caught when it is submitted: its entry is made a NOP that completes with the
 * result wanted (IORING_NOP_INJECT_RESULT, Linux 6.10), so what the backend reaps comes from the
 * kernel, in the kernel's order, and never both from the operation and from its fault. "Short" and
 * "once" let the operation run, for one byte, or no longer multishot.
 *
 * With BIVALVE_FAULT_PROBE=1 the program does not run: status 0 if all that works here, or 77 and
 * why not on standard output.
 */
#define _GNU_SOURCE
#include <liburing.h>

#include "fault.h"

#define PROBE_RESULT EXDEV

/* Newer than the headers of liburing 2.3. */
#define NOP_INJECT_RESULT 1u /* IORING_NOP_INJECT_RESULT */

/* Make the entry complete with -err, and nothing else of it happen. */
static void entry_fail(struct io_uring_sqe *sqe, int err)
{
    uint64_t user_data = sqe->user_data;

    memset(sqe, 0, sizeof(*sqe)); /* buffer selection, multishot and the like are not for a NOP */
    sqe->opcode = IORING_OP_NOP;
    sqe->fd = -1;
    sqe->rw_flags = (int)NOP_INJECT_RESULT;
    sqe->len = (uint32_t)-err;
    sqe->user_data = user_data;
}

static void entry_pick(struct io_uring_sqe *sqe)
{
    int what = FAULT_NONE;

    switch (sqe->opcode) {
    case IORING_OP_ACCEPT:
        what = fault_pick("uring_accept", WAYS(EMFILE, ENFILE, ENOMEM, ENOBUFS, ECONNABORTED, EINTR,
                                               EAGAIN, EPROTO, FAULT_ONCE));
        if (what == FAULT_ONCE)
            sqe->ioprio &= (uint16_t)~IORING_ACCEPT_MULTISHOT;
        break;
    case IORING_OP_RECV:
        what = fault_pick("uring_recv", WAYS(ENOBUFS, ENOMEM, ECONNRESET, EINTR, EAGAIN, ETIMEDOUT,
                                             FAULT_SHORT, FAULT_ONCE));
        if (what < 0)
            sqe->ioprio &= (uint16_t)~IORING_RECV_MULTISHOT;
        if (what == FAULT_SHORT)
            sqe->len = 1;
        break;
    case IORING_OP_SEND:
        what = fault_pick("uring_send",
                          WAYS(ENOMEM, ENOBUFS, ECONNRESET, EPIPE, EINTR, EAGAIN, FAULT_SHORT));
        if (what == FAULT_SHORT)
            sqe->len = 1;
        break;
    case IORING_OP_SENDMSG:
        what = fault_pick("uring_send", WAYS(ENOMEM, ENOBUFS, ECONNRESET, EPIPE, EINTR, EAGAIN));
        break;
    case IORING_OP_ASYNC_CANCEL:
        /* Nothing is found, or something too far gone. What was to be cancelled runs on, as what
         * the kernel finds so may do for a moment: the backend has to see to it that it ends. */
        what = fault_pick("uring_cancel", WAYS(ENOENT, EALREADY));
        break;
    case IORING_OP_POLL_ADD: what = fault_pick("uring_poll", WAYS(EINTR, EAGAIN, ENOMEM)); break;
    case IORING_OP_READ: what = fault_pick("uring_wake", WAYS(EINTR, EAGAIN, ENOMEM)); break;
    default: break;
    }
    if (what > 0)
        entry_fail(sqe, what);
}

/* Pick among the entries that are about to be submitted, all of which or the first `most`. */
static void entries_pick(struct io_uring *ring, unsigned most)
{
    const struct io_uring_sq *sq = &ring->sq;

    for (unsigned at = sq->sqe_head; at != sq->sqe_tail && most > 0; at++, most--)
        entry_pick(&sq->sqes[at & sq->ring_mask]);
}

/* Submit only the first part, as a kernel does that ran out of memory on the way; it does not wait
 * then, either. */
static int submit_part(struct io_uring *ring)
{
    __typeof__(io_uring_submit) *submit =
        (__typeof__(io_uring_submit) *)dlsym(RTLD_NEXT, "io_uring_submit");
    unsigned tail = ring->sq.sqe_tail, part = (tail - ring->sq.sqe_head) / 2;

    entries_pick(ring, part);
    ring->sq.sqe_tail = ring->sq.sqe_head + part;
    int rc = submit(ring);
    ring->sq.sqe_tail = tail;
    return rc;
}

/* What the submitting functions begin with. True: that was all, and *rc the result. */
static bool submit_fault(struct io_uring *ring, int *rc)
{
    int what = FAULT_NONE;

    if (ring->sq.sqe_tail - ring->sq.sqe_head > 1)
        what = fault_pick("uring_submit_part", WAYS(FAULT_SHORT));
    if (what == FAULT_NONE)
        what = fault_pick("uring_submit", WAYS(EINTR, EAGAIN, EBUSY, ENOMEM));
    if (what == FAULT_NONE) {
        entries_pick(ring, UINT32_MAX);
        return false;
    }
    *rc = what == FAULT_SHORT ? submit_part(ring) : -what;
    return true;
}

int io_uring_submit(struct io_uring *ring)
{
    int rc;

    REAL(io_uring_submit);
    return submit_fault(ring, &rc) ? rc : real(ring);
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr)
{
    int rc;

    REAL(io_uring_submit_and_wait);
    return submit_fault(ring, &rc) ? rc : real(ring, wait_nr);
}

int io_uring_submit_and_get_events(struct io_uring *ring)
{
    int rc;

    REAL(io_uring_submit_and_get_events);
    return submit_fault(ring, &rc) ? rc : real(ring);
}

int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe_ptr,
                                     unsigned wait_nr, struct __kernel_timespec *ts,
                                     sigset_t *sigmask)
{
    int rc;

    REAL(io_uring_submit_and_wait_timeout);
    if (!submit_fault(ring, &rc))
        return real(ring, cqe_ptr, wait_nr, ts, sigmask);
    *cqe_ptr = NULL;
    return rc;
}

/* ---- at the start and at the end ---- */

#define FAIL_WITH(call, ways, result)       \
    do {                                    \
        int what_ = fault_pick(call, ways); \
        if (what_ > 0)                      \
            return result;                  \
    } while (0)

int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
    REAL(io_uring_queue_init_params);
    FAIL_WITH("uring_queue_init", WAYS(ENOMEM, EPERM, ENOSYS, EMFILE, ENFILE), -what_);
    return real(entries, ring, p);
}

int io_uring_register(unsigned fd, unsigned opcode, const void *arg, unsigned nr_args)
{
    REAL(io_uring_register);
    if (opcode == IORING_REGISTER_RESTRICTIONS) /* a restricted ring would not do nothing */
        return -EINVAL;
    FAIL_WITH("uring_register", WAYS(ENOMEM, EPERM, ENOSYS, EINVAL), -what_);
    return real(fd, opcode, arg, nr_args);
}

int io_uring_register_ring_fd(struct io_uring *ring)
{
    REAL(io_uring_register_ring_fd);
    FAIL_WITH("uring_register_ring_fd", WAYS(ENOMEM, EPERM, EINVAL, EBUSY), -what_);
    return real(ring);
}

int io_uring_unregister_buf_ring(struct io_uring *ring, int bgid)
{
    REAL(io_uring_unregister_buf_ring);
    FAIL_WITH("uring_unregister_buf_ring", WAYS(ENOENT, EINVAL), -what_);
    return real(ring, bgid);
}

struct io_uring_probe *io_uring_get_probe_ring(struct io_uring *ring)
{
    REAL(io_uring_get_probe_ring);
    FAIL_WITH("uring_probe_ring", WAYS(ENOMEM, EPERM), NULL);
    return real(ring);
}

int io_uring_register_sync_cancel(struct io_uring *ring, struct io_uring_sync_cancel_reg *reg)
{
    REAL(io_uring_register_sync_cancel);
    FAIL_WITH("uring_sync_cancel", WAYS(ENOENT, ETIME, ENOMEM), -what_);
    return real(ring, reg);
}

/* ---- does it work here? ---- */

/* The reason why not, or NULL. */
static const char *probe(void)
{
    __typeof__(io_uring_queue_init_params) *open_ring =
        (__typeof__(io_uring_queue_init_params) *)dlsym(RTLD_NEXT, "io_uring_queue_init_params");
    __typeof__(io_uring_submit_and_wait) *submit =
        (__typeof__(io_uring_submit_and_wait) *)dlsym(RTLD_NEXT, "io_uring_submit_and_wait");
    struct io_uring_params p = {0};
    struct io_uring ring;

    if (!open_ring || !submit)
        return "liburing is no shared library of this program";
    if (open_ring(2, &ring, &p) < 0)
        return "no io_uring";
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    if (!sqe)
        return "no place in an empty ring";
    entry_fail(sqe, PROBE_RESULT);
    if (submit(&ring, 1) != 1)
        return "cannot submit";
    const struct io_uring_cqe *cqe = &ring.cq.cqes[*ring.cq.khead & *ring.cq.kring_mask];
    return cqe->res == -PROBE_RESULT ? NULL
                                     : "the kernel has no IORING_NOP_INJECT_RESULT (Linux 6.10)";
}

__attribute__((constructor)) static void probe_if_asked(void)
{
    if (!fault_env("BIVALVE_FAULT_PROBE"))
        return;
    const char *why = probe();
    if (why)
        printf("%s\n", why);
    fflush(stdout);
    _exit(why ? 77 : 0);
}
