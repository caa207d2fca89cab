/* SPDX-License-Identifier: MIT */
/*
 * test_core.c - the connection state machine over the simulated engine: splits, short and late
 * sends, back-pressure, closing in every state. Deadlines, limits and the drain are
 * test_limits.c's.
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "world.h"

static void test_idle_holds_nothing(void **state)
{
    struct world *w = *state;
    open_world(w);
    int fd = connect_one(w);
    say(w, fd, GET_PIPELINE);
    sim_fixture_turns(&w->f, 2);
    assert_int_equal(got(w, fd, "HTTP/1.1 200 OK\r\n"), 1);
    assert_true(ends_with(w, fd, "\r\n\r\nok"));
    assert_true(sim_is_open(w->f.core.be, fd));
    assert_int_equal(w->f.core.in_pool.used + w->f.core.out_pool.used, 0);
    assert_null(slot_get(&w->f.core.slots, fd)->in);
    assert_int_equal(w->f.stats.tails_stored, 0);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_batch_is_one_send(void **state)
{
    struct world *w = *state;
    open_world(w);
    int fd = connect_one(w);
    for (int i = 0; i < 16; i++)
        say(w, fd, GET_PIPELINE);
    w->knobs.send_max = -1;
    w->knobs.sent_max = -1;
    sim_fixture_turns(&w->f, 3);
    char *data;
    size_t len = out_peek(&slot_get(&w->f.core.slots, fd)->out, &data);
    /* all of them in the one range that is lent */
    assert_int_equal(count(data, len, "\r\n\r\nok"), 16);
    assert_int_equal(len, out_pending(&slot_get(&w->f.core.slots, fd)->out));
    w->knobs.sent_max = 0;
    sim_fixture_turns(&w->f, 2);
    assert_int_equal(got(w, fd, "\r\n\r\nok"), 16);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/*
 * Requests in every number of pieces, answers through every kind of send: the client sees the same
 * bytes.
 */
static void test_splits_and_sends(void **state)
{
    static const int sizes[] = {0, 1, 2, 3, 5, 7, 11, 40};
    static const char batch[] = GET_PIPELINE POST_20 POST_CHUNKED
        "GET /json/3?m=2 HTTP/1.1\r\nHost: x\r\n\r\n" GET_PIPELINE;
    struct world *w = *state;
    char *want = NULL;
    size_t want_len = 0;

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (int mode = 0; mode < 4; mode++) {
            w->knobs = (struct knobs){.input_max = sizes[i]};
            w->knobs.send_max = mode == 0 ? 0 : mode == 1 ? 7 : -1;
            w->knobs.sent_max = mode == 3 ? 3 : 0;
            open_world(w);
            int fd = connect_one(w);
            say(w, fd, batch);
            sim_fixture_turns(&w->f, 3000);
            size_t len;
            const char *out = sim_output(w->f.core.be, fd, &len);
            assert_int_equal(got(w, fd, "HTTP/1.1 200 OK\r\n"), 5);
            assert_int_equal(got(w, fd, "\r\n\r\n75"), 2);
            if (!want) {
                want = malloc(len);
                assert_non_null(want);
                want_len = len;
                memcpy(want, out, len);
            } else {
                assert_int_equal(len, want_len); /* Date may have moved on: all else is the same */
                for (size_t k = 0; k < len; k++)
                    if (out[k] != want[k])
                        assert_true(out[k] >= '0' && out[k] <= '9');
            }
            assert_int_equal(sim_fixture_close(&w->f), 0);
        }
    }
    free(want);
}

