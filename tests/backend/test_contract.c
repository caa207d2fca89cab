/* SPDX-License-Identifier: MIT */
/*
 * test_contract.c - the contract of backends (backend.h), scenario by scenario, on every backend,
 * sim included, and on io_uring with features taken away and with queues and pools so small that
 * every rare path is the usual one. fake_core.c checks at each upcall what the core may expect
 * then.
 */
#include "config.h"

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

#define HANG_SECONDS 120 /* a test that takes so long hangs */
#define STREAM_BYTES 400000

/* The backends every scenario runs on. */
static const char *const specs[] = {
    "sim",
    "skeleton",
    "epoll",
    "epoll:batch=200us",
    "libev",
    "libev:poll",
    "libev:select",
    "io_uring",
    "io_uring:inc=0",
    "io_uring:submit-bytes=1",
    "io_uring:batch=200us",
    "io_uring:taskrun=coop",
    "io_uring:taskrun=none,inc=0,ring-fd=0",
    "io_uring:entries=2,cq=2,buffers=1,buffer-bytes=64",
    "io_uring:entries=2,cq=4,buffers=2,buffer-bytes=100,inc=0",
    "io_uring:entries=2,cq=2,buffers=1,buffer-bytes=64,taskrun=none,inc=0",
};

struct env {
    const char *spec;
    struct fake *f;
    unsigned zero; /* never changes: to wait for nothing */
};

/* io_uring with queues so small that they are always full. */
static bool spec_tiny(const char *spec)
{
    return strstr(spec, "entries=2") != NULL;
}

/* It lets events gather: backends/batch.h. */
static bool spec_batches(const char *spec)
{
    return strstr(spec, "batch=") != NULL;
}

/* Is the backend compiled in, and does it run here? Says why not. */
static bool spec_runs(const char *spec)
{
    struct backend_probe p;
    size_t name_len = strcspn(spec, ":");
    const struct backend_ops *ops = fake_find(spec, name_len);

    if (!ops) {
        print_message("# skipped: %.*s is not compiled in\n", (int)name_len, spec);
        return false;
    }
    ops->probe(NULL, &p);
    if (!p.usable)
        print_message("# skipped: %s does not run here: %s; %s\n", spec, p.reason, p.hint);
    return p.usable;
}

static int setup(void **state)
{
    struct env *e = calloc(1, sizeof(*e));
    char error[BACKEND_TEXT_MAX];

    e->spec = *state;
    e->f = calloc(1, sizeof(*e->f));
    *state = e;
    if (!spec_runs(e->spec))
        return 0;
    alarm(HANG_SECONDS);
    if (fake_open(e->f, e->spec, error) == 0)
        return 0;
    print_error("%s: %s\n", e->spec, error);
    return -1;
}

static int teardown(void **state)
{
    struct env *e = *state;

    if (e->f->be)
        fake_close(e->f);
    alarm(0);
    free(e->f);
    free(e);
    return 0;
}

static bool spec_is(const struct env *e, const char *name)
{
    return strncmp(e->spec, name, strlen(name)) == 0;
}

/* A counter of the backend's own, by its name. */
static uint64_t counter(const struct fake *f, const char *name)
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

static void peer_write(int peer, uint32_t id, size_t start, size_t len)
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
static size_t peer_write_some(int peer, uint32_t id, size_t start, size_t max)
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

static void fill_stream(char *buf, uint32_t id, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf[i] = fake_byte(id, i);
}

/* Wait until conn has `len` bytes. */
static void until_input(struct fake *f, const struct fake_conn *conn, size_t len)
{
    for (int i = 0; conn->in_len < len; i++) {
        assert_true(i < 20000);
        fake_turn(f, 1);
    }
    assert_int_equal(conn->in_len, len);
}

/* ---- receiving ---- */

static void receive_stream(struct fake *f, bool tcp)
{
    int pair[2];
    size_t sent = 0;

    fake_pair(tcp, pair);
    struct fake_conn *c = fake_attach(f, pair[0]);
    for (int i = 0; sent < STREAM_BYTES; i++) {
        assert_true(i < 1000000);
        size_t max = 1 + fake_random(&f->random) % 20000;
        sent += peer_write_some(pair[1], c->id, sent, MIN(max, STREAM_BYTES - sent));
        fake_turn(f, 0);
    }
    until_input(f, c, STREAM_BYTES);
    assert_true(fake_stream_is(c, c->id, 0));
    shutdown(pair[1], SHUT_WR);
    fake_until(f, c->eofs, 1);
    fake_settle(f);
    assert_int_equal(c->eofs, 1);
    fake_detach(f, pair[0]);
    close(pair[1]);
}

static void test_receive(void **state)
{
    BEGIN(state);
    receive_stream(f, false);
    receive_stream(f, true);
}

/* The end comes together with the last bytes: neither may wait for something else to happen. */
static void test_end_with_data(void **state)
{
    int pair[2];

    BEGIN(state);
    for (int what = 0; what < 8; what++) {
        fake_pair(what & 1, pair);
        struct fake_conn *c = fake_attach(f, pair[0]);
        if (what & 2)
            fake_turn(f, 0);
        peer_write(pair[1], c->id, 0, 100);
        if (what & 4)
            close(pair[1]);
        else
            shutdown(pair[1], SHUT_WR);
        fake_until(f, c->eofs, 1);
        assert_int_equal(c->in_len, 100);
        fake_detach(f, pair[0]);
        if (!(what & 4))
            close(pair[1]);
    }
}

static void test_eof_can_be_looked_at_again(void **state)
{
    int pair[2];

    BEGIN(state);
    fake_pair(true, pair);
    struct fake_conn *c = fake_attach(f, pair[0]);
    fake_turn(f, 0);
    shutdown(pair[0], SHUT_RD); /* as the core does with an idle connection */
    fake_until(f, c->eofs, 1);
    fake_settle(f);
    assert_int_equal(c->eofs, 1);
    c->eof = false;
    peer_write(pair[1], c->id, 0, 100); /* what comes after SHUT_RD can still be read */
    fake_recv(f, pair[0], true);
    until_input(f, c, 100);
    assert_true(fake_stream_is(c, c->id, 0));
    fake_until(f, c->eofs, 2);
    fake_settle(f);
    assert_int_equal(c->eofs, 2);
    fake_detach(f, pair[0]);
    close(pair[1]);
}

