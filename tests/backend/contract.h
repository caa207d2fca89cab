/* SPDX-License-Identifier: MIT */
/*
 * contract.h - what the parts of test_contract.c share: the tests of each, the backend that they run on,
 * and the peers at the other end.
 */
#ifndef BIVALVE_TEST_CONTRACT_H
#define BIVALVE_TEST_CONTRACT_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_core.h"
#include "registry.h"
#include "util.h"

/* A scenario. */
struct contract_test {
    const char *name;
    CMUnitTestFunction function;
    bool (*only)(const char *spec); /* on which backends; NULL: on all */
};

/* clang-format off */
#define CONTRACT_TEST(f)            {#f, f, NULL}
#define CONTRACT_TEST_ONLY(f, only) {#f, f, only}
/* clang-format on */

/* Those of each part, which ends with one that has no name. */
extern const struct contract_test contract_conn_tests[];
extern const struct contract_test contract_accept_tests[];
extern const struct contract_test contract_pieces_tests[];
extern const struct contract_test contract_wait_tests[];

/* A test's state. */
struct env {
    const char *spec;
    struct fake *f;
    unsigned zero; /* never changes: to wait for nothing */
};

/* io_uring with queues so small that they are always full. */
static inline bool spec_tiny(const char *spec)
{
    return strstr(spec, "entries=2") != NULL;
}

/* It lets events gather: backends/batch.h. */
static inline bool spec_batches(const char *spec)
{
    return strstr(spec, "batch=") != NULL;
}

static inline bool spec_is(const struct env *e, const char *name)
{
    return strncmp(e->spec, name, strlen(name)) == 0;
}

/* A counter of the backend's own, by its name. */
static inline uint64_t counter(const struct fake *f, const char *name)
{
    for (size_t i = 0; f->ops->counters[i]; i++)
        if (strcmp(f->ops->counters[i], name) == 0)
            return f->stats.backend[i];
    fail_msg("there is no counter %s", name);
    return 0;
}

#define BEGIN(state)          \
    struct env *e = *(state); \
    struct fake *f = e->f;    \
    if (!f->be)               \
    skip()

static inline void peer_write(int peer, uint32_t id, size_t start, size_t len)
{
    char buf[4096];

    while (len) {
        size_t n = MIN(len, sizeof(buf));
        for (size_t i = 0; i < n; i++)
            buf[i] = fake_byte(id, start + i);
        ssize_t sent = send(peer, buf, n, MSG_NOSIGNAL);
        assert_true(sent > 0);
        start += (size_t)sent;
        len -= (size_t)sent;
    }
}

/* As much of the stream as the kernel takes now. */
static inline size_t peer_write_some(int peer, uint32_t id, size_t start, size_t max)
{
    char buf[4096];
    size_t done = 0;

    while (done < max) {
        size_t n = MIN(max - done, sizeof(buf));
        for (size_t i = 0; i < n; i++)
            buf[i] = fake_byte(id, start + done + i);
        ssize_t sent = send(peer, buf, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            assert_true(errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
            break;
        }
        done += (size_t)sent;
    }
    return done;
}

static inline void fill_stream(char *buf, uint32_t id, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf[i] = fake_byte(id, i);
}

/* Wait until conn has `len` bytes. */
static inline void until_input(struct fake *f, const struct fake_conn *conn, size_t len)
{
    for (int i = 0; conn->in_len < len; i++) {
        assert_true(i < 20000);
        fake_turn(f, 1);
    }
    assert_int_equal(conn->in_len, len);
}

/* Read what comes in pieces, iterating meanwhile, until `len` bytes have come. */
static inline void peer_read(struct fake *f, int peer, uint32_t id, size_t len, size_t piece)
{
    char *buf = malloc(piece);
    size_t got = 0;

    for (int i = 0; got < len; i++) {
        assert_true(i < 1000000);
        ssize_t n = recv(peer, buf, MIN(piece, len - got), MSG_DONTWAIT);
        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            fake_turn(f, 1);
            continue;
        }
        assert_true(n > 0);
        for (ssize_t k = 0; k < n; k++)
            assert_int_equal(buf[k], fake_byte(id, got + (size_t)k));
        got += (size_t)n;
    }
    free(buf);
}

/* Take what has come for the client of fd, and look at it: it is fd's stream. */
static inline void peer_drain(struct fake *f, int fd)
{
    struct fake_conn *c = &f->conn[fd];
    char buf[30000];
    ssize_t n = recv(c->peer, buf, sizeof(buf), MSG_DONTWAIT);

    for (ssize_t i = 0; i < n; i++)
        assert_int_equal(buf[i], fake_byte(c->id, c->drained + (size_t)i));
    c->drained += n > 0 ? (size_t)n : 0;
}

static inline int listener_open(struct sockaddr_in *a)
{
    int lfd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t len = sizeof(*a);

    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(lfd, (struct sockaddr *)a, sizeof(*a)), 0);
    assert_int_equal(listen(lfd, 128), 0);
    assert_int_equal(getsockname(lfd, (struct sockaddr *)a, &len), 0);
    return lfd;
}

static inline int client_open(const struct sockaddr_in *a)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)a, sizeof(*a)), 0);
    return fd;
}

static inline void listener_off(struct fake *f, unsigned index, int lfd)
{
    unsigned before = f->listen_offs[index];
    int rc = fake_listen(f, index, lfd, false, 0);

    assert_true(rc == 0 || rc == IO_PENDING);
    if (rc == IO_PENDING)
        fake_until(f, f->listen_offs[index], before + 1);
    fake_settle(f);
    assert_int_equal(f->listen_offs[index], before + (rc == IO_PENDING));
}

#endif
