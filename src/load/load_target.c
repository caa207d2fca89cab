/* SPDX-License-Identifier: MIT */
/*
 * load_target.c - see load_target.h.
 */
#include "config.h"

#include "load_target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "tls.h"
#include "util.h"

static int target_error(char *error, const char *url, const char *what)
{
    char shown[200];

    log_escape(shown, sizeof(shown), url, strlen(url));
    snprintf(error, LOAD_ERROR_MAX, "\"%s\": %s", shown, what);
    return -EINVAL;
}

static int target_unix(struct load_target *t, const char *path, size_t len, char *error)
{
    struct sockaddr_un *un = &t->addr.u.un;

    if (len == 0 || len >= sizeof(un->sun_path)) {
        snprintf(error, LOAD_ERROR_MAX,
                 "a unix socket's path has from 1 to %zu bytes, this one has %zu",
                 sizeof(un->sun_path) - 1, len);
        return -EINVAL;
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, len);
    if (path[0] == '@') { /* abstract, unix(7): its name is as long as its length says */
        un->sun_path[0] = '\0';
        t->addr.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    } else {
        t->addr.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    }
    snprintf(t->text, sizeof(t->text), "unix:%.*s", (int)len, path);
    return 0;
}

/* The target's address is this one. */
static void target_take(struct load_target *t, const struct load_addr *a)
{
    bool ip6 = a->u.sa.sa_family == AF_INET6;
    char shown[INET6_ADDRSTRLEN];

    t->addr = *a;
    inet_ntop(a->u.sa.sa_family,
              ip6 ? (const void *)&a->u.in6.sin6_addr : (const void *)&a->u.in4.sin_addr, shown,
              sizeof(shown));
    snprintf(t->text, sizeof(t->text), ip6 ? "[%s]:%u" : "%s:%u", shown,
             ntohs(ip6 ? a->u.in6.sin6_port : a->u.in4.sin_port));
}

/* host[0..host_len) as addresses, in the resolver's order (RFC 6724). */
static int target_resolve(struct load_target *t, const char *host, size_t host_len,
                          const char *port, size_t port_len, char *error)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char name[256], service[6];
    struct addrinfo *found;

    snprintf(name, sizeof(name), "%.*s", (int)host_len, host);
    snprintf(service, sizeof(service), "%.*s", (int)port_len, port);
    int rc = getaddrinfo(name, service, &hints, &found);
    if (rc != 0) {
        snprintf(error, LOAD_ERROR_MAX, "cannot look up \"%s\": %s", name,
                 rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
        return -EINVAL;
    }
    for (const struct addrinfo *i = found; i && t->count < LOAD_ADDRS_MAX; i = i->ai_next) {
        if (i->ai_family != AF_INET && i->ai_family != AF_INET6)
            continue;
        struct load_addr *a = &t->list[t->count++];
        memcpy(&a->u, i->ai_addr, i->ai_addrlen);
        a->len = i->ai_addrlen;
    }
    freeaddrinfo(found);
    if (t->count == 0) {
        snprintf(error, LOAD_ERROR_MAX, "\"%s\" has no address of IPv4 or IPv6", name);
        return -EINVAL;
    }
    target_take(t, &t->list[0]);
    return 0;
}

/* authority[0..len) is HOST, HOST:PORT, [IPV6] or [IPV6]:PORT. */
static int target_authority(struct load_target *t, const char *url, const char *authority,
                            size_t len, bool resolve, char *error)
{
    const char *end = authority + len, *host = authority, *port = t->tls ? "443" : "80";
    size_t host_len, port_len = strlen(port);
    const char *colon;

    if (memchr(authority, '@', len))
        return target_error(error, url, "a user name in a URL is not sent anywhere: leave it out");
    if (len && *authority == '[') {
        const char *bracket = memchr(authority, ']', len);
        if (!bracket)
            return target_error(error, url, "an IPv6 address stands in brackets: [ADDRESS]:PORT");
        host = authority + 1;
        host_len = (size_t)(bracket - host);
        colon = bracket + 1;
    } else {
        colon = memchr(authority, ':', len);
        if (!colon)
            colon = end;
        host_len = (size_t)(colon - authority);
    }
    if (colon < end) {
        port = colon + 1;
        port_len = (size_t)(end - port);
        long number = 0;
        for (size_t i = 0; i < port_len && number <= 65535; i++)
            number = port[i] >= '0' && port[i] <= '9' ? number * 10 + (port[i] - '0') : 65536;
        if (*colon != ':' || port_len > 5 || number < 1 || number > 65535)
            return target_error(error, url, "its port is no number from 1 to 65535");
    }
    if (host_len == 0 || host_len > 255)
        return target_error(error, url, "it names no host");
    snprintf(t->host, sizeof(t->host), "%.*s", (int)host_len, host);
    snprintf(t->authority, sizeof(t->authority), "%.*s", (int)len, authority);
    return resolve ? target_resolve(t, host, host_len, port, port_len, error) : 0;
}

/* Path and query: what a request line can carry. */
static int target_uri(struct load_target *t, const char *url, const char *uri, char *error)
{
    size_t len = strcspn(uri, "#");

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)uri[i] <= ' ' || (unsigned char)uri[i] >= 0x7f)
            return target_error(error, url,
                                "white space and bytes beyond ASCII are written as %XX in a URL");
    t->uri = len ? uri : "/";
    t->uri_len = len ? len : 1;
    if (*t->uri == '?')
        return target_error(error, url, "write the path before the query: /?...");
    return 0;
}