static void test_error(void **state)
{
    const struct linger now = {.l_onoff = 1};
    int pair[2];

    BEGIN(state);
    fake_pair(true, pair);
    struct fake_conn *c = fake_attach(f, pair[0]);
    fake_turn(f, 0);
    setsockopt(pair[1], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(pair[1]); /* a reset */
    for (int i = 0; c->open; i++) {
        assert_true(i < 20000);
        fake_turn(f, 1);
    }
    assert_int_equal(c->err, ECONNRESET);
    assert_int_equal(c->eofs, 0);
}

/* Receiving goes off at random while data, and at last the end, are in flight: nothing is reported
 * early, lost or out of order. */
static void pause_stream(struct fake *f, bool tcp, enum fake_reaction reaction)
{
    int pair[2];
    size_t sent = 0;
    bool shut = false;

    fake_pair(tcp, pair);
    struct fake_conn *c = fake_attach(f, pair[0]);
    c->reaction = reaction;
    for (int i = 0; !c->eof; i++) {
        assert_true(i < 1000000);
        size_t max = fake_random(&f->random) % 9000;
        if (sent < STREAM_BYTES / 4)
            sent += peer_write_some(pair[1], c->id, sent, MIN(max, STREAM_BYTES / 4 - sent));
        else if (!shut)
            shut = shutdown(pair[1], SHUT_WR) == 0;
        fake_turn(f, shut ? 1 : 0);
        if (!c->receiving && !c->eof && fake_random(&f->random) % 2)
            fake_recv(f, pair[0], true);
        if (c->receiving && fake_random(&f->random) % 16 == 0)
            fake_recv(f, pair[0], false);
        if (!c->receiving && !c->eof && fake_random(&f->random) % 4 == 0)
            fake_recv(f, pair[0], true);
    }
    assert_int_equal(c->in_len, STREAM_BYTES / 4);
    assert_true(fake_stream_is(c, c->id, 0));
    fake_detach(f, pair[0]);
    close(pair[1]);
}

static void test_pause(void **state)
{
    BEGIN(state);
    pause_stream(f, false, FAKE_RANDOM_PAUSE);
    pause_stream(f, true, FAKE_RANDOM_PAUSE);
    pause_stream(f, true, FAKE_PAUSE);
    pause_stream(f, false, FAKE_PAUSE_RESUME);
    /* (With a single buffer there is never anything to hold.) */
    if (strncmp(e->spec, "io_uring", 8) == 0 && !spec_tiny(e->spec))
        assert_true(counter(f, "input_held") > 0);
}

/* While one connection is paused with as much in flight as there can be, the others are served. */
static void test_slow_reader_costs_nobody(void **state)
{
    enum { SLOW = 8 };
    int slow[SLOW][2], fast[2];

    BEGIN(state);
    for (int i = 0; i < SLOW; i++) {
        fake_pair(i % 2, slow[i]);
        struct fake_conn *c = fake_attach(f, slow[i][0]);
        c->reaction = FAKE_PAUSE;
        peer_write_some(slow[i][1], c->id, 0, 100000);
    }
    fake_pair(true, fast);
    struct fake_conn *c = fake_attach(f, fast[0]);
    for (size_t sent = 0; sent < 50000; sent += 500) {
        peer_write(fast[1], c->id, sent, 500);
        for (int i = 0; i < SLOW; i++)
            peer_write_some(slow[i][1], f->conn[slow[i][0]].id, 0, 1000); /* (not looked at) */
        until_input(f, c, sent + 500);
    }
    assert_true(fake_stream_is(c, c->id, 0));
    for (int i = 0; i < SLOW; i++) {
        assert_int_equal(f->conn[slow[i][0]].inputs, 1);
        fake_detach(f, slow[i][0]);
        close(slow[i][1]);
    }
    fake_detach(f, fast[0]);
    close(fast[1]);
}

/* ---- sending ---- */

/* Read what comes in pieces, iterating meanwhile, until `len` bytes have come. */
static void peer_read(struct fake *f, int peer, uint32_t id, size_t len, size_t piece)
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
static void peer_drain(struct fake *f, int fd)
{
    struct fake_conn *c = &f->conn[fd];
    char buf[30000];
    ssize_t n = recv(c->peer, buf, sizeof(buf), MSG_DONTWAIT);

    for (ssize_t i = 0; i < n; i++)
        assert_int_equal(buf[i], fake_byte(c->id, c->drained + (size_t)i));
    c->drained += n > 0 ? (size_t)n : 0;
}

static void send_stream(struct fake *f, bool tcp, size_t len)
{
    char *data = malloc(len);
    int pair[2];

    fake_pair(tcp, pair);
    struct fake_conn *c = fake_attach(f, pair[0]);
    fill_stream(data, c->id, len);
    fake_send(f, pair[0], data, len);
    fake_turn(f, 0);
    fake_turn(f, 0); /* the peer is blocked for a while */
    peer_read(f, pair[1], c->id, len, 1 + len / 7);
    fake_until(f, c->sents, 1);
    fake_settle(f);
    assert_int_equal(c->sents, 1);
    fake_detach(f, pair[0]);
    close(pair[1]);
    free(data);
}

/* One connection sends without end, each send from the report of the one before; another's input is
 * reported all the same, within a few iterations. */
static void test_endless_sends_cost_nobody(void **state)
{
    static const char block[2048];
    char sink[65536];
    int busy[2], other[2];

    BEGIN(state);
    fake_pair(true, busy);
    fake_pair(true, other);
    struct fake_conn *c = fake_attach(f, busy[0]), *o = fake_attach(f, other[0]);
    fake_turn(f, 0);
    c->again = block;
    c->again_len = sizeof(block);
    fake_send(f, busy[0], block, sizeof(block));
    for (unsigned i = 0; i < 20; i++) {
        peer_write(other[1], o->id, o->in_len, 1);
        for (unsigned turns = 0; o->in_len <= i; turns++) {
            assert_true(turns < 50);
            while (recv(busy[1], sink, sizeof(sink), MSG_DONTWAIT) > 0)
                continue;
            fake_turn(f, 1);
        }
    }
    c->again = NULL;
    fake_settle(f);
    fake_detach(f, busy[0]);
    fake_detach(f, other[0]);
    close(busy[1]);
    close(other[1]);
}

static void test_send(void **state)
{
    BEGIN(state);
    send_stream(f, false, 1);
    send_stream(f, true, 1);
    send_stream(f, true, 1000);
    send_stream(f, false, 3000000);
    send_stream(f, true, 9000000);
}

static void test_send_to_nobody(void **state)
{
    int pair[2];

    BEGIN(state);
    fake_pair(false, pair);
    struct fake_conn *c = fake_attach(f, pair[0]);
    fake_recv(f, pair[0], false);
    close(pair[1]);
    fake_send(f, pair[0], "abc", 3);
    for (int i = 0; !c->err; i++) {
        assert_true(i < 20000);
        fake_turn(f, 1);
    }
    assert_true(c->err == EPIPE || c->err == ECONNRESET);
    fake_detach(f, pair[0]);
}

/* Both directions at once, on many connections, with receiving off while an answer is under way. */
static void test_echo(void **state)
{
    enum { CONNS = 24, BYTES = 20000 };
    struct {
        int fd, peer;
        uint32_t id;
        size_t sent, got;
    } k[CONNS];
    char buf[4096];
    size_t done = 0;

    BEGIN(state);
    for (int i = 0; i < CONNS; i++) {
        int pair[2];
        fake_pair(i % 2, pair);
        struct fake_conn *c = fake_attach(f, pair[0]);
        c->reaction = FAKE_ECHO;
        k[i].fd = pair[0];
        k[i].peer = pair[1];
        k[i].id = c->id;
        k[i].sent = k[i].got = 0;
    }
    for (int turn = 0; done < (size_t)CONNS * BYTES; turn++) {
        assert_true(turn < 1000000);
        for (int i = 0; i < CONNS; i++) {
            size_t max = fake_random(&f->random) % 700;
            if (k[i].sent < BYTES && max % 2)
                k[i].sent +=
                    peer_write_some(k[i].peer, k[i].id, k[i].sent, MIN(max, BYTES - k[i].sent));
            ssize_t n =
                recv(k[i].peer, buf, 1 + fake_random(&f->random) % sizeof(buf), MSG_DONTWAIT);
            for (ssize_t b = 0; b < n; b++)
                assert_int_equal(buf[b], fake_byte(k[i].id, k[i].got + (size_t)b));
            k[i].got += n > 0 ? (size_t)n : 0;
            done += n > 0 ? (size_t)n : 0;
        }
        fake_turn(f, 0);
    }
    for (int i = 0; i < CONNS; i++) {
        assert_int_equal(f->conn[k[i].fd].err, 0);
        close(k[i].peer);
    }
}

/* ---- detaching ---- */

static void until_closed(struct fake *f, int fd)
{
    for (int i = 0; f->conn[fd].open; i++) {
        assert_true(i < 20000);
        fake_turn(f, 1);
    }
    fake_settle(f);
    assert_int_equal(f->slots.used, 0);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* In every state a connection can be in, for TCP and AF_UNIX: no upcall comes after but one
 * detached(). (fake_core.c checks.) */
static void test_detach(void **state)
{
    static char big[8 << 20]; /* more than the kernel takes: tcp_wmem and a bit */
    int pair[2];

    BEGIN(state);
    for (int what = 0; what < 26; what++) {
        bool tcp = what % 2;
        fake_pair(tcp, pair);
        struct fake_conn *c = fake_attach(f, pair[0]);
        int fd = pair[0];

        switch (what / 2) {
        case 0: /* before anything has been submitted */ fake_detach(f, fd); break;
        case 1: /* idle */
            fake_turn(f, 0);
            fake_detach(f, fd);
            break;
        case 2: /* input has arrived but was not reported */
            fake_turn(f, 0);
            peer_write(pair[1], c->id, 0, 1000);
            fake_detach(f, fd);
            break;
        case 3: /* in input() */
            c->reaction = FAKE_DETACH;
            peer_write(pair[1], c->id, 0, 30000);
            break;
        case 4: /* paused */
            fake_recv(f, fd, false);
            fake_turn(f, 0);
            fake_detach(f, fd);
            break;
        case 5: /* paused with input held, and after that the end of input */
            c->reaction = FAKE_PAUSE;
            fake_turn(f, 0);
            peer_write(pair[1], c->id, 0, 30000);
            shutdown(pair[1], SHUT_WR);
            fake_settle(f);
            fake_detach(f, fd);
            break;
        case 6: /* paused with input held, resumed, not reported yet */
            c->reaction = FAKE_PAUSE;
            fake_turn(f, 0);
            peer_write(pair[1], c->id, 0, 30000);
            fake_settle(f);
            fake_recv(f, fd, true);
            fake_detach(f, fd);
            break;
        case 7: /* paused, and detached before the pause had any effect */
            fake_turn(f, 0);
            peer_write(pair[1], c->id, 0, 1000);
            fake_recv(f, fd, false);
            fake_detach(f, fd);
            break;
        case 8: /* a send in flight, blocked */
            fake_send(f, fd, big, sizeof(big));
            fake_settle(f);
            assert_true(c->sending);
            fake_detach(f, fd);
            break;
        case 9: /* a send just queued, and input */
            peer_write(pair[1], c->id, 0, 1000);
            fake_send(f, fd, big, 100);
            fake_detach(f, fd);
            break;
        case 10: /* in sent(); where the send is done at once, right after */
            c->detach_in_sent = true;
            fake_send(f, fd, big, sizeof(big));
            if (!c->sending)
                fake_detach(f, fd);
            else
                peer_read(f, pair[1], UINT32_MAX, 0, 1);
            for (int i = 0; c->open; i++) {
                assert_true(i < 20000);
                char buf[65536];
                if (recv(pair[1], buf, sizeof(buf), MSG_DONTWAIT) < 0)
                    assert_true(errno == EAGAIN || errno == ECONNRESET);
                fake_turn(f, 1);
            }
            break;
        case 11: /* in eof() */
            c->detach_in_eof = true;
            peer_write(pair[1], c->id, 0, 100);
            shutdown(pair[1], SHUT_WR);
            break;
        case 12: /* in input() for held input, behind which there is more */
            c->reaction = FAKE_PAUSE;
            fake_turn(f, 0);
            peer_write(pair[1], c->id, 0, 30000);
            fake_settle(f);
            c->reaction = FAKE_DETACH;
            fake_recv(f, fd, true);
            break;
        }
        until_closed(f, fd);
        close(pair[1]);
    }
}

/* A number that is used again at once, with input of its former user in flight: each user sees its
 * own bytes only. */
static void test_fd_reuse(void **state)
{
    bool used[FAKE_FDS] = {false};
    int pair[2], old = -1;
    unsigned reused = 0;

    BEGIN(state);
    for (int round = 0; round < 400; round++) {
        fake_pair(round % 2, pair);
        struct fake_conn *c = fake_attach(f, pair[0]);
        int fd = pair[0];
        reused += used[fd];
        used[fd] = true;
        if (round % 3 == 0)
            fake_turn(f, 0);
        if (old >= 0)
            close(old);
        peer_write(pair[1], c->id, 0, 1 + fake_random(&f->random) % 3000);
        if (round % 5 == 0)
            fake_recv(f, fd, false);
        for (unsigned turns = (unsigned)(fake_random(&f->random) % 3); turns && c->open; turns--)
            fake_turn(f, 0);
        assert_true(fake_stream_is(c, c->id, 0));
        peer_write(pair[1], c->id, 0, 1 + fake_random(&f->random) % 3000);
        fake_detach(f, fd);
        for (int i = 0; c->open; i++) {
            assert_true(i < 20000);
            fake_turn(f, 1);
        }
        old = pair[1];
    }
    close(old);
    assert_true(reused > 300);
    assert_int_equal(f->stats.stale, 0);
}

/* ---- accepting ---- */

static int listener_open(struct sockaddr_in *a)
{
    int lfd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t len = sizeof(*a);

    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(lfd, (struct sockaddr *)a, sizeof(*a)), 0);
    assert_int_equal(listen(lfd, 128), 0);
    assert_int_equal(getsockname(lfd, (struct sockaddr *)a, &len), 0);
    return lfd;
}

static int client_open(const struct sockaddr_in *a)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)a, sizeof(*a)), 0);
    return fd;
}

