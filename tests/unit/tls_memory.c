/* SPDX-License-Identifier: MIT */
/*
 * tls_memory.c - see tls_memory.h.
 */
#include "config.h"

#include "tls_memory.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>

#include <openssl/crypto.h>

long memory_fail_at;
long memory_calls;
size_t memory_held;

static bool memory_fails(void)
{
    return ++memory_calls >= memory_fail_at && memory_fail_at;
}

/* With what malloc(3) needs for itself. */
static size_t memory_of(void *p)
{
    return p ? malloc_usable_size(p) + sizeof(size_t) : 0;
}

static void *memory_alloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    void *p = memory_fails() ? NULL : malloc(size);
    memory_held += memory_of(p);
    return p;
}

static void *memory_realloc(void *old, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    if (memory_fails())
        return NULL;
    memory_held -= memory_of(old);
    void *p = realloc(old, size);
    memory_held += memory_of(p);
    return p;
}

static void memory_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    memory_held -= memory_of(p);
    free(p);
}

void memory_init(void)
{
    CRYPTO_set_mem_functions(memory_alloc, memory_realloc, memory_free);
}
