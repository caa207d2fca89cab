/* SPDX-License-Identifier: MIT */
/*
 * proxy_header.h - the PROXY protocol, versions 1 and 2: what a proxy says of its client before the
 * client's first byte (https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt); and whom that is
 * believed. Pure.
 */
#ifndef BIVALVE_PROXY_HEADER_H
#define BIVALVE_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "peer.h"

#define PROXY_HEADER_MAX 1024 /* bytes of one: version 1 has 107 at most, version 2 may have more */
#define PROXY_NETS_MAX   32
#define PROXY_ERROR_MAX  256

struct sockaddr;

/* Addresses that are believed. */
struct proxy_trust {
    unsigned count;
    struct proxy_net {
        uint8_t addr[16]; /* of IPv4: ::ffff:192.0.2.0 */
        unsigned bits;    /* 0..128 of them count */
    } net[PROXY_NETS_MAX];
};

/*
 * Add "192.0.2.1", "192.0.2.0/24", "2001:db8::/32". 0, or -EINVAL or -ENOSPC with the reason in
 * `error` (PROXY_ERROR_MAX bytes), worded to follow the quoted text.
 */
int proxy_trust_add(struct proxy_trust *t, const char *text, char *error);

/* Is it one of those, or a unix socket, whose permissions say who connects? */
bool proxy_trusts(const struct proxy_trust *t, const struct sockaddr *addr);

enum proxy_result { PROXY_MORE, PROXY_BAD, PROXY_DONE };

struct proxy_header {
    size_t len;                 /* bytes of it */
    char client[PEER_TEXT_MAX]; /* as peer_text() has it; empty: the proxy does not say */
};

/* Read a header from the front of data[0..len). */
enum proxy_result proxy_header_parse(const char *data, size_t len, struct proxy_header *h);

#endif
