/* SPDX-License-Identifier: MIT */
/*
 * file_ref.h - an open file that several have: closed when the last of them lets go, so that what is
 * being sent stays open whatever becomes of the cache it came from. For one thread.
 */
#ifndef BIVALVE_FILE_REF_H
#define BIVALVE_FILE_REF_H

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/* The beginning of a piece of malloc(3)'s, which goes with the last reference. */
struct file_ref {
    int fd;
    uint32_t refs; /* at first 1: whoever has made it */
};

static inline struct file_ref *file_ref_get(struct file_ref *f)
{
    f->refs++;
    return f;
}

static inline void file_ref_put(struct file_ref *f)
{
    if (--f->refs > 0)
        return;
    close(f->fd);
    free(f);
}

#endif
