/* SPDX-License-Identifier: MIT */
/*
 * test_limits.c - deadlines, limits and the drain, over the simulated backend and with time that
 * passes when the test says so.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "world.h"

static void test_deadlines(void **state)
{
    struct world *w = *state;
    open_world(w);
    int idle = connect_one(w), head = connect_one(w), body = connect_one(w), stuck = connect_one(w);
    say(w, head, "GET /");
    say(w, body, "POST /baseline11 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1");
    sim_fixture_iterate(&w->f, 1);
    w->knobs = (struct knobs){.send_max = -1, .sent_max = -1};
    say(w, stuck, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 1);
    w->knobs = (struct knobs){0};
    w->knobs.sent_max = -1;

    pass(w, w->f.set.header_timeout_ms + 2 * LOOP_TICK_MS);
    assert_int_equal(w->f.stats.timeout_header, 1);
    assert_int_equal(got(w, head, "HTTP/1.1 408"), 1);
    assert_int_equal(w->f.stats.timeout_body, 0);
    pass(w, w->f.set.body_timeout_ms - w->f.set.header_timeout_ms);
    assert_int_equal(w->f.stats.timeout_body, 1);
    assert_int_equal(got(w, body, "HTTP/1.1 408"), 1);
    assert_int_equal(w->f.stats.timeout_write, 1);
    assert_false(sim_is_open(w->f.http.loop.be, stuck));
    assert_true(sim_is_open(w->f.http.loop.be, idle));
    pass(w, w->f.set.idle_timeout_ms);
    assert_int_equal(w->f.stats.timeout_idle, 1);
    assert_false(sim_is_open(w->f.http.loop.be, idle));
    assert_int_equal(got(w, idle, "HTTP"), 0);
    pass(w, w->f.set.linger_timeout_ms + LOOP_TICK_MS);
    assert_int_equal(w->f.http.loop.slots.used, 0);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/*
 * A head that trickles does not get more time with every byte; one request after the other gets its
 * own.
 */
