/* SPDX-License-Identifier: MIT */
/*
 * server.h - from options to a serving server: limits, dataset, backend, listeners, privileges,
 * workers.
 */
#ifndef BIVALVE_SERVER_H
#define BIVALVE_SERVER_H

#include "options.h"

/*
 * --test: check what can be checked without serving (the dataset, addresses, the user; options and
 * their file have been). Prints one line. The exit status.
 */
int server_test(const struct options *o);

/*
 * Serve until told to end; read the options again by `argv` when told to reload. The setup takes
 * over what options_load() allocated for `o`. The exit status: 0 after an orderly end, or at once after a second
 * signal; 1 when the start or the end failed (logged); 2 for a --backend that nobody knows. Worker
 * processes do not return from it.
 */
int server_run(int argc, char **argv, struct options *o);

#endif
