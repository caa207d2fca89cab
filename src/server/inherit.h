/* SPDX-License-Identifier: MIT */
/*
 * inherit.h - listening sockets that are open already when the server starts: a service manager's
 * (socket activation, sd_listen_fds(3), by its protocol and without its library), and those of the
 * server before this one, which gives its place up (upgrade.h).
 */
#ifndef BIVALVE_INHERIT_H
#define BIVALVE_INHERIT_H

#include <stdbool.h>

#include "listener.h"

#define INHERIT_MAX 4096 /* sockets: a listener can have one for each worker */

/* The environment of an upgrade has this, too: where the word goes that the new server serves. */
#define INHERIT_UPGRADE "BIVALVE_UPGRADE_FD"

struct inherited_socket {
    int fd;
    bool given;    /* a service manager's; else the old server's */
    bool any_port; /* ... which had asked for any port there is */
    bool taken;
    struct listener_addr addr;
    char name[LISTENER_NAME_MAX];
};

struct inherited {
    struct inherited_socket *sockets;
    unsigned count;
    int word_fd; /* -1: there is no server before this one */
};

/*
 * Read LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, and take them out of the environment. Sockets for
 * another process are none; what is no listening socket is an error: -errno with one line in `error`
 * (LISTENER_ERROR_MAX bytes).
 */
int inherit_init(struct inherited *in, char *error);

/* Did a service manager give sockets? */
bool inherit_has_given(const struct inherited *in);

/*
 * The sockets that are meant by `asked`, by address or by name (fd:NAME), all those of one address, as
 * a listener; NULL with *rc 0 when there are none (any more), or with -errno and `error`. To be
 * destroyed and freed.
 */
struct listener *inherit_listener(struct inherited *in, const struct listener_addr *asked, int *rc,
                                  char *error);

/* One that a service manager has given and nobody has asked for; then as inherit_listener(). */
struct listener *inherit_rest(struct inherited *in, int *rc, char *error);

/*
 * What the name of socket `i` of a listener has to be in LISTEN_FDNAMES, so that the next server knows
 * what it is. `out` holds LISTENER_NAME_MAX bytes. Returns out.
 */
const char *inherit_name(const struct listener *l, char *out);

/* Nobody else has asked: close what the old server had beyond that. */
void inherit_close_rest(struct inherited *in);

/* Tell the server before this one, if there is one, that its place is taken. */
void inherit_tell(struct inherited *in);

void inherit_destroy(struct inherited *in);

#endif