static void test_header_time_is_per_request(void **state)
{
    struct world *w = *state;
    open_world(w);
    int slow = connect_one(w), busy = connect_one(w);
    say(w, slow, "GET / HT");
    say(w, busy, "GET /pipeline HTTP/1.1\r\nHost: x\r\n\r\nGET /pip");
    for (int i = 0; i < 4; i++) {
        pass(w, w->f.set.header_timeout_ms / 3);
        say(w, slow, "T");
        say(w, busy, "eline HTTP/1.1\r\nHost: x\r\n\r\nGET /pip");
        sim_fixture_iterate(&w->f, 1);
    }
    assert_int_equal(got(w, busy, "HTTP/1.1 200"), 5);
    assert_int_equal(got(w, busy, "408"), 0);
    assert_true(got(w, slow, "HTTP/1.1 4") == 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_body_rate(void **state)
{
    struct world *w = *state;
    w->f.set.min_body_rate = 100;
    open_world(w);
    int fast = connect_one(w), slow = connect_one(w);
    static const char head[] =
        "POST /baseline11 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    char zeros[2000];
    memset(zeros, '0', sizeof(zeros));
    say(w, fast, head);
    say(w, slow, head);
    sim_fixture_iterate(&w->f, 1);
    for (int i = 0; i < 12; i++) {
        pass(w, w->f.set.body_timeout_ms / 4);
        sim_input(w->f.http.loop.be, fast, zeros, sizeof(zeros)); /* 20 s worth in 7.5 s */
        say(w, slow, "0");
        sim_fixture_iterate(&w->f, 1);
    }
    assert_int_equal(got(w, fast, "408"), 0);
    assert_int_equal(got(w, slow, "HTTP/1.1 408"), 1);
    assert_int_equal(w->f.stats.timeout_body, 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* What a client sends does not put off the end of one that does not read. */
static void test_write_timeout_is_not_renewed(void **state)
{
    struct world *w = *state;
    w->knobs = (struct knobs){.send_max = -1, .sent_max = -1};
    open_world(w);
    int fd = connect_one(w);
    say(w, fd, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 1);
    for (int i = 0; i < 3; i++) {
        assert_true(sim_is_open(w->f.http.loop.be, fd));
        pass(w, w->f.set.write_timeout_ms / 3);
        say(w, fd, "GET /pipeline HTTP/1.1\r\nHost: x\r\n\r\nGET");
        sim_fixture_iterate(&w->f, 1);
    }
    pass(w, 2 * LOOP_TICK_MS);
    assert_false(sim_is_open(w->f.http.loop.be, fd));
    assert_int_equal(w->f.stats.timeout_write, 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* An error's answer has a body unless its own request is HEAD: the one before it says nothing. */
static void test_errors_and_head(void **state)
{
    struct world *w = *state;
    open_world(w);
    int bad = connect_one(w), after = connect_one(w), slow = connect_one(w);
    say(w, bad,
        "HEAD /pipeline HTTP/1.1\r\nHost: x\r\n\r\nGET /pipeline HTTP/1.1\r\nHost : x\r\n\r\n");
    say(w, after, "HEAD /pipeline HTTP/1.1\r\nHost: x\r\n\r\nGET /pipe");
    say(w, slow, "HEAD /pipeline HTTP/1.1\r\nHost: x\r\n");
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, bad, "HTTP/1.1 400"), 1);
    assert_false(ends_with(w, bad, "\r\n\r\n"));
    pass(w, w->f.set.header_timeout_ms + 2 * LOOP_TICK_MS);
    assert_int_equal(got(w, after, "HTTP/1.1 408"), 1);
    assert_true(ends_with(w, after, "request not complete in time\n"));
    assert_int_equal(got(w, slow, "HTTP/1.1 408"), 1);
    assert_true(ends_with(w, slow, "\r\n\r\n"));
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/*
 * Empty lines, which some clients send after a body, begin no request: nothing is stored, nobody is
 * told 408.
 */
static void test_empty_lines_begin_nothing(void **state)
{
    struct world *w = *state;
    open_world(w);
    int one = connect_one(w), pieces = connect_one(w), many = connect_one(w);
    int halves = connect_one(w);
    say(w, one, POST_20 "\r\n");
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, one, "HTTP/1.1 200"), 1);
    assert_int_equal(w->f.http.in_pool.used, 0);
    say(w, halves, "\r");
    sim_fixture_iterate(&w->f, 1);
    say(w, halves, "\n");
    sim_fixture_iterate(&w->f, 1);
    assert_int_equal(w->f.http.in_pool.used, 0);
    for (const char *s = "\r\n\r\nGET /pipeline HTTP/1.1\r\nHost: x\r\n\r\n"; *s; s++) {
        sim_input(w->f.http.loop.be, pieces, s, 1);
        sim_fixture_iterate(&w->f, 1);
    }
    assert_int_equal(got(w, pieces, "HTTP/1.1 200"), 1);
    for (int i = 0; i < 20; i++) { /* as many as they like is not it: whole and in pieces alike */
        say(w, many, "\r\n");
        sim_fixture_iterate(&w->f, 1);
    }
    assert_int_equal(got(w, many, "HTTP/1.1 400"), 1);
    pass(w, w->f.set.header_timeout_ms + 2 * LOOP_TICK_MS);
    assert_int_equal(got(w, one, "408"), 0);
    assert_int_equal(w->f.stats.timeout_header, 0);
    assert_true(sim_is_open(w->f.http.loop.be, one));
    assert_true(sim_is_open(w->f.http.loop.be, halves));
    say(w, one, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, one, "HTTP/1.1 200"), 2);
    pass(w, w->f.set.idle_timeout_ms + 2 * LOOP_TICK_MS);
    assert_false(sim_is_open(w->f.http.loop.be, one));
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/*
 * The idle time is over just as a request arrives, and the beginning of another; the end of input
 * that the server itself has made is met while an answer is still being sent. Both are answered,
 * also where a head may take any time.
 */
static void test_idle_end_meets_requests(void **state)
{
    struct world *w = *state;
    for (int limited = 0; limited < 2; limited++) {
        w->knobs = (struct knobs){0};
        settings_init(&w->f.set);
        if (!limited)
            w->f.set.header_timeout_ms = 0;
        open_world(w);
        int fd = connect_one(w);
        w->knobs = (struct knobs){.send_max = -1, .sent_max = -1};
        say(w, fd, GET_PIPELINE "GET /pipe");
        pass(w, w->f.set.idle_timeout_ms + 2 * LOOP_TICK_MS);
        assert_true(sim_is_open(w->f.http.loop.be, fd));
        assert_int_equal(w->f.stats.timeout_idle, 1);
        w->knobs.sent_max = 0;
        sim_fixture_iterate(&w->f, 2);
        assert_int_equal(got(w, fd, "HTTP/1.1 200"), 1);
        say(w, fd, "line HTTP/1.1\r\nHost: x\r\n\r\n");
        pass(w, 2 * LOOP_TICK_MS);
        pass(w, 2 * LOOP_TICK_MS);
        assert_int_equal(got(w, fd, "HTTP/1.1 200"), 2);
        assert_int_equal(w->f.stats.eof_mid_request, 0);
        assert_int_equal(sim_fixture_close(&w->f), 0);
    }
}

/* Without a limit on a head's time, a head may take any time. */
static void test_no_header_timeout(void **state)
{
    struct world *w = *state;
    w->f.set.header_timeout_ms = 0;
    open_world(w);
    int fd = connect_one(w);
    say(w, fd, "GET /pipeline HTTP/1.1\r\n");
    sim_fixture_iterate(&w->f, 1);
    pass(w, 10 * w->f.set.idle_timeout_ms);
    say(w, fd, "Host: x\r\n\r\n");
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, fd, "HTTP/1.1 200"), 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/*
 * More than the kernel takes, and more behind it before it has: only what it refuses of what it was
 * offered is short.
 */
static void test_short_sends_are_counted(void **state)
{
    struct world *w = *state;
    w->knobs = (struct knobs){.send_max = -1, .sent_max = -1};
    open_world(w);
    int fd = connect_one(w);
    say(w, fd, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 1);
    say(w, fd, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 1);
    w->knobs.sent_max = 0;
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, fd, "HTTP/1.1 200"), 2);
    assert_int_equal(w->f.stats.short_sends, 0);
    say(w, fd, GET_PIPELINE);
    w->knobs.sent_max = -1;
    sim_fixture_iterate(&w->f, 1);
    w->knobs.sent_max = 50;
    sim_fixture_iterate(&w->f, 1);
    w->knobs.sent_max = 0;
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, fd, "HTTP/1.1 200"), 3);
    assert_int_equal(w->f.stats.short_sends, 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_linger_is_bounded(void **state)
{
    struct world *w = *state;
    char junk[4096];
    memset(junk, 'x', sizeof(junk));
    open_world(w);
    int fd = connect_one(w);
    say(w, fd, "\x01");
    for (int i = 0; i < 20; i++)
        sim_input(w->f.http.loop.be, fd, junk, sizeof(junk));
    sim_fixture_iterate(&w->f, 40);
    assert_int_equal(w->f.http.loop.slots.used, 0);
    assert_int_equal(w->f.stats.limit_linger, 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_accept_pauses(void **state)
{
    struct world *w = *state;
    w->f.set.max_connections = 3;
    open_world(w);
    int fds[5];
    for (int i = 0; i < 3; i++)
        fds[i] = connect_one(w);
    assert_int_equal(w->f.stats.accept_pauses, 1);
    fds[3] = connect_one(w);
    assert_int_equal(w->f.http.loop.slots.used, 3);
    say(w, fds[1], GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, fds[1], "200 OK"), 1); /* those that are in are served as before */
    sim_eof(w->f.http.loop.be, fds[0]);
    sim_fixture_iterate(&w->f, 3);
    assert_int_equal(w->f.http.loop.slots.used, 3);
    say(w, fds[3], GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, fds[3], "200 OK"), 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_max_requests(void **state)
{
    struct world *w = *state;
    w->f.set.max_requests = 3;
    open_world(w);
    int fd = connect_one(w);
    for (int i = 0; i < 5; i++)
        say(w, fd, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 3);
    assert_int_equal(got(w, fd, "HTTP/1.1 200"), 3);
    assert_int_equal(got(w, fd, "Connection: close"), 1);
    assert_int_equal(w->f.stats.limit_requests, 1);
    assert_int_equal(slot_get(&w->f.http.loop.slots, fd)->state, STREAM_LINGER);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_drain(void **state)
{
    struct world *w = *state;
    open_world(w);
    int idle = connect_one(w), half = connect_one(w), late = connect_one(w), cut = connect_one(w);
    say(w, half, "GET /pipeline HTTP/1.1\r\nHo");
    sim_fixture_iterate(&w->f, 1);
    say(w, late, GET_PIPELINE); /* received by the kernel, not yet seen by the core */
    say(w, cut, "GET /pipeline HTTP/1.1\r\n"); /* the same, and only the first part of it */
    w->f.http.loop.acceptor.listener[0].fd = -1;
    loop_drain(&w->f.http.loop);
    sim_fixture_iterate(&w->f, 1);
    say(w, half, "st: x\r\n\r\n");
    sim_fixture_iterate(&w->f, 3);
    assert_true(sim_is_open(w->f.http.loop.be, idle)); /* it may be sending just now */
    assert_int_equal(got(w, late, "HTTP/1.1 200"), 1);
    assert_int_equal(got(w, late, "Connection: close"), 1);
    assert_int_equal(got(w, half, "HTTP/1.1 200"), 1);
    assert_int_equal(got(w, half, "Connection: close"), 1);
    pass(w, 500 + 2 * LOOP_TICK_MS);
    assert_false(sim_is_open(w->f.http.loop.be, idle));
    assert_int_equal(got(w, idle, "HTTP"), 0);
    say(w, cut, "Host: x\r\n\r\n");
    pass(w, 2 * LOOP_TICK_MS);
    pass(w, 2 * LOOP_TICK_MS);
    assert_int_equal(got(w, cut, "HTTP/1.1 200"), 1); /* a byte of it had been read */
    pass(w, w->f.set.linger_timeout_ms + 2 * LOOP_TICK_MS);
    assert_int_equal(w->f.http.loop.slots.used, 0);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* Others serve: who is idle has the time that it always has, and is told by the next answer. */
static void test_retire(void **state)
{
    struct world *w = *state;
    w->f.set.idle_timeout_ms = 10000;
    open_world(w);
    int idle = connect_one(w), asks = connect_one(w), stays = connect_one(w);
    sim_fixture_iterate(&w->f, 1);
    w->f.http.loop.acceptor.listener[0].fd = -1;
    loop_retire(&w->f.http.loop, 1);
    pass(w, 4000);
    assert_true(sim_is_open(w->f.http.loop.be, idle));
    say(w, asks, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 3);
    assert_int_equal(got(w, asks, "HTTP/1.1 200"), 1);
    assert_int_equal(got(w, asks, "Connection: close"), 1);
    pass(w, 4000);
    assert_true(sim_is_open(w->f.http.loop.be, stays));
    /* And then there is no more time. */
    loop_drain(&w->f.http.loop);
    pass(w, 500 + 2 * LOOP_TICK_MS);
    assert_false(sim_is_open(w->f.http.loop.be, idle));
    assert_false(sim_is_open(w->f.http.loop.be, stays));
    pass(w, w->f.set.linger_timeout_ms + 2 * LOOP_TICK_MS);
    assert_int_equal(w->f.http.loop.slots.used, 0);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        TEST(test_deadlines),
        TEST(test_write_timeout_is_not_renewed),
        TEST(test_header_time_is_per_request),
        TEST(test_no_header_timeout),
        TEST(test_errors_and_head),
        TEST(test_body_rate),
        TEST(test_empty_lines_begin_nothing),
        TEST(test_idle_end_meets_requests),
        TEST(test_linger_is_bounded),
        TEST(test_accept_pauses),
        TEST(test_max_requests),
        TEST(test_short_sends_are_counted),
        TEST(test_drain),
        TEST(test_retire),
    };
    return cmocka_run_group_tests_name("limits", tests, group_setup, group_teardown);
}
