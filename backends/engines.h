/* SPDX-License-Identifier: MIT */
/*
 * engines.h - the engines' operation tables, each defined by its own file and only if that is
 * compiled in.
 */
#ifndef BIVALVE_ENGINES_H
#define BIVALVE_ENGINES_H

#include "backend.h"

extern const struct backend_ops uring_backend_ops; /* io_uring.c, HAVE_LIBURING */
extern const struct backend_ops libev_backend_ops; /* libev.c, HAVE_LIBEV */

#endif
