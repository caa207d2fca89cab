/* SPDX-License-Identifier: MIT */
/*
 * admin.h - the process of the view inside (--admin): a worker with a listener, limits and routes of
 * its own, which therefore answers while those that serve clients are busy or stuck.
 */
#ifndef BIVALVE_ADMIN_H
#define BIVALVE_ADMIN_H

#include "inherit.h"
#include "listener.h"
#include "registry.h"
#include "side.h"
#include "view.h"

#define ADMIN_ERROR_MAX LISTENER_ERROR_MAX

struct admin {
    struct listener listener;
    bool open;
    struct view view;
    struct registry_choice backend;
    bool sandbox, sandbox_must;
    struct side side;
};

/*
 * Listen, if possible by a socket that is open already. `remote`: it may be one that other machines
 * reach. 0, or -errno with one line in `error` (ADMIN_ERROR_MAX bytes).
 */
int admin_open(struct admin *a, const struct listener_addr *addr, bool remote,
               struct inherited *inherited, char *error);

/*
 * Fill a->side, to be started. view, backend and sandbox are set; what they point to outlives the
 * process.
 */
void admin_prepare(struct admin *a);

/* The end: the listener is closed, and its path removed. */
void admin_close(struct admin *a);

#endif
