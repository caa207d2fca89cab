/* SPDX-License-Identifier: MIT */
/*
 * load_connect.c - how a client opens connections: by the ramp, with back-off, from one source address
 * or several.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "accept.h"
#include "load_answer.h"
#include "load_client_internal.h"
#include "stream.h"
#include "stream_tls.h"

#define CONNECT_BACKOFF_US     20
#define CONNECT_BACKOFF_MAX_US 100000
#define CONNECT_NARROW_MIN     UINT64_C(2048) /* of the socket's buffer, with --read-rate */
#define CONNECT_NARROW_MAX     UINT64_C(65536)

void client_wait(struct load_client *c, struct load_conn *conn)
{
    bool lost = (conn->flags & CONN_KEPT) && !c->aborted;

    conn->state = LOAD_CONN_WAITING;
    conn->flags &= CONN_FREE | CONN_TRYING | CONN_IDLE;
    c->results->idle_lost += lost && !c->gathering;
    c->results->idle -= lost && c->gathering;
    if (!c->aborted && (c->gathering || !(conn->flags & CONN_IDLE)))
        client_list_push(c, &c->waiting, conn);
}

void client_back_off(struct load_client *c, uint64_t now)
{
    c->backoff_us = MIN(MAX(c->backoff_us * 2, CONNECT_BACKOFF_US), CONNECT_BACKOFF_MAX_US);
    c->connect_at_us = now + c->backoff_us;
}

/* The connection's source address has no port left for the target: is there another one to try? */
static bool connect_next_source(struct load_client *c, const struct load_conn *conn)
{
    c->results->ports_used_up++;
    if (c->plan.source_count == 0)
        return false;
    if (!c->plan.in_turn && conn->source != c->source)
        return true; /* many may hear it of one address, which is given up once */
    if (++c->exhausted >= c->plan.source_count)
        return false;
    if (!c->plan.in_turn)
        c->source = (c->source + 1) % c->plan.source_count;
    return true;
}

/* What kind of failure is it that a connection could not be opened, and why was that? */
static enum load_failure connect_failure(const struct load_client *c, int err)
{
    if (err == EMFILE || err == ENFILE || err == ENOMEM)
        return LOAD_FAILURE_LOCAL;
    return err == EPROTO && c->plan.tls ? client_tls_failure() : LOAD_FAILURE_CONNECT;
}

static const char *connect_reason(const struct load_client *c, int err)
{
    if (err == EPROTO && c->plan.tls)
        return tls_reason();
    return err == ECONNABORTED ? "closed in the handshake of TLS" : strerror(err);
}

void client_connect_failed(struct load_client *c, struct load_conn *conn, int err)
{
    uint64_t now = load_client_now(c);
    uint64_t tried_us = (uint32_t)((uint32_t)now - conn->since);
    char text[LOAD_FIRST_MAX];

    client_expire(c, conn, now, "no connection within --timeout");
    if (err == EADDRNOTAVAIL && connect_next_source(c, conn)) {
        client_wait(c, conn);
        return;
    }
    c->exhausted = 0;
    client_back_off(c, now);
    /* A unix socket whose queue is full says so where TCP would wait, connect(2). */
    conn->flags |= CONN_TRYING;
    if (err != EAGAIN || tried_us >= c->plan.options->timeout_us) {
        conn->flags &= (uint8_t)~CONN_TRYING;
        snprintf(text, sizeof(text), "%.120s: %s", c->plan.target->text, connect_reason(c, err));
        if (!c->aborted)
            client_count_failure(c, connect_failure(c, err), text);
    }
    client_wait(c, conn);
}

/* What is not read is to pend on the server's side rather than here. */
static void connect_narrow(int fd, uint64_t read_rate)
{
    int bytes = (int)MAX(MIN(read_rate, CONNECT_NARROW_MAX), CONNECT_NARROW_MIN);

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

static void connect_begin(struct load_client *c, struct load_conn *conn, uint64_t now)
{
    const struct load_target *t = c->plan.target;
    const struct load_addr *source = NULL;

    if (unlikely(!c->tried_us))
        c->tried_us = c->gathered_us = now;
    if (!(conn->flags & CONN_TRYING))
        conn->since = (uint32_t)now;
    if (c->plan.in_turn)
        c->source = (c->source + 1) % c->plan.source_count;
    conn->source = c->source;
    if (c->plan.in_turn ||
        c->source) /* without, the kernel chooses 127.0.0.1, and has less to do */
        source = &c->plan.sources[c->source];
    int fd = load_socket(t, source);
    if (fd < 0) {
        client_connect_failed(c, conn, -fd);
        return;
    }
    if (unlikely(c->plan.options->read_rate))
        connect_narrow(fd, c->plan.options->read_rate);
    int rc = stream_connect(&c->loop, 0, fd, &t->addr.u.sa, t->addr.len, conn);
    if (rc < 0) {
        client_connect_failed(c, conn, -rc);
        return;
    }
    conn->state = LOAD_CONN_CONNECTING;
    conn->fd = fd;
    c->connecting++;
    stream_set_timer(&c->loop, client_slot(c, conn), STREAM_TIMER_PROTOCOL,
                     (uint32_t)(c->plan.options->timeout_us / 1000));
}

void client_connect_waiting(struct load_client *c, uint64_t now)
{
    while (unlikely(now >= client_ramp(c)))
        client_list_push(c, &c->waiting, client_conn(c, c->begun++));
    if (unlikely(c->resting))
        return;
    /* Each once, at most: one that fails at once is behind the others. */
    for (unsigned i = 0; i < CLIENT_CONNECTING_MAX && client_may_connect(c, now); i++) {
        struct load_conn *conn = client_list_pop(c, &c->waiting);
        if (conn->flying || client_has_more(c, now))
            connect_begin(c, conn, now); /* else there is nothing to do on it any more */
    }
}
