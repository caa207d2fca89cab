/* SPDX-License-Identifier: MIT */
/*
 * listener_addr.c - addresses to listen on: what they look like in an option, and in the log.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "listener.h"

/* A port number from 0 to 65535, digits only, or -1. */
static int listener_parse_port(const char *text)
{
    int port = 0;

    if (!*text || strlen(text) > 5)
        return -1;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        port = port * 10 + (*text - '0');
    }
    return port <= 65535 ? port : -1;
}

static int listener_parse_unix(const char *path, struct listener_addr *addr, char *error)
{
    size_t len = strlen(path);
    bool abstract = *path == '@';

    if (len <= abstract || len >= sizeof(addr->u.un.sun_path)) {
        snprintf(error, LISTENER_ERROR_MAX, "has no %s of 1 to %zu bytes behind %s",
                 abstract ? "name" : "path", sizeof(addr->u.un.sun_path) - 1 - abstract,
                 abstract ? "unix:@" : "unix:");
        return -EINVAL;
    }
    addr->unix_socket = true;
    addr->u.un.sun_family = AF_UNIX;
    memcpy(addr->u.un.sun_path, path, len + 1);
    addr->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    if (abstract) { /* unix(7): a NUL instead of the @, and none behind the name */
        addr->u.un.sun_path[0] = '\0';
        addr->len--;
    }
    snprintf(addr->text, sizeof(addr->text), "unix:%s", path);
    return 0;
}

bool listener_is_abstract(const struct listener_addr *addr)
{
    return addr->unix_socket && !addr->u.un.sun_path[0];
}

bool listener_is_local(const struct listener_addr *addr)
{
    static const uint8_t loopback6[16] = {[15] = 1};

    if (addr->unix_socket || addr->named) /* of a name nobody knows yet */
        return true;
    if (addr->u.sa.sa_family == AF_INET6)
        return memcmp(&addr->u.in6.sin6_addr, loopback6, sizeof(loopback6)) == 0;
    return ntohl(addr->u.in4.sin_addr.s_addr) >> 24 == 127;
}

void listener_describe(struct listener_addr *addr)
{
    char host[INET6_ADDRSTRLEN];

    if (addr->unix_socket)
        return;
    if (addr->u.sa.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &addr->u.in6.sin6_addr, host, sizeof(host));
        snprintf(addr->text, sizeof(addr->text), "[%s]:%u", host, ntohs(addr->u.in6.sin6_port));
    } else {
        inet_ntop(AF_INET, &addr->u.in4.sin_addr, host, sizeof(host));
        snprintf(addr->text, sizeof(addr->text), "%s:%u", host, ntohs(addr->u.in4.sin_port));
    }
}

/* What FileDescriptorName= of systemd.socket(5) can be. */
static int listener_parse_name(const char *name, struct listener_addr *addr, char *error)
{
    size_t len = strlen(name);
    bool ok = len > 0 && len < sizeof(addr->text) - strlen("fd:");

    for (size_t i = 0; i < len; i++)
        ok = ok && name[i] > ' ' && name[i] < 127 && name[i] != ':';
    if (!ok) {
        snprintf(error, LISTENER_ERROR_MAX, "has no name of 1 to %zu printable bytes behind fd:",
                 sizeof(addr->text) - strlen("fd:") - 1);
        return -EINVAL;
    }
    addr->named = true;
    addr->len = sizeof(addr->u.sa.sa_family);
    addr->u.sa.sa_family = AF_UNSPEC;
    snprintf(addr->text, sizeof(addr->text), "fd:%s", name);
    return 0;
}

int listener_parse(const char *text, struct listener_addr *addr, char *error)
{
    char host[INET6_ADDRSTRLEN];
    bool ip6 = text[0] == '[';

    memset(addr, 0, sizeof(*addr));
    if (!strncmp(text, "fd:", 3))
        return listener_parse_name(text + 3, addr, error);
    if (!strncmp(text, "unix:", 5))
        return listener_parse_unix(text + 5, addr, error);

    const char *host_start = text + ip6;
    const char *host_end = ip6 ? strchr(text, ']') : strrchr(text, ':');
    const char *colon = host_end && ip6 ? host_end + 1 : host_end;
    if (!host_end || *colon != ':' || (size_t)(host_end - host_start) >= sizeof(host)) {
        snprintf(error, LISTENER_ERROR_MAX,
                 "is no ADDRESS:PORT, [IPV6]:PORT, unix:PATH, unix:@NAME or fd:NAME");
        return -EINVAL;
    }
    memcpy(host, host_start, (size_t)(host_end - host_start));
    host[host_end - host_start] = '\0';
    int port = listener_parse_port(colon + 1);
    if (port < 0) {
        snprintf(error, LISTENER_ERROR_MAX, "does not end in a port from 0 to 65535");
        return -EINVAL;
    }
    if (ip6 && inet_pton(AF_INET6, host, &addr->u.in6.sin6_addr) == 1) {
        addr->u.in6.sin6_family = AF_INET6;
        addr->u.in6.sin6_port = htons((uint16_t)port);
        addr->len = sizeof(addr->u.in6);
    } else if (!ip6 && inet_pton(AF_INET, host, &addr->u.in4.sin_addr) == 1) {
        addr->u.in4.sin_family = AF_INET;
        addr->u.in4.sin_port = htons((uint16_t)port);
        addr->len = sizeof(addr->u.in4);
    } else {
        snprintf(error, LISTENER_ERROR_MAX, "has no %s address before the port%s",
                 ip6 ? "IPv6" : "IPv4",
                 strchr(host, ':') && !ip6 ? " (an IPv6 address stands in brackets)"
                 : *host                   ? " (names are not looked up)"
                                           : " (all of them are 0.0.0.0:PORT and [::]:PORT)");
        return -EINVAL;
    }
    listener_describe(addr);
    return 0;
}
