/* SPDX-License-Identifier: MIT */
/*
 * option_docs.h - the files of the source that are made from the table of options: parts of man
 * pages, completions for shells. They are committed, so that a build needs to run nothing to have
 * them; a test holds them to the table, `make update-docs` rewrites them.
 */
#ifndef BIVALVE_OPTION_DOCS_H
#define BIVALVE_OPTION_DOCS_H

#include <stddef.h>
#include <stdio.h>

struct option_doc {
    const char *path;         /* from the top of the source */
    void (*print)(FILE *out); /* what is generated */
};

extern const struct option_doc option_docs[];
extern const size_t option_docs_len;

/* The lines around what is generated; the rest of the file is written by hand. */
#define OPTION_DOCS_BEGIN "generated from the table of options: begin"
#define OPTION_DOCS_END   "generated from the table of options: end"

/*
 * What the file should say: `text`, what it says now, with that which stands between the two lines
 * replaced. To be freed; NULL when it has no such lines, or there is no memory.
 */
char *option_docs_renew(const struct option_doc *doc, const char *text);

#endif