static void listener_off(struct fake *f, unsigned index, int lfd)
{
    unsigned before = f->listen_offs[index];
    int rc = fake_listen(f, index, lfd, false, 0);

    assert_true(rc == 0 || rc == IO_PENDING);
    if (rc == IO_PENDING)
        fake_until(f, f->listen_offs[index], before + 1);
    fake_settle(f);
    assert_int_equal(f->listen_offs[index], before + (rc == IO_PENDING));
}

static void test_listen(void **state)
{
    enum { CLIENTS = 40 };
    struct sockaddr_in a;
    int client[CLIENTS];

    BEGIN(state);
    int lfd = listener_open(&a);
    for (unsigned index = 1; index <= 2; index++) {
        uint32_t burst = index == 1 ? 4 : BACKEND_BURST_ANY;
        assert_int_equal(fake_listen(f, index, lfd, true, burst), 0);
        for (int i = 0; i < CLIENTS; i++)
            client[i] = client_open(&a);
        for (int turns = 0; f->opens[index] < CLIENTS; turns++) {
            unsigned before = f->opens[index];
            assert_true(turns < 20000);
            fake_turn(f, 1);
            if (burst == 4) /* what the other workers may hope for */
                assert_true(f->opens[index] - before <= 4);
        }
        listener_off(f, index, lfd);

        int late = client_open(&a); /* into the kernel's queue */
        fake_settle(f);
        assert_int_equal(f->opens[index], CLIENTS);
        assert_int_equal(fake_listen(f, index, lfd, true, burst), 0);
        fake_until(f, f->opens[index], CLIENTS + 1);

        /* off and on again before the backend has had an iteration, and the other way round */
        fake_listen(f, index, lfd, false, 0);
        assert_int_equal(fake_listen(f, index, lfd, true, burst), 0);
        int later = client_open(&a);
        fake_until(f, f->opens[index], CLIENTS + 2);
        listener_off(f, index, lfd);
        fake_listen(f, index, lfd, true, burst);
        listener_off(f, index, lfd);

        for (int i = 0; i < CLIENTS; i++) {
            peer_write(client[i], f->conn[f->opened[i]].id, 0, 50);
            until_input(f, &f->conn[f->opened[i]], 50);
            assert_true(fake_stream_is(&f->conn[f->opened[i]], f->conn[f->opened[i]].id, 0));
            fake_detach(f, f->opened[i]);
            close(client[i]);
        }
        fake_detach(f, f->opened[CLIENTS]);
        fake_detach(f, f->opened[CLIENTS + 1]);
        f->opened_count = 0;
        close(late);
        close(later);
        fake_settle(f);
    }
    close(lfd);
    assert_int_equal(f->accept_errors, 0);
}

