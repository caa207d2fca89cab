/* SPDX-License-Identifier: MIT */
/*
 * io_uring_ring.h - what the io_uring backend is built on: its options, the ring with what this
 * kernel grants of the features wanted, and the pool of provided receive buffers. Private to the
 * backend; the only file that includes <liburing.h>.
 */
#ifndef BIVALVE_IO_URING_RING_H
#define BIVALVE_IO_URING_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <liburing.h>

#include "backend.h"
#include "util.h"

/* Numbers of the kernel's interface that the headers of liburing 2.3 do not have yet. They are
 * probed for at run time. */
#define URING_PBUF_RING_INC        (1u << 1)  /* IOU_PBUF_RING_INC, Linux 6.12 */
#define URING_CQE_F_BUF_MORE       (1u << 4)  /* IORING_CQE_F_BUF_MORE */
#define URING_SETUP_NO_SQARRAY     (1u << 16) /* IORING_SETUP_NO_SQARRAY, Linux 6.6 */
#define URING_FEAT_RECVSEND_BUNDLE (1u << 14) /* IORING_FEAT_RECVSEND_BUNDLE, Linux 6.10 */
#define URING_FEAT_MIN_TIMEOUT     (1u << 15) /* IORING_FEAT_MIN_TIMEOUT, Linux 6.12 */

#define URING_BUFFER_GROUP 0
#define URING_TRIAL_GROUP  1 /* while features are tried */

/* Who runs the kernel's part of a completion, and when. Best first: a refused one steps down to the
 * next. */
enum uring_taskrun {
    URING_TASKRUN_DEFER, /* when the worker waits, and only then */
    URING_TASKRUN_COOP,  /* at the worker's next system call, without interrupting it */
    URING_TASKRUN_NONE,
};

/*
 * The backend's options: --backend io_uring:KEY=VALUE,KEY=VALUE,...
 *
 *   entries=N        submission queue, 2 to 4096
 *   submit-bytes=N   submit when sends of so many bytes are queued, 1 to 1048576, not only when
 *                    the iteration is over
 *   cq=N             completion queue, entries to 65536
 *   buffers=N        receive buffers, the most, a power of two, 1 to 32768
 *   buffer-bytes=N   size of one, 64 to 1048576
 *   taskrun=defer|coop|none   the best one to try
 *   inc=0|1          buffers consumed piece by piece: never, or fail without (default: if there)
 *   ring-fd=0|1      the ring registered with itself: never, or fail without (default: if there)
 *   restrict=0|1     the ring takes the backend's own operations alone: never, or fail without
 *                    (default: if there)
 */
struct uring_options {
    unsigned entries;
    unsigned cq_entries;
    unsigned submit_bytes;
    uint32_t batch_us;     /* the window of batch.h; 0: none */
    unsigned buffers;      /* 0: chosen by what the kernel has */
    unsigned buffer_bytes; /* 0: likewise */
    enum uring_taskrun taskrun;
    int inc;       /* -1: if there */
    int ring_fd;   /* -1: if there */
    int restrict_; /* -1: if there */
};

/*
 * Buffers that receives take from; given back one by one, used in the order given. So all that
 * circulate have been written to before long, however few would do: it begins with some, of which
 * only the first part is lent to the kernel, and has more when a receive found none
 * (uring_pool_grow()).
 */
struct uring_pool {
    struct io_uring_buf_ring *ring;
    size_t map_bytes;
    char *base;
    uint32_t *used;        /* bytes of each buffer consumed so far; incremental only */
    uint32_t count;        /* a power of two */
    uint32_t bytes;        /* each */
    uint32_t lent;         /* ... of them, to the kernel, from now on */
    uint32_t lent_least;   /* what that begins with */
    uint32_t circulating;  /* of them; the rest are spare */
    uint32_t target;       /* ... and how many should: those beyond become spare when given back */
    uint32_t target_least; /* what it begins with */
    uint16_t *spare;
    bool incremental;
};

struct uring_ring {
    struct io_uring ring;
    struct uring_pool pool;
    enum uring_taskrun taskrun; /* what the kernel granted */
    bool submit_all, single_issuer, registered, restricted;
};

/* Why something failed, for people. */
struct uring_failure {
    char reason[BACKEND_TEXT_MAX / 2];
    char hint[BACKEND_TEXT_MAX / 2]; /* may be empty */
};

/* `call` failed with `err` (positive errno): the cause and the way out, into why. Returns -err. */
int uring_fail(struct uring_failure *why, const char *call, int err);

/* Parse `variant` (NULL: all defaults) for at most `connections` (0: unknown). 0, or -EINVAL and
 * why. */
int uring_options_parse(struct uring_options *o, const char *variant, uint32_t connections,
                        struct uring_failure *why);

/*
 * Make a ring and its pool of buffers, in the process that will use them; `recv_bytes` is the most
 * a receive need carry. 0, or -errno with cause and way out, and nothing left behind.
 */
int uring_ring_open(struct uring_ring *r, const struct uring_options *o, uint32_t recv_bytes,
                    struct uring_failure *why);
void uring_ring_close(struct uring_ring *r);

/* One line about what the ring uses. Returns its length, as snprintf(3) would. */
int uring_ring_describe(const struct uring_ring *r, char *out, size_t out_size);

/*
 * Give the pages of the receive buffers back to the kernel, where nothing can be in them that has
 * not been seen; they come again, zeroed, as they are used. No more buffers than at the beginning
 * are to circulate. The bytes given back.
 */
size_t uring_ring_trim(struct uring_ring *r);

/* Start of the data that a completion with IORING_CQE_F_BUFFER brought. */
static inline char *uring_pool_data(const struct uring_pool *p, unsigned bid)
{
    char *data = p->base + (size_t)bid * p->bytes;
    return p->incremental ? data + p->used[bid] : data;
}

/* A receive found no buffer: from now on they are lent whole or, where they are, twice as many are to
 * circulate, as far as there are. */
void uring_pool_grow(struct uring_pool *p);

/* The kernel is through with the buffer. */
static inline void uring_pool_give_back(struct uring_pool *p, unsigned bid)
{
    if (unlikely(p->circulating > p->target)) {
        p->spare[p->count - p->circulating--] = (uint16_t)bid;
        return;
    }
    io_uring_buf_ring_add(p->ring, p->base + (size_t)bid * p->bytes, p->lent, (unsigned short)bid,
                          (int)(p->count - 1), 0);
    io_uring_buf_ring_advance(p->ring, 1);
}

/* The data of such a completion has been used: give the buffer back if the kernel is through with
 * it. */
static inline void uring_pool_done(struct uring_pool *p, unsigned bid, int res, unsigned cqe_flags)
{
    if (p->incremental) {
        if (cqe_flags & URING_CQE_F_BUF_MORE) {
            p->used[bid] += res > 0 ? (uint32_t)res : 0;
            return;
        }
        p->used[bid] = 0;
    }
    uring_pool_give_back(p, bid);
}

/* io_uring_probe.c: backend_ops.probe */
void uring_probe(const char *variant, struct backend_probe *out);

#endif
