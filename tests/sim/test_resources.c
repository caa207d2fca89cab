/* SPDX-License-Identifier: MIT */
/*
 * test_resources.c - the program's own resources whose requests last: /upload, /delay and /echo, over
 * the simulated backend.
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "world.h"

static struct world *open_plain(void **state)
{
    struct world *w = *state;

    open_world(w);
    return w;
}

static void send_head(struct world *w, int fd, const char *path, unsigned long long length)
{
    char head[200];

    snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %llu\r\n\r\n",
             path, length);
    say(w, fd, head);
}

#define CHUNKED(path) "POST " path " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

/* Blocks that the connections hold now. */
static size_t held(const struct world *w)
{
    return w->f.http.in_pool.used + w->f.http.loop.out_pool.used + w->f.http.loop.sent_pool.used;
}

/* `bytes` of a body, in pieces, looking after each at what is held. */
static void send_body(struct world *w, int fd, size_t bytes)
{
    static char piece[16384] = {[0 ... 16383] = 'u'};

    for (size_t n; bytes; bytes -= n) {
        n = MIN(bytes, sizeof(piece));
        sim_input(w->f.http.loop.be, fd, piece, n);
        sim_fixture_iterate(&w->f, 3);
        assert_int_equal(held(w), 0);
    }
}

/* ---- /upload ---- */

