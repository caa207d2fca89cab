/* SPDX-License-Identifier: MIT */
/*
 * engines.h - the engines' operation tables, each defined by its own file and only if that is compiled in.
 */
#ifndef BIVALVE_ENGINES_H
#define BIVALVE_ENGINES_H

#include <errno.h>
#include <stdbool.h>

#include "backend.h"

extern const struct backend_ops uring_backend_ops; /* io_uring.c, HAVE_LIBURING */
extern const struct backend_ops libev_backend_ops; /* libev.c, HAVE_LIBEV */

/* Does this error of accept(2) concern only a client that is gone already, and not the listener? The next may be well. */
static inline bool engine_accept_goes_on(int err)
{
    switch (err) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM: /* a firewall's word */
        return true;
    default:
        return false;
    }
}

#endif
