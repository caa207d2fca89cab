/* SPDX-License-Identifier: MIT */
/*
 * test_handlers.c - the contract of handlers (request.h) over the simulated backend: waiting and
 * resuming, bodies both ways with back-pressure, own fields, chunked answers and files, cancels;
 * each by a handler that exists here alone.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "world.h"

/* ---- the handlers ---- */

/* What has happened to all requests of a test. */
static struct {
    unsigned begun, done, cancelled, resumed;
    uint32_t wait_ms; /* of /wait */
    struct request_ref waiting;
    int file; /* of /file: duplicated for each request */
    uint64_t file_len;
    int fail; /* what /fail returns */
    size_t produce_bytes;
} seen;

struct state {
    uint64_t left; /* of what /produce writes */
};

static int wait_begin(struct request *r, const struct request_head *head)
{
    (void)head;
    seen.begun++;
    seen.waiting = request_reference(r);
    return seen.wait_ms ? request_wait(r, seen.wait_ms) : request_suspend(r);
}

static int wait_resume(struct request *r)
{
    (void)r;
    seen.resumed++;
    return HANDLER_CONTINUE;
}

static int wait_finish(struct request *r)
{
    seen.done++;
    return request_reply(r, 200, RESPONSE_TEXT, "waited", 6);
}

static void count_cancel(struct request *r)
{
    (void)r;
    seen.cancelled++;
}

/* The body comes back while it arrives. */
static int mirror_begin(struct request *r, const struct request_head *head)
{
    const char *at = NULL, *value;
    size_t len;

    seen.begun++;
    bool sized = request_head_field(head, "content-length", &at, &value, &len);
    return request_respond(
        r, &(struct request_response){.status = 200,
                                      .type = RESPONSE_BYTES,
                                      .has_length = sized,
                                      .length = sized ? strtoull(value, NULL, 10) : 0});
}

static int mirror_body(struct request *r, const char *data, size_t len)
{
    return request_write(r, data, len);
}

static int mirror_finish(struct request *r)
{
    seen.done++;
    return request_end(r);
}

/* Much, in pieces, as room allows; length unknown. */
static int produce_finish(struct request *r)
{
    static const struct response_field fields[] = {{"X-One", "1"},
                                                   {"X-Evil", "a\r\nSet-Cookie: b"}};
    struct state *state = REQUEST_STATE(r, struct state);

    seen.begun++;
    state->left = seen.produce_bytes;
    int rc = request_respond(
        r, &(struct request_response){
               .status = 200, .type = RESPONSE_BYTES, .fields = fields, .field_count = 2});
    return rc < 0 ? rc : HANDLER_MORE;
}

static int produce_more(struct request *r)
{
    static const char piece[1000] = {[0 ... 999] = 'p'};
    struct state *state = REQUEST_STATE(r, struct state);
    size_t n = MIN(state->left, sizeof(piece));

    state->left -= n;
    int rc = request_write(r, piece, n);
    if (rc < 0)
        return rc;
    if (state->left)
        return HANDLER_MORE;
    seen.done++;
    return request_end(r);
}

static int file_finish(struct request *r)
{
    int rc = request_respond(
        r, &(struct request_response){
               .status = 200, .type = RESPONSE_BYTES, .has_length = true, .length = seen.file_len});
    if (rc == 0)
        rc = request_write_file(r, fcntl(seen.file, F_DUPFD_CLOEXEC, 0), 3, seen.file_len);
    return rc < 0 ? rc : request_end(r);
}

static int fail_finish(struct request *r)
{
    if (seen.fail == -EPROTO) /* half of an answer, then nothing */
        (void)request_respond(r, &(struct request_response){.status = 200, .type = RESPONSE_TEXT});
    if (seen.fail == -EPROTO)
        (void)request_write(r, "half", 4);
    return seen.fail;
}

static int no_content_finish(struct request *r)
{
    int rc = request_respond(r, &(struct request_response){.status = 304});
    if (rc == 0)
        rc = request_write(r, "not sent", 8);
    return rc < 0 ? rc : request_end(r);
}

#define ANY (HANDLER_METHOD(GET) | HANDLER_METHOD(HEAD) | HANDLER_METHOD(POST))
static const struct handler wait_handler = {.allow = "GET",
                                            .methods = ANY,
                                            .begin = wait_begin,
                                            .resume = wait_resume,
                                            .finish = wait_finish,
                                            .cancel = count_cancel};
