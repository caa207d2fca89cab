/* SPDX-License-Identifier: MIT */
/*
 * dispatch.h - from a request's head to who answers it.
 */
#ifndef BIVALVE_DISPATCH_H
#define BIVALVE_DISPATCH_H

#include <stddef.h>

#include "exchange.h"

/*
 * A head of `len` bytes is complete: find who serves it, and let it begin. What no handler is asked
 * for is answered here: OPTIONS, 404, 405. As handler.begin.
 */
int dispatch(struct exchange *x, const char *head, size_t len);

#endif
