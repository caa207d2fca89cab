/* SPDX-License-Identifier: MIT */
/*
 * page_cache.c - see page_cache.h.
 */
#include "config.h"

#include "page_cache.h"

#include <errno.h>
#include <sys/uio.h>

/* False: the byte at `offset` is not in memory. */
static bool page_cache_has_byte(int fd, off_t offset)
{
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};

    return preadv2(fd, &iov, 1, offset, RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

bool page_cache_has(int fd, off_t offset, size_t len)
{
    for (size_t at = 0; at + 1 < len; at += PAGE_CACHE_STEP)
        if (!page_cache_has_byte(fd, offset + (off_t)at))
            return false;
    return page_cache_has_byte(fd, offset + (off_t)len - 1);
}
