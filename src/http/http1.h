/* SPDX-License-Identifier: MIT */
/*
 * http1.h - the protocol HTTP/1.1.
 */
#ifndef BIVALVE_HTTP1_H
#define BIVALVE_HTTP1_H

#include <stdint.h>

#include "stream.h"

extern const struct protocol http1_protocol;

/* The same for processes in which watch_start() has been told to watch: watch.h. */
extern const struct protocol http1_protocol_watched;

/* Go on with what is queued or has waited long enough; as loop_hooks.before_wait. */
int64_t http1_before_wait(struct loop *l);

#endif