/*
 * "accept_room: how many connections may yet be accepted, on all listeners together": with many
 * waiting on two of them, not one more is accepted, whatever the burst.
 */
static void accept_limit(struct fake *f, uint32_t burst)
{
    enum { LIMIT = 5, CLIENTS = 30 };
    struct sockaddr_in a, b;
    int client[CLIENTS];

    f->be->accept_room = LIMIT;
    int lfd = listener_open(&a), other = listener_open(&b);
    for (int i = 0; i < CLIENTS; i++)
        client[i] = client_open(i % 2 ? &a : &b);
    assert_int_equal(fake_listen(f, 0, lfd, true, burst), 0);
    assert_int_equal(fake_listen(f, 1, other, true, burst), 0);
    for (unsigned opens = LIMIT; opens <= CLIENTS; opens++) {
        for (int i = 0; f->opened_count < opens; i++) {
            assert_true(i < 20000);
            fake_turn(f, 1);
        }
        fake_settle(f);
        assert_int_equal(f->opened_count, opens);
        assert_int_equal(f->be->accept_room, 0);
        if (opens == CLIENTS)
            break;
        int fd = f->opened[opens - LIMIT];
        fake_detach(f, fd);
        for (int i = 0; f->conn[fd].open; i++) {
            assert_true(i < 20000);
            fake_turn(f, 1);
        }
        f->be->accept_room = 1; /* a place is free, on either */
        assert_int_equal(fake_listen(f, 0, lfd, true, burst), 0);
        assert_int_equal(fake_listen(f, 1, other, true, burst), 0);
    }
    for (unsigned i = CLIENTS - LIMIT; i < CLIENTS; i++)
        fake_detach(f, f->opened[i]);
    for (int i = 0; i < CLIENTS; i++)
        close(client[i]);
    listener_off(f, 0, lfd);
    listener_off(f, 1, other);
    close(lfd);
    close(other);
    f->opened_count = 0;
    f->be->accept_room = FAKE_FDS;
}

static void test_accept_room(void **state)
{
    BEGIN(state);
    accept_limit(f, BACKEND_BURST_ANY);
    accept_limit(f, 2);
}

/*
 * "Multishot only while there is room for it": with much room many clients at once are all taken,
 * with exactly as much as there are clients exactly those.
 */
static void test_accept_many(void **state)
{
    enum { CLIENTS = 120 };
    struct sockaddr_in a;
    int client[CLIENTS];

    BEGIN(state);
    for (int round = 0; round < 2; round++) {
        f->be->accept_room = round ? CLIENTS : 1000000;
        int lfd = listener_open(&a);
        assert_int_equal(fake_listen(f, 0, lfd, true, BACKEND_BURST_ANY), 0);
        fake_turn(f, 0);
        for (int i = 0; i < CLIENTS; i++)
            client[i] = client_open(&a);
        for (int i = 0; f->opened_count < CLIENTS; i++) {
            assert_true(i < 20000);
            fake_turn(f, 1);
        }
        if (round)
            assert_int_equal(f->be->accept_room, 0);
        listener_off(f, 0, lfd);
        for (unsigned i = 0; i < CLIENTS; i++) {
            fake_detach(f, f->opened[i]);
            close(client[i]);
        }
        f->opened_count = 0;
        fake_settle(f);
        close(lfd);
    }
}

/*
 * "Every error but EAGAIN and EINTR is reported ... the backend goes on with it": an error that
 * lasts, of a listener that somebody has shut down, comes again and again until the core turns the
 * listener off, and not once more.
 */
static void test_accept_error_that_lasts(void **state)
{
    struct sockaddr_in a;

    BEGIN(state);
    for (int before = 0; before < 2; before++) {
        int lfd = f->lfd = listener_open(&a);
        f->accept_errors = 0;
        f->off_after_errors = 5;
        if (before)
            shutdown(lfd, SHUT_RDWR);
        assert_int_equal(fake_listen(f, 0, lfd, true, BACKEND_BURST_ANY), 0);
        fake_turn(f, 0);
        if (!before)
            shutdown(lfd, SHUT_RDWR);
        fake_until(f, f->accept_errors, 5);
        assert_int_equal(f->accept_err, EINVAL);
        fake_settle(f);
        assert_int_equal(f->accept_errors, 5);
        listener_off(f, 0, lfd);
        close(lfd);
    }
}

/* "The core attaches or closes it": one that is closed in the upcall is no connection. */
static void test_accepted_and_closed(void **state)
{
    struct sockaddr_in a;
    char c;

    BEGIN(state);
    int lfd = listener_open(&a);
    f->reject = true;
    assert_int_equal(fake_listen(f, 3, lfd, true, BACKEND_BURST_ANY), 0);
    for (unsigned i = 1; i <= 20; i++) {
        int client = client_open(&a);
        fake_until(f, f->opens[3], i);
        assert_true(recv(client, &c, 1, 0) <= 0);
        close(client);
    }
    listener_off(f, 3, lfd);
    close(lfd);
}