static void test_backpressure_stops_reading(void **state)
{
    struct world *w = *state;
    const int requests = 4000;
    open_world(w);
    int fd = connect_one(w);
    for (int i = 0; i < requests; i++)
        say(w, fd, "GET /json/50?m=3 HTTP/1.1\r\nHost: x\r\n\r\n");
    w->knobs.send_max = -1;
    w->knobs.sent_max = -1;
    sim_fixture_turns(&w->f, 500);
    struct slot *s = slot_get(&w->f.core.slots, fd);
    assert_false(sim_is_receiving(w->f.core.be, fd));
    assert_true(out_pending(&s->out) < w->f.set.max_output_bytes + 2 * 65536);
    size_t pending = out_pending(&s->out);
    sim_fixture_turns(&w->f, 500);
    /* a client that does not read costs no more than this */
    assert_int_equal(out_pending(&s->out), pending);
    assert_true(w->f.stats.paused >= 1);

    w->knobs.sent_max = 1000;
    sim_fixture_turns(&w->f, 200000);
    assert_int_equal(got(w, fd, "HTTP/1.1 200 OK\r\n"), requests);
    assert_int_equal(got(w, fd, "\"count\":50}"), requests);
    assert_true(sim_is_receiving(w->f.core.be, fd));
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_turn_is_shared(void **state)
{
    struct world *w = *state;
    w->f.set.max_pipeline = 8;
    open_world(w);
    int greedy = connect_one(w), modest = connect_one(w);
    for (int i = 0; i < 100; i++)
        say(w, greedy, GET_PIPELINE);
    say(w, modest, GET_PIPELINE);
    sim_fixture_turns(&w->f, 2);
    assert_int_equal(got(w, modest, "\r\n\r\nok"), 1);
    assert_true(got(w, greedy, "\r\n\r\nok") <= 16);
    assert_true(w->f.stats.yields >= 1);
    sim_fixture_turns(&w->f, 20);
    assert_int_equal(got(w, greedy, "\r\n\r\nok"), 100);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_close_while_queued(void **state)
{
    struct world *w = *state;
    w->f.set.max_pipeline = 8;
    open_world(w);
    int fd = connect_one(w);
    for (int i = 0; i < 100; i++)
        say(w, fd, GET_PIPELINE);
    sim_fixture_turns(&w->f, 1);
    assert_true(slot_get(&w->f.core.slots, fd)->flags & SLOT_QUEUED);
    conn_abort_all(&w->f.core);
    assert_int_equal(w->f.core.slots.used, 1); /* the queue still names it */
    conn_run(&w->f.core);
    assert_int_equal(w->f.core.slots.used, 0);
    assert_false(sim_is_open(w->f.core.be, fd));
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_close_with_send_in_flight(void **state)
{
    struct world *w = *state;
    w->knobs = (struct knobs){.send_max = -1, .sent_max = -1, .detach_turns = 5};
    open_world(w);
    int fd = connect_one(w);
    say(w, fd, GET_PIPELINE);
    sim_fixture_turns(&w->f, 2);
    sim_error(w->f.core.be, fd, ECONNRESET);
    sim_fixture_turns(&w->f, 2);
    assert_int_equal(w->f.core.out_pool.used, 1); /* lent until the engine says otherwise */
    assert_true(sim_is_open(w->f.core.be, fd));
    sim_fixture_turns(&w->f, 6);
    assert_int_equal(w->f.core.out_pool.used, 0);
    assert_false(sim_is_open(w->f.core.be, fd));
    assert_int_equal(w->f.stats.resets, 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_half_close_is_answered(void **state)
{
    struct world *w = *state;
    w->knobs.send_max = -1;
    w->knobs.sent_max = -1;
    open_world(w);
    int fd = connect_one(w);
    say(w, fd, GET_PIPELINE GET_PIPELINE);
    sim_eof(w->f.core.be, fd);
    sim_fixture_turns(&w->f, 4);
    assert_true(sim_is_open(w->f.core.be, fd));
    w->knobs.sent_max = 10;
    sim_fixture_turns(&w->f, 100);
    assert_int_equal(got(w, fd, "\r\n\r\nok"), 2);
    assert_false(sim_is_open(w->f.core.be, fd));
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_eof_inside_request(void **state)
{
    static const char *const parts[] = {
        "GET /pipe", "POST /baseline11 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n12"};
    struct world *w = *state;
    open_world(w);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        int fd = connect_one(w);
        say(w, fd, parts[i]);
        sim_eof(w->f.core.be, fd);
        sim_fixture_turns(&w->f, 4);
        assert_false(sim_is_open(w->f.core.be, fd));
        assert_int_equal(w->f.stats.eof_mid_request, i + 1);
    }
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_error_lingers(void **state)
{
    struct world *w = *state;
    open_world(w);
    int fd = connect_one(w);
    say(w, fd, GET_PIPELINE "GET / HTTP/1.1\r\nHost : x\r\n\r\n" GET_PIPELINE);
    sim_fixture_turns(&w->f, 2);
    assert_int_equal(got(w, fd, "HTTP/1.1 200"), 1); /* the answer before the bad request */
    assert_int_equal(got(w, fd, "HTTP/1.1 400"), 1);
    assert_int_equal(got(w, fd, "Connection: close\r\n"), 1);
    assert_true(sim_is_half_closed(w->f.core.be, fd));
    assert_true(sim_is_open(w->f.core.be, fd) ||
                slot_get(&w->f.core.slots, fd)->state == SLOT_LINGER);
    say(w, fd, "whatever else it has to say");
    sim_fixture_turns(&w->f, 2);
    assert_int_equal(slot_get(&w->f.core.slots, fd)->state, SLOT_LINGER);
    sim_eof(w->f.core.be, fd);
    sim_fixture_turns(&w->f, 2);
    assert_int_equal(w->f.core.slots.used, 0);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_client_close_needs_no_linger(void **state)
{
    struct world *w = *state;
    open_world(w);
    int fd = connect_one(w);
    say(w, fd, "GET /pipeline HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    sim_fixture_turns(&w->f, 2);
    assert_int_equal(got(w, fd, "Connection: close\r\n"), 1);
    assert_int_equal(w->f.core.slots.used, 0);
    assert_int_equal(w->f.stats.lingers, 0);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_failing_send(void **state)
{
    struct world *w = *state;
    open_world(w);
    int fd = connect_one(w);
    w->knobs.send_error = EPIPE;
    say(w, fd, GET_PIPELINE);
    sim_fixture_turns(&w->f, 2);
    assert_false(sim_is_open(w->f.core.be, fd));
    assert_int_equal(w->f.stats.resets, 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_attach_fails(void **state)
{
    struct world *w = *state;
    open_world(w);
    w->knobs.attach_error = ENOMEM;
    int fd = connect_one(w);
    assert_false(sim_is_open(w->f.core.be, fd));
    assert_int_equal(w->f.stats.engine_errors, 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_early_answer_discards_body(void **state)
{
    struct world *w = *state;
    open_world(w);
    int fd = connect_one(w);
    say(w, fd,
        "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 38\r\n\r\n" GET_PIPELINE
        "..." GET_PIPELINE);
    sim_fixture_turns(&w->f, 3);
    assert_int_equal(got(w, fd, "HTTP/1.1 404"), 1);
    /* the body, though it looks like a request, is none */
    assert_int_equal(got(w, fd, "HTTP/1.1 200"), 1);
    assert_true(sim_is_open(w->f.core.be, fd));

    fd = connect_one(w);
    say(w, fd, "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n");
    sim_fixture_turns(&w->f, 3);
    assert_int_equal(got(w, fd, "HTTP/1.1 404"), 1);
    assert_int_equal(got(w, fd, "Connection: close"), 1); /* too much to read for nothing */
    assert_int_equal(slot_get(&w->f.core.slots, fd)->state, SLOT_LINGER);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_expect(void **state)
{
    static const char head[] = "POST /baseline11?a=1 HTTP/1.1\r\nHost: x\r\nExpect: "
                               "100-continue\r\nContent-Length: 1\r\n\r\n";
    struct world *w = *state;
    open_world(w);
    int fd = connect_one(w);
    say(w, fd, head);
    sim_fixture_turns(&w->f, 2);
    assert_int_equal(got(w, fd, "HTTP/1.1 100 Continue\r\n\r\n"), 1);
    say(w, fd, "4");
    sim_fixture_turns(&w->f, 2);
    assert_true(ends_with(w, fd, "\r\n\r\n5"));
    say(w, fd, head);
    say(w, fd, "6");
    w->knobs.input_max = 0;
    sim_fixture_turns(&w->f, 2);
    assert_true(ends_with(w, fd, "\r\n\r\n7"));
    assert_int_equal(w->f.stats.continues, 1); /* the body was there already */
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_no_blocks(void **state)
{
    struct world *w = *state;
    open_world(w);
    int fd = connect_one(w), other = connect_one(w);
    w->f.core.out_pool.max_blocks = 1;
    w->knobs = (struct knobs){.send_max = -1, .sent_max = -1};
    say(w, fd, GET_PIPELINE);
    sim_fixture_turns(&w->f, 2);
    say(w, other, GET_PIPELINE);
    sim_fixture_turns(&w->f, 2);
    assert_int_equal(w->f.stats.no_block, 1);
    assert_false(sim_is_open(w->f.core.be, other));
    w->knobs = (struct knobs){0};
    sim_fixture_turns(&w->f, 2);
    assert_int_equal(got(w, fd, "200 OK"), 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/*
 * Random clients, splits, sends, delays and ends; whatever happens, everything comes back. Seeded:
 * repeatable.
 */
struct dice {
    uint64_t x;
};

static uint32_t roll(struct dice *d, uint32_t n)
{
    d->x = d->x * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(d->x >> 33) % n;
}

static int dice_choose(void *arg, int fd, enum sim_choice what, int limit)
{
    struct dice *d = arg;
    (void)fd;
    switch (what) {
    case SIM_ATTACH: return roll(d, 50) ? 0 : -ENOMEM;
    case SIM_DETACH: return roll(d, 2) ? 0 : (int)roll(d, 4);
    case SIM_SEND:
    case SIM_SENT:
        if (roll(d, 200) == 0)
            return -ECONNRESET;
        return roll(d, 3) ? (int)roll(d, (uint32_t)limit) + 1 : 0;
    default: return roll(d, 4) ? (int)roll(d, (uint32_t)limit) + 1 : 0;
    }
}

static void test_random(void **state)
{
    static const char *const texts[] = {
        GET_PIPELINE,
        POST_20,
        POST_CHUNKED,
        "GET /json/50?m=9 HTTP/1.1\r\nHost: x\r\n\r\n",
        "HEAD /json/7 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /pipeline HTTP/1.0\r\n\r\n",
        "BAD\x01 / HTTP/1.1\r\n\r\n",
        "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345",
        "GET /pip"};
    struct world *w = *state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct dice d = {seed * 7919};
        struct sim_script script = {.choose = dice_choose, .arg = &d};
        int fds[400], n = 0;
        w->f.set.max_pipeline = 1 + roll(&d, 32);
        w->f.set.max_output_bytes = 1000 + roll(&d, 60000);
        w->f.set.max_connections = 20 + roll(&d, 40);
        open_world(w);
        sim_set_script(w->f.core.be, &script);
        for (int i = 0; i < 1500; i++) {
            if (n < 400 && roll(&d, 8) == 0)
                fds[n++] = sim_connect(w->f.core.be);
            if (n) {
                int fd = fds[roll(&d, (uint32_t)n)];
                uint32_t what = roll(&d, 64);
                if (what < 60)
                    say(w, fd, texts[roll(&d, ARRAY_LEN(texts))]);
                else if (what < 62)
                    sim_eof(w->f.core.be, fd);
                else
                    sim_error(w->f.core.be, fd, ECONNRESET);
            }
            sim_fixture_turns(&w->f, 1);
            if (roll(&d, 100) == 0)
                pass(w, roll(&d, 20000));
        }
        assert_true(w->f.stats.requests > 0);
        if (seed % 2) {
            w->f.core.listeners[0].fd = -1;
            conn_drain(&w->f.core);
            sim_fixture_turns(&w->f, 200);
        }
        assert_int_equal(sim_fixture_close(&w->f), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        TEST(test_idle_holds_nothing),
        TEST(test_batch_is_one_send),
        TEST(test_splits_and_sends),
        TEST(test_backpressure_stops_reading),
        TEST(test_turn_is_shared),
        TEST(test_close_while_queued),
        TEST(test_close_with_send_in_flight),
        TEST(test_half_close_is_answered),
        TEST(test_eof_inside_request),
        TEST(test_error_lingers),
        TEST(test_client_close_needs_no_linger),
        TEST(test_failing_send),
        TEST(test_attach_fails),
        TEST(test_early_answer_discards_body),
        TEST(test_expect),
        TEST(test_no_blocks),
        TEST(test_random),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
