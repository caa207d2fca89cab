/* SPDX-License-Identifier: MIT */
/*
 * upgrade.h - start this server's program anew, from its file as that is now, with its arguments and
 * the sockets that it listens on (inherit.h): the other half of a binary upgrade.
 */
#ifndef BIVALVE_UPGRADE_H
#define BIVALVE_UPGRADE_H

#include <signal.h>

#include "listener.h"

struct upgrade {
    const char *path;
    char *const *argv;
    const sigset_t *mask; /* to start with */
    struct listener *const *listeners;
    unsigned count;
};

/*
 * Where this program's file is, for later: what argv[0] names if that is a path, else what runs. `out`
 * holds PATH_MAX bytes; empty when it cannot be found out.
 */
void upgrade_find(const char *argv0, char *out);

/*
 * Start it. The process, which is nobody's child here, and *word_fd, non-blocking, to read from: a byte when
 * it serves; its end without one when it has ended before. -errno.
 */
pid_t upgrade_start(const struct upgrade *u, int *word_fd);

#endif