/* No fd left: reported, without a busy loop; after the core has turned accepting on again it goes
 * on. */
static void test_accept_without_fds(void **state)
{
    struct rlimit old, low;
    struct sockaddr_in a;

    BEGIN(state);
    int lfd = listener_open(&a);
    int client = client_open(&a);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = (rlim_t)client + 1; /* all numbers below are in use */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_int_equal(fake_listen(f, 0, lfd, true, BACKEND_BURST_ANY), 0);
    fake_until(f, f->accept_errors, 1);
    assert_int_equal(f->accept_err, EMFILE);
    listener_off(f, 0, lfd); /* which is what the core does */
    unsigned errors = f->accept_errors;
    fake_settle(f);
    assert_int_equal(f->accept_errors, errors);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(fake_listen(f, 0, lfd, true, BACKEND_BURST_ANY), 0);
    fake_until(f, f->opens[0], 1);
    listener_off(f, 0, lfd);
    close(client);
    close(lfd);
}

/* ---- connecting ---- */

static int socket_open(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    return fd;
}

static void until_connected(struct fake *f, struct fake_conn *c)
{
    for (int i = 0; !c->connects; i++) {
        assert_true(i < 20000);
        fake_turn(f, 1);
    }
}

/* "connected() has ended: err is 0": then it is attached and is a connection like any other. */
static void test_connect(void **state)
{
    struct sockaddr_in a;

    BEGIN(state);
    int lfd = listener_open(&a);
    assert_int_equal(fcntl(lfd, F_SETFL, 0), 0); /* accept() below waits */
    for (int i = 0; i < 20; i++) {
        int fd = socket_open();
        struct fake_conn *c = &f->conn[fd];
        assert_int_equal(fake_connect(f, fd, (struct sockaddr *)&a, sizeof(a)), 0);
        until_connected(f, c);
        assert_int_equal(c->err, 0);
        int peer = accept(lfd, NULL, NULL);
        assert_true(peer >= 0);
        peer_write(peer, c->id, 0, 3000);
        until_input(f, c, 3000);
        assert_true(fake_stream_is(c, c->id, 0));
        fake_send(f, fd, "abcd", 4);
        fake_until(f, c->sents, 1);
        char got[4];
        assert_int_equal(recv(peer, got, 4, MSG_WAITALL), 4);
        assert_memory_equal(got, "abcd", 4);
        fake_detach(f, fd);
        close(peer);
    }
    close(lfd);
}

/* "... or a positive errno": nobody listens. */
static void test_connect_refused(void **state)
{
    struct sockaddr_in a;

    BEGIN(state);
    close(listener_open(&a));
    int fd = socket_open();
    struct fake_conn *c = &f->conn[fd];
    int rc = fake_connect(f, fd, (struct sockaddr *)&a, sizeof(a));
    assert_true(rc == 0 || rc == -ECONNREFUSED);
    if (rc == 0) {
        until_connected(f, c);
        assert_int_equal(c->err, ECONNREFUSED);
    }
    fake_settle(f);
    assert_false(c->open);
}

/* "detach: stop ... a connect in flight": nothing is reported for it. The queue of the listener is
 * full, so that it stays in flight. */
