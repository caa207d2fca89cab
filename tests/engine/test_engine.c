/* SPDX-License-Identifier: MIT */
/*
 * test_engine.c - the engine contract (backend.h), scenario by scenario, on every engine and on
 * io_uring with features taken away and with queues and pools so small that every rare path is the
 * usual one. fake_core.c checks each upcall.
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
#include <unistd.h>

#include <cmocka.h>

#include "fake_core.h"
#include "registry.h"
#include "util.h"

#define HANG_SECONDS 120 /* a test that takes so long hangs */
#define STREAM_BYTES 400000

/* The engines every scenario runs on. */
static const char *const specs[] = {
    "libev",
    "libev:poll",
    "io_uring",
    "io_uring:inc=0",
    "io_uring:submit-bytes=1",
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

/* Is the engine compiled in, and does it run here? Says why not. */
static bool spec_runs(const char *spec)
{
    struct backend_probe p;
    size_t name_len = strcspn(spec, ":");
    const struct backend_ops *ops = registry_find(spec, name_len);

    if (!ops) {
        print_message("skipped: %.*s is not compiled in\n", (int)name_len, spec);
        return false;
    }
    ops->probe(NULL, &p);
    if (!p.usable)
        print_message("skipped: %s does not run here: %s; %s\n", spec, p.reason, p.hint);
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
            assert_int_equal(errno, EAGAIN);
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
        assert_true(f->stats.input_held > 0);
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

/* Read what comes in pieces, turning meanwhile, until `len` bytes have come. */
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
 * reported all the same, within a few turns. */
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
 * conn_on_detached(). (fake_core.c checks.) */
static void test_detach(void **state)
{
    static char big[4000000];
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
        case 3: /* in conn_on_input() */
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
        case 10: /* in conn_on_sent(); where the send is done at once, right after */
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
        case 11: /* in conn_on_eof() */
            c->detach_in_eof = true;
            peer_write(pair[1], c->id, 0, 100);
            shutdown(pair[1], SHUT_WR);
            break;
        case 12: /* in conn_on_input() for held input, behind which there is more */
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
    int rc = f->ops->listen_ctl(f->be, index, lfd, false, 0);

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
    for (unsigned burst = 4; burst <= BACKEND_ACCEPT_FREE; burst += BACKEND_ACCEPT_FREE - 4) {
        unsigned index = burst == 4 ? 1 : 2;
        assert_int_equal(f->ops->listen_ctl(f->be, index, lfd, true, burst), 0);
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
        assert_int_equal(f->ops->listen_ctl(f->be, index, lfd, true, burst), 0);
        fake_until(f, f->opens[index], CLIENTS + 1);

        /* off and on again before the engine has had a turn, and the other way round */
        f->ops->listen_ctl(f->be, index, lfd, false, 0);
        assert_int_equal(f->ops->listen_ctl(f->be, index, lfd, true, burst), 0);
        int later = client_open(&a);
        fake_until(f, f->opens[index], CLIENTS + 2);
        listener_off(f, index, lfd);
        f->ops->listen_ctl(f->be, index, lfd, true, burst);
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
    if (spec_tiny(e->spec))
        assert_true(f->stats.accept_rearmed > 0);
}

/* A core that has room for a few only, and says so by a small burst: with many waiting, not one
 * more is accepted. */
static void test_accept_limit(void **state)
{
    enum { LIMIT = 5, CLIENTS = 30 };
    struct sockaddr_in a;
    int client[CLIENTS];

    BEGIN(state);
    f->connections_max = LIMIT;
    int lfd = f->lfd = listener_open(&a);
    for (int i = 0; i < CLIENTS; i++)
        client[i] = client_open(&a);
    assert_int_equal(f->ops->listen_ctl(f->be, 0, lfd, true, LIMIT), 0);
    fake_until(f, f->opens[0], LIMIT);
    for (unsigned opens = LIMIT; opens < CLIENTS; opens++) {
        fake_settle(f);
        assert_int_equal(f->opens[0], opens);
        fake_detach(f, f->opened[opens - LIMIT]);
        while (f->slots.used == LIMIT)
            fake_turn(f, 1);
        assert_int_equal(f->ops->listen_ctl(f->be, 0, lfd, true, LIMIT), 0);
        fake_until(f, f->opens[0], opens + 1);
    }
    for (int i = 0; i < CLIENTS; i++)
        close(client[i]);
    listener_off(f, 0, lfd);
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
    assert_int_equal(f->ops->listen_ctl(f->be, 0, lfd, true, BACKEND_ACCEPT_FREE), 0);
    fake_until(f, f->accept_errors, 1);
    assert_int_equal(f->accept_err, EMFILE);
    if (!f->accept_stops)
        listener_off(f, 0, lfd); /* which is what the core does */
    unsigned errors = f->accept_errors;
    fake_settle(f);
    assert_int_equal(f->accept_errors, errors);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(f->ops->listen_ctl(f->be, 0, lfd, true, BACKEND_ACCEPT_FREE), 0);
    fake_until(f, f->opens[0], 1);
    listener_off(f, 0, lfd);
    close(client);
    close(lfd);
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

    BEGIN(state);
    wake_target = f;
    wakes = 0;
    sigaction(SIGUSR2, &sa, &old);
    f->ops->wake(f->be);
    fake_turn(f, -1);
    for (int i = 0; i < 300; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            for (int spin = 0; spin < i * 200; spin++)
                __asm__ volatile("");
            kill(getppid(), SIGUSR2);
            _exit(0);
        }
        for (int before = i; wakes <= before;)
            fake_turn(f, -1);
        while (waitpid(child, NULL, 0) < 0)
            assert_int_equal(errno, EINTR);
    }
    assert_int_equal(wakes, 300);
    sigaction(SIGUSR2, &old, NULL);
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
    assert_true(f->stats.sq_full > 0);
    fake_turn(f, 0);
    for (int i = 0; i < CONNS; i++)
        peer_write(pair[i][1], f->conn[pair[i][0]].id, 0, 1000);
    for (int i = 0; i < CONNS; i++) {
        struct fake_conn *c = &f->conn[pair[i][0]];
        until_input(f, c, 1000);
        assert_true(fake_stream_is(c, c->id, 0));
    }
    assert_true(f->stats.enobufs > 0);
    assert_true(f->stats.recv_rearmed >= f->stats.enobufs);

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
    assert_true(f->stats.cancels > 0);
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
    assert_true(f->stats.cq_overflow > 0);
}

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction function;
        bool tiny_only;
    } tests[] = {
#define TEST(f) {#f, f, false}
#define TEST_TINY(f) \
    {                \
#f, f, true  \
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
        TEST(test_accept_limit),
        TEST(test_accept_without_fds),
        TEST(test_wake),
        TEST(test_wait_returns),
        TEST_TINY(test_counters),
        TEST_TINY(test_overflow),
    };
    static struct CMUnitTest all[ARRAY_LEN(tests) * ARRAY_LEN(specs)];
    static char names[ARRAY_LEN(all)][128];
    size_t n = 0;

    signal(SIGPIPE, SIG_DFL); /* an engine that lets a send raise it ends the test */
    for (size_t s = 0; s < ARRAY_LEN(specs); s++)
        for (size_t t = 0; t < ARRAY_LEN(tests); t++) {
            if (tests[t].tiny_only && !spec_tiny(specs[s]))
                continue;
            snprintf(names[n], sizeof(names[n]), "%s: %s", specs[s], tests[t].name);
            all[n] = (struct CMUnitTest){names[n], tests[t].function, setup, teardown,
                                         (void *)(uintptr_t)specs[s]};
            n++;
        }
    return _cmocka_run_group_tests("engines", all, n, NULL, NULL);
}
