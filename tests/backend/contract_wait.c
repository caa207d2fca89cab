/* SPDX-License-Identifier: MIT */
/*
 * contract_wait.c - test_contract.c: how a wait ends, a life at random, and what io_uring's tiny queues bring about.
 */
#include "config.h"

#include "contract.h"

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

/*
 * "... at most timeout_us microseconds ... never early but for an event, or by what has passed since the wait
 * before": so the time counts from before that one.
 */
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
            fake_turn(f, 0);
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

const struct contract_test contract_wait_tests[] = {
    CONTRACT_TEST(test_wake),
    CONTRACT_TEST(test_trim),
    CONTRACT_TEST(test_wait_returns),
    CONTRACT_TEST(test_timeout_is_not_early),
    CONTRACT_TEST_ONLY(test_batch, spec_batches),
    CONTRACT_TEST(test_random),
    CONTRACT_TEST_ONLY(test_counters, spec_tiny),
    CONTRACT_TEST_ONLY(test_overflow, spec_tiny),
    {0},
};
