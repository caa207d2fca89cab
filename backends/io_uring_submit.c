/* SPDX-License-Identifier: MIT */
/*
 * io_uring_submit.c - places in the submission queue.
 */
#include "config.h"

#include "io_uring_internal.h"
#include "util.h"

struct io_uring_sqe *uring_sqe(struct uring_backend *b)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&b->r.ring);

    if (unlikely(!sqe)) {
        uring_count(b, URING_SQ_FULL);
        uring_stats(b)->enters++;
        /* What it says is seen by whether there is a place now. */
        (void)io_uring_submit(&b->r.ring);
        sqe = io_uring_get_sqe(&b->r.ring);
        if (!sqe) {
            uring_stats(b)->backend_errors++;
            return NULL;
        }
    }
    uring_count(b, URING_SQES);
    return sqe;
}

bool uring_cancel(struct uring_backend *b, enum uring_op op, uint64_t target)
{
    struct io_uring_sqe *sqe = uring_sqe(b);

    if (!sqe)
        return false;
    io_uring_prep_cancel64(sqe, target, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = (uint64_t)op << 56 | (target & ~(UINT64_C(0xff) << 56));
    uring_count(b, URING_CANCELS);
    return true;
}