static void test_upload_counts(void **state)
{
    static const size_t sizes[] = {0, 1, 16384, 100000, 8 << 20};
    struct world *w = open_plain(state);
    int fd = connect_one(w);
    char answer[40];

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        send_head(w, fd, "/upload", sizes[i]);
        send_body(w, fd, sizes[i]);
        sim_fixture_iterate(&w->f, 3);
        snprintf(answer, sizeof(answer), "\r\n\r\n%zu", sizes[i]);
        assert_true(ends_with(w, fd, answer));
    }
    say(w, fd, CHUNKED("/upload") "3\r\nabc\r\n1;x=y\r\nd\r\n00\r\nTrailer: t\r\n\r\n");
    say(w, fd, "POST /upload HTTP/1.1\r\nHost: x\r\n\r\n" GET_PIPELINE);
    sim_fixture_iterate(&w->f, 6);
    assert_int_equal(got(w, fd, "\r\n\r\n4HTTP/1.1 200"), 1);
    assert_int_equal(got(w, fd, "\r\n\r\n0HTTP/1.1 200"), 2);
    assert_true(ends_with(w, fd, "\r\n\r\nok"));
    say(w, fd, "GET /upload HTTP/1.1\r\nHost: x\r\n\r\n");
    sim_fixture_iterate(&w->f, 3);
    assert_int_equal(got(w, fd, "HTTP/1.1 405 "), 1);
    assert_int_equal(got(w, fd, "\r\nAllow: POST, OPTIONS\r\n"), 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* What a client is told that asks for more than it may send, and whether others may. */
static void test_body_limits(void **state)
{
    static const struct {
        uint64_t max;
        const char *path;
        unsigned long long length;
        bool refused;
    } cases[] = {
        {10, "/upload", 10, false},
        {10, "/upload", 11, true},
        {0, "/upload", SETTINGS_BODY_BYTES + 1, false},
        {0, "/upload", INT64_MAX, false},
        {0, "/baseline11", SETTINGS_BODY_BYTES, false},
        {0, "/baseline11", SETTINGS_BODY_BYTES + 1, true},
        {SETTINGS_BODY_BYTES + 1, "/baseline11", SETTINGS_BODY_BYTES + 1, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world *w = *state;
        w->f.set.max_body_bytes = cases[i].max;
        open_world(w);
        int fd = connect_one(w);
        send_head(w, fd, cases[i].path, cases[i].length);
        sim_fixture_iterate(&w->f, 3);
        assert_int_equal(got(w, fd, "HTTP/1.1 413 "), cases[i].refused);
        assert_int_equal(got(w, fd, "HTTP/1.1 "), cases[i].refused);
        assert_int_equal(w->f.stats.limit_body, cases[i].refused);
        assert_int_equal(sim_fixture_close(&w->f), 0);
    }
}

/* The same by chunks, whose announcement counts. */
static void test_body_limits_chunked(void **state)
{
    for (int upload = 0; upload < 2; upload++) {
        struct world *w = *state;
        w->f.set.max_body_bytes = 0;
        open_world(w);
        int fd = connect_one(w);
        say(w, fd, upload ? CHUNKED("/upload") : CHUNKED("/baseline11"));
        say(w, fd, "800000\r\n");
        send_body(w, fd, SETTINGS_BODY_BYTES);
        assert_int_equal(got(w, fd, "HTTP/1.1 "), 0);
        say(w, fd, "\r\n1\r\nx\r\n0\r\n\r\n");
        sim_fixture_iterate(&w->f, 3);
        assert_int_equal(got(w, fd, "HTTP/1.1 413 "), !upload);
        assert_int_equal(got(w, fd, "\r\n\r\n8388609"), upload);
        assert_int_equal(sim_fixture_close(&w->f), 0);
    }
}

/* ---- /delay ---- */

#define DELAY(ms) "GET /delay/" ms " HTTP/1.1\r\nHost: x\r\n\r\n"

/* Let `ms` pass for those that wait. */
static void pass_for_waits(struct world *w, uint32_t ms)
{
    w->f.http.waits.base_ms -= ms;
    sim_fixture_iterate(&w->f, 3);
}

static size_t waiting(const struct world *w)
{
    assert_int_equal(w->f.stats.waiting, w->f.http.waits.armed);
    return w->f.http.waits.armed;
}

static void test_delay_is_not_early(void **state)
{
    struct world *w = open_plain(state);
    int fd = connect_one(w);

    for (int i = 1; i <= 20; i++) {
        uint64_t start_us = clock_monotonic_us();
        say(w, fd, DELAY("7"));
        while (got(w, fd, "\r\n\r\n7") < (size_t)i)
            sim_fixture_iterate(&w->f, 1);
        assert_true(clock_monotonic_us() - start_us >= 7000);
    }
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_delay_numbers(void **state)
{
    static const struct {
        const char *path;
        const char *answer; /* NULL: 400 */
    } cases[] = {
        {"0", "0"},
        {"00", "0"},
        {"1", "1"},
        {"60000", "60000"},
        {"00000060000", "60000"},
        {"60001", NULL},
        {"-0", NULL},
        {"+1", NULL},
        {"1.5", NULL},
        {"0x10", NULL},
        {"99999999999999999999", NULL},
        {"%31", "1"},
        {"1%00", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world *w = open_plain(state);
        int fd = connect_one(w);
        char text[200];
        snprintf(text, sizeof(text), "GET /delay/%s HTTP/1.1\r\nHost: x\r\n\r\n", cases[i].path);
        say(w, fd, text);
        sim_fixture_iterate(&w->f, 2);
        if (cases[i].answer)
            pass_for_waits(w, (uint32_t)atoi(cases[i].answer) + 1);
        snprintf(text, sizeof(text), "\r\n\r\n%s", cases[i].answer ? cases[i].answer : "\"");
        assert_int_equal(got(w, fd, cases[i].answer ? "HTTP/1.1 200 " : "HTTP/1.1 400 "), 1);
        assert_int_equal(got(w, fd, text), 1);
        assert_int_equal(waiting(w), 0);
        assert_int_equal(sim_fixture_close(&w->f), 0);
    }
}

/* In order, and a later one does not begin before the earlier is answered. */
static void test_delay_pipelined(void **state)
{
    struct world *w = open_plain(state);
    int fd = connect_one(w);

    say(w, fd, DELAY("500") DELAY("20") GET_PIPELINE DELAY("10"));
    sim_fixture_iterate(&w->f, 3);
    assert_int_equal(waiting(w), 1);
    pass_for_waits(w, 400);
    assert_int_equal(got(w, fd, "HTTP/1.1 "), 0);
    pass_for_waits(w, 101);
    assert_true(ends_with(w, fd, "\r\n\r\n500"));
    assert_int_equal(waiting(w), 1);
    pass_for_waits(w, 21);
    assert_int_equal(got(w, fd, "\r\n\r\n20HTTP/1.1 200 OK"), 1);
    assert_true(ends_with(w, fd, "\r\n\r\nok"));
    pass_for_waits(w, 11);
    assert_true(ends_with(w, fd, "\r\n\r\n10"));
    say(w, fd,
        "HEAD /delay/3 HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /delay/4 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    pass_for_waits(w, 4);
    pass_for_waits(w, 5);
    assert_int_equal(got(w, fd, "\r\n\r\n3"), 0);
    assert_int_equal(got(w, fd, "\r\n\r\n4HTTP/1.1 200 OK"), 1);
    assert_true(ends_with(w, fd, "\r\n\r\nok"));
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* A connection that waits is parked: a slot, and a block that is no exchange. */
static void test_delay_costs_little(void **state)
{
    enum { MANY = 300 };
    struct world *w = open_plain(state);
    struct http *h = &w->f.http;
    int fds[MANY];

    assert_true(h->parked_pool.block_size + sizeof(struct slot) + 48 + 44 <= 256); /* libev's */
    for (int i = 0; i < MANY; i++) {
        fds[i] = connect_one(w);
        say(w, fds[i], DELAY("30000"));
    }
    sim_fixture_iterate(&w->f, 3);
    assert_int_equal(waiting(w), MANY);
    assert_int_equal(h->parked_pool.used, MANY);
    assert_int_equal(h->exchange_pool.used, 1); /* the hot one */
    assert_int_equal(held(w), 0);
    say(w, fds[7], "GET /pipe");
    sim_fixture_iterate(&w->f, 3);
    assert_int_equal(h->parked_pool.used, MANY - 1);
    say(w, fds[7], "line HTTP/1.1\r\nHost: x\r\n\r\n");
    pass_for_waits(w, 30001);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(got(w, fds[i], "\r\n\r\n30000"), 1);
    assert_true(ends_with(w, fds[7], "\r\n\r\nok"));
    assert_int_equal(waiting(w), 0);
    assert_int_equal(h->parked_pool.used, 0);
    assert_int_equal(w->f.stats.requests, MANY + 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* However it leaves, and whatever it has sent besides: its wait is over. */
static void test_delay_client_leaves(void **state)
{
    for (int how = 0; how < 8; how++) {
        struct world *w = open_plain(state);
        int fd = connect_one(w);
        say(w, fd, DELAY("60000"));
        if (how & 4)
            say(w, fd, GET_PIPELINE DELAY("60000"));
        sim_fixture_iterate(&w->f, 2);
        if (how & 1)
            say(w, fd, GET_PIPELINE);
        sim_fixture_iterate(&w->f, 2);
        assert_int_equal(waiting(w), 1);
        if (how & 2)
            sim_eof(w->f.http.loop.be, fd);
        else
            sim_error(w->f.http.loop.be, fd, ECONNRESET);
        sim_fixture_iterate(&w->f, 2);
        assert_int_equal(waiting(w), 0);
        assert_int_equal(w->f.http.loop.slots.used, 0);
        assert_int_equal(w->f.stats.cancelled, 1);
        assert_int_equal(w->f.stats.requests, 0);
        assert_int_equal(sim_fixture_close(&w->f), 0);
    }
}

/* All that has arrived is answered, the last with close. */
static void test_delay_at_the_drain(void **state)
{
    for (int more = 0; more < 2; more++) {
        struct world *w = open_plain(state);
        int fd = connect_one(w);
        say(w, fd, DELAY("20000"));
        sim_fixture_iterate(&w->f, 2);
        if (more)
            say(w, fd, GET_PIPELINE);
        sim_fixture_iterate(&w->f, 2);
        w->f.http.loop.acceptor.listener[0].fd = -1;
        loop_drain(&w->f.http.loop);
        pass(w, 5000);
        assert_int_equal(waiting(w), 1);
        pass_for_waits(w, 20001);
        assert_int_equal(got(w, fd, "\r\n\r\n20000"), 1);
        assert_int_equal(got(w, fd, "\r\n\r\nok"), more);
        assert_int_equal(got(w, fd, "Connection: close"), 1);
        assert_int_equal(w->f.stats.cancelled, 0);
        assert_int_equal(sim_fixture_close(&w->f), 0);
    }
}

/* Those that wait hold blocks, too, and lose them when others need room and nobody else has any. */
static void test_delay_makes_room(void **state)
{
    enum { MANY = 900 };
    struct world *w = open_plain(state);
    struct bufpool_budget *budget = &w->f.http.loop.budget;

    budget->max = 64000;
    for (int i = 0; i < MANY; i++)
        say(w, connect_one(w), DELAY("60000"));
    sim_fixture_iterate(&w->f, 3);
    assert_true(waiting(w) < MANY && waiting(w) > 300);
    int fd = connect_one(w);
    say(w, fd, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 3);
    assert_true(ends_with(w, fd, "\r\n\r\nok"));
    assert_true(w->f.stats.limit_buffers > 0);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* ---- /echo ---- */

/* The chunked body at `from`, into `to`; its length. */
static size_t dechunk(char *to, const char *from)
{
    size_t len = 0;

    for (;;) {
        char *end;
        size_t n = strtoul(from, &end, 16);
        assert_memory_equal(end, "\r\n", 2);
        if (n == 0)
            return len;
        memcpy(to + len, end + 2, n);
        len += n;
        from = end + 2 + n;
        assert_memory_equal(from, "\r\n", 2);
        from += 2;
    }
}

static void test_echo(void **state)
{
    static const int sizes[] = {0, 1, 7, 1000};
    enum { BYTES = 60000 };
    static char request[BYTES + 200], chunked[2 * BYTES];

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        for (int mode = 0; mode < 8; mode++) {
            struct world *w = open_plain(state);
            int fd = connect_one(w);
            w->knobs = (struct knobs){.input_max = sizes[i]};
            w->knobs.send_max = mode & 1 ? -1 : mode & 2 ? 7 : 0;
            w->knobs.sent_max = mode & 2 ? 300 : 0;
            size_t body = sizes[i] == 1 ? 500 : BYTES;
            if (mode & 4) {
                int n = sprintf(chunked, "POST /echo HTTP/1.1\r\nHost: x\r\n"
                                         "Transfer-Encoding: chunked\r\n\r\n");
                for (size_t k = 0; k < body; k += 100)
                    n += sprintf(chunked + n, "64\r\n%0100zu\r\n", k);
                n += sprintf(chunked + n, "0\r\n\r\n" GET_PIPELINE);
                sim_input(w->f.http.loop.be, fd, chunked, (size_t)n);
            } else {
                int n = sprintf(
                    request, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", body);
                for (size_t k = 0; k < body; k += 100)
                    n += sprintf(request + n, "%0100zu", k);
                sim_input(w->f.http.loop.be, fd, request, (size_t)n);
                say(w, fd, GET_PIPELINE);
            }
            uint64_t most = 0;
            for (int k = 0; k < 400000 && !got(w, fd, "\r\n\r\nok") && k % 64 < 64; k += 64) {
                sim_fixture_iterate(&w->f, 64);
                most = MAX(most, out_pending(&slot_get(&w->f.http.loop.slots, fd)->out));
            }
            assert_int_equal(got(w, fd, "\r\n\r\nok"), 1);
            assert_true(most <= w->f.set.max_output_bytes + 2 * 16384 + 1000);
            size_t len;
            const char *out = sim_output(w->f.http.loop.be, fd, &len);
            const char *from = strstr(out, "\r\n\r\n") + 4;
            static char plain[BYTES];
            if (mode & 4)
                assert_int_equal(dechunk(plain, from), body);
            else
                memcpy(plain, from, body);
            for (size_t k = 0; k < body; k += 100) {
                char text[101];
                sprintf(text, "%0100zu", k);
                assert_memory_equal(plain + k, text, 100);
            }
            assert_int_equal(
                got(w, fd, mode & 4 ? "Transfer-Encoding: chunked\r\n" : "Content-Length: "),
                mode & 4 ? 1 : 2);
            assert_int_equal(w->f.stats.requests, 2);
            assert_int_equal(w->f.stats.cancelled, 0);
            assert_int_equal(sim_fixture_close(&w->f), 0);
        }
}

/*
 * Where buffers are half used up, a client that sends and does not read is not read from, and goes
 * on when it reads.
 */
static void test_echo_is_held_back(void **state)
{
    struct world *w = open_plain(state);
    w->f.http.loop.budget.max = 200000;
    int fd = connect_one(w);
    static char block[4096] = {[0 ... 4095] = 'b'};

    w->knobs = (struct knobs){.send_max = -1, .sent_max = -1};
    say(w, fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    for (size_t n = 0; n < 1000000; n += 4000)
        sim_input(w->f.http.loop.be, fd, block, 4000);
    sim_fixture_iterate(&w->f, 500);
    struct slot *s = slot_get(&w->f.http.loop.slots, fd);
    assert_false(sim_is_receiving(w->f.http.loop.be, fd));
    assert_true(out_pending(&s->out) <= w->f.http.loop.budget.max / 2 + 2 * 16384);
    w->knobs.sent_max = 0;
    sim_fixture_iterate(&w->f, 2000);
    size_t len;
    sim_output(w->f.http.loop.be, fd, &len);
    assert_true(len > 1000000);
    assert_int_equal(w->f.stats.requests, 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* A body that breaks when the answer has begun: no second answer, and the end tells. */
static void test_echo_of_a_broken_body(void **state)
{
    struct world *w = open_plain(state);
    int fd = connect_one(w);

    say(w, fd,
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz");
    sim_fixture_iterate(&w->f, 3);
    assert_int_equal(got(w, fd, "HTTP/1.1 "), 1);
    assert_int_equal(got(w, fd, "0\r\n\r\n"), 0);
    assert_true(sim_is_half_closed(w->f.http.loop.be, fd));
    assert_int_equal(w->f.stats.cancelled, 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/*
 * A client that sends all before it reads gets all of it, as far as half of --max-buffer-bytes goes;
 * others have their answers meanwhile.
 */
static void test_echo_written_before_it_is_read(void **state)
{
    struct world *w = open_plain(state);
    int fd = connect_one(w), other = connect_one(w);
    static char block[4096] = {[0 ... 4095] = 'b'};
    const size_t bytes = 8 << 20;

    w->knobs = (struct knobs){.send_max = -1, .sent_max = -1};
    send_head(w, fd, "/echo", bytes);
    for (size_t n = 0; n < bytes; n += sizeof(block))
        sim_input(w->f.http.loop.be, fd, block, sizeof(block));
    sim_fixture_iterate(&w->f, 1000);
    assert_int_equal(w->f.stats.requests, 1);
    assert_true(sim_is_receiving(w->f.http.loop.be, fd));
    w->knobs = (struct knobs){.send_max = 0};
    say(w, other, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 3000);
    assert_true(ends_with(w, other, "\r\n\r\nok"));
    size_t len;
    const char *out = sim_output(w->f.http.loop.be, fd, &len);
    const char *body = strstr(out, "\r\n\r\n") + 4;
    assert_int_equal(len - (size_t)(body - out), bytes);
    for (size_t n = 0; n < bytes; n += sizeof(block))
        assert_memory_equal(body + n, block, sizeof(block));
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* What begins when: nothing before the body does, 100 Continue first, a length where one was said. */
static void test_echo_heads(void **state)
{
    struct world *w = open_plain(state);
    int fd = connect_one(w), old = connect_one(w);

    say(w, fd,
        "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    sim_fixture_iterate(&w->f, 2);
    assert_true(ends_with(w, fd, "HTTP/1.1 100 Continue\r\n\r\n"));
    assert_int_equal(got(w, fd, "HTTP/1.1 "), 1);
    say(w, fd, "abc");
    sim_fixture_iterate(&w->f, 2);
    assert_true(ends_with(w, fd, "\r\n\r\nabc"));
    assert_int_equal(got(w, fd, "\r\nContent-Length: 3\r\n"), 1);
    assert_int_equal(got(w, fd, "\r\nContent-Type: application/octet-stream\r\n"), 1);
    send_head(w, fd, "/echo", 0);
    say(w, fd, "POST /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, fd, "\r\nContent-Length: 0\r\n"), 2);
    say(w, fd, CHUNKED("/echo") "0\r\n\r\n");
    sim_fixture_iterate(&w->f, 2);
    assert_true(ends_with(w, fd, "\r\n\r\n0\r\n\r\n"));
    say(w, old, "POST /echo HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc");
    sim_fixture_iterate(&w->f, 4);
    assert_true(ends_with(w, old, "\r\n\r\nabc"));
    assert_int_equal(got(w, old, "\r\nContent-Length: 3\r\n"), 1);
    say(w, fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, fd, "HTTP/1.1 405 "), 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        TEST(test_upload_counts),
        TEST(test_body_limits),
        TEST(test_body_limits_chunked),
        TEST(test_delay_is_not_early),
        TEST(test_delay_numbers),
        TEST(test_delay_pipelined),
        TEST(test_delay_costs_little),
        TEST(test_delay_client_leaves),
        TEST(test_delay_at_the_drain),
        TEST(test_delay_makes_room),
        TEST(test_echo),
        TEST(test_echo_is_held_back),
        TEST(test_echo_written_before_it_is_read),
        TEST(test_echo_of_a_broken_body),
        TEST(test_echo_heads),
    };
    return cmocka_run_group_tests_name("resources", tests, group_setup, group_teardown);
}
