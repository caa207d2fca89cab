/* SPDX-License-Identifier: MIT */
/*
 * options_file.h - the syntax of an options file, bivalve.conf(5): lines of a name and perhaps a
 * value. Pure. What the names mean is for options.c to say.
 */
#ifndef BIVALVE_OPTIONS_FILE_H
#define BIVALVE_OPTIONS_FILE_H

#include <stddef.h>

#define OPTIONS_FILE_MAX      (1u << 20) /* bytes of a file */
#define OPTIONS_FILE_LINE_MAX 4096       /* bytes of a line */

struct options_file {
    char *next, *end; /* what is left of the text */
    unsigned line;    /* of what was looked at last, from 1 */
};

struct options_file_line {
    unsigned line;
    unsigned name_column, value_column; /* from 1, in bytes */
    const char *name;
    const char *value; /* NULL: there is none */
};

/*
 * Begin with `len` bytes of `text`, which has a NUL behind them. The text is written to by
 * options_file_next(), and must stay as long as its values are used.
 */
void options_file_init(struct options_file *f, char *text, size_t len);

/*
 * The next line that says something. 1; 0 at the end; -EINVAL with *why, and the place in out->line
 * and out->name_column.
 */
int options_file_next(struct options_file *f, struct options_file_line *out, const char **why);

#endif
