/* SPDX-License-Identifier: MIT */
/*
 * mime.h - Content-Type by the name of a file: a short list of our own, and what the system's
 * mime.types says instead or besides.
 */
#ifndef BIVALVE_MIME_H
#define BIVALVE_MIME_H

#include <stddef.h>

#define MIME_SYSTEM_FILE "/etc/mime.types"

struct mime;

/*
 * A table of the built-in types and of those in `path`, lines of "TYPE EXTENSION..." in the form of
 * mime.types(5); lines that are malformed are passed over, and so is a file that cannot be read. For
 * before the fork. NULL: no memory.
 */
struct mime *mime_load(const char *path);
void mime_free(struct mime *m);

/*
 * The type of a path, by what stands behind the last '.' of its last segment, in any case;
 * "application/octet-stream" when it is not known.
 */
const char *mime_type(const struct mime *m, const char *path, size_t len);

#endif
