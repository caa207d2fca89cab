/* SPDX-License-Identifier: MIT */
/*
 * handlers.h - the resources that bivalve serves: one file each, a table of them in routes.c.
 *
 * To add one: write its file, declare its handler here, give it a line in routes.c.
 */
#ifndef BIVALVE_HANDLERS_H
#define BIVALVE_HANDLERS_H

#include "dataset.h"
#include "file_cache.h"
#include "request.h"
#include "static_dir.h"

#define HANDLERS_LEVEL_PRESET 4 /* of compression */

/* What the handlers are given, as request_context(): struct http.context. */
struct handlers_context {
    const struct dataset *data;     /* what /json serves */
    unsigned level;                 /* at which /json is compressed; 0: never */
    const struct static_dir *files; /* what /static serves, with handlers_routes_files */
    struct file_cache *cache;       /* of it; NULL: none */
};

extern const struct routes handlers_routes;
extern const struct routes handlers_routes_files; /* the same and /static */

extern const struct handler baseline_handler; /* /baseline11 */
extern const struct handler static_handler;   /* /static/{path} */
extern const struct handler pipeline_handler; /* /pipeline */
extern const struct handler json_handler;     /* /json/{count} */
extern const struct handler delay_handler;    /* /delay/{ms} */
extern const struct handler echo_handler;     /* /echo */
extern const struct handler upload_handler;   /* /upload */

#define HANDLER_METHOD(name) (1u << HTTP_##name)

#endif
