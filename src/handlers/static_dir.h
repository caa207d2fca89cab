/* SPDX-License-Identifier: MIT */
/*
 * static_dir.h - a directory whose files are served: what a path of a request may name in it, and
 * opening that without ever leaving it.
 */
#ifndef BIVALVE_STATIC_DIR_H
#define BIVALVE_STATIC_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "mime.h"

#define STATIC_PATH_MAX  4000 /* bytes of a path beneath the directory */
#define STATIC_ERROR_MAX 512

struct static_dir {
    int fd;            /* of the directory itself; -1: none is served */
    bool step_by_step; /* the kernel has no openat2(2): segment by segment, and no symlinks */
    struct mime *types;
};

/*
 * Open the directory, for the processes that are forked from now on, and read the system's
 * mime.types. 0, or -errno with one line in `error` (STATIC_ERROR_MAX bytes) that names the cause
 * and the way out, and nothing left behind.
 */
int static_dir_init(struct static_dir *d, const char *path, char *error);
void static_dir_destroy(struct static_dir *d);

/*
 * Can it be the name of a file beneath a directory? Not empty, no segment that is empty, "." or
 * "..", no NUL.
 */
bool static_path_valid(const char *path, size_t len);

/*
 * Open the regular file `path`, a valid one, beneath the directory for reading. Symlinks are followed
 * where they lead to a place beneath it, too (never, with step_by_step). The fd and *st, or -errno:
 * -ENOENT also for what is no regular file, -EXDEV or -ELOOP for what leads out.
 */
int static_dir_open(const struct static_dir *d, const char *path, struct stat *st);

#endif
