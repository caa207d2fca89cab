/* SPDX-License-Identifier: MIT */
/*
 * page_cache.h - is a range of a file in memory, so that reading or sending it waits for no disk?
 */
#ifndef BIVALVE_PAGE_CACHE_H
#define BIVALVE_PAGE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* How far apart the places are that are looked at: what the kernel reads ahead at once by default. */
#define PAGE_CACHE_STEP 131072

/*
 * Looks at a byte every PAGE_CACHE_STEP bytes and at the last of len (> 0), by preadv2(2) with
 * RWF_NOWAIT: a third of a microsecond each. Pages come and go by runs, so this is a good guess, not
 * a promise. True also where nothing better is known: of file systems that cannot say, and beyond
 * the end of the file.
 */
bool page_cache_has(int fd, off_t offset, size_t len);

/* The same, but false where nothing better is known. */
bool page_cache_surely_has(int fd, off_t offset, size_t len);

#endif
