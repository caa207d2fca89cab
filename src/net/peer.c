/* SPDX-License-Identifier: MIT */
/*
 * peer.c - see peer.h.
 */
#include "config.h"

#include "peer.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "sys.h"
#include "util.h"

static_assert(sizeof(struct peer) == CACHE_LINE, "one cache line each");
static_assert(PEER_TEXT_MAX >= INET6_ADDRSTRLEN, "every address fits");

int peer_table_init(struct peer_table *t, uint32_t cap)
{
    void *p = mmap(NULL, cap * sizeof(struct peer), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | SYS_MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return -errno;
    t->peers = p;
    t->cap = cap;
    return 0;
}

void peer_table_destroy(struct peer_table *t)
{
    if (t->peers)
        munmap(t->peers, t->cap * sizeof(struct peer));
    memset(t, 0, sizeof(*t));
}

/* An IPv4 client of an IPv6 socket (::ffff:192.0.2.1) is shown as what it is. */
static void peer_format(struct peer *p, const struct sockaddr_storage *addr)
{
    const struct sockaddr_in6 *in6 = (const void *)addr;
    const struct sockaddr_in *in4 = (const void *)addr;
    const char *text = "-";

    if (addr->ss_family == AF_INET)
        text = inet_ntop(AF_INET, &in4->sin_addr, p->text, PEER_TEXT_MAX);
    else if (addr->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        text = inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], p->text, PEER_TEXT_MAX);
    else if (addr->ss_family == AF_INET6)
        text = inet_ntop(AF_INET6, &in6->sin6_addr, p->text, PEER_TEXT_MAX);
    else if (addr->ss_family == AF_UNIX)
        text = "unix:";
    if (text != p->text)
        snprintf(p->text, sizeof(p->text), "%s", text ? text : "-");
    p->len = (uint8_t)strlen(p->text);
}

void peer_set(struct peer_table *t, int fd, uint32_t gen, const char *text)
{
    struct peer *p = &t->peers[fd];

    assert((uint32_t)fd < t->cap && strlen(text) < PEER_TEXT_MAX);
    p->gen = gen;
    p->len = (uint8_t)strlen(text);
    memcpy(p->text, text, p->len);
}

const char *peer_text(struct peer_table *t, int fd, uint32_t gen, size_t *len)
{
    struct peer *p = &t->peers[fd];

    assert((uint32_t)fd < t->cap);
    if (unlikely(p->gen != gen)) {
        struct sockaddr_storage addr = {.ss_family = AF_UNSPEC};
        socklen_t addr_len = sizeof(addr);
        if (getpeername(fd, (struct sockaddr *)&addr, &addr_len) < 0)
            addr.ss_family = AF_UNSPEC; /* it is gone already */
        peer_format(p, &addr);
        p->gen = gen;
    }
    *len = p->len;
    return p->text;
}
