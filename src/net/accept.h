/* SPDX-License-Identifier: MIT */
/*
 * accept.h - the policy of accepting, all of it: which listeners, how many connections, what an
 * error of accept(2) means, when it is tried again, what is logged. A backend accepts what it is
 * allowed to and reports.
 *
 * A listener:
 *
 *   off ------ acceptor_start() ------> on
 *   on ------- an error that lasts ---> failing    after a back-off that doubles, or when a
 *   failing -- the back-off is over --> on         connection ends, it is tried again
 *   on ------- all places taken ------> off        by --max-connections, and on again below it
 *   any ------ drain -----------------> closed     once the backend has let go of it
 */
#ifndef BIVALVE_ACCEPT_H
#define BIVALVE_ACCEPT_H

#include <stdbool.h>
#include <stdint.h>

#include "loop_types.h"

/* Is this error of accept(2) the client's, who is gone already, and none of the listener? */
bool accept_is_transient(int err);

/* Take over a listener; before acceptor_start(). At most BACKEND_LISTENERS_MAX. */
void acceptor_add(struct loop *l, const struct accept_listener *listener);

/* Start, or stop, accepting on all listeners. 0 or -errno of the first that failed. */
int acceptor_start(struct loop *l);
void acceptor_stop(struct loop *l);

/*
 * For the end: accept what clients have been promised already, as far as there is room, and close
 * the listeners.
 */
void acceptor_drain(struct loop *l);

/*
 * The same for a process whose place others have taken: they accept from the sockets of those
 * listeners whose bits are set in `kept` (bit i: the one that was added as the i-th), and go on after
 * this one has taken who waited when it let go.
 */
void acceptor_retire(struct loop *l, uint64_t kept);

/* Are all listeners closed? */
bool acceptor_closed(const struct loop *l);

/*
 * Once an iteration: see whether connections have ended, whose places and fds are free again, and
 * try those listeners that have waited long enough.
 */
void acceptor_update(struct loop *l);

/* Is there a listener whose last accept failed? */
static inline bool acceptor_is_failing(const struct loop *l)
{
    return l->acceptor.failing > 0;
}

/* Milliseconds until acceptor_update() has something to do for those, -1: never. */
int64_t acceptor_due_ms(const struct loop *l);

/* The backend's events, backend.h. */
void acceptor_on_accepted(void *loop, unsigned index, int fd);
void acceptor_on_failed(void *loop, unsigned index, int err);
void acceptor_on_listen_off(void *loop, unsigned index);

#endif
