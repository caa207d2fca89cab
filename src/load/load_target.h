/* SPDX-License-Identifier: MIT */
/*
 * load_target.h - whom the load is for: a URL taken apart, its address looked up, and sockets to
 * it.
 */
#ifndef BIVALVE_LOAD_TARGET_H
#define BIVALVE_LOAD_TARGET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#define LOAD_ERROR_MAX   768
#define LOAD_SOURCES_MAX 64
#define LOAD_ADDRS_MAX   16 /* of one name */

struct load_addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } u;
    socklen_t len;
};

struct load_target {
    struct load_addr addr;
    struct load_addr list[LOAD_ADDRS_MAX]; /* those that its name has; the first is addr, too */
    unsigned count;
    bool tls;
    char host[256];      /* whose certificate is wanted */
    char authority[300]; /* for Host */
    char text[400];      /* the address, for people */
    const char *uri;     /* path and query, from the URL; points into it, or is "/" */
    size_t uri_len;
};

/*
 * Understand http[s]://HOST[:PORT][/PATH][?QUERY] or unix:PATH[:/URI]; `unix_path`, when not NULL,
 * replaces the address of the first. Names are looked up (getaddrinfo(3)), which may take a while.
 * 0, or -EINVAL with one line in `error` (LOAD_ERROR_MAX bytes).
 */
int load_target_parse(const char *url, const char *unix_path, struct load_target *t, char *error);

/*
 * Where the name has several addresses, of which not all need be served ("localhost" is ::1 and
 * 127.0.0.1): take the first that takes a connection, which is closed again, within `timeout_ms`
 * each. `source`: as load_sources_parse() takes it, or NULL; addresses of another family than its
 * are passed over. Where none is served it stays with the first.
 */
void load_target_choose(struct load_target *t, const char *source, int timeout_ms);

/*
 * Addresses of this machine to connect from, comma-separated, of the target's family, into `list`
 * of LOAD_SOURCES_MAX. Their number, or -EINVAL with one line in `error`.
 */
int load_sources_parse(const char *text, const struct load_target *t, struct load_addr *list,
                       char *error);

/*
 * Where source ports to one 127/8 target run out, further ones are had from another address of
 * 127/8: fills `list` with 127.0.0.1 and those that follow. Their number, 0 for any other target.
 */
int load_sources_loopback(const struct load_target *t, struct load_addr *list);

/*
 * A new non-blocking, close-on-exec socket for the target, bound to `source` unless NULL, its port
 * left for connect(2) to choose. The fd, or -errno.
 */
int load_socket(const struct load_target *t, const struct load_addr *source);

#endif
