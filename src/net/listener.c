/* SPDX-License-Identifier: MIT */
/*
 * listener.c - the sockets of an address; of one with a path, listener_unix.c.
 *
 * Each worker has a socket of its own on the same address (SO_REUSEPORT), and yet a second server
 * must not slip in beside the first. So the first socket is bound and listens without SO_REUSEPORT:
 * that fails if anybody else is there, and nobody else can come after. Only then is the option set
 * on it, and the other sockets join. There is no moment at which the address is free, and port 0 is
 * resolved once.
 */
#include "config.h"

#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "listener_internal.h"
#include "sys.h"
#include "util.h"

/* ---- opening ---- */

int listener_error(char *error, const struct listener_addr *addr, const char *call, int err)
{
    const char *path = addr->u.un.sun_path;

    switch (err) {
    case EADDRINUSE:
        snprintf(error, LISTENER_ERROR_MAX,
                 "cannot listen on %s: address in use: another server listens there; stop it or "
                 "choose another --listen",
                 addr->text);
        break;
    case EADDRNOTAVAIL:
        snprintf(error, LISTENER_ERROR_MAX,
                 "cannot listen on %s: no interface of this machine has that address; choose one "
                 "that \"ip address\" shows, or 0.0.0.0 or [::] for all",
                 addr->text);
        break;
    case EACCES:
    case EPERM:
        if (addr->unix_socket)
            snprintf(error, LISTENER_ERROR_MAX,
                     "cannot listen on %s: %s: this user may not write to the directory of %s",
                     addr->text, strerror(err), path);
        else
            snprintf(
                error, LISTENER_ERROR_MAX,
                "cannot listen on %s: %s: ports below net.ipv4.ip_unprivileged_port_start need "
                "root (with --user) or CAP_NET_BIND_SERVICE; or choose a port from 1024 up",
                addr->text, strerror(err));
        break;
    case EAFNOSUPPORT:
        snprintf(error, LISTENER_ERROR_MAX,
                 "cannot listen on %s: this kernel has no %s; leave that --listen out", addr->text,
                 addr->u.sa.sa_family == AF_INET6 ? "IPv6" : "such sockets");
        break;
    case ENOENT:
    case ENOTDIR:
        snprintf(error, LISTENER_ERROR_MAX, "cannot listen on %s: %s: make the directory first",
                 addr->text, strerror(err));
        break;
    case EMFILE:
    case ENFILE:
        snprintf(error, LISTENER_ERROR_MAX,
                 "cannot listen on %s: %s: raise the limit (ulimit -n) or lower --workers",
                 addr->text, strerror(err));
        break;
    default:
        snprintf(error, LISTENER_ERROR_MAX, "cannot listen on %s: %s: %s", addr->text, call,
                 strerror(err));
    }
    return -err;
}

static int listener_set(int fd, int level, int name)
{
    const int on = 1;

    return setsockopt(fd, level, name, &on, sizeof(on)) < 0 ? -errno : 0;
}

