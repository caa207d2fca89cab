/* SPDX-License-Identifier: MIT */
/*
 * server_alone.h - --workers 0: this process serves, for debuggers and profilers.
 */
#ifndef BIVALVE_SERVER_ALONE_H
#define BIVALVE_SERVER_ALONE_H

#include <signal.h>

#include "server_setup.h"

/* Serve, with processes beside this one, which nobody starts again. The exit status. */
int server_run_with(struct server *s, struct side **sides, unsigned count, const sigset_t *mask);

#endif
