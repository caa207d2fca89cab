/* SPDX-License-Identifier: MIT */
/*
 * test_stream.c - streams that this side connects, over the simulated backend, with a protocol that
 * only notes what it is told.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "accept.h"
#include "loop.h"
#include "sim.h"
#include "stream.h"

#define NOTES_FDS 64

/* A connection's exchange: what it has been told. */
struct notes {
    unsigned opens, inputs, eofs, gones, timeouts;
    int err; /* of gone() */
    struct slot *slot;
};

struct world {
    struct loop loop;
    struct settings set;
    struct stats stats;
    struct sim_script script;
    bool pend;                 /* sends do */
    int connect, attach, sent; /* what the script answers */
    int lfd;                   /* a listener that nobody accepts from: the kernel connects */
    struct sockaddr_in addr;
};

static struct notes *notes_of(const struct slot *s)
{
    return s->exchange;
}

static void notes_open(struct loop *l, struct slot *s)
{
    (void)l;
    notes_of(s)->opens++;
    notes_of(s)->slot = s;
}

static void notes_input(struct loop *l, struct slot *s, const char *data, size_t len)
{
    (void)l;
    (void)data;
    (void)len;
    notes_of(s)->inputs++;
}

static void notes_eof(struct loop *l, struct slot *s)
{
    notes_of(s)->eofs++;
    stream_close(l, s);
}

static void notes_writable(struct loop *l, struct slot *s)
{
    (void)l;
    (void)s;
}

static void notes_timeout(struct loop *l, struct slot *s, unsigned kind)
{
    assert_int_equal(kind, STREAM_TIMER_PROTOCOL);
    notes_of(s)->timeouts++;
    stream_close(l, s);
}

static size_t notes_held(const struct loop *l, const struct slot *s)
{
    (void)l;
    (void)s;
    return 0;
}

static void notes_gone(struct loop *l, struct slot *s, int err)
{
    (void)l;
    notes_of(s)->gones++;
    notes_of(s)->err = err;
    s->exchange = NULL;
}

static const struct protocol notes_protocol = {
    .name = "notes",
    .open = notes_open,
    .input = notes_input,
    .eof = notes_eof,
    .writable = notes_writable,
    .timeout = notes_timeout,
    .drain = notes_open,
    .held = notes_held,
    .gone = notes_gone,
};

static int64_t world_before_wait(struct loop *l)
{
    (void)l;
    return -1;
}

static size_t world_trim(struct loop *l, bool *pending)
{
    (void)l;
    *pending = false;
    return 0;
}

static const struct loop_hooks world_hooks = {
    .output_block_bytes = 256, .before_wait = world_before_wait, .trim = world_trim};

static int world_choose(void *arg, int fd, enum sim_choice what, int limit)
{
    const struct world *w = arg;

    (void)fd;
    switch (what) {
    case SIM_CONNECT: return w->connect;
    case SIM_ATTACH: return w->attach;
    case SIM_SEND: return w->pend ? 0 : limit;
    case SIM_SENT: return w->sent;
    case SIM_INPUT: return limit;
    case SIM_DETACH:
    case SIM_LISTEN_OFF: break;
    }
    return 0;
}

static int setup(void **state)
{
    struct world *w = aligned_alloc(CACHE_LINE, util_round_up(sizeof(*w), CACHE_LINE));
    char error[BACKEND_TEXT_MAX];

    assert_non_null(w);
    memset(w, 0, sizeof(*w));
    settings_init(&w->set);
    assert_int_equal(loop_init(&w->loop, &w->set, &world_hooks, &w->stats, &sim_backend_ops, NULL,
                               NOTES_FDS, error),
                     0);
    w->script = (struct sim_script){.choose = world_choose, .arg = w};
    sim_set_script(w->loop.be, &w->script);
    acceptor_add(&w->loop, &(struct accept_listener){.protocol = &notes_protocol, .fd = -1});

    socklen_t len = sizeof(w->addr);
    w->addr =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    w->lfd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(w->lfd >= 0);
    assert_int_equal(bind(w->lfd, (struct sockaddr *)&w->addr, len), 0);
    assert_int_equal(listen(w->lfd, 8), 0);
    assert_int_equal(getsockname(w->lfd, (struct sockaddr *)&w->addr, &len), 0);
    *state = w;
    return 0;
}

/* Nothing is left open, armed or in flight. */
static int teardown(void **state)
{
    struct world *w = *state;
    struct loop *l = &w->loop;

    assert_int_equal(l->slots.used, 0);
    assert_int_equal(l->timers.armed, 0);
    assert_int_equal(l->out_pool.used + l->sent_pool.used, 0);
    assert_int_equal(sim_in_flight(l->be), 0);
    loop_destroy(l);
    close(w->lfd);
    free(w);
    return 0;
}

static int socket_new(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    return fd;
}

static int begin_connect(struct world *w, int fd, struct notes *n)
{
    return stream_connect(&w->loop, 0, fd, (struct sockaddr *)&w->addr, sizeof(w->addr), n);
}

static void iterate(struct world *w, int n)
{
    while (n-- > 0)
        assert_int_equal(loop_iterate(&w->loop, 0), 0);
}

static bool is_open(int fd)
{
    return dup2(fd, fd) == fd;
}

