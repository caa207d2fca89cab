/* SPDX-License-Identifier: MIT */
/*
 * uring_null.c - the least an io_uring server can do: multishot accept, multishot receive into
 * provided buffers, one queued send an answered batch. The backend is measured against it. `direct`
 * as third argument: accepted sockets go into a fixed-file table instead of the process's, to see
 * what that would be worth.
 */
#define _GNU_SOURCE
#include "null_common.h"

#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#define CONNS        16384
#define BUFFERS      256
#define BUFFER_BYTES 4096

enum { OP_ACCEPT, OP_RECV, OP_SEND, OP_CLOSE };

static struct io_uring ring;
static struct io_uring_buf_ring *pool;
static char *buffers;
static bool direct;

static struct io_uring_sqe *null_sqe(void)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

    if (!sqe) {
        io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
        if (!sqe)
            abort();
    }
    return sqe;
}

static void null_submit(struct io_uring_sqe *sqe, unsigned op, int fd)
{
    if (direct && op != OP_ACCEPT && op != OP_CLOSE)
        sqe->flags |= IOSQE_FIXED_FILE;
    sqe->user_data = (uint64_t)op << 32 | (uint32_t)fd;
}

static void null_accept(int lfd)
{
    struct io_uring_sqe *sqe = null_sqe();

    if (direct)
        io_uring_prep_multishot_accept_direct(sqe, lfd, NULL, NULL, 0);
    else
        io_uring_prep_multishot_accept(sqe, lfd, NULL, NULL, SOCK_CLOEXEC);
    null_submit(sqe, OP_ACCEPT, lfd);
}

static void null_recv(int fd)
{
    struct io_uring_sqe *sqe = null_sqe();

    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    null_submit(sqe, OP_RECV, fd);
}

static void null_close(int fd)
{
    struct io_uring_sqe *sqe = null_sqe();

    if (direct)
        io_uring_prep_close_direct(sqe, (unsigned)fd);
    else
        io_uring_prep_close(sqe, fd);
    null_submit(sqe, OP_CLOSE, fd);
}

static void null_give_back(unsigned bid)
{
    io_uring_buf_ring_add(pool, buffers + (size_t)bid * BUFFER_BYTES, BUFFER_BYTES,
                          (unsigned short)bid, BUFFERS - 1, 0);
    io_uring_buf_ring_advance(pool, 1);
}

static void null_setup_ring(void)
{
    struct io_uring_params p = {.flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
                                         IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
                                .cq_entries = 4096};
    int rc = io_uring_queue_init_params(1024, &ring, &p);

    if (rc < 0) {
        fprintf(stderr, "io_uring_queue_init_params: %s\n", strerror(-rc));
        exit(1);
    }
    io_uring_register_ring_fd(&ring);
    if (direct && io_uring_register_files_sparse(&ring, CONNS) < 0)
        exit(1);

    size_t bytes = BUFFERS * sizeof(struct io_uring_buf);
    pool = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    buffers = mmap(NULL, BUFFERS * BUFFER_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)pool, .ring_entries = BUFFERS};
    rc = pool == MAP_FAILED || buffers == MAP_FAILED ? -ENOMEM
                                                     : io_uring_register_buf_ring(&ring, &reg, 0);
    if (rc < 0) {
        fprintf(stderr, "io_uring_register_buf_ring: %s\n", strerror(-rc));
        exit(1);
    }
    for (unsigned i = 0; i < BUFFERS; i++)
        null_give_back(i);
}

static void null_input(int fd, const char *data, size_t len, const char *out)
{
    unsigned n = null_count(data, len);
    size_t total = n * null_answer_len;

    if (!n)
        return;
    struct io_uring_sqe *sqe = null_sqe();
    io_uring_prep_send(sqe, fd, out, total < NULL_BATCH_BYTES ? total : NULL_BATCH_BYTES,
                       MSG_NOSIGNAL);
    null_submit(sqe, OP_SEND, fd);
}

int main(int argc, char **argv)
{
    static char out[NULL_BATCH_BYTES];

    if (argc == 4 && strcmp(argv[3], "direct") == 0) {
        direct = true;
        argc--;
    }
    int lfd = null_setup(argc, argv);
    null_setup_ring();
    null_fill(out, NULL_BATCH_BYTES / (unsigned)null_answer_len);
    null_accept(lfd);
    for (;;) {
        io_uring_submit_and_wait(&ring, 1);
        unsigned head, seen = 0;
        struct io_uring_cqe *cqe;
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            int fd = (int)(uint32_t)cqe->user_data, res = cqe->res;
            bool more = cqe->flags & IORING_CQE_F_MORE;
            seen++;
            switch (cqe->user_data >> 32) {
            case OP_ACCEPT:
                if (res >= 0)
                    null_recv(res);
                if (!more)
                    null_accept(lfd);
                break;
            case OP_RECV:
                if (cqe->flags & IORING_CQE_F_BUFFER) {
                    unsigned bid = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
                    if (res > 0)
                        null_input(fd, buffers + (size_t)bid * BUFFER_BYTES, (size_t)res, out);
                    null_give_back(bid);
                }
                if (!more) {
                    if (res > 0 || res == -ENOBUFS)
                        null_recv(fd);
                    else
                        null_close(fd);
                }
                break;
            default: /* what cannot be sent is found out by the receive */ break;
            }
        }
        io_uring_cq_advance(&ring, seen);
    }
}
