/* SPDX-License-Identifier: MIT */
/*
 * contract_accept.c - test_contract.c: listeners, and connections that this side makes.
 */
#include "config.h"

#include "contract.h"

/* ---- accepting ---- */

/* The other end of a client's connection. They need not be accepted in the order in which they connect. */
static int accepted_from(const struct fake *f, int client)
{
    for (unsigned i = 0; i < f->opened_count; i++) {
        struct sockaddr_in ours, peers;
        socklen_t ours_len = sizeof(ours), peers_len = sizeof(peers);
        assert_int_equal(getsockname(client, (struct sockaddr *)&ours, &ours_len), 0);
        if (getpeername(f->opened[i], (struct sockaddr *)&peers, &peers_len) == 0 &&
            ours.sin_port == peers.sin_port)
            return f->opened[i];
    }
    fail_msg("a client was not accepted");
    return -1;
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
            int fd = accepted_from(f, client[i]);
            peer_write(client[i], f->conn[fd].id, 0, 50);
            until_input(f, &f->conn[fd], 50);
            assert_true(fake_stream_is(&f->conn[fd], f->conn[fd].id, 0));
            fake_detach(f, fd);
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

const struct contract_test contract_accept_tests[] = {
    CONTRACT_TEST(test_listen),
    CONTRACT_TEST(test_accept_room),
    CONTRACT_TEST(test_accept_many),
    CONTRACT_TEST(test_accept_error_that_lasts),
    CONTRACT_TEST(test_accepted_and_closed),
    CONTRACT_TEST(test_accept_without_fds),
    CONTRACT_TEST(test_connect),
    CONTRACT_TEST(test_connect_refused),
    CONTRACT_TEST(test_connect_detached),
    {0},
};
