/* SPDX-License-Identifier: MIT */
/*
 * listener_unix.c - unix sockets that listen: which of their files is whose. One that a dead server has
 * left behind is replaced, one that somebody answers at is not.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "listener.h"
#include "listener_internal.h"
#include "sys.h"

#define LISTENER_LOCK_TRIES 200 /* 10 ms each */

/* The directory of a path, in `path`, which holds a sun_path; "." where it has none. */
static const char *listener_directory(const struct listener_addr *addr, char *path)
{
    memcpy(path, addr->u.un.sun_path, sizeof(addr->u.un.sun_path));
    char *slash = strrchr(path, '/');
    if (slash)
        slash[slash == path] = '\0';
    return slash ? path : ".";
}

int listener_check_unix(const struct listener_addr *addr, char *error)
{
    char path[sizeof(addr->u.un.sun_path)];
    struct stat st;

    if (stat(listener_directory(addr, path), &st) < 0)
        return listener_error(error, addr, "stat", errno);
    return S_ISDIR(st.st_mode) ? 0 : listener_error(error, addr, "stat", ENOTDIR);
}

/* Make the path free: nothing there, or a socket that nobody answers. 0, or -errno with `error`. */
static int listener_clear_path(const struct listener_addr *addr, char *error)
{
    const char *path = addr->u.un.sun_path;
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : listener_error(error, addr, "lstat", errno);
    if (!S_ISSOCK(st.st_mode)) {
        snprintf(error, LISTENER_ERROR_MAX,
                 "cannot listen on %s: there is a file that is no socket; move it away or choose "
                 "another path",
                 addr->text);
        return -EEXIST;
    }
    int fd = sys_socket(AF_UNIX, SOCK_STREAM, true);
    if (fd < 0)
        return listener_error(error, addr, "socket", errno);
    int err = connect(fd, &addr->u.sa, addr->len) < 0 ? errno : EADDRINUSE;
    close(fd);
    if (err == EAGAIN) /* somebody listens there and is busy */
        err = EADDRINUSE;
    if (err != ECONNREFUSED)
        return err == ENOENT ? 0 : listener_error(error, addr, "connect", err);
    return unlink(path) < 0 && errno != ENOENT ? listener_error(error, addr, "unlink", errno) : 0;
}

/*
 * Lock the directory of the path against other servers that start: a socket that is bound and does
 * not listen yet looks like one that a dead server left behind. The fd to close afterwards, -1
 * where this user may write to the directory but not read it, so that there is no lock to be had;
 * -2 with `error` and errno.
 */
static int listener_lock_directory(const struct listener_addr *addr, char *error)
{
    char path[sizeof(addr->u.un.sun_path)];

    int fd = open(listener_directory(addr, path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == EACCES)
        return -1;
    if (fd < 0) {
        errno = -listener_error(error, addr, "open", errno);
        return -2;
    }
    /* Others hold it for some system calls; who holds it longer is not one of us. */
    for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
        const struct timespec pause = {.tv_nsec = 10000000};
        int err = errno;
        if (err == EINTR)
            continue;
        if (err != EWOULDBLOCK || i >= LISTENER_LOCK_TRIES) {
            close(fd);
            errno = -listener_error(error, addr, "lock of the directory", err);
            return -2;
        }
        nanosleep(&pause, NULL);
    }
    return fd;
}

void listener_note_path(struct listener *l)
{
    struct stat st;

    if (!l->addr.unix_socket || listener_is_abstract(&l->addr) ||
        lstat(l->addr.u.un.sun_path, &st) < 0)
        return;
    l->unix_dev = st.st_dev;
    l->unix_ino = st.st_ino;
    l->unix_made = st.st_mtim; /* inode numbers are used again soon */
}

/*
 * Bind and listen. Everybody may connect, as to a TCP port; who may reach the path is for its
 * directory to say.
 */
static int listener_bind_unix(struct listener *l, char *error)
{
    const struct listener_addr *addr = &l->addr;
    int fd = l->fds[0] = sys_socket(AF_UNIX, SOCK_STREAM, true);

    if (fd < 0)
        return listener_error(error, addr, "socket", errno);
    mode_t mask = umask(0111);
    int rc = bind(fd, &addr->u.sa, addr->len) < 0 ? -errno : 0;
    umask(mask);
    if (rc < 0)
        return listener_error(error, addr, "bind", -rc);
    listener_note_path(l);
    if (listen(fd, LISTENER_BACKLOG) < 0) {
        rc = -errno;
        listener_unlink(l);
        return listener_error(error, addr, "listen", -rc);
    }
    return 0;
}

int listener_open_unix(struct listener *l, char *error)
{
    const struct listener_addr *addr = &l->addr;

    if (listener_is_abstract(addr)) /* no file: the kernel frees it with the last socket */
        return listener_bind_unix(l, error);
    int lock = listener_lock_directory(addr, error);
    if (lock < -1)
        return -errno;
    int rc = listener_clear_path(addr, error);
    if (rc == 0)
        rc = listener_bind_unix(l, error);
    if (lock >= 0)
        close(lock);
    return rc;
}

int listener_unlink(const struct listener *l)
{
    const char *path = l->addr.u.un.sun_path;
    struct stat st;

    if (!l->addr.unix_socket || l->given || !l->unix_ino || lstat(path, &st) < 0)
        return 0;
    if (st.st_dev != l->unix_dev || st.st_ino != l->unix_ino ||
        st.st_mtim.tv_sec != l->unix_made.tv_sec || st.st_mtim.tv_nsec != l->unix_made.tv_nsec)
        return 0; /* another server's by now */
    return unlink(path) < 0 ? -errno : 0;
}
