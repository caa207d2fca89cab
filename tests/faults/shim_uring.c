/* SPDX-License-Identifier: MIT */
/*
 * shim_uring.c - the part of the shim that makes operations of an io_uring fail.
 *
 * What is queued passes through liburing's functions that submit. There an operation is turned into
 * one that does nothing and completes with the error chosen (IORING_OP_NOP with an injected result,
 * Linux 6.10): the kernel itself reports it, without IORING_CQE_F_MORE, as it would any failure. A
 * short send is a real one, of one byte. Names are op_accept, op_recv, op_send, op_cancel, op_read;
 * and io_uring_submit for a submission of which the kernel takes nothing.
 *
 * A ring that is restricted would not do nothing either: registering restrictions is refused.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <string.h>

#include <liburing.h>

#include "shim.h"

#define NOP_INJECT_RESULT 1u /* IORING_NOP_INJECT_RESULT, not in the headers of liburing 2.3 */

static void shim_fail(struct io_uring_sqe *sqe, int err)
{
    uint64_t user_data = sqe->user_data;

    memset(sqe, 0, sizeof(*sqe));
    sqe->opcode = IORING_OP_NOP;
    sqe->fd = -1;
    sqe->rw_flags = NOP_INJECT_RESULT; /* nop_flags */
    sqe->len = (unsigned)-err;
    sqe->user_data = user_data;
}

static void shim_operation(struct io_uring_sqe *sqe)
{
    int what = FAULT_NONE;

    switch (sqe->opcode) {
    case IORING_OP_ACCEPT:
        what = fault_pick("op_accept", WAYS(EMFILE, ENFILE, ENOMEM, ENOBUFS, ECONNABORTED, EINTR));
        break;
    case IORING_OP_RECV:
        what = fault_pick("op_recv", WAYS(ENOBUFS, ECONNRESET, EINTR, ENOMEM, EAGAIN, ETIMEDOUT));
        break;
    case IORING_OP_SEND:
        what = fault_pick("op_send", WAYS(FAULT_SHORT, ECONNRESET, EPIPE, ENOBUFS, ENOMEM, EINTR));
        break;
    case IORING_OP_ASYNC_CANCEL: what = fault_pick("op_cancel", WAYS(ENOENT, EALREADY)); break;
    case IORING_OP_READ: what = fault_pick("op_read", WAYS(EINTR, ENOMEM)); break;
    default: break;
    }
    if (what == FAULT_SHORT)
        sqe->len = 1;
    else if (what != FAULT_NONE)
        shim_fail(sqe, what);
}

/* 0, or -errno: nothing is submitted this time. */
static int shim_submission(struct io_uring *ring)
{
    if (ring->sq.sqe_head != ring->sq.sqe_tail) {
        int what = fault_pick("io_uring_submit", WAYS(EAGAIN, EBUSY, ENOMEM, EINTR));
        if (what != FAULT_NONE)
            return -what;
    }
    for (unsigned i = ring->sq.sqe_head; i != ring->sq.sqe_tail; i++)
        shim_operation(&ring->sq.sqes[i & *ring->sq.kring_mask]);
    return 0;
}

#define SUBMIT(name, ...)              \
    REAL(name);                        \
    int error = shim_submission(ring); \
    return error ? error : real(__VA_ARGS__)

int io_uring_submit(struct io_uring *ring)
{
    SUBMIT(io_uring_submit, ring);
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned n)
{
    SUBMIT(io_uring_submit_and_wait, ring, n);
}

int io_uring_submit_and_get_events(struct io_uring *ring)
{
    SUBMIT(io_uring_submit_and_get_events, ring);
}

int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned n,
                                     struct __kernel_timespec *ts, sigset_t *mask)
{
    SUBMIT(io_uring_submit_and_wait_timeout, ring, cqe, n, ts, mask);
}

int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
    REAL(io_uring_queue_init_params);
    int what = fault_pick("io_uring_setup", WAYS(ENOMEM, EMFILE, EPERM, ENOSYS));
    return what == FAULT_NONE ? real(entries, ring, p) : -what;
}

int io_uring_register(unsigned fd, unsigned opcode, const void *arg, unsigned count)
{
    REAL(io_uring_register);
    if (opcode == IORING_REGISTER_RESTRICTIONS)
        return -EINVAL;
    int what = fault_pick("io_uring_register", WAYS(ENOMEM, EINVAL));
    return what == FAULT_NONE ? real(fd, opcode, arg, count) : -what;
}

int io_uring_register_ring_fd(struct io_uring *ring)
{
    REAL(io_uring_register_ring_fd);
    int what = fault_pick("io_uring_register_ring_fd", WAYS(ENOMEM, EINVAL));
    return what == FAULT_NONE ? real(ring) : -what;
}
