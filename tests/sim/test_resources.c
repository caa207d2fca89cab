/* SPDX-License-Identifier: MIT */
/*
 * test_resources.c - the program's own resources whose requests last: /upload, over the simulated
 * backend.
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
    return w->f.http.in_pool.used + w->f.http.loop.out_pool.used;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        TEST(test_upload_counts),
        TEST(test_body_limits),
        TEST(test_body_limits_chunked),
    };
    return cmocka_run_group_tests_name("resources", tests, group_setup, group_teardown);
}
