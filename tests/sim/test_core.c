/* SPDX-License-Identifier: MIT */
/*
 * test_core.c - the connection state machine over the simulated backend: splits, short and late
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
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, fd, "HTTP/1.1 200 OK\r\n"), 1);
    assert_true(ends_with(w, fd, "\r\n\r\nok"));
    assert_true(sim_is_open(w->f.http.loop.be, fd));
    assert_int_equal(w->f.http.in_pool.used + w->f.http.loop.out_pool.used, 0);
    assert_int_equal(w->f.http.loop.sent_pool.used, 0);
    assert_null(slot_get(&w->f.http.loop.slots, fd)->exchange);
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
    sim_fixture_iterate(&w->f, 3);
    struct backend_segment segments[BACKEND_SEGMENTS_MAX];
    /* all of them in the one range that is in flight */
    assert_int_equal(
        out_segments(&slot_get(&w->f.http.loop.slots, fd)->out, segments, BACKEND_SEGMENTS_MAX), 1);
    assert_int_equal(count(segments->data, segments->len, "\r\n\r\nok"), 16);
    w->knobs.sent_max = 0;
    sim_fixture_iterate(&w->f, 2);
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
            sim_fixture_iterate(&w->f, 3000);
            size_t len;
            const char *out = sim_output(w->f.http.loop.be, fd, &len);
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
    sim_fixture_iterate(&w->f, 500);
    struct slot *s = slot_get(&w->f.http.loop.slots, fd);
    assert_false(sim_is_receiving(w->f.http.loop.be, fd));
    assert_true(out_pending(&s->out) < w->f.set.max_output_bytes + 2 * 65536);
    size_t pending = out_pending(&s->out);
    sim_fixture_iterate(&w->f, 500);
    /* a client that does not read costs no more than this */
    assert_int_equal(out_pending(&s->out), pending);
    assert_true(w->f.stats.paused >= 1);

    w->knobs.sent_max = 1000;
    sim_fixture_iterate(&w->f, 200000);
    assert_int_equal(got(w, fd, "HTTP/1.1 200 OK\r\n"), requests);
    assert_int_equal(got(w, fd, "\"count\":50}"), requests);
    assert_true(sim_is_receiving(w->f.http.loop.be, fd));
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_iteration_is_shared(void **state)
{
    struct world *w = *state;
    w->f.set.max_pipeline = 8;
    open_world(w);
    int greedy = connect_one(w), modest = connect_one(w);
    for (int i = 0; i < 100; i++)
        say(w, greedy, GET_PIPELINE);
    say(w, modest, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, modest, "\r\n\r\nok"), 1);
    assert_true(got(w, greedy, "\r\n\r\nok") <= 16);
    assert_true(w->f.stats.yields >= 1);
    sim_fixture_iterate(&w->f, 20);
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
    sim_fixture_iterate(&w->f, 1);
    const struct exchange *x = slot_get(&w->f.http.loop.slots, fd)->exchange;
    assert_non_null(x);
    assert_true(x->queued);
    loop_abort(&w->f.http.loop);
    assert_int_equal(w->f.http.loop.slots.used, 0);
    assert_true(x->queued); /* the queue lets go of it in the next iteration */
    sim_fixture_iterate(&w->f, 1);
    assert_null(w->f.http.run);
    assert_false(sim_is_open(w->f.http.loop.be, fd));
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_close_with_send_in_flight(void **state)
{
    struct world *w = *state;
    w->knobs = (struct knobs){.send_max = -1, .sent_max = -1, .detach_in = 5};
    open_world(w);
    int fd = connect_one(w);
    say(w, fd, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    sim_error(w->f.http.loop.be, fd, ECONNRESET);
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(w->f.http.loop.sent_pool.used, 1); /* lent until the backend says otherwise */
    assert_int_equal(w->f.http.loop.out_pool.used, 0);
    assert_true(sim_is_open(w->f.http.loop.be, fd));
    sim_fixture_iterate(&w->f, 6);
    assert_int_equal(w->f.http.loop.sent_pool.used, 0);
    assert_false(sim_is_open(w->f.http.loop.be, fd));
    assert_int_equal(w->f.stats.resets, 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* An answer that waits to be sent takes a small block, however many do; the next finds the large
 * one. */
static void test_what_is_sent_later_takes_little(void **state)
{
    struct world *w = *state;
    w->knobs = (struct knobs){.send_max = -1, .sent_max = -1};
    open_world(w);
    struct loop *l = &w->f.http.loop;
    int fd[8];
    for (int i = 0; i < 8; i++)
        fd[i] = connect_one(w);
    for (int i = 0; i < 8; i++)
        say(w, fd[i], GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(l->sent_pool.used, 8);
    assert_int_equal(l->out_pool.used, 0);
    assert_true(l->budget.used < l->out_pool.block_size);
    say(w, fd[0], GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    w->knobs.sent_max = 0;
    sim_fixture_iterate(&w->f, 4);
    for (int i = 0; i < 8; i++)
        assert_int_equal(got(w, fd[i], "\r\n\r\nok"), i == 0 ? 2 : 1);
    assert_int_equal(l->sent_pool.used + l->out_pool.used, 0);
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
    sim_eof(w->f.http.loop.be, fd);
    sim_fixture_iterate(&w->f, 4);
    assert_true(sim_is_open(w->f.http.loop.be, fd));
    w->knobs.sent_max = 10;
    sim_fixture_iterate(&w->f, 100);
    assert_int_equal(got(w, fd, "\r\n\r\nok"), 2);
    assert_false(sim_is_open(w->f.http.loop.be, fd));
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
        sim_eof(w->f.http.loop.be, fd);
        sim_fixture_iterate(&w->f, 4);
        assert_false(sim_is_open(w->f.http.loop.be, fd));
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
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, fd, "HTTP/1.1 200"), 1); /* the answer before the bad request */
    assert_int_equal(got(w, fd, "HTTP/1.1 400"), 1);
    assert_int_equal(got(w, fd, "Connection: close\r\n"), 1);
    assert_true(sim_is_half_closed(w->f.http.loop.be, fd));
    assert_true(sim_is_open(w->f.http.loop.be, fd) ||
                slot_get(&w->f.http.loop.slots, fd)->state == STREAM_LINGER);
    say(w, fd, "whatever else it has to say");
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(slot_get(&w->f.http.loop.slots, fd)->state, STREAM_LINGER);
    sim_eof(w->f.http.loop.be, fd);
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(w->f.http.loop.slots.used, 0);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_client_close_needs_no_linger(void **state)
{
    struct world *w = *state;
    open_world(w);
    int fd = connect_one(w);
    say(w, fd, "GET /pipeline HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, fd, "Connection: close\r\n"), 1);
    assert_int_equal(w->f.http.loop.slots.used, 0);
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
    sim_fixture_iterate(&w->f, 2);
    assert_false(sim_is_open(w->f.http.loop.be, fd));
    assert_int_equal(w->f.stats.resets, 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_attach_fails(void **state)
{
    struct world *w = *state;
    open_world(w);
    w->knobs.attach_error = ENOMEM;
    int fd = connect_one(w);
    assert_false(sim_is_open(w->f.http.loop.be, fd));
    assert_int_equal(w->f.stats.backend_errors, 1);
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
    sim_fixture_iterate(&w->f, 3);
    assert_int_equal(got(w, fd, "HTTP/1.1 404"), 1);
    /* the body, though it looks like a request, is none */
    assert_int_equal(got(w, fd, "HTTP/1.1 200"), 1);
    assert_true(sim_is_open(w->f.http.loop.be, fd));

    fd = connect_one(w);
    say(w, fd, "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n");
    sim_fixture_iterate(&w->f, 3);
    assert_int_equal(got(w, fd, "HTTP/1.1 404"), 1);
    assert_int_equal(got(w, fd, "Connection: close"), 1); /* too much to read for nothing */
    assert_int_equal(slot_get(&w->f.http.loop.slots, fd)->state, STREAM_LINGER);
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
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, fd, "HTTP/1.1 100 Continue\r\n\r\n"), 1);
    say(w, fd, "4");
    sim_fixture_iterate(&w->f, 2);
    assert_true(ends_with(w, fd, "\r\n\r\n5"));
    say(w, fd, head);
    say(w, fd, "6");
    w->knobs.input_max = 0;
    sim_fixture_iterate(&w->f, 2);
    assert_true(ends_with(w, fd, "\r\n\r\n7"));
    assert_int_equal(w->f.stats.continues, 1); /* the body was there already */
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* Blocks are used up: who has made no progress for longest makes room. */
static void test_buffers_are_bounded(void **state)
{
    struct world *w = *state;
    open_world(w);
    struct loop *l = &w->f.http.loop;
    int stalled = connect_one(w), other = connect_one(w), idle = connect_one(w);
    w->knobs = (struct knobs){.send_max = -1, .sent_max = -1};
    say(w, stalled, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    l->budget.max = l->budget.used;
    pass(w, 5 * LOOP_TICK_MS);
    say(w, other, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(w->f.stats.limit_buffers, 1);
    assert_int_equal(w->f.stats.no_block, 0);
    assert_false(sim_is_open(l->be, stalled));
    assert_true(sim_is_open(l->be, other));
    assert_true(sim_is_open(l->be, idle));
    w->knobs = (struct knobs){0};
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, other, "200 OK"), 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* Whose answer the backend has had for no whole iteration is not without progress. */
static void test_who_was_just_answered_stays(void **state)
{
    struct world *w = *state;
    open_world(w);
    struct loop *l = &w->f.http.loop;
    int answered = connect_one(w), stalled = connect_one(w), other = connect_one(w);
    w->knobs = (struct knobs){.send_max = -1, .sent_max = -1};
    say(w, stalled, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 3);
    l->budget.max = l->budget.used + 1; /* one block more */
    say(w, answered, GET_PIPELINE);
    say(w, other, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(w->f.stats.limit_buffers, 1);
    assert_false(sim_is_open(l->be, stalled));
    w->knobs = (struct knobs){0};
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, answered, "200 OK"), 1);
    assert_int_equal(got(w, other, "200 OK"), 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* Of those that have waited for as long as each other, who holds most makes room. */
static void test_who_holds_most_makes_room(void **state)
{
    struct world *w = *state;
    open_world(w);
    struct loop *l = &w->f.http.loop;
    int answered = connect_one(w), greedy = connect_one(w), other = connect_one(w);
    w->knobs = (struct knobs){.send_max = -1, .sent_max = -1};
    say(w, answered, GET_PIPELINE);
    for (int i = 0; i < 5; i++)
        say(w, greedy, "GET /json/50 HTTP/1.1\r\nHost: x\r\n\r\n");
    sim_fixture_iterate(&w->f, 1);
    l->budget.max = l->budget.used;
    say(w, other, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(w->f.stats.limit_buffers, 1);
    assert_false(sim_is_open(l->be, greedy));
    w->knobs = (struct knobs){0};
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, answered, "200 OK"), 1);
    assert_int_equal(got(w, other, "200 OK"), 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* The same where the backend takes its time to let go: what is certain to come back counts. */
static void test_buffers_that_come_back(void **state)
{
    struct world *w = *state;
    open_world(w);
    struct loop *l = &w->f.http.loop;
    int stalled = connect_one(w), other = connect_one(w);
    w->knobs = (struct knobs){.send_max = -1, .sent_max = -1, .detach_in = 3};
    say(w, stalled, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    l->budget.max = l->budget.used;
    say(w, other, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 1);
    assert_true(l->budget.releasing > 0);
    w->knobs.sent_max = 0;
    sim_fixture_iterate(&w->f, 5);
    assert_int_equal(l->budget.releasing, 0);
    assert_int_equal(got(w, other, "200 OK"), 1);
    assert_false(sim_is_open(l->be, stalled));
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* Nobody can make room: who needs a block is closed, nobody else. */
static void test_no_blocks(void **state)
{
    struct world *w = *state;
    open_world(w);
    int fd = connect_one(w), other = connect_one(w);
    w->f.http.loop.budget.reclaim = NULL;
    w->knobs = (struct knobs){.send_max = -1, .sent_max = -1};
    say(w, fd, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    w->f.http.loop.budget.max = w->f.http.loop.budget.used;
    say(w, other, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(w->f.stats.no_block, 1);
    assert_false(sim_is_open(w->f.http.loop.be, other));
    w->knobs = (struct knobs){0};
    sim_fixture_iterate(&w->f, 2);
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
    case SIM_LISTEN_OFF: return roll(d, 2) ? 0 : (int)roll(d, 4);
    case SIM_CONNECT: return 0;
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
        sim_set_script(w->f.http.loop.be, &script);
        for (int i = 0; i < 1500; i++) {
            if (n < 400 && roll(&d, 8) == 0)
                fds[n++] = sim_connect(w->f.http.loop.be);
            if (n) {
                int fd = fds[roll(&d, (uint32_t)n)];
                uint32_t what = roll(&d, 64);
                if (what < 60)
                    say(w, fd, texts[roll(&d, ARRAY_LEN(texts))]);
                else if (what < 62)
                    sim_eof(w->f.http.loop.be, fd);
                else
                    sim_error(w->f.http.loop.be, fd, ECONNRESET);
            }
            sim_fixture_iterate(&w->f, 1);
            if (roll(&d, 100) == 0)
                pass(w, roll(&d, 20000));
        }
        assert_true(w->f.stats.requests > 0);
        if (seed % 2) {
            w->f.http.loop.acceptor.listener[0].fd = -1;
            loop_drain(&w->f.http.loop);
            sim_fixture_iterate(&w->f, 200);
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
        TEST(test_iteration_is_shared),
        TEST(test_close_while_queued),
        TEST(test_close_with_send_in_flight),
        TEST(test_what_is_sent_later_takes_little),
        TEST(test_half_close_is_answered),
        TEST(test_eof_inside_request),
        TEST(test_error_lingers),
        TEST(test_client_close_needs_no_linger),
        TEST(test_failing_send),
        TEST(test_attach_fails),
        TEST(test_early_answer_discards_body),
        TEST(test_expect),
        TEST(test_buffers_are_bounded),
        TEST(test_who_was_just_answered_stays),
        TEST(test_who_holds_most_makes_room),
        TEST(test_buffers_that_come_back),
        TEST(test_no_blocks),
        TEST(test_random),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
