/* SPDX-License-Identifier: MIT */
/*
 * load_conn.c - see load_client.h: connections, what is sent on them and what comes back. What becomes
 * of requests by that is load_answer.c's business, when they and connections are begun load_pace.c's.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "accept.h"
#include "crc32c.h"
#include "load_answer.h"
#include "load_client_internal.h"
#include "loop.h"
#include "stream.h"
#include "stream_tls.h"

/* A large request goes to the kernel in such pieces. */
#define CLIENT_PIECE_MAX 65536

#define CLIENT_PAUSE_MAX_US UINT64_C(1000000000)
#define CLIENT_LATE_US      (2000 * (int)LOOP_TICK_MS) /* so late are deadlines, at most */

static inline struct load_client *client_of(struct loop *l)
{
    return CONTAINER_OF(l, struct load_client, loop);
}

/* Flight `n` after the oldest, n below the depth. */
static inline struct load_flight *client_flight(const struct load_client *c, struct load_conn *conn,
                                                uint32_t n)
{
    uint32_t at = conn->head + n;

    return &conn->ring[at < c->depth ? at : at - c->depth];
}

/* ---- sending ---- */

/* A deadline for the oldest answer that is due. */
static void client_set_timer(struct load_client *c, struct load_conn *conn, uint64_t now)
{
    uint64_t timeout_us = c->plan.options->timeout_us;
    bool paused = client_slot(c, conn)->flags & STREAM_PAUSED;

    if (!conn->flying && !paused)
        return; /* when it fires it finds nothing to do */
    uint64_t passed_us = conn->flying ? (uint32_t)((uint32_t)now - client_oldest(conn)->sent) : 0;
    uint64_t left_us = passed_us < timeout_us ? timeout_us - passed_us : 0;
    if (unlikely(paused))
        left_us = MIN(left_us, (uint64_t)MAX((int32_t)(conn->since - (uint32_t)now), 0));
    stream_set_timer(&c->loop, client_slot(c, conn), STREAM_TIMER_PROTOCOL,
                     (uint32_t)((left_us + 999) / 1000 + 1));
}

/* Append what fits of an unsent request. 0, or -ENOMEM. */
static int client_append(struct load_client *c, struct load_conn *conn, uint64_t now)
{
    struct load_flight *f = client_flight(c, conn, conn->flying - conn->unsent);
    const struct load_request *q = &c->plan.requests->list[f->request];
    struct out *out = &client_slot(c, conn)->out;
    size_t len = q->len;

    if (conn->sent_at == 0)
        f->sent = (uint32_t)now;
    if (likely(len <= bufpool_capacity(&c->loop.out_pool))) {
        char *p =
            out_reserve(out, &c->loop.out_pool, q->random_count ? c->plan.requests->longest : len);
        if (unlikely(!p))
            return -ENOMEM;
        if (q->random_count)
            len = load_request_write(q, &c->prng, p);
        else
            memcpy(p, q->bytes, len);
        out_commit(out, len);
        conn->unsent--;
        return 0;
    }
    size_t n = MIN(len - conn->sent_at, CLIENT_PIECE_MAX);
    int rc = out_append(out, &c->loop.out_pool, q->bytes + conn->sent_at, n);
    conn->sent_at += (uint32_t)n;
    if (conn->sent_at == len) {
        conn->sent_at = 0;
        conn->unsent--;
    }
    return rc;
}

bool client_send(struct load_client *c, struct load_conn *conn, uint64_t now)
{
    struct slot *s = client_slot(c, conn);

    while (conn->unsent) {
        /* Of a large request, one piece is in the hands of the backend at a time. */
        if ((s->flags & STREAM_SENDING) && conn->sent_at)
            break;
        if (unlikely(client_append(c, conn, now) < 0)) {
            client_failed(c, conn, now, LOAD_FAILURE_LOCAL, "out of memory for output");
            return stream_reset(&c->loop, s);
        }
        if (unlikely(conn->sent_at) && !stream_flush(&c->loop, s))
            return false;
    }
    if (!out_empty(&s->out) && !stream_flush(&c->loop, s))
        return false;
    client_set_timer(c, conn, now);
    return true;
}

/* ---- receiving ---- */

/*
 * --read-rate: `len` bytes were read; there are none for so long as they should have taken. Deadlines are
 * late by a tick or so, which is made up for by the next piece.
 */
static void client_throttle(struct load_client *c, struct load_conn *conn, size_t len, uint64_t now)
{
    uint64_t us = MIN(len * 1000000 / c->plan.options->read_rate, CLIENT_PAUSE_MAX_US);

    if ((int32_t)((uint32_t)now - conn->since) > CLIENT_LATE_US)
        conn->since = (uint32_t)now - CLIENT_LATE_US;
    conn->since += (uint32_t)us;
    if ((int32_t)(conn->since - (uint32_t)now) <= 0)
        return;
    stream_pause(&c->loop, client_slot(c, conn));
    client_set_timer(c, conn, now);
}

