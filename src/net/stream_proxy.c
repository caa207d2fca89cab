/* SPDX-License-Identifier: MIT */
/*
 * stream_proxy.c - see stream_proxy.h. A connection that has said who it is for moves to a listener
 * without a socket, which has the protocol that is served, and TLS if that is wanted: so nothing of
 * this is left in its way.
 */
#include "config.h"

#include "stream_proxy.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "accept.h"
#include "log.h"
#include "peer.h"
#include "proxy_header.h"
#include "stream.h"

#define PROXY_DRAIN_MS 500 /* a proxy that has just connected may say its word yet */

/* A header of which a part has come: slot->exchange. */
struct proxy_part {
    size_t len;
    char data[PROXY_HEADER_MAX];
};

static void proxy_refuse(struct loop *l, struct slot *s, const char *why)
{
    l->stats->proxy_refused++;
    log_limited(LOG_LEVEL_WARN, "a connection to %s is closed: %s",
                l->acceptor.listener[s->listener].text, why);
    stream_close(l, s);
}

static void proxy_open(struct loop *l, struct slot *s)
{
    struct sockaddr_storage addr = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(addr);
    int fd = stream_fd(l, s);

    if (getpeername(fd, (struct sockaddr *)&addr, &len) < 0)
        addr.ss_family = AF_UNSPEC;
    if (!proxy_trusts(l->acceptor.listener[s->listener].proxy, (const struct sockaddr *)&addr))
        proxy_refuse(l, s, "it comes from an address that is not in --proxy-from");
    else
        stream_set_timer(l, s, STREAM_TIMER_PROTOCOL, l->set->header_timeout_ms);
}

static void proxy_done(struct loop *l, struct slot *s, const struct proxy_header *h,
                       const char *rest, size_t len)
{
    uint32_t gen = s->gen;

    free(s->exchange);
    s->exchange = NULL;
    stream_set_timer(l, s, STREAM_TIMER_NONE, 0);
    if (l->peers && h->client[0])
        peer_set(l->peers, stream_fd(l, s), gen, h->client);
    stream_move(l, s, l->acceptor.listener[s->listener].inner);
    if (len && s->gen == gen && s->state == STREAM_OPEN)
        stream_protocol(l, s)->input(l, s, rest, len);
}

static void proxy_input(struct loop *l, struct slot *s, const char *data, size_t len)
{
    struct proxy_part *part = s->exchange;
    struct proxy_header h;
    size_t had = part ? part->len : 0, take = MIN(len, PROXY_HEADER_MAX - had);

    if (part) {
        memcpy(part->data + had, data, take);
        part->len += take;
    }
    switch (part ? proxy_header_parse(part->data, part->len, &h)
                 : proxy_header_parse(data, len, &h)) {
    case PROXY_DONE: proxy_done(l, s, &h, data + (h.len - had), len - (h.len - had)); return;
    case PROXY_BAD: proxy_refuse(l, s, "it does not begin with a PROXY header"); return;
    case PROXY_MORE: break;
    }
    if (part)
        return;
    s->exchange = part = malloc(sizeof(*part)); /* of what is trusted: no client of ours */
    if (!part) {
        l->stats->no_block++;
        stream_close(l, s);
        return;
    }
    memcpy(part->data, data, take);
    part->len = take;
}

static void proxy_eof(struct loop *l, struct slot *s)
{
    stream_close(l, s);
}

static void proxy_writable(struct loop *l, struct slot *s)
{
    (void)l; /* nothing has been written */
    (void)s;
}

static void proxy_timeout(struct loop *l, struct slot *s, unsigned kind)
{
    (void)kind;
    l->stats->timeout_header += !l->draining;
    stream_close(l, s);
}

static void proxy_drain(struct loop *l, struct slot *s)
{
    stream_set_timer(l, s, STREAM_TIMER_PROTOCOL, PROXY_DRAIN_MS);
}

static size_t proxy_held(const struct loop *l, const struct slot *s)
{
    (void)l; /* no blocks of the pools */
    (void)s;
    return 0;
}

static void proxy_gone(struct loop *l, struct slot *s, int err)
{
    (void)l;
    (void)err;
    free(s->exchange);
    s->exchange = NULL;
}

static const struct protocol proxy_protocol = {
    .name = "proxy",
    .open = proxy_open,
    .input = proxy_input,
    .eof = proxy_eof,
    .writable = proxy_writable,
    .timeout = proxy_timeout,
    .drain = proxy_drain,
    .held = proxy_held,
    .gone = proxy_gone,
};

void proxy_streams_open(struct loop *l)
{
    unsigned count = l->acceptor.count;

    for (unsigned i = 0; i < count; i++) {
        struct accept_listener *outer = &l->acceptor.listener[i], inner = *outer;
        if (!outer->proxy)
            continue;
        inner.fd = -1;
        inner.proxy = NULL;
        outer->inner = l->acceptor.count;
        outer->protocol = &proxy_protocol;
        outer->tls = false;
        acceptor_add(l, &inner);
    }
}