int load_target_parse(const char *url, const char *unix_path, struct load_target *t, char *error)
{
    int rc;

    memset(t, 0, sizeof(*t));
    if (!strncmp(url, "unix:", 5)) {
        const char *path = url + 5, *uri = strstr(path, ":/");
        if (unix_path)
            return target_error(error, url, "--unix goes with an http:// URL");
        rc = target_unix(t, path, uri ? (size_t)(uri - path) : strlen(path), error);
        snprintf(t->authority, sizeof(t->authority), "localhost");
        return rc < 0 ? rc : target_uri(t, url, uri ? uri + 1 : "", error);
    }
    t->tls = !strncasecmp(url, "https://", 8);
    if (t->tls && !tls_available())
        return target_error(error, url, "this program was built without OpenSSL: use http://");
    if (!t->tls && strncasecmp(url, "http://", 7))
        return target_error(error, url, "a URL begins with http://, https:// or unix:");
    const char *authority = url + (t->tls ? 8 : 7);
    size_t len = strcspn(authority, "/?#");
    rc = target_uri(t, url, authority + len, error);
    if (rc == 0)
        rc = target_authority(t, url, authority, len, !unix_path, error);
    if (rc == 0 && unix_path)
        rc = target_unix(t, unix_path, strlen(unix_path), error);
    return rc;
}

/* Does the target's address take a connection? */
static bool target_is_served(const struct load_target *t, const struct load_addr *source,
                             int timeout_ms)
{
    int fd = load_socket(t, source), err = ETIMEDOUT;
    socklen_t len = sizeof(err);

    if (fd < 0)
        return false;
    int rc = connect(fd, &t->addr.u.sa, t->addr.len);
    if (rc < 0 && errno == EINPROGRESS) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        rc = poll(&p, 1, timeout_ms) == 1 &&
                     getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 && err == 0
                 ? 0
                 : -1;
    }
    close(fd);
    return rc == 0;
}

void load_target_choose(struct load_target *t, const char *source, int timeout_ms)
{
    struct load_addr sources[LOAD_SOURCES_MAX];
    char error[LOAD_ERROR_MAX];
    const struct load_addr *first = NULL;

    if (t->count < 2 || t->addr.u.sa.sa_family == AF_UNIX)
        return;
    for (unsigned i = 0; i < t->count; i++) {
        target_take(t, &t->list[i]);
        if (source && load_sources_parse(source, t, sources, error) < 0)
            continue;
        if (!first)
            first = &t->list[i];
        if (target_is_served(t, source ? sources : NULL, timeout_ms))
            return;
    }
    target_take(t, first ? first : &t->list[0]);
}

int load_sources_parse(const char *text, const struct load_target *t, struct load_addr *list,
                       char *error)
{
    int count = 0;

    for (const char *p = text, *end; p; p = *end ? end + 1 : NULL) {
        char one[INET6_ADDRSTRLEN] = "";
        end = p + strcspn(p, ",");
        if ((size_t)(end - p) < sizeof(one))
            memcpy(one, p, (size_t)(end - p));
        if (count == LOAD_SOURCES_MAX) {
            snprintf(error, LOAD_ERROR_MAX, "--source takes %d addresses at most",
                     LOAD_SOURCES_MAX);
            return -EINVAL;
        }
        struct load_addr *a = &list[count++];
        memset(a, 0, sizeof(*a));
        a->len = t->addr.len;
        a->u.sa.sa_family = t->addr.u.sa.sa_family;
        int rc = a->u.sa.sa_family == AF_INET    ? inet_pton(AF_INET, one, &a->u.in4.sin_addr)
                 : a->u.sa.sa_family == AF_INET6 ? inet_pton(AF_INET6, one, &a->u.in6.sin6_addr)
                                                 : 0;
        if (rc != 1) {
            char shown[100];
            log_escape(shown, sizeof(shown), p, (size_t)(end - p));
            snprintf(error, LOAD_ERROR_MAX, "--source: \"%s\" is no address to connect to %s from",
                     shown, t->text);
            return -EINVAL;
        }
    }
    return count;
}

int load_sources_loopback(const struct load_target *t, struct load_addr *list)
{
    if (t->addr.u.sa.sa_family != AF_INET || ntohl(t->addr.u.in4.sin_addr.s_addr) >> 24 != 127)
        return 0;
    for (unsigned i = 0; i < LOAD_SOURCES_MAX; i++) {
        memset(&list[i], 0, sizeof(list[i]));
        list[i].len = sizeof(struct sockaddr_in);
        list[i].u.in4.sin_family = AF_INET;
        list[i].u.in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK + i);
    }
    return LOAD_SOURCES_MAX;
}

int load_socket(const struct load_target *t, const struct load_addr *source)
{
    static const int on = 1;
    int family = t->addr.u.sa.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (!source)
        return fd;
    /* Without it (before Linux 4.2) bind(2) takes a port that is free for every target, of which there are
     * fewer. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (bind(fd, &source->u.sa, source->len) == 0)
        return fd;
    int rc = -errno;
    close(fd);
    return rc;
}
