/* SPDX-License-Identifier: MIT */
/*
 * shim_disk.c - an LD_PRELOAD library that plays a slow disk: files of exactly BIVALVE_DISK_SIZE
 * bytes are never in memory, and each read of one, or sending what has not been read before, takes
 * BIVALVE_DISK_MS.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)(uintptr_t)dlsym(RTLD_NEXT, #name)

static _Atomic off_t disk_read; /* the furthest that has been read of such a file */

static long disk_env(const char *name)
{
    const char *s = getenv(name);

    return s ? strtol(s, NULL, 10) : -1;
}

static int disk_is_on(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           st.st_size == disk_env("BIVALVE_DISK_SIZE");
}

static void disk_wait(void)
{
    long ms = disk_env("BIVALVE_DISK_MS");
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        continue;
}

ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    REAL(preadv2);
    if ((flags & RWF_NOWAIT) && disk_is_on(fd)) {
        errno = EAGAIN;
        return -1;
    }
    return real(fd, iov, count, offset, flags);
}

ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
    REAL(pread);
    /* A small read is TLS's, of what has been read: a copy. Large ones are those of the readers. */
    if (!disk_is_on(fd) || (len <= 16384 && offset + (off_t)len <= disk_read))
        return real(fd, buf, len, offset);
    disk_wait();
    ssize_t n = real(fd, buf, len, offset);
    if (n > 0 && offset + n > disk_read)
        disk_read = offset + n;
    return n;
}

ssize_t pread64(int fd, void *buf, size_t len, off64_t offset)
{
    return pread(fd, buf, len, (off_t)offset);
}

ssize_t __pread_chk(int fd, void *buf, size_t len, off_t offset, size_t size);
ssize_t __pread_chk(int fd, void *buf, size_t len, off_t offset, size_t size)
{
    (void)size;
    return pread(fd, buf, len, offset);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t len)
{
    REAL(sendfile);
    if (disk_is_on(in) && offset && *offset + (off_t)len > disk_read)
        disk_wait();
    return real(out, in, offset, len);
}
