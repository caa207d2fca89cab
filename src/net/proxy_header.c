/* SPDX-License-Identifier: MIT */
/*
 * proxy_header.c - see proxy_header.h. Strict: who speaks first is one of us, and what it says is
 * either right or no header.
 */
#include "config.h"

#include "proxy_header.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "util.h"

#define PROXY_V1_MAX 107 /* with its CRLF */
#define PROXY_V2_FIX 16  /* signature, command, family, length */

/* ---- whom to believe ---- */

static const uint8_t proxy_mapped[12] = {[10] = 0xff, [11] = 0xff};

int proxy_trust_add(struct proxy_trust *t, const char *text, char *error)
{
    char addr[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    struct proxy_net net;
    unsigned most;

    if (t->count == PROXY_NETS_MAX) {
        snprintf(error, PROXY_ERROR_MAX, "is one too many: %d is the most", PROXY_NETS_MAX);
        return -ENOSPC;
    }
    snprintf(addr, sizeof(addr), "%.*s", (int)MIN(len, sizeof(addr) - 1), text);
    if (len < sizeof(addr) && inet_pton(AF_INET, addr, net.addr + 12) == 1) {
        memcpy(net.addr, proxy_mapped, sizeof(proxy_mapped));
        most = 32;
    } else if (len < sizeof(addr) && inet_pton(AF_INET6, addr, net.addr) == 1) {
        most = 128;
    } else {
        snprintf(error, PROXY_ERROR_MAX, "is no address like 192.0.2.1 or 2001:db8::/32");
        return -EINVAL;
    }
    net.bits = most;
    if (slash) {
        char *end = NULL;
        unsigned long bits =
            slash[1] >= '0' && slash[1] <= '9' ? strtoul(slash + 1, &end, 10) : 999;
        if (bits > most || !end || *end) {
            snprintf(error, PROXY_ERROR_MAX, "has no number of bits from 0 to %u behind /", most);
            return -EINVAL;
        }
        net.bits = (unsigned)bits;
    }
    net.bits += 128 - most;
    t->net[t->count++] = net;
    return 0;
}

static bool proxy_net_has(const struct proxy_net *net, const uint8_t addr[16])
{
    unsigned bytes = net->bits / 8, bits = net->bits % 8;

    return !memcmp(net->addr, addr, bytes) &&
           (!bits || ((net->addr[bytes] ^ addr[bytes]) & (0xff00 >> bits) & 0xff) == 0);
}

bool proxy_trusts(const struct proxy_trust *t, const struct sockaddr *addr)
{
    uint8_t text[16];

    if (addr->sa_family == AF_UNIX)
        return true;
    if (addr->sa_family == AF_INET) {
        memcpy(text, proxy_mapped, sizeof(proxy_mapped));
        memcpy(text + 12, &((const struct sockaddr_in *)(const void *)addr)->sin_addr, 4);
    } else if (addr->sa_family == AF_INET6) {
        memcpy(text, &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr, 16);
    } else {
        return false;
    }
    for (unsigned i = 0; i < t->count; i++)
        if (proxy_net_has(&t->net[i], text))
            return true;
    return false;
}

/* ---- the header ---- */

/* A port without leading zeros; returns what stands behind it, NULL: it is none. */
static const char *proxy_port(const char *s)
{
    unsigned port = 0;
    const char *from = s;

    for (; *s >= '0' && *s <= '9' && s - from < 6; s++)
        port = port * 10 + (unsigned)(*s - '0');
    return s == from || port > 65535 || (*from == '0' && s - from > 1) ? NULL : s;
}

/* The fields behind "PROXY TCP4 " or "PROXY TCP6 ", NUL-terminated without the CRLF. */
static bool proxy_v1_fields(char *s, int family, struct proxy_header *h)
{
    uint8_t addr[2][16];

    for (int i = 0; i < 2; i++) {
        char *space = strchr(s, ' ');
        if (!space)
            return false;
        *space = '\0';
        if (inet_pton(family, s, addr[i]) != 1)
            return false;
        s = space + 1;
    }
    const char *end = proxy_port(s);
    end = end && *end == ' ' ? proxy_port(end + 1) : NULL;
    if (!end || *end)
        return false;
    inet_ntop(family, addr[0], h->client, sizeof(h->client)); /* in one spelling */
    return true;
}

static enum proxy_result proxy_v1(const char *data, size_t len, struct proxy_header *h)
{
    char line[PROXY_V1_MAX + 1];
    const char *lf = memchr(data, '\n', MIN(len, PROXY_V1_MAX));

    if (!lf)
        return len < PROXY_V1_MAX ? PROXY_MORE : PROXY_BAD;
    h->len = (size_t)(lf - data) + 1;
    if (h->len < 2 || lf[-1] != '\r' || memchr(data, '\0', h->len))
        return PROXY_BAD;
    memcpy(line, data, h->len - 2);
    line[h->len - 2] = '\0';
    if (!strncmp(line, "PROXY TCP4 ", 11))
        return proxy_v1_fields(line + 11, AF_INET, h) ? PROXY_DONE : PROXY_BAD;
    if (!strncmp(line, "PROXY TCP6 ", 11))
        return proxy_v1_fields(line + 11, AF_INET6, h) ? PROXY_DONE : PROXY_BAD;
    /* The rest of a line that knows nothing is to be ignored. */
    return !strcmp(line, "PROXY UNKNOWN") || !strncmp(line, "PROXY UNKNOWN ", 14) ? PROXY_DONE
                                                                                  : PROXY_BAD;
}

/* Command, family, length and what follows; `p` behind the signature. */
static enum proxy_result proxy_v2(const uint8_t *p, size_t len, struct proxy_header *h)
{
    static const struct {
        uint8_t family, bytes; /* of both addresses and ports */
    } known[] = {{0x00, 0}, {0x11, 12}, {0x21, 36}, {0x31, 216}};
    size_t i = 0;

    if (p[0] != 0x20 && p[0] != 0x21) /* version 2; LOCAL or PROXY */
        return PROXY_BAD;
    while (i < ARRAY_LEN(known) && known[i].family != p[1])
        i++;
    size_t follow = (size_t)p[2] << 8 | p[3];
    h->len = PROXY_V2_FIX + follow;
    if (h->len > PROXY_HEADER_MAX)
        return PROXY_BAD;
    if (p[0] == 0x21 && (i == ARRAY_LEN(known) || follow < known[i].bytes))
        return PROXY_BAD;
    if (len < h->len)
        return PROXY_MORE;
    if (p[0] == 0x20) /* the proxy itself, to see whether we live */
        return PROXY_DONE;
    if (p[1] == 0x11)
        inet_ntop(AF_INET, p + 4, h->client, sizeof(h->client));
    else if (p[1] == 0x21)
        inet_ntop(AF_INET6, p + 4, h->client, sizeof(h->client));
    else if (p[1] == 0x31)
        snprintf(h->client, sizeof(h->client), "unix:");
    return PROXY_DONE;
}

enum proxy_result proxy_header_parse(const char *data, size_t len, struct proxy_header *h)
{
    static const char v1[] = "PROXY ", v2[] = "\r\n\r\n\0\r\nQUIT\n";

    memset(h, 0, sizeof(*h));
    if (!memcmp(data, v1, MIN(len, sizeof(v1) - 1)))
        return proxy_v1(data, len, h);
    if (memcmp(data, v2, MIN(len, sizeof(v2) - 1)))
        return PROXY_BAD;
    if (len < PROXY_V2_FIX)
        return PROXY_MORE;
    return proxy_v2((const uint8_t *)data + sizeof(v2) - 1, len, h);
}