static void test_connect_detached(void **state)
{
    struct sockaddr_in a;
    int filler[8], fd[4];

    BEGIN(state);
    int lfd = listener_open(&a);
    assert_int_equal(listen(lfd, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(filler); i++) {
        filler[i] = socket_open();
        (void)!connect(filler[i], (struct sockaddr *)&a, sizeof(a));
    }
    for (size_t i = 0; i < ARRAY_LEN(fd); i++) {
        fd[i] = socket_open();
        assert_int_equal(fake_connect(f, fd[i], (struct sockaddr *)&a, sizeof(a)), 0);
        if (i % 2)
            fake_settle(f);
        if (f->conn[fd[i]].open)
            fake_detach(f, fd[i]);
    }
    fake_settle(f);
    for (size_t i = 0; i < ARRAY_LEN(fd); i++)
        assert_false(f->conn[fd[i]].open);
    for (size_t i = 0; i < ARRAY_LEN(filler); i++)
        close(filler[i]);
    close(lfd);
}

/* ---- several segments, and files ---- */

/* "Send 1 to BACKEND_SEGMENTS_MAX segments, in order", of every size, whatever is taken of them. */
static void test_segments(void **state)
{
    static const size_t pieces[] = {1, 7, 100, 4096, 60000};
    enum { BYTES = 700000 };
    char *data = malloc(BYTES);
    int pair[2];

    BEGIN(state);
    assert_non_null(data);
    for (size_t i = 0; i < 2 * ARRAY_LEN(pieces); i++) {
        size_t len = i / 2 ? BYTES : 16;
        fake_pair(i % 2, pair);
        struct fake_conn *c = fake_attach(f, pair[0]);
        c->piece = pieces[i / 2];
        fill_stream(data, c->id, len);
        fake_send(f, pair[0], data, len);
        peer_read(f, pair[1], c->id, len, 50000);
        fake_until(f, c->sents, 1);
        fake_detach(f, pair[0]);
        close(pair[1]);
    }
    free(data);
}

static int file_of(uint32_t id, size_t len)
{
    char name[] = "/tmp/bivalve-contract-XXXXXX";
    int fd = mkostemp(name, O_CLOEXEC);
    char *data = malloc(len);

    assert_true(fd >= 0 && data);
    unlink(name);
    fill_stream(data, id, len);
    assert_int_equal(write(fd, data, len), len);
    free(data);
    return fd;
}

/* Send segments to their end, as the core does. Returns 0 or the error. */
static int send_all(struct fake *f, int fd, struct backend_segment *s, unsigned count)
{
    struct fake_conn *c = &f->conn[fd];

    for (int i = 0; count; i++) {
        assert_true(i < 1000000);
        size_t taken;
        int rc = backend_send(f->be, fd, s, count);
        if (rc == IO_PENDING) {
            /* reported like any send: fake_core sees 0 bytes left, and says so */
            unsigned sents = c->sents;
            c->sending = true;
            c->out_len = c->in_flight = backend_segments_len(s, count);
            c->out_keep = true;
            for (int k = 0; c->sending; k++) {
                assert_true(k < 1000000);
                peer_drain(f, fd);
                fake_turn(f, 0);
            }
            assert_int_equal(c->sents, sents);
            rc = c->last_sent;
        }
        if (rc < 0)
            return -rc;
        taken = (size_t)rc;
        while (count && taken >= s->len) {
            taken -= s->len;
            s++;
            count--;
        }
        if (count && taken) {
            s->data += s->data ? taken : 0;
            s->offset += s->data ? 0 : (off_t)taken;
            s->len -= taken;
        }
    }
    return 0;
}

/* "... or of a regular file": a range of it, with memory before and behind it, in every order. */
static void test_files(void **state)
{
    enum { FILE_BYTES = 300000 };
    char *before = malloc(FILE_BYTES), *behind;
    int pair[2];

    BEGIN(state);
    for (int i = 0; i < 6; i++) {
        fake_pair(i % 2, pair);
        struct fake_conn *c = fake_attach(f, pair[0]);
        fill_stream(before, c->id, FILE_BYTES);
        behind = before + 250000;
        int file = file_of(c->id, FILE_BYTES);
        c->peer = pair[1];
        struct backend_segment s[] = {
            {.data = before, .len = 1000},
            {.file = file, .offset = 1000, .len = 199000},
            {.data = before + 200000, .len = 10},
            {.data = before + 200010, .len = 49990},
            {.file = file, .offset = 250000, .len = 1},
            {.data = behind + 1, .len = FILE_BYTES - 250001},
        };
        unsigned first = i >= 4 ? 1 : 0;
        c->drained = first ? 1000 : 0;
        size_t total = FILE_BYTES - c->drained;
        assert_int_equal(send_all(f, pair[0], s + first, ARRAY_LEN(s) - first), 0);
        for (int k = 0; c->drained - (first ? 1000 : 0) < total; k++) {
            assert_true(k < 100000);
            peer_drain(f, pair[0]);
            fake_turn(f, 1); /* a thread may be reading the file: give it time */
        }
        fake_detach(f, pair[0]);
        close(pair[1]);
        close(file);
    }
    free(before);
}

/* "A file that ends before offset + len is -EIO", when what there is of it has been sent. */
static void test_file_too_short(void **state)
{
    int pair[2];

    BEGIN(state);
    fake_pair(true, pair);
    struct fake_conn *c = fake_attach(f, pair[0]);
    int file = file_of(c->id, 5000);
    struct backend_segment s = {.file = file, .offset = 0, .len = 9000};
    c->peer = pair[1];
    assert_int_equal(send_all(f, pair[0], &s, 1), EIO);
    fake_detach(f, pair[0]);
    close(pair[1]);
    close(file);
}

/* ---- much at a time ---- */

/*
 * recv_expect(): all comes, in order; more at a time than usual where the backend can, and only once.
 * A backend that cannot gives the usual pieces.
 */
static void test_expect(void **state)
{
    enum { BYTES = 100000, EXPECT = 60000 };
    int pair[2];

    BEGIN(state);
    for (int i = 0; i < 6; i++) {
        fake_pair(i % 2, pair);
        struct fake_conn *c = fake_attach(f, pair[0]);
        peer_write(pair[1], c->id, 0, BYTES);
        f->be->recv_room = i < 4 ? SIZE_MAX : FAKE_RECV_BYTES / 2; /* no less than usual */
        c->expect = i < 2 ? EXPECT : i < 4 ? FAKE_RECV_BYTES / 2 : FAKE_RECV_BYTES;
        backend_recv_expect(f->be, pair[0], i < 4 ? c->expect : EXPECT);
        for (int k = 0; c->in_len < BYTES; k++) {
            assert_true(k < 100000);
            fake_turn(f, 1);
        }
        char *right = malloc(BYTES);
        assert_non_null(right);
        fill_stream(right, c->id, BYTES);
        assert_memory_equal(c->in, right, BYTES);
        free(right);
        if (f->be->ops->recv_expect && i < 2)
            assert_true(c->input_max > FAKE_RECV_BYTES);
        else
            assert_true(c->input_max <= FAKE_RECV_BYTES);
        backend_trim(f->be); /* what was needed for that may go */
        fake_detach(f, pair[0]);
        close(pair[1]);
    }
}

/*
 * send_now(): what it says is taken, in order, of memory that changes at once; 0 when there is no room;
 * nothing is reported, and a send() goes on behind it.
 */
static void test_send_now(void **state)
{
    enum { BYTES = 400000, PIECE = 50000 };
    char *data = malloc(BYTES), *piece = malloc(PIECE);
    int pair[2];

    BEGIN(state);
    assert_true(data && piece);
    for (int i = 0; i < 2; i++) {
        fake_pair(i, pair);
        struct fake_conn *c = fake_attach(f, pair[0]);
        size_t at = 0, n;
        c->peer = pair[1];
        fill_stream(data, c->id, BYTES);
        do {
            memcpy(piece, data + at, PIECE);
            struct backend_segment s[] = {{.data = piece, .len = 10},
                                          {.data = piece + 10, .len = PIECE - 10}};
            n = backend_send_now(f->be, pair[0], s, ARRAY_LEN(s));
            assert_true(n <= PIECE);
            memset(piece, '!', PIECE);
            at += n;
        } while (n && at + PIECE <= BYTES);
        /* a simulated socket has room at times */
        assert_true(at > 0 || !f->be->ops->send_now || !strcmp(f->ops->name, "sim"));
        assert_int_equal(c->sents, 0);
        if (at < BYTES) {
            struct backend_segment rest = {.data = data + at, .len = BYTES - at};
            assert_int_equal(send_all(f, pair[0], &rest, 1), 0);
        }
        for (int k = 0; c->drained < BYTES; k++) {
            assert_true(k < 100000);
            peer_drain(f, pair[0]);
        }
        fake_detach(f, pair[0]);
        close(pair[1]);
    }
    free(data);
    free(piece);
}

/* ---- waiting ---- */

static struct fake *wake_target;
static volatile sig_atomic_t wakes;

static void on_signal(int sig)
{
    (void)sig;
    wakes++;
    wake_target->ops->wake(wake_target->be);
}

/*
 * wait() for ever returns after each wake(), also one that comes just before it. A wake-up that
 * gets lost hangs the test: the signal is blocked only while it must not come.
 */
static void test_wake(void **state)
{
    struct sigaction sa = {.sa_handler = on_signal}, old;
    int asked[2]; /* for so late a signal, of the child */
    pid_t child;

    BEGIN(state);
    wake_target = f;
    wakes = 0;
    sigaction(SIGUSR2, &sa, &old);
    f->ops->wake(f->be);
    fake_turn(f, -1);
    assert_int_equal(pipe(asked), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(asked[1]);
        for (int i; read(asked[0], &i, sizeof(i)) == sizeof(i);) {
            for (int spin = 0; spin < i * 200; spin++)
                __asm__ volatile("");
            kill(getppid(), SIGUSR2);
        }
        _exit(0);
    }
    close(asked[0]);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(write(asked[1], &i, sizeof(i)), sizeof(i));
        while (wakes <= i)
            fake_turn(f, -1);
    }
    close(asked[1]);
    while (waitpid(child, NULL, 0) < 0)
        assert_int_equal(errno, EINTR);
    assert_int_equal(wakes, 300);
    sigaction(SIGUSR2, &old, NULL);
}

/*
 * Memory is given back after a load: with a listener that goes on listening, before and after, and
 * with a connection that is still there, or none.
 */
