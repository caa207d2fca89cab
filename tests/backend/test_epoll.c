/* SPDX-License-Identifier: MIT */
/*
 * test_epoll.c - the epoll backend on a kernel that refuses, played by an epoll_ctl() of the test's
 * own: every refusal is an error of the call that it belongs to, and nothing else suffers.
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_core.h"
#include "util.h"

#define HANG_SECONDS 120

static struct {
    unsigned next; /* so many additions to come are refused */
    int err;
    unsigned refused;
} refuse;

int epoll_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
    if (op != EPOLL_CTL_DEL && refuse.next) {
        refuse.next--;
        refuse.refused++;
        errno = refuse.err;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, ep, op, fd, ev);
}

static int setup(void **state)
{
    struct fake *f = calloc(1, sizeof(*f));
    char error[BACKEND_TEXT_MAX];

    memset(&refuse, 0, sizeof(refuse));
    refuse.err = ENOSPC;
    alarm(HANG_SECONDS);
    *state = f;
    if (fake_open(f, "epoll", error) == 0)
        return 0;
    print_error("%s\n", error);
    return -1;
}

static int teardown(void **state)
{
    struct fake *f = *state;

    fake_close(f);
    alarm(0);
    free(f);
    return 0;
}

/* What was to be refused has been asked for, or the test has tested nothing. */
static int teardown_refused(void **state)
{
    assert_int_equal(refuse.next, 0);
    assert_true(refuse.refused > 0);
    return teardown(state);
}

/* "attach: 0 or -errno (the core then closes the fd)"; others go on. */
static void test_connection_refused(void **state)
{
    struct fake *f = *state;
    int whole[2], broken[2];

    fake_pair(false, whole);
    fake_pair(false, broken);
    fake_attach(f, whole[0]);
    refuse.next = 1;
    assert_non_null(slot_take(&f->slots, broken[0]));
    assert_int_equal(backend_attach(f->be, broken[0]), -ENOSPC);
    slot_release(&f->slots, broken[0]);
    assert_int_equal(send(whole[1], "x", 1, 0), 1);
    while (!f->conn[whole[0]].in_len)
        fake_turn(f, -1);
    fake_detach(f, whole[0]);
    close(whole[1]);
    close(broken[0]);
    close(broken[1]);
}

/* "listen_ctl: on: 0, or -errno": it is off then, and can be tried again. */
static void test_listener_refused(void **state)
{
    struct fake *f = *state;
    int pair[2]; /* never accepted from: any descriptor will do */

    fake_pair(false, pair);
    refuse.next = 1;
    assert_int_equal(fake_listen(f, 0, pair[0], true, BACKEND_BURST_ANY), -ENOSPC);
    assert_int_equal(fake_listen(f, 0, pair[0], false, 0), 0);
    assert_int_equal(fake_listen(f, 0, pair[0], true, BACKEND_BURST_ANY), 0);
    assert_int_equal(fake_listen(f, 0, pair[0], false, 0), 0);
    close(pair[0]);
    close(pair[1]);
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

/* A send that finds no room, and no way to hear of it, fails rather than waiting for ever. */
static void test_room_refused(void **state)
{
    static const char big[4000000];
    struct fake *f = *state;
    int pair[2];

    fake_pair(true, pair);
    struct fake_conn *c = fake_attach(f, pair[0]);
    refuse.next = 1;
    fake_send(f, pair[0], big, sizeof(big));
    assert_false(c->sending);
    assert_int_equal(c->err, ENOSPC);
    fake_detach(f, pair[0]);
    close(pair[1]);
}

/* "open: -errno with one line that names the cause and the way out, and nothing left behind". */
static void test_open_refused(void **state)
{
    struct fake *f = *state, other;
    char error[BACKEND_TEXT_MAX];
    int before = dup(0);

    close(before);
    refuse.next = 1;
    assert_int_equal(fake_open(&other, "epoll", error), -ENOSPC);
    assert_non_null(strstr(error, "max_user_watches"));
    int after = dup(0);
    close(after);
    assert_int_equal(after, before);
    fake_is(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_connection_refused, setup, teardown_refused),
        cmocka_unit_test_setup_teardown(test_listener_refused, setup, teardown_refused),
        cmocka_unit_test_setup_teardown(test_room_refused, setup, teardown_refused),
        cmocka_unit_test_setup_teardown(test_open_refused, setup, teardown_refused),
        cmocka_unit_test_setup_teardown(test_last_of_list_detached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_receive_an_iteration, setup, teardown),
    };
    return cmocka_run_group_tests_name("epoll", tests, NULL, NULL);
}
