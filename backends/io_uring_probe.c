/* SPDX-License-Identifier: MIT */
/*
 * io_uring_probe.c - does this machine run the io_uring backend, and with what? Tried, not looked
 * up: a ring and its buffers are made just as the backend makes them, and a multishot receive on a
 * socketpair has to deliver, and to be cancelled.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io_uring_ring.h"
#include "util.h"

#define PROBE_TIMEOUT_NS 500000000

/* The names of all that probe_features() looks for come in one order, found or not. */
static size_t probe_feature(char *out, size_t n, const char *name, bool found)
{
    int len =
        snprintf(out + n, BACKEND_TEXT_MAX - n, "%s%s%s", n ? " " : "", found ? "" : "no:", name);

    return MIN(n + (size_t)MAX(len, 0), BACKEND_TEXT_MAX - 1);
}

/* Does the kernel list the operation? Where a filter forbids to ask, yes: trying tells. */
static bool probe_opcode(struct uring_ring *r, int opcode)
{
    struct io_uring_probe *p = io_uring_get_probe_ring(&r->ring);
    bool found = !p || io_uring_opcode_supported(p, opcode);

    if (p)
        io_uring_free_probe(p);
    return found;
}

static void probe_features(struct uring_ring *r, bool multishot, char *out)
{
    size_t n = 0;

    n = probe_feature(out, n, "multishot_recv", multishot);
    n = probe_feature(out, n, "provided_buffers", true);
    n = probe_feature(out, n, "incremental_buffers", r->pool.incremental);
    n = probe_feature(out, n, "defer_taskrun", r->taskrun == URING_TASKRUN_DEFER);
    n = probe_feature(out, n, "coop_taskrun", r->taskrun <= URING_TASKRUN_COOP);
    n = probe_feature(out, n, "single_issuer", r->single_issuer);
    n = probe_feature(out, n, "submit_all", r->submit_all);
    n = probe_feature(out, n, "registered_ring", r->registered);
    n = probe_feature(out, n, "restrictions", r->restricted);
    n = probe_feature(out, n, "no_sqarray", r->ring.flags & URING_SETUP_NO_SQARRAY);
    /* The rest did not earn its place when it was measured, but is good to know of. */
    n = probe_feature(out, n, "recvsend_bundle", r->ring.features & URING_FEAT_RECVSEND_BUNDLE);
    n = probe_feature(out, n, "min_timeout", r->ring.features & URING_FEAT_MIN_TIMEOUT);
    probe_feature(out, n, "send_zc", probe_opcode(r, IORING_OP_SEND_ZC));
}

struct probe_cqe {
    uint64_t user_data;
    int res;
    unsigned flags;
};

/* The next completion, taken off the queue; res is -ETIME when none comes. */
static struct probe_cqe probe_wait(struct uring_ring *r)
{
    struct __kernel_timespec ts = {.tv_nsec = PROBE_TIMEOUT_NS};
    struct probe_cqe copy = {.res = -ETIME};
    struct io_uring_cqe *cqe = NULL;
    int rc = io_uring_submit_and_wait_timeout(&r->ring, &cqe, 1, &ts, NULL);

    if (!cqe) {
        if (rc < 0)
            copy.res = rc;
        return copy;
    }
    copy = (struct probe_cqe){.user_data = cqe->user_data, .res = cqe->res, .flags = cqe->flags};
    io_uring_cqe_seen(&r->ring, cqe);
    return copy;
}

/* 0, or -errno and the step that failed: two receives from one submission into provided buffers,
 * then its cancellation. */
static int probe_receive(struct uring_ring *r, const int pair[2], const char **step)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);

    io_uring_prep_recv_multishot(sqe, pair[0], NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = URING_BUFFER_GROUP;
    sqe->user_data = 1;
    for (char c = 'a'; c <= 'b'; c++) {
        *step = "a multishot receive into provided buffers";
        if (send(pair[1], &c, 1, MSG_NOSIGNAL) != 1)
            return -errno;
        struct probe_cqe cqe = probe_wait(r);
        if (cqe.res < 0)
            return cqe.res;
        if (cqe.res != 1 || !(cqe.flags & IORING_CQE_F_BUFFER) || !(cqe.flags & IORING_CQE_F_MORE))
            return -ENOTSUP;
        unsigned bid = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
        if (*uring_pool_data(&r->pool, bid) != c)
            return -EIO;
        uring_pool_done(&r->pool, bid, cqe.res, cqe.flags);
    }
    *step = "cancelling a multishot receive";
    sqe = io_uring_get_sqe(&r->ring);
    io_uring_prep_cancel64(sqe, 1, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = 2;
    struct probe_cqe cqe = probe_wait(r);
    return cqe.user_data == 1 && cqe.res == -ECANCELED ? 0 : cqe.res < 0 ? cqe.res : -ENOTSUP;
}

/* Every operation the backend uses, by the kernel's own list. */
static int probe_opcodes(struct uring_ring *r, const char **step)
{
    static const struct {
        int opcode;
        const char *name;
    } ops[] = {{IORING_OP_ACCEPT, "the operation accept"},
               {IORING_OP_RECV, "the operation recv"},
               {IORING_OP_SEND, "the operation send"},
               {IORING_OP_READ, "the operation read"},
               {IORING_OP_SENDMSG, "the operation sendmsg"},
               {IORING_OP_CONNECT, "the operation connect"},
               {IORING_OP_POLL_ADD, "the operation poll_add"},
               {IORING_OP_ASYNC_CANCEL, "the operation async_cancel"}};

    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        *step = ops[i].name;
        if (!probe_opcode(r, ops[i].opcode))
            return -ENOTSUP;
    }
    return 0;
}

void uring_probe(const char *variant, struct backend_probe *out)
{
    struct uring_options o;
    struct uring_failure why = {.reason = ""};
    struct uring_ring r;
    const char *step = "socketpair";
    int pair[2];

    memset(out, 0, sizeof(*out));
    if (uring_options_parse(&o, variant, 0, &why) < 0 ||
        uring_ring_open(&r, &o, UINT32_MAX, &why) < 0) {
        snprintf(out->reason, sizeof(out->reason), "%s", why.reason);
        snprintf(out->hint, sizeof(out->hint), "%s", why.hint);
        return;
    }
    int rc = probe_opcodes(&r, &step);
    if (rc == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        rc = -errno;
        step = "socketpair";
    } else if (rc == 0) {
        rc = probe_receive(&r, pair, &step);
        close(pair[0]);
        close(pair[1]);
    }
    out->usable = rc == 0;
    probe_features(&r, rc == 0, out->features);
    if (rc < 0) {
        uring_fail(&why, step, -rc);
        snprintf(out->reason, sizeof(out->reason), "%s", why.reason);
        snprintf(out->hint, sizeof(out->hint), "%s", why.hint);
    }
    uring_ring_close(&r);
}
