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

    assert_int_equal(refuse.next, 0);
    assert_true(refuse.refused > 0);
    fake_close(f);
    alarm(0);
    free(f);
    return 0;
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
        cmocka_unit_test_setup_teardown(test_connection_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_listener_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_room_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_refused, setup, teardown),
    };
    return cmocka_run_group_tests_name("epoll", tests, NULL, NULL);
}
