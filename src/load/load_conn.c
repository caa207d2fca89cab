/* SPDX-License-Identifier: MIT */
/*
 * load_conn.c - see load_client.h: connections, what is sent on them, what comes back. When
 * connections and requests are begun is load_pace.c's business.
 */
#include "config.h"

#include "load_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "accept.h"
#include "crc32c.h"
#include "load_client_internal.h"
#include "log.h"
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

static inline struct load_flight *client_oldest(struct load_conn *conn)
{
    return &conn->ring[conn->head];
}

/* Flight `n` after the oldest, n below the depth. */
static inline struct load_flight *client_flight(const struct load_client *c, struct load_conn *conn,
                                                uint32_t n)
{
    uint32_t at = conn->head + n;

    return &conn->ring[at < c->depth ? at : at - c->depth];
}

/* ---- what has become of a request ---- */

/* When it was due, of the client's time: not so long ago that 32 bits have gone round. */
static inline bool client_is_measured(const struct load_client *c, const struct load_flight *f,
                                      uint64_t now)
{
    return now - (uint32_t)((uint32_t)now - f->due) >= c->measure_us;
}

static inline void client_drop_oldest(struct load_client *c, struct load_conn *conn)
{
    conn->head = (uint16_t)(conn->head + 1 < c->depth ? conn->head + 1 : 0);
    conn->flying--;
    c->flying--;
    if (unlikely(conn->unsent > conn->flying)) {
        conn->unsent = conn->flying;
        conn->sent_at = 0;
    }
}

static inline void client_answered(struct load_client *c, struct load_conn *conn, uint64_t now)
{
    const struct load_flight *f = client_oldest(conn);

    if (likely(client_is_measured(c, f, now))) {
        c->results->requests++;
        hist_record(&c->results->response, (uint32_t)now - f->due);
        if (c->plan.rate_from > 0) /* in the closed loop it is the same */
            hist_record(&c->results->service, (uint32_t)now - f->sent);
    }
    c->results->answered += now >= c->measure_us && now < c->end_us;
    c->last_us = now;
    c->backoff_us = 0;
    conn->flags |= CONN_ANSWERED;
    client_drop_oldest(c, conn);
}

void client_count_failure(struct load_client *c, enum load_failure kind, const char *text)
{
    c->results->failures[kind]++;
    if (!*c->results->first[kind])
        log_escape(c->results->first[kind], LOAD_FIRST_MAX, text, strlen(text));
}

/* The oldest request in flight has come to nothing. */
static void client_failed(struct load_client *c, struct load_conn *conn, uint64_t now,
                          enum load_failure kind, const char *text)
{
    const struct load_flight *f = client_oldest(conn);

    if (client_is_measured(c, f, now)) {
        client_count_failure(c, kind, text);
        if (kind == LOAD_FAILURE_TIMEOUT) { /* as long as it has lasted: longer, if anything */
            hist_record(&c->results->response, (uint32_t)now - f->due);
            if (c->plan.rate_from > 0)
                hist_record(&c->results->service, (uint32_t)now - f->sent);
        }
    }
    c->last_us = now;
    client_drop_oldest(c, conn);
}

static void client_all_failed(struct load_client *c, struct load_conn *conn, uint64_t now,
                              enum load_failure kind, const char *text)
{
    while (conn->flying)
        client_failed(c, conn, now, kind, text);
}

