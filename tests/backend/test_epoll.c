/* SPDX-License-Identifier: MIT */
/*
 * test_epoll.c - what only the epoll backend can get wrong. On a kernel that refuses, played by
 * system calls of the test's own, every refusal is an error of the call that it belongs to, and
 * nothing else suffers. And its ready list is fair, whatever upcalls do to it.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "refuse_epoll.h"
#include "util.h"

static void refuse_next(enum refused_call call, int err)
{
    refuse.call = call;
    refuse.next = 1;
    refuse.err = err;
}

int epoll_create1(int flags)
{
    return refuses(REFUSE_CREATE) ? -1 : (int)syscall(SYS_epoll_create1, flags);
}

int eventfd(unsigned count, int flags)
{
    return refuses(REFUSE_EVENTFD) ? -1 : (int)syscall(SYS_eventfd2, count, flags);
}

/* What epoll_ctl(2) refuses an addition with. */
static const int full[] = {ENOSPC, ENOMEM};

static int setup(void **state)
{
    return refuse_setup(state, "epoll");
}

/* "attach: 0 or -errno (the core then closes the fd)"; others go on. */
static void test_connection_refused(void **state)
{
    struct fake *f = *state;
    int whole[2], broken[2];

    fake_pair(false, whole);
    fake_attach(f, whole[0]);
    for (size_t i = 0; i < ARRAY_LEN(full); i++) {
        fake_pair(false, broken);
        refuse_next(REFUSE_CTL, full[i]);
        assert_non_null(slot_take(&f->slots, broken[0]));
        assert_int_equal(backend_attach(f->be, broken[0]), -full[i]);
        slot_release(&f->slots, broken[0]);
        close(broken[0]);
        close(broken[1]);
    }
    assert_int_equal(send(whole[1], "x", 1, 0), 1);
    fake_until(f, f->conn[whole[0]].inputs, 1);
    fake_detach(f, whole[0]);
    close(whole[1]);
}

/* "listen_ctl: on: 0, or -errno": it is off then, and can be tried again. */
static void test_listener_refused(void **state)
{
    struct fake *f = *state;
    int pair[2]; /* never accepted from: any descriptor will do */

    fake_pair(false, pair);
    for (size_t i = 0; i < ARRAY_LEN(full); i++) {
        refuse_next(REFUSE_CTL, full[i]);
        assert_int_equal(fake_listen(f, 0, pair[0], true, BACKEND_BURST_ANY), -full[i]);
        assert_int_equal(fake_listen(f, 0, pair[0], false, 0), 0);
        assert_int_equal(fake_listen(f, 0, pair[0], true, BACKEND_BURST_ANY), 0);
        assert_int_equal(fake_listen(f, 0, pair[0], false, 0), 0);
    }
    close(pair[0]);
    close(pair[1]);
}

/* "connect: ... or -errno at once, and nothing is reported", though the connect(2) has begun. */
static void test_connect_refused(void **state)
{
    struct fake *f = *state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int lfd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(lfd >= 0);
    assert_int_equal(bind(lfd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(lfd, 8), 0);
    assert_int_equal(getsockname(lfd, (struct sockaddr *)&a, &len), 0);
    for (size_t i = 0; i < ARRAY_LEN(full); i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(fd >= 0);
        refuse_next(REFUSE_CTL, full[i]);
        assert_int_equal(fake_connect(f, fd, (struct sockaddr *)&a, len), -full[i]);
        fake_settle(f);
        assert_int_equal(f->conn[fd].connects, 0);
    }
    close(lfd);
}

/* A send that finds no room, and no way to hear of it, fails rather than waiting for ever. */
static void test_room_refused(void **state)
{
    static const char big[8 << 20]; /* more than the kernel takes: tcp_wmem and a bit */
    struct fake *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(full); i++) {
        int pair[2];
        fake_pair(true, pair);
        struct fake_conn *c = fake_attach(f, pair[0]);
        refuse_next(REFUSE_CTL, full[i]);
        fake_send(f, pair[0], big, sizeof(big));
        assert_false(c->sending);
        assert_int_equal(c->err, full[i]);
        fake_detach(f, pair[0]);
        close(pair[1]);
    }
}

/* "open: -errno with one line that names the cause and the way out, and nothing left behind"; the
 * probe says the same. */
