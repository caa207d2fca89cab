/* SPDX-License-Identifier: MIT */
/*
 * server_log.h - what the log has of a server: the line of its start, and the counters.
 */
#ifndef BIVALVE_SERVER_LOG_H
#define BIVALVE_SERVER_LOG_H

#include "server_setup.h"

/* The addresses, for the board and the start line. */
void server_name_listeners(struct server *s);

/* It serves: `did` says what it has done for that, "listening". The service manager is told, too. */
void server_start_line(struct server *s, const char *did, const struct backend_ops *ops,
                       const char *features);

/* SIGUSR1: the counters go to the log, the access log is opened anew. */
void server_report(void *server);

#endif