static void test_trim(void **state)
{
    enum { CONNS = 150 };
    struct sockaddr_in a;
    int pair[CONNS][2];

    BEGIN(state);
    int lfd = listener_open(&a);
    assert_int_equal(fake_listen(f, 1, lfd, true, BACKEND_BURST_ANY), 0);
    for (unsigned round = 0; round < 4; round++) {
        unsigned rest = round % 2; /* connections that stay */
        for (int i = 0; i < CONNS; i++) {
            fake_pair(i % 2, pair[i]);
            struct fake_conn *c = fake_attach(f, pair[i][0]);
            peer_write(pair[i][1], c->id, 0, 100);
        }
        for (int i = 0; i < CONNS; i++)
            until_input(f, &f->conn[pair[i][0]], 100);
        for (unsigned i = rest; i < CONNS; i++) {
            fake_detach(f, pair[i][0]);
            close(pair[i][1]);
        }
        fake_settle(f);
        backend_trim(f->be);
        backend_trim(f->be); /* again, with nothing left to give */

        int client = client_open(&a);
        fake_until(f, f->opened_count, 1);
        struct fake_conn *c = &f->conn[f->opened[0]];
        peer_write(client, c->id, 0, 100);
        until_input(f, c, 100);
        assert_true(fake_stream_is(c, c->id, 0));
        if (rest) {
            c = &f->conn[pair[0][0]];
            peer_write(pair[0][1], c->id, 100, 100);
            until_input(f, c, 200);
            assert_true(fake_stream_is(c, c->id, 0));
            fake_detach(f, pair[0][0]);
            close(pair[0][1]);
        }
        fake_detach(f, f->opened[0]);
        close(client);
        f->opened_count = 0;
        fake_settle(f);
        f->ops->wake(f->be);
        fake_turn(f, -1);
    }
    listener_off(f, 1, lfd);
    close(lfd);
}

static void test_wait_returns(void **state)
{
    int pair[2];

    BEGIN(state);
    fake_turn(f, 0);
    fake_turn(f, 0);
    fake_turn(f, 5);
    fake_turn(f, 50);
    fake_pair(false, pair);
    struct fake_conn *c = fake_attach(f, pair[0]);
    fake_turn(f, 5);
    peer_write(pair[1], c->id, 0, 10);
    while (c->in_len < 10)
        fake_turn(f, -1); /* hangs unless input ends it */
    close(pair[1]);
    while (!c->eofs)
        fake_turn(f, -1);
}

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* "... at most timeout_us microseconds ... never early but for an event". */
static void test_timeout_is_not_early(void **state)
{
    static const int64_t timeouts_us[] = {1, 100, 700, 999, 1000, 1001, 1500, 2300, 20000};

    BEGIN(state);
    if (spec_is(e, "sim"))
        skip(); /* it has no clock */
    for (int i = 0; i < 5; i++)
        fake_turn(f, 0); /* what opening it brings about */
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < ARRAY_LEN(timeouts_us); i++) {
            int64_t start = now_us();
            uint64_t events = f->stats.events;
            fake_turn_us(f, timeouts_us[i]);
            if (f->stats.events == events)
                assert_true(now_us() - start >= timeouts_us[i]);
        }
}

/* A window comes behind an iteration with few events, and where there is time for it: nowhere else. */
static void test_batch(void **state)
{
    enum { CONNS = 40 };
    int pair[CONNS][2];

    BEGIN(state);
    for (int i = 0; i < CONNS; i++) {
        fake_pair(true, pair[i]);
        fake_attach(f, pair[i][0]);
    }
    fake_settle(f);
    fake_turn(f, 1); /* without any event */
    uint64_t waits = counter(f, "batch_waits");
    fake_turn(f, 5);
    assert_int_equal(counter(f, "batch_waits"), waits);

    peer_write(pair[0][1], f->conn[pair[0][0]].id, 0, 10);
    until_input(f, &f->conn[pair[0][0]], 10);
    assert_int_equal(counter(f, "batch_waits"), waits); /* the first is not kept waiting */
    fake_turn(f, 0);                                    /* and there is no time for one */
    assert_int_equal(counter(f, "batch_waits"), waits);
    peer_write(pair[1][1], f->conn[pair[1][0]].id, 0, 10);
    until_input(f, &f->conn[pair[1][0]], 10);
    waits = counter(f, "batch_waits");
    fake_turn(f, 5);
    assert_int_equal(counter(f, "batch_waits"), waits + 1);

    /* That one gathered nothing: the next is left out, and the one after it is not. */
    for (int i = 2; i < 4; i++) {
        peer_write(pair[i][1], f->conn[pair[i][0]].id, 0, 10);
        until_input(f, &f->conn[pair[i][0]], 10);
        fake_turn(f, 5);
        assert_int_equal(counter(f, "batch_waits"), waits + 1 + (i == 3));
    }

    /* Many are a batch already. */
    for (int i = 0; i < CONNS; i++)
        peer_write(pair[i][1], f->conn[pair[i][0]].id, i < 4 ? 10 : 0, 10);
    uint64_t receives = f->stats.recv_calls;
    fake_turn(f, 5);
    assert_true(f->stats.recv_calls - receives >= 16);
    waits = counter(f, "batch_waits");
    fake_turn(f, 5);
    assert_int_equal(counter(f, "batch_waits"), waits);
    for (int i = 0; i < CONNS; i++) {
        until_input(f, &f->conn[pair[i][0]], i < 4 ? 20 : 10);
        close(pair[i][1]);
    }
    for (int i = 0; i < CONNS; i++)
        fake_until(f, f->conn[pair[i][0]].eofs, 1);
}

/*
 * Everything at once, at random, seeded: connections of both kinds with input, pauses, sends of
 * segments, ends and resets, detached at any time, their numbers used again. What may be reported
 * for each of them is checked by fake_core.c at every upcall; here, that each client has seen its
 * own bytes and that everything comes back.
 */
