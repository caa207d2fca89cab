/* SPDX-License-Identifier: MIT */
/*
 * page_cache.c - see page_cache.h.
 */
#include "config.h"

#include "page_cache.h"

#include <errno.h>

#include "sys.h"

/* 0: the byte at `offset` is in memory; EAGAIN: it is not; another errno: nobody can tell. */
static int page_cache_look_at(int fd, off_t offset)
{
    char byte;

    return sys_read_cached(fd, &byte, 1, offset) >= 0 ? 0 : errno;
}

/* The first of a range that is not 0. */
static int page_cache_look(int fd, off_t offset, size_t len)
{
    for (size_t at = 0; at + 1 < len; at += PAGE_CACHE_STEP) {
        int rc = page_cache_look_at(fd, offset + (off_t)at);
        if (rc)
            return rc;
    }
    return page_cache_look_at(fd, offset + (off_t)len - 1);
}

bool page_cache_has(int fd, off_t offset, size_t len)
{
    return page_cache_look(fd, offset, len) != EAGAIN;
}

bool page_cache_surely_has(int fd, off_t offset, size_t len)
{
    return page_cache_look(fd, offset, len) == 0;
}
