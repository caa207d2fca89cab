/* SPDX-License-Identifier: MIT */
/*
 * fuzz_static.c - a path that is taken for the name of a file never leaves its directory, however it
 * is read: walked segment by segment its depth never falls below 1. Every type is one of the table.
 */
#include "config.h"

#include "fuzz/fuzz.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mime.h"
#include "query.h"
#include "static_dir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

/* Every segment leads down. */
static void walk(const char *path, size_t len)
{
    const char *copy = strndup(path, len);
    size_t segments = 0, seen = 0;

    require(copy && strlen(copy) == len);
    for (const char *s = copy;; s += strcspn(s, "/") + 1) {
        size_t n = strcspn(s, "/");
        segments++;
        seen += n + 1;
        require(n > 0 && !(n == 1 && *s == '.') && !(n == 2 && s[0] == '.' && s[1] == '.'));
        if (!s[n])
            break;
    }
    require(segments > 0 && seen == len + 1);
    free((void *)(uintptr_t)copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mime *types;
    static char decoded[4096];

    if (!types)
        types = mime_load("/nowhere");
    require(types != NULL);
    ptrdiff_t n = query_decode(decoded, sizeof(decoded), (const char *)data, size);
    if (n < 0)
        return 0;
    char *path = malloc((size_t)n + 1); /* exactly so long: reading beyond it is seen */
    require(path != NULL);
    memcpy(path, decoded, (size_t)n);
    path = realloc(path, n ? (size_t)n : 1);
    if (static_path_valid(path, (size_t)n))
        walk(path, (size_t)n);
    require(strchr(mime_type(types, path, (size_t)n), '/') != NULL);
    free(path);
    return 0;
}