static void test_open_refused(void **state)
{
    static const struct {
        enum refused_call call;
        int err;
        const char *cause, *way_out;
    } cases[] = {
        {REFUSE_CREATE, EMFILE, "epoll_create1: ", "LimitNOFILE="},
        {REFUSE_CREATE, ENOMEM, "epoll_create1: ", ""},
        {REFUSE_EVENTFD, EMFILE, "eventfd: ", "LimitNOFILE="},
        {REFUSE_CTL, ENOSPC, "epoll_ctl: ", "fs.epoll.max_user_watches"},
        {REFUSE_CTL, ENOMEM, "epoll_ctl: ", ""},
    };
    struct fake *f = *state, other;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char error[BACKEND_TEXT_MAX];
        struct backend_probe probe;
        int before = dup(0);

        close(before);
        refuse_next(cases[i].call, cases[i].err);
        assert_int_equal(fake_open(&other, "epoll", error), -cases[i].err);
        assert_non_null(strstr(error, cases[i].cause));
        assert_non_null(strstr(error, cases[i].way_out));
        assert_null(strchr(error, '\n'));
        refuse_next(cases[i].call, cases[i].err);
        f->ops->probe(NULL, &probe);
        assert_false(probe.usable);
        assert_string_equal(probe.reason, error);
        int after = dup(0);
        close(after);
        assert_int_equal(after, before);
    }
    fake_is(f);
}

/* ---- fairness: what is in the ready list and what it does to each other ---- */

enum { GREEDY_INPUTS_MAX = 50 }; /* a backend that never stops reading fails; it need not hang */

/* Connections that have more to read after every receive. */
static struct {
    struct fake *f;
    unsigned inputs;
    int fd[2], peer[2]; /* -1: there is no second */
    bool detach_other;  /* in the first input */
} greedy;

static void greedy_feed(int i, size_t len)
{
    static const char bytes[2 * FAKE_RECV_BYTES];

    assert_true(len <= sizeof(bytes));
    assert_int_equal(send(greedy.peer[i], bytes, len, 0), len);
}

static void greedy_on_input(void *arg, int fd, const char *data, size_t len)
{
    int i = fd == greedy.fd[1];

    (void)arg;
    (void)data;
    if (++greedy.inputs < GREEDY_INPUTS_MAX)
        greedy_feed(i, len);
    if (greedy.detach_other)
        fake_detach(greedy.f, greedy.fd[!i]);
    greedy.detach_other = false;
}

/* Attach `count` connections, in the ready list, with nothing else waiting for them. */
static void greedy_begin(struct fake *f, int count)
{
    memset(&greedy, 0, sizeof(greedy));
    greedy.f = f;
    greedy.fd[1] = greedy.peer[1] = -1;
    for (int i = 0; i < count; i++) {
        int pair[2];
        fake_pair(false, pair);
        greedy.fd[i] = pair[0];
        greedy.peer[i] = pair[1];
        fake_attach(f, pair[0]);
        greedy_feed(i, FAKE_RECV_BYTES); /* fills a receive to the brim */
    }
    fake_turn(f, -1);
    for (int i = 0; i < count; i++)
        assert_int_equal(f->conn[greedy.fd[i]].inputs, 1);
    f->be->cfg.events.input = greedy_on_input;
}

/*
 * The last of the list is detached by an upcall for the first, which always has more to read: that
 * one still gets a single receive, and wait() returns.
 */
static void test_last_of_list_detached(void **state)
{
    struct fake *f = *state;

    greedy_begin(f, 2);
    greedy_feed(0, FAKE_RECV_BYTES);
    greedy_feed(1, FAKE_RECV_BYTES);
    greedy.detach_other = true;
    fake_turn(f, 0);
    assert_int_equal(greedy.inputs, 1);
    close(greedy.peer[0]);
    close(greedy.peer[1]);
}

/* A connection of the list that has an edge waiting too gets one receive, not one for each. */
static void test_one_receive_an_iteration(void **state)
{
    struct fake *f = *state;

    greedy_begin(f, 1);
    greedy_feed(0, 10);
    for (unsigned i = 1; i < 10; i++) { /* and the rest is not forgotten */
        fake_turn(f, 0);
        assert_int_equal(greedy.inputs, i);
    }
    close(greedy.peer[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_connection_refused, setup, teardown_refused),
        cmocka_unit_test_setup_teardown(test_listener_refused, setup, teardown_refused),
        cmocka_unit_test_setup_teardown(test_connect_refused, setup, teardown_refused),
        cmocka_unit_test_setup_teardown(test_room_refused, setup, teardown_refused),
        cmocka_unit_test_setup_teardown(test_open_refused, setup, teardown_refused),
        cmocka_unit_test_setup_teardown(test_last_of_list_detached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_receive_an_iteration, setup, teardown),
    };
    return cmocka_run_group_tests_name("epoll", tests, NULL, NULL);
}
