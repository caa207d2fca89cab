/* SPDX-License-Identifier: MIT */
/*
 * contract_conn.c - test_contract.c: bytes that come and go on a connection, and its end.
 */
#include "config.h"

#include "contract.h"

#define STREAM_BYTES 400000

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

const struct contract_test contract_conn_tests[] = {
    CONTRACT_TEST(test_receive),
    CONTRACT_TEST(test_end_with_data),
    CONTRACT_TEST(test_eof_can_be_looked_at_again),
    CONTRACT_TEST(test_error),
    CONTRACT_TEST(test_pause),
    CONTRACT_TEST(test_slow_reader_costs_nobody),
    CONTRACT_TEST(test_endless_sends_cost_nobody),
    CONTRACT_TEST(test_send),
    CONTRACT_TEST(test_send_to_nobody),
    CONTRACT_TEST(test_echo),
    CONTRACT_TEST(test_detach),
    CONTRACT_TEST(test_fd_reuse),
    {0},
};