static void random_life(struct fake *f, uint64_t seed)
{
    enum { CONNS = 40, STEPS = 4000, BLOCK = 30000 };
    static char block[BLOCK];
    struct {
        int fd, peer;
        size_t sent;
    } k[CONNS];
    int pair[2];
    char sink[20000];

    f->random = seed * 2654435761u + 88172645463325252u;
    for (int i = 0; i < CONNS; i++)
        k[i].fd = -1;
    for (int step = 0; step < STEPS; step++) {
        int i = (int)(fake_random(&f->random) % CONNS);
        unsigned what = (unsigned)(fake_random(&f->random) >> 20) % 16;
        if (k[i].fd < 0) {
            fake_pair(what % 2, pair);
            k[i].fd = pair[0];
            k[i].peer = pair[1];
            k[i].sent = 0;
            fake_attach(f, pair[0])->piece = what * 100;
            continue;
        }
        struct fake_conn *c = &f->conn[k[i].fd];
        bool live = c->open && !c->detaching;
        if (what < 6 && k[i].peer >= 0) {
            k[i].sent += peer_write_some(k[i].peer, c->id, k[i].sent, 1 + what * 700);
        } else if (what < 8 && live && !c->sending && !c->err) {
            fake_send(f, k[i].fd, block, 1 + (size_t)(fake_random(&f->random) % BLOCK));
        } else if (what == 8 && live && !c->eof) {
            fake_recv(f, k[i].fd, !c->receiving);
        } else if (what == 9 && k[i].peer >= 0) {
            const struct linger now = {.l_onoff = step % 2};
            setsockopt(k[i].peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
            close(k[i].peer);
            k[i].peer = -1;
        } else if (what == 10 && k[i].peer >= 0) {
            shutdown(k[i].peer, SHUT_WR);
        } else if (what == 11 && live) {
            fake_detach(f, k[i].fd);
        } else if (k[i].peer >= 0) {
            (void)!recv(k[i].peer, sink, sizeof(sink), MSG_DONTWAIT);
        }
        if (step % 3 == 0)
            fake_turn(f, 0);
        if (!c->open) {
            assert_true(fake_stream_is(c, c->id, 0));
            if (k[i].peer >= 0)
                close(k[i].peer);
            k[i].fd = -1;
        }
    }
    for (int i = 0; i < CONNS; i++)
        if (k[i].fd >= 0) {
            struct fake_conn *c = &f->conn[k[i].fd];
            assert_true(fake_stream_is(c, c->id, 0));
            if (c->open && !c->detaching)
                fake_detach(f, k[i].fd);
            for (int n = 0; c->open; n++) {
                assert_true(n < 20000);
                fake_turn(f, 1);
            }
            if (k[i].peer >= 0)
                close(k[i].peer);
        }
    assert_int_equal(f->slots.used, 0);
}

static void test_random(void **state)
{
    BEGIN(state);
    for (uint64_t seed = 1; seed <= 6; seed++) {
        print_message("# seed %llu\n", (unsigned long long)seed);
        random_life(f, seed);
    }
}

/* ---- what io_uring's tiny queues bring about ---- */

static void test_counters(void **state)
{
    enum { CONNS = 20 };
    int pair[CONNS][2];

    BEGIN(state);
    for (int i = 0; i < CONNS; i++) {
        fake_pair(true, pair[i]);
        fake_attach(f, pair[i][0]);
    }
    assert_true(counter(f, "sq_full") > 0);
    fake_turn(f, 0);
    for (int i = 0; i < CONNS; i++)
        peer_write(pair[i][1], f->conn[pair[i][0]].id, 0, 1000);
    for (int i = 0; i < CONNS; i++) {
        struct fake_conn *c = &f->conn[pair[i][0]];
        until_input(f, c, 1000);
        assert_true(fake_stream_is(c, c->id, 0));
    }
    assert_true(counter(f, "enobufs") > 0);
    assert_true(counter(f, "recv_rearmed") >= counter(f, "enobufs"));

    /* a multishot receive ends with data when the completion queue is full */
    for (int i = 0; i < CONNS; i++)
        fake_send(f, pair[i][0], "x", 1);
    for (int i = 0; i < CONNS; i++)
        fake_until(f, f->conn[pair[i][0]].sents, 1);

    /* input that is in flight when receiving goes off */
    for (int i = 0; i < CONNS; i++)
        peer_write(pair[i][1], f->conn[pair[i][0]].id, 1000, 100);
    for (int i = 0; i < CONNS; i++)
        fake_recv(f, pair[i][0], false);
    fake_settle(f);
    assert_true(counter(f, "cancels") > 0);
    for (int i = 0; i < CONNS; i++) {
        struct fake_conn *c = &f->conn[pair[i][0]];
        assert_int_equal(c->in_len, 1000);
        fake_recv(f, pair[i][0], true);
        until_input(f, c, 1100);
        assert_true(fake_stream_is(c, c->id, 0));
    }
    for (int i = 0; i < CONNS; i++)
        close(pair[i][1]);
}

/* More completions at once than there is room for: the kernel keeps them, none is lost. */
static void test_overflow(void **state)
{
    enum { CONNS = 64 };
    int pair[CONNS][2];

    BEGIN(state);
    for (int i = 0; i < CONNS; i++) {
        fake_pair(false, pair[i]);
        struct fake_conn *c = fake_attach(f, pair[i][0]);
        c->reaction = FAKE_PAUSE;
    }
    fake_turn(f, 0);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < CONNS; i++) {
            peer_write(pair[i][1], f->conn[pair[i][0]].id, (size_t)round * 200, 200);
            fake_send(f, pair[i][0], "y", 1);
        }
        for (int i = 0; i < CONNS; i++) {
            struct fake_conn *c = &f->conn[pair[i][0]];
            for (int turn = 0; c->in_len < (size_t)(round + 1) * 200; turn++) {
                assert_true(turn < 20000);
                fake_turn(f, 0);
                if (!c->receiving)
                    fake_recv(f, pair[i][0], true);
            }
            fake_until(f, c->sents, (unsigned)round + 1);
        }
    }
    for (int i = 0; i < CONNS; i++) {
        assert_true(fake_stream_is(&f->conn[pair[i][0]], f->conn[pair[i][0]].id, 0));
        close(pair[i][1]);
    }
    assert_true(counter(f, "cq_overflow") > 0);
}

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction function;
        bool (*only)(const char *spec); /* NULL: on all */
    } tests[] = {
#define TEST(f) {#f, f, NULL}
#define TEST_ONLY(f, only) \
    {                      \
#f, f, only        \
    }
        TEST(test_receive),
        TEST(test_end_with_data),
        TEST(test_eof_can_be_looked_at_again),
        TEST(test_error),
        TEST(test_pause),
        TEST(test_slow_reader_costs_nobody),
        TEST(test_send),
        TEST(test_endless_sends_cost_nobody),
        TEST(test_send_to_nobody),
        TEST(test_echo),
        TEST(test_detach),
        TEST(test_fd_reuse),
        TEST(test_listen),
        TEST(test_accept_room),
        TEST(test_accept_many),
        TEST(test_accept_error_that_lasts),
        TEST(test_accepted_and_closed),
        TEST(test_connect),
        TEST(test_connect_refused),
        TEST(test_connect_detached),
        TEST(test_segments),
        TEST(test_files),
        TEST(test_file_too_short),
        TEST(test_expect),
        TEST(test_send_now),
        TEST(test_timeout_is_not_early),
        TEST(test_random),
        TEST(test_accept_without_fds),
        TEST(test_wake),
        TEST(test_wait_returns),
        TEST(test_trim),
        TEST_ONLY(test_batch, spec_batches),
        TEST_ONLY(test_counters, spec_tiny),
        TEST_ONLY(test_overflow, spec_tiny),
    };
    static struct CMUnitTest all[ARRAY_LEN(tests) * ARRAY_LEN(specs)];
    static char names[ARRAY_LEN(all)][128];
    size_t n = 0;

    signal(SIGPIPE, SIG_IGN); /* sendfile(2) cannot be told not to raise it */
    for (size_t s = 0; s < ARRAY_LEN(specs); s++)
        for (size_t t = 0; t < ARRAY_LEN(tests); t++) {
            if (tests[t].only && !tests[t].only(specs[s]))
                continue;
            snprintf(names[n], sizeof(names[n]), "%s: %s", specs[s], tests[t].name);
            all[n] = (struct CMUnitTest){names[n], tests[t].function, setup, teardown,
                                         (void *)(uintptr_t)specs[s]};
            n++;
        }
    return _cmocka_run_group_tests("backends", all, n, NULL, NULL);
}
