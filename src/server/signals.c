/* SPDX-License-Identifier: MIT */
/*
 * signals.c - see signals.h.
 */
#include "config.h"

#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "sys.h"

#define SIGNALS_MAX 32 /* the numbers of those that have had names since the seventies */

static volatile sig_atomic_t signals_came[SIGNALS_MAX];
static const int *signals_numbers;
static size_t signals_count;
static struct sigaction signals_before[SIGNALS_MAX];
static sigset_t signals_waiting; /* the mask of signals_wait() */

static void signals_on(int number)
{
    signals_came[number] = 1;
}

void signals_catch(const int *numbers, size_t count)
{
    struct sigaction action = {.sa_handler = signals_on};

    signals_numbers = numbers;
    signals_count = count;
    sigprocmask(SIG_BLOCK, NULL, &signals_waiting);
    sigemptyset(
        &action.sa_mask); /* none holds another up: ppoll(2) lets all through that are there */
    for (size_t i = 0; i < count; i++) {
        sigdelset(&signals_waiting, numbers[i]);
        sigaction(numbers[i], NULL, &signals_before[i]);
        sigaction(numbers[i], &action, NULL);
    }
}

void signals_release(void)
{
    for (size_t i = 0; i < signals_count; i++) {
        sigaction(signals_numbers[i], &signals_before[i], NULL);
        signals_came[signals_numbers[i]] = 0;
    }
    signals_count = 0;
}

int signals_wait(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    const struct timespec limit = {.tv_sec = timeout_ms / 1000,
                                   .tv_nsec = (long)(timeout_ms % 1000) * 1000000};
    const struct timespec now = {0};
    int n = sys_ppoll(fds, count, &limit, &signals_waiting);

    /* Where a descriptor was ready no signal was let through: were one always, none ever would be. */
    if (n > 0)
        sys_ppoll(NULL, 0, &now, &signals_waiting);
    return n;
}

int signals_next(void)
{
    for (size_t i = 0; i < signals_count; i++) {
        int number = signals_numbers[i];
        if (signals_came[number]) {
            signals_came[number] = 0;
            return number;
        }
    }
    return 0;
}
