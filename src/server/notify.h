/* SPDX-License-Identifier: MIT */
/*
 * notify.h - tell systemd how far we are: sd_notify(3)'s protocol, one datagram, without its
 * library.
 */
#ifndef BIVALVE_NOTIFY_H
#define BIVALVE_NOTIFY_H

/*
 * Remember where to send to ($NOTIFY_SOCKET) and take it out of the environment. Call once, before
 * any privileges are given up.
 */
void notify_init(void);

/*
 * Send `state`, such as "READY=1"; does nothing when nobody asked to be told. Failure is not an
 * error: it is logged at debug level.
 */
void notify_send(const char *state);

/* Nothing more to tell: in a worker, and at the end. */
void notify_close(void);

#endif
