/* SPDX-License-Identifier: MIT */
/*
 * static_dir.c - see static_dir.h.
 *
 * The directory is opened once, and everything is looked up beneath that fd: who exchanges it for
 * another of the same name has to start the server again. What is in it may change at any time.
 */
#include "config.h"

#include "static_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "sys.h"
#include "util.h"

#ifdef HAVE_LINUX_OPENAT2_H
#include <linux/openat2.h>
#include <sys/syscall.h>
#endif

/* A fifo does not hold us up, and a terminal does not become ours. */
#define STATIC_OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

#define STATIC_RETRIES 3 /* of a lookup that a rename elsewhere has disturbed */

#if defined(HAVE_LINUX_OPENAT2_H) && defined(SYS_openat2)

/* Never out of the directory, also not by symlinks; not through /proc's magic ones. */
static int static_open_beneath(int dir, const char *path, uint64_t flags)
{
    const struct open_how how = {.flags = flags,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = -1;

    /* EAGAIN: it could not be made sure that ".." stayed inside, openat2(2) */
    for (int i = 0; i < STATIC_RETRIES; i++) {
        fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
        if (likely(fd >= 0) || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return fd < 0 ? -errno : (int)fd;
}

#else

static int static_open_beneath(int dir, const char *path, uint64_t flags)
{
    (void)dir, (void)path, (void)flags;
    return -ENOSYS;
}

#endif

/* Segment by segment, so that none of them can be a symlink. */
static int static_open_steps(int dir, const char *path)
{
    char segment[NAME_MAX + 1];
    int at = dir, next;

    for (;;) {
        size_t len = strcspn(path, "/");
        if (len > NAME_MAX)
            next = -1, errno = ENAMETOOLONG;
        else {
            memcpy(segment, path, len);
            segment[len] = '\0';
            next = openat(at, segment,
                          O_NOFOLLOW | (path[len] ? SYS_O_PATH | O_DIRECTORY | O_CLOEXEC
                                                  : STATIC_OPEN_FLAGS));
        }
        int err = errno;
        if (at != dir)
            close(at);
        if (next < 0)
            return -err;
        if (!path[len])
            return next;
        at = next;
        path += len + 1;
    }
}

int static_dir_init(struct static_dir *d, const char *path, char *error)
{
    d->types = NULL;
    d->step_by_step = false;
    d->fd = open(path, SYS_O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (d->fd < 0) {
        int err = errno;
        snprintf(error, STATIC_ERROR_MAX, "cannot open the directory %s: %s%s", path, strerror(err),
                 err == EACCES ? " (the server's user has to be able to enter all of its path)"
                               : "");
        return -err;
    }
    int probe = static_open_beneath(d->fd, ".", SYS_O_PATH | O_CLOEXEC);
    if (probe >= 0)
        close(probe);
    else
        d->step_by_step = true;
    d->types = mime_load(MIME_SYSTEM_FILE);
    if (!d->types) {
        snprintf(error, STATIC_ERROR_MAX, "no memory for the list of types of files");
        static_dir_destroy(d);
        return -ENOMEM;
    }
    if (d->step_by_step)
        log_notice("no openat2(2) here: symlinks below %s are not followed", path);
    return 0;
}

void static_dir_destroy(struct static_dir *d)
{
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
    mime_free(d->types);
    d->types = NULL;
}

bool static_path_valid(const char *path, size_t len)
{
    const char *s = path, *end = path + len;

    if (len == 0 || len > STATIC_PATH_MAX || memchr(path, '\0', len))
        return false;
    for (;;) {
        const char *slash = memchr(s, '/', (size_t)(end - s)), *stop = slash ? slash : end;
        size_t n = (size_t)(stop - s);
        if (n == 0 || (n <= 2 && s[0] == '.' && s[n - 1] == '.'))
            return false;
        if (!slash)
            return true;
        s = slash + 1;
    }
}

int static_dir_open(const struct static_dir *d, const char *path, struct stat *st)
{
    int fd = unlikely(d->step_by_step) ? static_open_steps(d->fd, path)
                                       : static_open_beneath(d->fd, path, STATIC_OPEN_FLAGS);

    if (fd < 0)
        return fd == -ENXIO || fd == -ENODEV ? -ENOENT : fd; /* a socket, a device without driver */
    if (unlikely(fstat(fd, st) < 0)) {
        int err = errno;
        close(fd);
        return -err;
    }
    if (unlikely(!S_ISREG(st->st_mode))) {
        close(fd);
        return -ENOENT;
    }
    return fd;
}