bool client_expire(struct load_client *c, struct load_conn *conn, uint64_t now, const char *text)
{
    bool some = false;

    while (conn->flying &&
           (uint32_t)((uint32_t)now - client_oldest(conn)->sent) >= c->plan.options->timeout_us) {
        client_failed(c, conn, now, LOAD_FAILURE_TIMEOUT, text);
        some = true;
    }
    return some;
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

/* --same-body: the first right answer says what all others have to be. */
static bool client_is_same(struct load_client *c, const struct load_conn *conn)
{
    struct load_sum *sum = &c->sums[conn->ring[conn->head].request];
    uint32_t crc = conn->body_at ? c->crcs[client_index(c, conn)] : 0;

    if (!sum->known)
        *sum = (struct load_sum){.crc = crc, .len = conn->body_at, .known = true};
    return sum->crc == crc && sum->len == conn->body_at;
}

/* The answer is complete: is it right? If not, of which kind is that, in `text`? */
static bool client_judge(struct load_client *c, const struct load_conn *conn, bool to_head,
                         enum load_failure *kind, char text[LOAD_FIRST_MAX])
{
    const struct load_requests *requests = c->plan.requests;

    if (unlikely(!c->plan.options->expect_status[conn->reply.status])) {
        *kind = LOAD_FAILURE_STATUS;
        snprintf(text, LOAD_FIRST_MAX, "status %u", conn->reply.status);
        return false;
    }
    if (c->sums && !to_head && !client_is_same(c, conn)) {
        *kind = LOAD_FAILURE_BODY;
        snprintf(text, LOAD_FIRST_MAX,
                 "it differs from the first answer's (%u bytes, CRC-32C %08x)", conn->body_at,
                 c->crcs[client_index(c, conn)]);
        return false;
    }
    if (!requests->body || to_head ||
        (!(conn->flags & CONN_BAD_BODY) && conn->body_at == requests->body_len))
        return true;
    *kind = LOAD_FAILURE_BODY;
    snprintf(text, LOAD_FIRST_MAX, "%s after byte %u of %zu",
             conn->flags & CONN_BAD_BODY ? "another byte" : "its end", conn->body_at,
             requests->body_len);
    return false;
}

static void client_count_status(struct load_client *c, unsigned status)
{
    struct load_results *r = c->results;

    switch (status / 100) {
    case 2: r->status_2xx++; break;
    case 3: r->status_3xx++; break;
    case 4: r->status_4xx++; break;
    default: r->status_5xx++; break;
    }
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

static void client_malformed(struct load_client *c, struct load_conn *conn, uint64_t now,
                             const char *what, const char *data, size_t len)
{
    char text[LOAD_FIRST_MAX];

    snprintf(text, sizeof(text), "%s, in or before \"%.*s\"", what, (int)MIN(len, 40), data);
    if (conn->flying)
        client_failed(c, conn, now, LOAD_FAILURE_MALFORMED, text);
    else
        client_count_failure(c, LOAD_FAILURE_MALFORMED, text);
    stream_close(&c->loop, client_slot(c, conn));
}

/* Ready for the next answer. */
static void client_next_reply(struct load_conn *conn)
{
    reply_init(&conn->reply, false);
    conn->flags &= (uint8_t)~CONN_BAD_BODY;
    conn->body_at = 0;
}

/* An answer that the parser has found complete, `len` bytes at `from` if all of it is there. */
static void client_complete(struct load_client *c, struct load_conn *conn, uint64_t now,
                            const char *from, size_t len)
{
    uint32_t which = client_oldest(conn)->request;
    const struct load_request *q = &c->plan.requests->list[which];
    char text[LOAD_FIRST_MAX];
    enum load_failure kind;

    if (!reply_persists(&conn->reply) || conn->unsent == conn->flying)
        conn->flags |= CONN_LAST; /* or it has answered before it had the whole request */
    conn->flags |= CONN_ANSWERED;
    c->backoff_us = 0;
    client_count_status(c, conn->reply.status);
    if (likely(client_judge(c, conn, q->to_head, &kind, text))) {
        if (from && !(conn->flags & CONN_LAST) && !q->random_count)
            /* The offset is one in the final head, which begins elsewhere behind interim ones. */
            load_match_learn(&c->matches[which], from, len,
                             conn->reply.interim ? 0 : conn->reply.date_off);
        client_answered(c, conn, now);
    } else {
        client_failed(c, conn, now, kind, text);
    }
    client_next_reply(conn);
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

/* What is in flight when the end has come too early has neither been answered nor failed. */
static void client_forget(struct load_client *c, struct load_conn *conn, uint64_t now)
{
    while (conn->flying) {
        c->results->due -= client_is_measured(c, client_oldest(conn), now);
        client_drop_oldest(c, conn);
    }
}

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
