/* SPDX-License-Identifier: MIT */
/*
 * list.h - the backends' operation tables, each defined by its own file and only if that is
 * compiled in.
 */
#ifndef BIVALVE_LIST_H
#define BIVALVE_LIST_H

#include "backend.h"

extern const struct backend_ops uring_backend_ops; /* io_uring.c, HAVE_LIBURING */
extern const struct backend_ops epoll_backend_ops; /* epoll.c, HAVE_EPOLL */
extern const struct backend_ops libev_backend_ops; /* libev.c, HAVE_LIBEV */

#endif