/* A piece of the body; where one is expected it is compared. */
static void client_body(struct load_client *c, struct load_conn *conn, const char *body, size_t len)
{
    const struct load_requests *requests = c->plan.requests;

    if (unlikely(c->crcs)) {
        uint32_t *crc = &c->crcs[client_index(c, conn)];
        *crc = crc32c(conn->body_at ? *crc : 0, body, len);
        if (!requests->body)
            conn->body_at += (uint32_t)len;
    }
    if (!requests->body || (conn->flags & CONN_BAD_BODY))
        return;
    if (len > requests->body_len - conn->body_at ||
        memcmp(body, requests->body + conn->body_at, len) != 0)
        conn->flags |= CONN_BAD_BODY;
    else
        conn->body_at += (uint32_t)len;
}

/*
 * By the parser: bytes used of an answer, all of them when it goes on; 0: the connection is closed.
 */
static size_t client_parse(struct load_client *c, struct load_conn *conn, uint64_t now,
                           const char *data, size_t len)
{
    const char *body, *from = reply_is_fresh(&conn->reply) ? data : NULL;
    size_t used, body_len, at = 0;

    if (from)
        reply_init(&conn->reply, c->plan.requests->list[client_oldest(conn)->request].to_head);
    for (;;) {
        enum reply_result result =
            reply_parse(&conn->reply, data + at, len - at, &used, &body, &body_len);
        at += used;
        switch (result) {
        case REPLY_BODY: client_body(c, conn, body, body_len); continue;
        case REPLY_MORE: return at;
        case REPLY_DONE: client_complete(c, conn, now, from, at); return at;
        default:
            client_malformed(c, conn, now, reply_error_text(&conn->reply), data, len);
            return 0;
        }
    }
}

/* After answers: the end of the connection, or more requests. */
static void client_go_on(struct load_client *c, struct load_conn *conn, uint64_t now)
{
    uint32_t most = c->plan.options->per_connection;

    if (unlikely(conn->flags & CONN_LAST) ||
        unlikely(most && conn->written >= most && conn->flying == 0 &&
                 !(conn->flags & CONN_IDLE))) {
        stream_close(&c->loop, client_slot(c, conn));
        return;
    }
    client_feed(c, conn, now);
}

static void client_input(struct loop *l, struct slot *s, const char *data, size_t len)
{
    struct load_client *c = client_of(l);
    struct load_conn *conn = s->exchange;
    uint64_t now = load_client_now(c);

    if (unlikely(c->plan.options->read_rate))
        client_throttle(c, conn, len, now);
    while (len > 0) {
        size_t n = 0;
        if (unlikely(conn->flags & CONN_LAST))
            break; /* what comes behind the last answer is nobody's */
        if (unlikely(!conn->flying)) {
            client_malformed(c, conn, now, "an answer that nobody asked for", data, len);
            return;
        }
        /* What answers a request that is not wholly sent is for the parser, as its first bytes are. */
        if (likely(reply_is_fresh(&conn->reply) && conn->unsent < conn->flying))
            n = load_match(&c->matches[client_oldest(conn)->request], data, len);
        if (likely(n)) {
            c->results->matched++;
            client_answered(c, conn, now);
        } else {
            n = client_parse(c, conn, now, data, len);
            if (n == 0)
                return;
        }
        data += n;
        len -= n;
    }
    client_go_on(c, conn, now);
}

static void client_eof(struct loop *l, struct slot *s)
{
    struct load_client *c = client_of(l);
    struct load_conn *conn = s->exchange;
    uint64_t now = load_client_now(c);
    const struct tls *tls = tls_stream_of(l, s);
    bool cut = tls && !tls->peer_closed; /* anybody may have made that end, RFC 8446 section 6.1 */

    if (conn->flying && !reply_is_fresh(&conn->reply)) {
        if (!cut && reply_end(&conn->reply) == REPLY_DONE)
            client_complete(c, conn, now, NULL, 0); /* others on it are sent again */
        else
            client_failed(c, conn, now, cut ? LOAD_FAILURE_TLS_TRUNCATED : LOAD_FAILURE_TRUNCATED,
                          "the connection was closed in it");
    }
    if (!(conn->flags & CONN_LAST))
        client_all_failed(c, conn, now,
                          cut ? LOAD_FAILURE_TLS_TRUNCATED : LOAD_FAILURE_CLOSED_EARLY,
                          "the connection was closed before the answer");
    stream_close(l, s);
}

static void client_writable(struct loop *l, struct slot *s)
{
    struct load_client *c = client_of(l);
    struct load_conn *conn = s->exchange;

    if (unlikely(conn->unsent)) {
        client_send(c, conn, load_client_now(c));
    } else if (s->timer_kind == STREAM_TIMER_WRITE) {
        s->timer_kind = STREAM_TIMER_PROTOCOL;
        client_set_timer(c, conn, load_client_now(c));
    }
}