static const struct handler mirror_handler = {.allow = "POST",
                                              .methods = ANY,
                                              .streams = true,
                                              .begin = mirror_begin,
                                              .body = mirror_body,
                                              .finish = mirror_finish,
                                              .cancel = count_cancel};
static const struct handler produce_handler = {.allow = "GET",
                                               .methods = ANY,
                                               .finish = produce_finish,
                                               .produce = produce_more,
                                               .cancel = count_cancel};
static const struct handler file_handler = {.allow = "GET", .methods = ANY, .finish = file_finish};
static const struct handler fail_handler = {
    .allow = "GET", .methods = ANY, .finish = fail_finish, .cancel = count_cancel};
static const struct handler no_content_handler = {
    .allow = "GET", .methods = ANY, .finish = no_content_finish};

static const struct handler *find(const char *path, size_t len)
{
    static const struct {
        const char *path;
        const struct handler *handler;
    } table[] = {{"/wait", &wait_handler},       {"/mirror", &mirror_handler},
                 {"/produce", &produce_handler}, {"/file", &file_handler},
                 {"/fail", &fail_handler},       {"/304", &no_content_handler}};

    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (strlen(table[i].path) == len && !memcmp(path, table[i].path, len))
            return table[i].handler;
    return handlers_routes.find(path, len);
}

static const struct routes routes = {.find = find, .allow = "GET, POST"};

static struct world *open_handlers(void **state)
{
    struct world *w = *state;

