/* SPDX-License-Identifier: MIT */
/*
 * refuse_epoll.h - a kernel that refuses, played by system calls of the test's own: epoll_ctl(2) is
 * defined here, and others may be by the program. A backend calls them instead, from a shared
 * library (libev) too. For cmocka programs of one file.
 */
#ifndef BIVALVE_TESTS_REFUSE_EPOLL_H
#define BIVALVE_TESTS_REFUSE_EPOLL_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fake_core.h"

#define HANG_SECONDS 120

enum refused_call { REFUSE_CTL, REFUSE_CREATE, REFUSE_EVENTFD };

static struct {
    enum refused_call call;
    unsigned next; /* so many calls to come are refused */
    int err;
    unsigned refused;
} refuse;

static bool refuses(enum refused_call call)
{
    if (refuse.call != call || !refuse.next)
        return false;
    refuse.next--;
    refuse.refused++;
    errno = refuse.err;
    return true;
}

int epoll_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
    if (op != EPOLL_CTL_DEL && refuses(REFUSE_CTL))
        return -1;
    return (int)syscall(SYS_epoll_ctl, ep, op, fd, ev);
}

/* Open the backend of `spec` for a test; nothing is refused yet, and additions are with ENOSPC. */
static int refuse_setup(void **state, const char *spec)
{
    struct fake *f = calloc(1, sizeof(*f));
    char error[BACKEND_TEXT_MAX];

    memset(&refuse, 0, sizeof(refuse));
    refuse.err = ENOSPC;
    alarm(HANG_SECONDS);
    *state = f;
    if (fake_open(f, spec, error) == 0)
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

#endif