/* ---- the beginning and the end of a connection ---- */

/* Version and cipher, for the report. */
static void client_describe_tls(struct load_client *c, const struct slot *s)
{
    const struct tls *tls = tls_stream_of(&c->loop, s);

    snprintf(c->results->tls, LOAD_TLS_MAX, "%s, %s", tls_protocol_name(tls), tls_cipher_name(tls));
}

static void client_open(struct loop *l, struct slot *s)
{
    struct load_client *c = client_of(l);
    struct load_conn *conn = s->exchange;
    uint64_t now = load_client_now(c);

    s->timer_kind = STREAM_TIMER_PROTOCOL; /* it may be the handshake's yet */
    if (unlikely(c->plan.tls && !*c->results->tls))
        client_describe_tls(c, s);
    conn->state = LOAD_CONN_OPEN;
    conn->flags &= CONN_FREE | CONN_IDLE;
    c->connecting--;
    c->exhausted = 0;
    c->results->connects++;
    if (now >= c->measure_us)
        hist_record(&c->results->connect, (uint32_t)now - conn->since);
    conn->since = (uint32_t)now;
    conn->written = conn->flying;
    conn->unsent = conn->flying;
    c->results->resent += conn->flying;
    client_feed(c, conn, now);
}

static void client_timeout(struct loop *l, struct slot *s, unsigned kind)
{
    struct load_client *c = client_of(l);
    struct load_conn *conn = s->exchange;
    uint64_t now = load_client_now(c);

    (void)kind;
    if (conn->state == LOAD_CONN_CONNECTING) {
        stream_close(l, s);
        return;
    }
    if (client_expire(c, conn, now, "no answer within --timeout")) {
        stream_close(l, s);
        return;
    }
    if ((s->flags & STREAM_PAUSED) && (int32_t)(conn->since - (uint32_t)now) <= 0)
        stream_resume(l, s);
    client_set_timer(c, conn, now);
}

enum load_failure client_tls_failure(void)
{
    switch (tls_blame()) {
    case TLS_BLAME_CERTIFICATE: return LOAD_FAILURE_TLS_CERTIFICATE;
    case TLS_BLAME_ALERT: return LOAD_FAILURE_TLS_ALERT;
    default: return LOAD_FAILURE_TLS;
    }
}

/* TLS has broken on an open connection, also where nobody is waiting for anything. */
static void client_tls_failed(struct load_client *c, struct load_conn *conn, uint64_t now)
{
    if (!conn->flying)
        client_count_failure(c, client_tls_failure(), tls_reason());
    client_all_failed(c, conn, now, client_tls_failure(), tls_reason());
}

static void client_gone(struct loop *l, struct slot *s, int err)
{
    struct load_client *c = client_of(l);
    struct load_conn *conn = s->exchange;
    uint64_t now = load_client_now(c);

    s->exchange = NULL;
    conn->fd = -1;
    if (conn->state == LOAD_CONN_CONNECTING) {
        c->connecting--;
        client_connect_failed(c, conn, err ? err : ETIMEDOUT);
        return;
    }
    if (err == EPROTO && c->plan.tls)
        client_tls_failed(c, conn, now);
    else if (err == ETIMEDOUT)
        client_all_failed(c, conn, now, LOAD_FAILURE_TIMEOUT, "the request was not taken in time");
    else if (err)
        client_all_failed(c, conn, now, LOAD_FAILURE_RESET, strerror(err));
    if (!(conn->flags & CONN_ANSWERED))
        client_back_off(c, now); /* nothing has come of it: not as fast as can be */
    client_next_reply(conn);
    conn->sent_at = 0;
    client_wait(c, conn);
}

/* Nothing of these is asked for on this side. */
static void client_drain(struct loop *l, struct slot *s)
{
    (void)l;
    (void)s;
}

static size_t client_held(const struct loop *l, const struct slot *s)
{
    (void)l;
    (void)s;
    return 0;
}

const struct protocol client_protocol = {
    .name = "HTTP/1.1 client",
    .open = client_open,
    .input = client_input,
    .eof = client_eof,
    .writable = client_writable,
    .timeout = client_timeout,
    .drain = client_drain,
    .held = client_held,
    .gone = client_gone,
};

void load_client_abort(struct load_client *c)
{
    uint64_t now = load_client_now(c);

    c->aborted = true;
    c->quota_left = 0; /* nothing is begun any more */
    for (uint32_t i = 0; i < client_conns(c); i++) {
        struct load_conn *conn = client_conn(c, i);
        if (c->stopped) {
            client_forget(c, conn, now);
        } else {
            client_all_failed(c, conn, now, LOAD_FAILURE_TIMEOUT, "no answer before the end");
        }
    }
    loop_abort(&c->loop);
}