    memset(&seen, 0, sizeof(seen));
    w->f.routes = &routes;
    open_world(w);
    return w;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

/* Let real time pass until the waiting ones have been resumed, or so many milliseconds have. */
static uint64_t iterate_for(struct world *w, unsigned resumed, uint64_t ms)
{
    uint64_t start = clock_monotonic_ms();

    while (seen.resumed < resumed && clock_monotonic_ms() - start < ms)
        sim_fixture_iterate(&w->f, 1);
    sim_fixture_iterate(&w->f, 2);
    return clock_monotonic_ms() - start;
}

/* ---- waiting ---- */

static void test_wait_is_not_early(void **state)
{
    struct world *w = open_handlers(state);
    int fd = connect_one(w);

    seen.wait_ms = 50;
    for (unsigned i = 1; i <= 3; i++) {
        uint64_t start = clock_monotonic_ms();
        say(w, fd, GET("/wait"));
        sim_fixture_iterate(&w->f, 1);
        assert_int_equal(w->f.http.waits.armed, 1);
        iterate_for(w, i, 60000);
        assert_true(clock_monotonic_ms() - start >= 50);
        assert_int_equal(got(w, fd, "\r\n\r\nwaited"), i);
    }
    assert_int_equal(seen.cancelled, 0);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* Those behind it on the same connection are answered after it, in order. */
static void test_pipelined_behind_a_wait(void **state)
{
    struct world *w = open_handlers(state);
    int fd = connect_one(w);

    say(w, fd, GET_PIPELINE GET("/wait") GET_PIPELINE);
    sim_fixture_iterate(&w->f, 2);
    say(w, fd, GET_PIPELINE);
    sim_fixture_iterate(&w->f, 3);
    assert_int_equal(got(w, fd, "200 OK"), 1);
    /* What comes meanwhile is kept, or waits outside. */
    assert_true(sim_is_receiving(w->f.http.loop.be, fd));
    size_t most = bufpool_capacity(&w->f.http.in_pool), more = 0;
    for (; sim_is_receiving(w->f.http.loop.be, fd); more++) {
        say(w, fd, GET_PIPELINE);
        sim_fixture_iterate(&w->f, 3);
        assert_true(more * strlen(GET_PIPELINE) < most);
    }
    assert_true(request_resume(&w->f.http, seen.waiting));
    sim_fixture_iterate(&w->f, 10);
    size_t len;
    const char *out = sim_output(w->f.http.loop.be, fd, &len);
    assert_int_equal(got(w, fd, "200 OK"), 4 + more);
    assert_true(strstr(out, "waited") > strstr(out, "\r\n\r\nok"));
    assert_true(ends_with(w, fd, "\r\n\r\nok"));
    assert_true(sim_is_receiving(w->f.http.loop.be, fd));
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* "A request by name, that may be over when the name is used". */
static void test_stale_references(void **state)
{
    struct world *w = open_handlers(state);
    struct http *h = &w->f.http;
    int fd = connect_one(w);

    say(w, fd, GET("/wait"));
    sim_fixture_iterate(&w->f, 2);
    struct request_ref first = seen.waiting;
    assert_true(request_resume(h, first));
    assert_true(request_resume(h, first)); /* twice is once */
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(seen.resumed, 1);
    assert_false(request_resume(h, first)); /* answered */
    say(w, fd, GET("/wait"));
    sim_fixture_iterate(&w->f, 2);
    assert_false(request_resume(h, first)); /* another on the same connection */
    struct request_ref second = seen.waiting;
    sim_error(h->loop.be, fd, ECONNRESET);
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(seen.cancelled, 1);
    assert_false(request_resume(h, second)); /* the connection is gone */
    int again = connect_one(w);
    assert_int_equal(again, fd);
    say(w, again, GET("/wait"));
    sim_fixture_iterate(&w->f, 2);
    assert_false(request_resume(h, second)); /* and its number is used again */
    assert_false(request_resume(h, (struct request_ref){.fd = 1 << 30, .gen = 1}));
    assert_false(request_resume(h, (struct request_ref){.fd = -1, .gen = 1}));
    assert_true(request_resume(h, seen.waiting));
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(got(w, again, "waited"), 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* Resumed, and gone before it is the turn of the queue. */
static void test_gone_while_queued(void **state)
{
    struct world *w = open_handlers(state);
    int fd = connect_one(w);

    say(w, fd, GET("/wait"));
    sim_fixture_iterate(&w->f, 2);
    assert_true(request_resume(&w->f.http, seen.waiting));
    loop_abort(&w->f.http.loop);
    sim_fixture_iterate(&w->f, 2);
    assert_int_equal(seen.resumed, 0);
    assert_int_equal(seen.cancelled, 1);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* "cancel is called exactly once": whatever ends a request that waits. */
static void test_cancels(void **state)
{
    for (int how = 0; how < 4; how++) {
        struct world *w = open_handlers(state);
        int fd = connect_one(w);
        seen.wait_ms = 60000;
        say(w, fd, GET("/wait"));
        sim_fixture_iterate(&w->f, 2);
        assert_int_equal(seen.begun, 1);
        switch (how) {
        case 0: sim_error(w->f.http.loop.be, fd, ECONNRESET); break;
        case 1: sim_eof(w->f.http.loop.be, fd); break;
        case 2: loop_abort(&w->f.http.loop); break;
        case 3: /* at the very end */ break;
        }
        sim_fixture_iterate(&w->f, 3);
        assert_int_equal(seen.cancelled, how != 3);
        assert_int_equal(sim_fixture_close(&w->f), 0);
        assert_int_equal(seen.cancelled, 1);
        assert_int_equal(seen.resumed, 0);
        assert_int_equal(w->f.stats.cancelled, 1);
    }
}

/* The drain waits for those that wait; their answer says close. */
static void test_drain_waits(void **state)
{
    struct world *w = open_handlers(state);
    int fd = connect_one(w);

    say(w, fd, GET("/wait"));
    sim_fixture_iterate(&w->f, 2);
    w->f.http.loop.acceptor.listener[0].fd = -1;
    loop_drain(&w->f.http.loop);
    pass(w, 5000);
    assert_true(sim_is_open(w->f.http.loop.be, fd));
    assert_true(request_resume(&w->f.http, seen.waiting));
    sim_fixture_iterate(&w->f, 3);
    assert_int_equal(got(w, fd, "waited"), 1);
    assert_int_equal(got(w, fd, "Connection: close"), 1);
    assert_int_equal(seen.cancelled, 0);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* ---- responses ---- */

static void test_produce(void **state)
{
    static const int modes[][2] = {{0, 0}, {7, 0}, {-1, 0}, {-1, 333}};

    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        struct world *w = open_handlers(state);
        int fd = connect_one(w);
        w->knobs = (struct knobs){.send_max = modes[i][0], .sent_max = modes[i][1]};
        seen.produce_bytes = 150000;
        say(w, fd, GET("/produce") GET_PIPELINE);
        for (int k = 0; k < 4000 && !got(w, fd, "\r\n\r\nok"); k++) {
            sim_fixture_iterate(&w->f, 20);
            assert_true(out_pending(&slot_get(&w->f.http.loop.slots, fd)->out) <=
                        w->f.set.max_output_bytes + 2000);
        }
        assert_int_equal(got(w, fd, "\r\n\r\nok"), 1);
        assert_int_equal(got(w, fd, "pppppppppp\r\n0\r\n\r\nHTTP/1.1 200 OK"), 1);
        assert_int_equal(got(w, fd, "\r\nX-One: 1\r\nX-Evil: a  Set-Cookie: b\r\n"), 1);
        assert_int_equal(seen.done, 1);
        assert_int_equal(sim_fixture_close(&w->f), 0);
    }
}

/* HEAD and 304 have a head alone. HTTP/1.0 has no chunks: its body ends with the connection. */
static void test_framing(void **state)
{
    struct world *w = open_handlers(state);
    int fd = connect_one(w), old = connect_one(w);

    seen.produce_bytes = 5000;
    say(w, fd, "HEAD /produce HTTP/1.1\r\nHost: x\r\n\r\n" GET("/304") GET_PIPELINE);
    say(w, old, "GET /produce HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    sim_fixture_iterate(&w->f, 10);
    assert_int_equal(got(w, fd, "ppp"), 0);
    assert_int_equal(got(w, fd, "not sent"), 0);
    assert_int_equal(got(w, fd, "HTTP/1.1 304 Not Modified\r\n"), 1);
    assert_true(ends_with(w, fd, "\r\n\r\nok"));
    assert_int_equal(got(w, old, "Transfer-Encoding"), 0);
    assert_int_equal(got(w, old, "Connection: close"), 1);
    assert_true(ends_with(w, old, "pppp"));
    assert_true(sim_is_half_closed(w->f.http.loop.be, old));
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

static void test_file(void **state)
{
    static const int sends[] = {0, 7, -1};
    char name[] = "/tmp/bivalve-handlers-XXXXXX";
    enum { BYTES = 100000 };
    static char data[BYTES];

    int file = mkostemp(name, O_CLOEXEC);
    assert_true(file >= 0);
    unlink(name);
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (char)('a' + i % 23);
    assert_int_equal(write(file, data, BYTES), BYTES);
    for (size_t i = 0; i < ARRAY_LEN(sends); i++) {
        struct world *w = open_handlers(state);
        int fd = connect_one(w), before = dup(0);
        close(before);
        seen.file = file;
        seen.file_len = sends[i] == 7 ? 3000 : BYTES - 3;
        w->knobs.send_max = sends[i];
        say(w, fd, GET("/file") "HEAD /file HTTP/1.1\r\nHost: x\r\n\r\n" GET_PIPELINE);
        sim_fixture_iterate(&w->f, 1000);
        size_t len;
        const char *out = sim_output(w->f.http.loop.be, fd, &len);
        const char *body = strstr(out, "\r\n\r\n") + 4;
        assert_memory_equal(body, data + 3, seen.file_len);
        assert_int_equal(got(w, fd, "HTTP/1.1 200 OK"), 3);
        assert_true(ends_with(w, fd, "\r\n\r\nok"));
        int after = dup(0); /* every fd that was handed over has been closed */
        close(after);
        assert_int_equal(after, before);
        assert_int_equal(sim_fixture_close(&w->f), 0);
    }
    /* "A file that turns out shorter ends the connection." */
    struct world *w = open_handlers(state);
    int fd = connect_one(w);
    seen.file = file;
    seen.file_len = BYTES + 1;
    say(w, fd, GET("/file") GET_PIPELINE);
    sim_fixture_iterate(&w->f, 10);
    assert_false(sim_is_open(w->f.http.loop.be, fd));
    assert_int_equal(got(w, fd, "\r\n\r\nok"), 0);
    assert_int_equal(sim_fixture_close(&w->f), 0);
    close(file);
}

/* "-errno: 500 if none has begun, and the end of the connection". */
static void test_failures(void **state)
{
    struct world *w = open_handlers(state);
    int fd = connect_one(w), half = connect_one(w), none = connect_one(w);

    seen.fail = -EIO;
    say(w, fd, GET("/fail") GET_PIPELINE);
    sim_fixture_iterate(&w->f, 3);
    assert_int_equal(got(w, fd, "HTTP/1.1 500 Internal Server Error\r\n"), 1);
    assert_int_equal(got(w, fd, "Connection: close"), 1);
    assert_int_equal(got(w, fd, "\r\n\r\nok"), 0);
    seen.fail = -EPROTO;
    say(w, half, GET("/fail"));
    sim_fixture_iterate(&w->f, 3);
    assert_int_equal(got(w, half, "500"), 0);
    assert_int_equal(got(w, half, "4\r\nhalf\r\n"), 1);
    assert_int_equal(got(w, half, "\r\n0\r\n\r\n"), 0);
    assert_true(sim_is_half_closed(w->f.http.loop.be, half));
    seen.fail = -ENOMEM;
    say(w, none, GET("/fail"));
    sim_fixture_iterate(&w->f, 3);
    assert_false(sim_is_open(w->f.http.loop.be, none));
    assert_int_equal(w->f.stats.handler_errors, 2);
    assert_int_equal(w->f.stats.no_block, 1);
    assert_int_equal(seen.cancelled, 3);
    assert_int_equal(sim_fixture_close(&w->f), 0);
}

/* ---- the head ---- */

static void test_head_fields(void **state)
{
    static const char text[] =
        "Host: x\r\nAccept-Encoding:gzip \r\nX: 1\r\naccept-ENCODING:\t br\r\n"
        "Accept-Encoding-X: no\r\nEmpty:\r\n";
    struct request_head head = {.fields = text, .fields_len = sizeof(text) - 1};
    const char *at = NULL, *value;
    size_t len;

    (void)state;
    assert_true(request_head_field(&head, "accept-encoding", &at, &value, &len));
    assert_int_equal(len, 4);
    assert_memory_equal(value, "gzip", 4);
    assert_true(request_head_field(&head, "accept-encoding", &at, &value, &len));
    assert_int_equal(len, 2);
    assert_memory_equal(value, "br", 2);
    assert_false(request_head_field(&head, "accept-encoding", &at, &value, &len));
    at = NULL;
    assert_true(request_head_field(&head, "empty", &at, &value, &len));
    assert_int_equal(len, 0);
    at = NULL;
    assert_false(request_head_field(&head, "accept", &at, &value, &len));
}

/* ---- all of it at random ---- */

static uint32_t roll(uint64_t *x, uint32_t n)
{
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*x >> 33) % n;
}

static int random_choose(void *arg, int fd, enum sim_choice what, int limit)
{
    uint64_t *x = arg;

    (void)fd;
    switch (what) {
    case SIM_ATTACH:
    case SIM_CONNECT:
    case SIM_LISTEN_OFF: return 0;
    case SIM_DETACH: return (int)roll(x, 3);
    case SIM_SEND: return roll(x, 3) ? 1 + (int)roll(x, (uint32_t)limit) : 0;
    case SIM_SENT:
        return roll(x, 40) == 0 ? -ECONNRESET : roll(x, 2) ? 1 + (int)roll(x, (uint32_t)limit) : 0;
    case SIM_INPUT: return roll(x, 5) ? 1 + (int)roll(x, (uint32_t)limit) : 0;
    }
    return 0;
}

/* Every request that was begun is done or cancelled, and everything comes back. */
static void test_random(void **state)
{
    static const char *const texts[] = {
        GET("/wait"),
        GET("/produce"),
        GET_PIPELINE,
        "POST /mirror HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "POST /mirror HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
        "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "POST /mirror HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabX",
        "POST /mirror HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nfew",
        "POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "HEAD /produce HTTP/1.0\r\n\r\n",
        GET("/json/5"),
    };

    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct world *w = open_handlers(state);
        uint64_t x = seed;
        const struct sim_script script = {.choose = random_choose, .arg = &x};
        int fds[64], n = 0;

        sim_set_script(w->f.http.loop.be, &script);
        seen.produce_bytes = 20000;
        for (int i = 0; i < 600; i++) {
            if (n < 64 && roll(&x, 6) == 0)
                fds[n++] = sim_connect(w->f.http.loop.be);
            if (n) {
                int fd = fds[roll(&x, (uint32_t)n)];
                uint32_t what = roll(&x, 40);
                if (what < 30)
                    say(w, fd, texts[roll(&x, ARRAY_LEN(texts))]);
                else if (what < 31)
                    sim_eof(w->f.http.loop.be, fd);
                else if (what < 32)
                    sim_error(w->f.http.loop.be, fd, ECONNRESET);
                else if (what < 38)
                    (void)request_resume(&w->f.http, seen.waiting);
            }
            sim_fixture_iterate(&w->f, 1);
            seen.wait_ms = roll(&x, 3);
            if (roll(&x, 50) == 0)
                pass(w, roll(&x, 40000));
        }
        assert_int_equal(sim_fixture_close(&w->f), 0);
        assert_int_equal(seen.begun, seen.done + seen.cancelled);
        assert_true(seen.done > 0 && seen.cancelled > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        TEST(test_wait_is_not_early),
        TEST(test_pipelined_behind_a_wait),
        TEST(test_stale_references),
        TEST(test_gone_while_queued),
        TEST(test_cancels),
        TEST(test_drain_waits),
        TEST(test_produce),
        TEST(test_framing),
        TEST(test_file),
        TEST(test_failures),
        TEST(test_head_fields),
        TEST(test_random),
    };
    return cmocka_run_group_tests_name("handlers", tests, group_setup, group_teardown);
}
