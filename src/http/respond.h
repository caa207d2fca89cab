/* SPDX-License-Identifier: MIT */
/*
 * respond.h - the responses that are no handler's; those that are stand in request.h.
 */
#ifndef BIVALVE_RESPOND_H
#define BIVALVE_RESPOND_H

#include "request.h"

/*
 * Refuse the request: `status` and a line of text; the connection ends with it. HANDLER_DONE or
 * -errno.
 */
int request_refuse(struct request *r, int status, const char *line);

/* A whole small text response, with Allow if that is not NULL. HANDLER_DONE or -errno. */
int request_reply_allow(struct request *r, int status, const char *allow, const char *line);

#endif
