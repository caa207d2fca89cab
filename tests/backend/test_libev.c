/* SPDX-License-Identifier: MIT */
/*
 * test_libev.c - the libev backend on a kernel whose epoll takes nothing more in (ENOMEM, or ENOSPC
 * from fs.epoll.max_user_watches). libev is a shared library: it calls the epoll_ctl() that is
 * defined here.
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "refuse_epoll.h"
#include "util.h"

static int setup(void **state)
{
    return refuse_setup(state, "libev:epoll");
}

static int teardown_counted(void **state)
{
    struct fake *f = *state;

    assert_true(f->stats.backend_errors > 0);
    return teardown_refused(state);
}

/*
 * wake() is heard between two waits and the loop goes on, however often epoll refuses what hears
 * it.
 */
static void test_waker_refused(void **state)
{
    struct fake *f = *state;

    f->errors_expected = true;
    refuse.next = 3;
    for (int i = 0; i < 6; i++) {
        f->ops->wake(f->be);
        fake_turn(f, 0);
    }
    f->ops->wake(f->be);
    fake_turn(f, -1); /* hangs where the wake-up is lost */
}

/*
 * A connection that epoll refuses is reported as broken, by a wait() that would have been for ever;
 * others go on.
 */
static void test_connection_refused(void **state)
{
    struct fake *f = *state;
    int whole[2], broken[2];

    f->errors_expected = true;
    fake_turn(f, 0); /* the waker is in */
    fake_pair(false, whole);
    fake_pair(false, broken);
    fake_attach(f, whole[0]);
    fake_turn(f, 0);
    refuse.err = ENOMEM;
    refuse.next = 1;
    struct fake_conn *c = fake_attach(f, broken[0]);
    while (!c->err)
        fake_turn(f, -1);
    if (c->open)
        fake_detach(f, broken[0]);
    assert_int_equal(send(whole[1], "x", 1, 0), 1);
    while (!f->conn[whole[0]].in_len)
        fake_turn(f, -1);
    fake_detach(f, whole[0]);
    close(whole[1]);
    close(broken[1]);
}

/* A listener that epoll refuses is reported, and tried again until the core turns it off. */
static void test_listener_refused(void **state)
{
    struct fake *f = *state;
    int pair[2]; /* never accepted from: any descriptor will do */

    f->errors_expected = true;
    fake_turn(f, 0);
    fake_pair(false, pair);
    refuse.next = 3;
    f->lfd = pair[0];
    f->off_after_errors = 3;
    assert_int_equal(fake_listen(f, 0, pair[0], true, BACKEND_BURST_ANY), 0);
    while (f->accept_errors < 3)
        fake_turn(f, -1);
    assert_int_equal(f->accept_err, ENOMEM);
    fake_settle(f);
    assert_int_equal(f->accept_errors, 3);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_waker_refused, setup, teardown_counted),
        cmocka_unit_test_setup_teardown(test_connection_refused, setup, teardown_counted),
        cmocka_unit_test_setup_teardown(test_listener_refused, setup, teardown_counted),
    };
    return cmocka_run_group_tests_name("libev", tests, NULL, NULL);
}
