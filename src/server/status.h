/* SPDX-License-Identifier: MIT */
/*
 * status.h - bivalve --status: what a running server says of itself by --admin, for a person.
 */
#ifndef BIVALVE_STATUS_H
#define BIVALVE_STATUS_H

#include <stdbool.h>

#include "listener.h"

/*
 * Ask the server at `addr` twice, a second apart, and print what it says, on stdout; with `watch`
 * again and again until the reader is gone or a signal ends it. The exit status: 0; 1 and a line on
 * stderr when there is no server to ask, or it does not answer.
 */
int status_print(const struct listener_addr *addr, bool watch);

#endif
