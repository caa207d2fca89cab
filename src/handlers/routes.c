/* SPDX-License-Identifier: MIT */
/*
 * routes.c - which handler serves which path.
 */
#include "config.h"

#include <string.h>

#include "handlers.h"

/*
 * X(path, handler): exactly this path, and the same with one more segment that is not empty. A list
 * of literals rather than a table: the compiler turns each comparison into a load or two.
 */
#define ROUTES_EXACT(X)              \
    X("/pipeline", pipeline_handler) \
    X("/baseline11", baseline_handler)

#define ROUTES_BELOW(X) X("/json/", json_handler)

static const struct handler *routes_find(const char *path, size_t len)
{
#define ROUTE_EXACT_(text, handler)                                             \
    if (len == sizeof(text) - 1 && memcmp(path, (text), sizeof(text) - 1) == 0) \
        return &handler;
#define ROUTE_BELOW_(text, handler)                                              \
    if (len > sizeof(text) - 1 && memcmp(path, (text), sizeof(text) - 1) == 0 && \
        !memchr(path + sizeof(text) - 1, '/', len - sizeof(text) + 1))           \
        return &handler;
    ROUTES_EXACT(ROUTE_EXACT_)
    ROUTES_BELOW(ROUTE_BELOW_)
#undef ROUTE_EXACT_
#undef ROUTE_BELOW_
    return NULL;
}

const struct routes handlers_routes = {
    .find = routes_find,
    .allow = "GET, HEAD, POST, OPTIONS",
};
