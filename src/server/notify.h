/* SPDX-License-Identifier: MIT */
/*
 * notify.h - tell systemd how far we are: sd_notify(3)'s protocol, one datagram, without its
 * library.
 */
#ifndef BIVALVE_NOTIFY_H
#define BIVALVE_NOTIFY_H

#include <stdint.h>

/*
 * Remember where to send to ($NOTIFY_SOCKET), and how often it wants to hear that all is well
 * ($WATCHDOG_USEC), and take them out of the environment. Call once, before any privileges are given
 * up.
 */
void notify_init(void);

/*
 * Send `state`, such as "READY=1"; does nothing when nobody asked to be told. Failure is not an
 * error: it is logged at debug level.
 */
void notify_send(const char *state);

/* "WATCHDOG=1" is expected at least so often, milliseconds: sd_watchdog_enabled(3). 0: it is not. */
uint32_t notify_watchdog_ms(void);

/* Put all of it into the environment again: in a process that is about to execve(2) another server. */
void notify_export(void);

/* Nothing more to tell: in a worker, and at the end. */
void notify_close(void);

#endif
