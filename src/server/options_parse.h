/* SPDX-License-Identifier: MIT */
/*
 * options_parse.h - the options from the command line and from a file. Parsing is pure: nothing is
 * printed, opened or looked up, the environment plays no part.
 */
#ifndef BIVALVE_OPTIONS_PARSE_H
#define BIVALVE_OPTIONS_PARSE_H

#include <stddef.h>
#include <stdio.h>

#include "options.h"

/*
 * Fill `o` from the command line; all defaults are set first. 0, or -EINVAL with one printable line
 * in `error` (OPTIONS_ERROR_MAX bytes) that names the option, what is wrong with it and what it
 * takes. Not thread-safe (getopt).
 */
int options_parse(int argc, char **argv, struct options *o, char *error);

/*
 * The same, over what a file says: `len` bytes of `text` with a NUL behind them, which are written
 * to and have to stay as long as `o`. What the command line has takes the place of all that the file
 * says of the same option; that is checked nevertheless. `file` is what errors call it; they name
 * line and column, too.
 */
int options_parse_with(int argc, char **argv, const char *file, char *text, size_t len,
                       struct options *o, char *error);

/*
 * The same with the file that --config names, if any; the only one of these that opens something. 0,
 * or -errno with `error`. options_free() when `o` is not used any more.
 */
int options_load(int argc, char **argv, struct options *o, char *error);

/* What --help prints: every option that users have, with its default. */
void options_print_help(FILE *out);

#endif
