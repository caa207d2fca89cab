/* SPDX-License-Identifier: MIT */
/*
 * file_cache.h - files of a static_dir that stay open from one request to the next, a bounded number
 * of them, for one process: --open-file-cache.
 *
 * What is served is what is there. An open file is looked at (fstat(2)) before it is used again: when
 * it has been written to, renamed, removed or replaced its name is looked up anew. What that cannot
 * show - another directory or symlink on the way, a permission of one - is seen when the file has been
 * open for so long that its name is looked up in any case.
 *
 * A name that is not there is not remembered: who asks for many such would drive out what is. But an
 * entry knows which of its precompressed siblings were missing.
 */
#ifndef BIVALVE_FILE_CACHE_H
#define BIVALVE_FILE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "file_ref.h"
#include "static_dir.h"
#include "stats.h"

#define FILE_CACHE_MAX 65536 /* files */

struct file_cache;

struct file_entry {
    struct file_ref ref; /* .fd is the file's; the last reference frees the entry */
    struct stat st;      /* as it is now */
    uint8_t lacks;       /* CODING_BIT() of siblings that are not there: for its user to fill */

    /* the cache's own */
    uint32_t hash;
    uint64_t opened_ms, used_ms;
    struct file_entry *next;          /* in its bucket */
    struct file_entry *newer, *older; /* by use */
    uint32_t len;
    char path[];
};

/*
 * Of up to `max` (1 to FILE_CACHE_MAX) files, each looked up anew when it has been open for `valid_ms`.
 * NULL: no memory. Made before the fork, it is empty in every process.
 */
struct file_cache *file_cache_new(uint32_t max, uint32_t valid_ms);

/* What is being sent stays open. NULL does nothing. */
void file_cache_free(struct file_cache *c);

/*
 * The regular file `path`, a valid one, as static_dir_open() would open it; `now_ms` never falls.
 * 0 and a reference in *entry, to be let go of by file_ref_put(&entry->ref); or -errno.
 */
int file_cache_open(struct file_cache *c, const struct static_dir *d, const char *path, size_t len,
                    uint64_t now_ms, struct stats *stats, struct file_entry **entry);

/*
 * Close what nobody has asked for since `valid_ms`, so that a file which was removed does not keep its
 * room on the disk. True: there are files yet, to be called again.
 */
bool file_cache_sweep(struct file_cache *c, uint64_t now_ms, struct stats *stats);

#endif
