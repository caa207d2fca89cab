/* SPDX-License-Identifier: MIT */
/*
 * signals.h - the signals of the supervisor. They are blocked; only signals_wait() lets them through,
 * to handlers that do nothing but remember them.
 */
#ifndef BIVALVE_SIGNALS_H
#define BIVALVE_SIGNALS_H

#include <poll.h>
#include <stddef.h>

/*
 * Catch these, at most 32, which the caller has blocked, from now on; they are kept by reference.
 * Those that are ignored (by nohup(1), by a shell in the background), too: a server has to hear its
 * operator, however it was started.
 */
void signals_catch(const int *numbers, size_t count);

/* They do again what they did before; what had come is forgotten. For children, too. */
void signals_release(void);

/*
 * poll(2), which a signal ends: -1, EINTR. Whatever it returns, signals that were there when it was
 * called have come.
 */
int signals_wait(struct pollfd *fds, nfds_t count, int timeout_ms);

/* The number of one that has come, in the order of signals_catch(), which is forgotten; 0: no more. */
int signals_next(void);

#endif