static void test_connected(void **state)
{
    struct world *w = *state;
    struct notes n = {0};
    int fd = socket_new();

    w->connect = 1;
    assert_int_equal(begin_connect(w, fd, &n), 0);
    iterate(w, 3);
    assert_int_equal(n.opens, 0); /* not yet */
    w->connect = 0;
    iterate(w, 1);
    assert_int_equal(n.opens, 1);
    assert_int_equal(n.slot->state, STREAM_OPEN);

    int peer = accept(w->lfd, NULL, NULL);
    assert_true(peer >= 0);
    assert_int_equal(send(peer, "x", 1, 0), 1);
    iterate(w, 2);
    assert_int_equal(n.inputs, 1);
    close(peer);
    iterate(w, 2);
    assert_int_equal(n.eofs, 1);
    assert_int_equal(n.gones, 1);
    assert_int_equal(n.err, 0);
    assert_false(is_open(fd));
}

/* Refused by the peer, and by the backend once it is connected. */
static void test_not_connected(void **state)
{
    struct world *w = *state;
    struct notes refused = {0}, unattached = {0};
    int fd = socket_new();

    w->connect = -ECONNREFUSED;
    assert_int_equal(begin_connect(w, fd, &refused), 0);
    iterate(w, 1);
    assert_int_equal(refused.opens, 0);
    assert_int_equal(refused.gones, 1);
    assert_int_equal(refused.err, ECONNREFUSED);
    assert_false(is_open(fd));

    w->connect = 0;
    w->attach = -ENOSPC;
    fd = socket_new();
    assert_int_equal(begin_connect(w, fd, &unattached), 0);
    iterate(w, 1);
    assert_int_equal(unattached.opens, 0);
    assert_int_equal(unattached.gones, 1);
    assert_int_equal(unattached.err, ENOSPC);
    assert_false(is_open(fd));
}

/* "-errno: it has failed at once, nothing will be called": no slot, and a connect(2) that fails. */
static void test_failed_at_once(void **state)
{
    struct world *w = *state;
    struct notes n = {0};
    int fd = socket_new(), high = fcntl(fd, F_DUPFD_CLOEXEC, NOTES_FDS);

    assert_true(high >= NOTES_FDS);
    assert_int_equal(begin_connect(w, high, &n), -EMFILE);
    assert_false(is_open(high));

    w->addr.sin_family = AF_MAX;
    assert_true(begin_connect(w, fd, &n) < 0);
    assert_false(is_open(fd));
    iterate(w, 2);
    assert_int_equal(n.opens + n.gones, 0);
}

/* A deadline, and a close, while it is connecting. */
static void test_given_up(void **state)
{
    struct world *w = *state;
    struct notes late = {0}, closed = {0};
    int fd = socket_new();

    w->connect = 1;
    assert_int_equal(begin_connect(w, fd, &late), 0);
    stream_set_timer(&w->loop, slot_get(&w->loop.slots, fd), STREAM_TIMER_PROTOCOL, 1000);
    w->loop.timers.base_ms -= 2000; /* time passes */
    iterate(w, 2);
    assert_int_equal(late.timeouts, 1);
    assert_int_equal(late.gones, 1);
    assert_false(is_open(fd));

    fd = socket_new();
    assert_int_equal(begin_connect(w, fd, &closed), 0);
    loop_abort(&w->loop);
    iterate(w, 2);
    assert_int_equal(closed.gones, 1);
    assert_int_equal(closed.err, 0);
    assert_int_equal(late.opens + closed.opens, 0);
}

/* gone() says why: the error of a receive, of a send at once or later, a peer that takes nothing. */
static void test_reasons(void **state)
{
    struct world *w = *state;
    struct notes n[3] = {{0}};
    int fd[3], peer[3];

    for (int i = 0; i < 3; i++) {
        fd[i] = socket_new();
        assert_int_equal(begin_connect(w, fd[i], &n[i]), 0);
        peer[i] = accept(w->lfd, NULL, NULL);
        assert_true(peer[i] >= 0);
    }
    iterate(w, 1);

    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(peer[0], SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    close(peer[0]);
    iterate(w, 2);
    assert_int_equal(n[0].gones, 1);
    assert_int_equal(n[0].err, ECONNRESET);

    assert_int_equal(out_append(&n[1].slot->out, &w->loop.out_pool, "x", 1), 0);
    w->pend = true;
    w->sent = -EPIPE;
    assert_true(stream_flush(&w->loop, n[1].slot));
    iterate(w, 1);
    assert_int_equal(n[1].gones, 1);
    assert_int_equal(n[1].err, EPIPE);

    assert_int_equal(out_append(&n[2].slot->out, &w->loop.out_pool, "x", 1), 0);
    w->sent = 0;
    assert_true(stream_flush(&w->loop, n[2].slot));
    /* Time passes within the iteration, before a completion could have been seen: that is not the peer's. */
    w->loop.timers.base_ms -= w->set.write_timeout_ms + 1000;
    iterate(w, 2);
    assert_int_equal(n[2].gones, 0);
    w->loop.timers.base_ms -= w->set.write_timeout_ms + 1000;
    iterate(w, 2);
    assert_int_equal(n[2].gones, 1);
    assert_int_equal(n[2].err, ETIMEDOUT);
    close(peer[1]);
    close(peer[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_connected, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_connected, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reasons, setup, teardown),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