/* A TCP socket with everything set that accepted ones inherit. The fd or -errno. */
static int listener_socket_tcp(int family)
{
    int fd = sys_socket(family, SOCK_STREAM, true);
    int rc = 0;

    if (fd < 0)
        return -errno;
    if (family == AF_INET6) /* [::] is IPv6 alone, so that 0.0.0.0 can stand beside it */
        rc = listener_set(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    if (rc == 0)
        rc = listener_set(fd, SOL_SOCKET, SO_REUSEADDR); /* TIME_WAIT is no hindrance */
    if (rc == 0)
        rc = listener_set(fd, IPPROTO_TCP, TCP_NODELAY);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return fd;
}

/*
 * One listening socket on `addr`; `join`: beside ours that are there. The fd, or -errno with
 * `error`.
 */
static int listener_open_one(const struct listener_addr *addr, bool join, char *error)
{
    const char *call = "socket";
    int fd = listener_socket_tcp(addr->u.sa.sa_family);
    int rc = MIN(fd, 0);

    if (rc == 0 && join) {
        call = "SO_REUSEPORT";
        rc = listener_set(fd, SOL_SOCKET, SO_REUSEPORT);
    }
    if (rc == 0) {
        call = "bind";
        rc = bind(fd, &addr->u.sa, addr->len) < 0 ? -errno : 0;
    }
    if (rc == 0) {
        call = "listen";
        rc = listen(fd, LISTENER_BACKLOG) < 0 ? -errno : 0;
    }
    if (rc == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return listener_error(error, addr, call, -rc);
}

static int listener_open_tcp(struct listener *l, char *error)
{
    struct listener_addr *addr = &l->addr;
    bool any_port =
        (addr->u.sa.sa_family == AF_INET6 ? addr->u.in6.sin6_port : addr->u.in4.sin_port) == 0;

    int first = l->fds[0] = listener_open_one(addr, false, error);
    if (first < 0)
        return first;
    if (getsockname(first, &addr->u.sa, &addr->len) < 0)
        return listener_error(error, addr, "getsockname", errno);
    listener_describe(addr);
    if (l->count == 1)
        return 0;
    int rc = listener_set(first, SOL_SOCKET, SO_REUSEPORT);
    if (rc < 0)
        return listener_error(error, addr, "SO_REUSEPORT", -rc);
    for (unsigned i = 1; i < l->count; i++)
        if ((l->fds[i] = listener_open_one(addr, true, error)) < 0)
            return l->fds[i];
    if (!any_port)
        return 0;
    /*
     * A port that was not asked for by its number would be lost in listener_suspend(): replace that
     * socket.
     */
    l->fds[0] = listener_open_one(addr, true, error);
    close(first);
    return MIN(l->fds[0], 0);
}

int listener_check(const struct listener_addr *addr, char *error)
{
    struct listener_addr any = *addr;

    if (listener_is_abstract(addr) || addr->named)
        return 0;
    if (addr->unix_socket)
        return listener_check_unix(addr, error);
    int fd = listener_socket_tcp(addr->u.sa.sa_family);
    if (fd < 0)
        return listener_error(error, addr, "socket", -fd);
    if (addr->u.sa.sa_family == AF_INET6)
        any.u.in6.sin6_port = 0;
    else
        any.u.in4.sin_port = 0;
    int rc = bind(fd, &any.u.sa, any.len) < 0 ? listener_error(error, addr, "bind", errno) : 0;
    close(fd);
    return rc;
}

/* Memory for `count` sockets, none of which is open. 0, or -errno with `error`. */
static int listener_init(struct listener *l, const struct listener_addr *asked, unsigned count,
                         char *error)
{
    memset(l, 0, sizeof(*l));
    l->addr = *asked;
    memcpy(l->asked, asked->text, sizeof(l->asked));
    l->count = count;
    l->fds = calloc(l->count, sizeof(*l->fds));
    l->suspended = calloc(l->count, sizeof(*l->suspended));
    if (!l->fds || !l->suspended) {
        free(l->fds);
        free(l->suspended);
        memset(l, 0, sizeof(*l));
        return listener_error(error, asked, "calloc", ENOMEM);
    }
    for (unsigned i = 0; i < l->count; i++)
        l->fds[i] = -1;
    return 0;
}

int listener_open(struct listener *l, const struct listener_addr *addr, unsigned workers,
                  char *error)
{
    int rc = listener_init(l, addr, addr->unix_socket ? 1 : workers, error);

    if (rc < 0)
        return rc;
    rc = addr->unix_socket ? listener_open_unix(l, error) : listener_open_tcp(l, error);
    if (rc < 0)
        listener_destroy(l);
    return rc;
}

/* ---- taking over what is open ---- */

static int listener_number(int fd, int name)
{
    int value = 0;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -errno : value;
}

int listener_inspect(int fd, struct listener_addr *addr, char *error)
{
    int type = listener_number(fd, SO_TYPE);
    size_t path_at = offsetof(struct sockaddr_un, sun_path), path_len;

    memset(addr, 0, sizeof(*addr));
    addr->len = sizeof(addr->u);
    if (type < 0 || getsockname(fd, &addr->u.sa, &addr->len) < 0) {
        snprintf(error, LISTENER_ERROR_MAX, "is no socket: %s", strerror(type < 0 ? -type : errno));
        return -ENOTSOCK;
    }
    if (type != SOCK_STREAM || listener_number(fd, SO_ACCEPTCONN) != 1) {
        snprintf(
            error, LISTENER_ERROR_MAX,
            "is no stream socket that listens (ListenStream= and Accept=no of the socket unit)");
        return -EINVAL;
    }
    switch (addr->u.sa.sa_family) {
    case AF_INET:
    case AF_INET6: listener_describe(addr); return 0;
    case AF_UNIX:
        addr->unix_socket = true;
        path_len = addr->len > path_at ? addr->len - path_at : 0;
        if (addr->u.un.sun_path[0])
            path_len = strnlen(addr->u.un.sun_path, path_len);
        snprintf(addr->text, sizeof(addr->text), "unix:%s%.*s", addr->u.un.sun_path[0] ? "" : "@",
                 (int)path_len - !addr->u.un.sun_path[0],
                 addr->u.un.sun_path + !addr->u.un.sun_path[0]);
        return 0;
    default:
        snprintf(error, LISTENER_ERROR_MAX, "is neither of IPv4, IPv6 nor unix");
        return -EAFNOSUPPORT;
    }
}

bool listener_same_place(const struct listener_addr *a, const struct listener_addr *b)
{
    if (a->named || b->named || a->u.sa.sa_family != b->u.sa.sa_family)
        return false;
    switch (a->u.sa.sa_family) {
    case AF_INET:
        return a->u.in4.sin_port == b->u.in4.sin_port &&
               a->u.in4.sin_addr.s_addr == b->u.in4.sin_addr.s_addr;
    case AF_INET6:
        return a->u.in6.sin6_port == b->u.in6.sin6_port &&
               !memcmp(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr, sizeof(a->u.in6.sin6_addr));
    default: return !strcmp(a->text, b->text);
    }
}

int listener_adopt(struct listener *l, const struct listener_addr *asked,
                   const struct listener_addr *addr, const int *fds, unsigned count, char *error)
{
    int rc = listener_init(l, asked, count, error);

    if (rc < 0)
        return rc;
    l->addr = *addr;
    l->addr.tls = asked->tls;
    l->addr.proxy = asked->proxy;
    for (unsigned i = 0; i < count; i++) {
        int flags = fcntl(fds[i], F_GETFL);
        l->fds[i] = fds[i];
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
        if (flags < 0 || fcntl(fds[i], F_SETFL, flags | O_NONBLOCK) < 0)
            rc = listener_error(error, addr, "fcntl", errno);
        else if (!addr->unix_socket)
            listener_set(fds[i], IPPROTO_TCP, TCP_NODELAY);
    }
    if (rc < 0) {
        memset(l->fds, -1, count * sizeof(*l->fds));
        listener_destroy(l);
    } else {
        listener_note_path(l);
    }
    return rc;
}

void listener_disown(struct listener *l)
{
    l->unix_ino = 0;
}

/* ---- while it is open ---- */

int listener_limit_unsent(const struct listener *l, uint32_t bytes)
{
    const int value = (int)MIN(bytes, (uint32_t)INT32_MAX);

    if (l->addr.unix_socket || value == 0)
        return 0;
    for (unsigned i = 0; i < l->count; i++)
        if (sys_limit_unsent(l->fds[i], value) < 0)
            return -errno;
    return 0;
}

int listener_fd(const struct listener *l, unsigned i)
{
    return l->fds[i];
}

static void listener_close_one(struct listener *l, unsigned i)
{
    if (l->fds[i] >= 0)
        close(l->fds[i]);
    l->fds[i] = -1;
}

void listener_keep_only(struct listener *l, const int *fds, unsigned count)
{
    for (unsigned i = 0; i < l->count; i++) {
        unsigned k = 0;
        while (k < count && fds[k] != l->fds[i])
            k++;
        if (k == count)
            listener_close_one(l, i);
    }
}

void listener_close(struct listener *l)
{
    for (unsigned i = 0; i < l->count; i++)
        listener_close_one(l, i);
}

void listener_destroy(struct listener *l)
{
    listener_close(l);
    free(l->fds);
    free(l->suspended);
    memset(l, 0, sizeof(*l));
}

bool listener_suspend(struct listener *l, unsigned at)
{
    unsigned open = 0;

    if (l->count == 1 || l->given || l->suspended[at] || l->fds[at] < 0)
        return false;
    for (unsigned i = 0; i < l->count; i++)
        open += l->fds[i] >= 0 && !l->suspended[i];
    if (open < 2)
        return false;
    /*
     * On Linux this ends listening but keeps the port: tcp_disconnect() leaves bound what bind()
     * was asked for.
     */
    if (shutdown(l->fds[at], SHUT_RDWR) < 0)
        return false;
    l->suspended[at] = true;
    return true;
}

int listener_resume(struct listener *l, unsigned at)
{
    if (l->count == 1 || !l->suspended[at])
        return 0;
    if (listen(l->fds[at], LISTENER_BACKLOG) < 0)
        return -errno;
    l->suspended[at] = false;
    return 0;
}
