/* SPDX-License-Identifier: MIT */
/*
 * routes.c - which handler serves which path.
 */
#include "config.h"

#include <string.h>

#include "handlers.h"

/*
 * EXACT(path, handler): exactly this path. BELOW: the same with one more segment that is not empty;
 * nothing else may begin so. Lists of literals rather than a table: the compiler turns each
 * comparison into a load or two.
 */
#define ROUTES_SHORT(EXACT, BELOW)         \
    EXACT("/pipeline", pipeline_handler)   \
    EXACT("/baseline11", baseline_handler) \
    BELOW("/json/", json_handler)

/* Those whose requests take so long that finding them does not count. */
#define ROUTES_LONG(EXACT, BELOW)    \
    EXACT("/upload", upload_handler) \
    EXACT("/echo", echo_handler)     \
    BELOW("/delay/", delay_handler)

#define ROUTE_EXACT_(text, handler)                                             \
    if (len == sizeof(text) - 1 && memcmp(path, (text), sizeof(text) - 1) == 0) \
        return &handler;
#define ROUTE_BELOW_(text, handler)                                            \
    if (len > sizeof(text) - 1 && memcmp(path, (text), sizeof(text) - 1) == 0) \
        return memchr(path + sizeof(text) - 1, '/', len - sizeof(text) + 1) ? NULL : &handler;

static __attribute__((noinline)) const struct handler *routes_find_long(const char *path,
                                                                        size_t len)
{
    ROUTES_LONG(ROUTE_EXACT_, ROUTE_BELOW_)
    return NULL;
}

static const struct handler *routes_find(const char *path, size_t len)
{
    ROUTES_SHORT(ROUTE_EXACT_, ROUTE_BELOW_)
    return routes_find_long(path, len);
}

/* Everything below /static/ is a path of its own. */
static const struct handler *routes_find_files(const char *path, size_t len)
{
    static const char files[] = "/static/";
    const struct handler *handler = routes_find(path, len);

    if (!handler && len >= sizeof(files) - 1 && !memcmp(path, files, sizeof(files) - 1))
        return &static_handler;
    return handler;
}

/* Files that nobody asks for are closed. */
static bool routes_trim_files(const void *context, uint64_t now_ms, struct stats *stats)
{
    struct file_cache *cache = ((const struct handlers_context *)context)->cache;

    return cache && file_cache_sweep(cache, now_ms, stats);
}

const struct routes handlers_routes = {
    .find = routes_find,
    .allow = "GET, HEAD, POST, OPTIONS",
};

const struct routes handlers_routes_files = {
    .find = routes_find_files,
    .trim = routes_trim_files,
    .allow = "GET, HEAD, POST, OPTIONS",
};
