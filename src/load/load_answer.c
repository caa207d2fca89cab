/* SPDX-License-Identifier: MIT */
/*
 * load_answer.c - see load_answer.h.
 */
#include "config.h"

#include "load_answer.h"

#include <stdio.h>
#include <string.h>

#include "log.h"
#include "stream.h"

/* ---- failures ---- */

void client_count_failure(struct load_client *c, enum load_failure kind, const char *text)
{
    c->results->failures[kind]++;
    if (!*c->results->first[kind])
        log_escape(c->results->first[kind], LOAD_FIRST_MAX, text, strlen(text));
}

void client_failed(struct load_client *c, struct load_conn *conn, uint64_t now,
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

void client_all_failed(struct load_client *c, struct load_conn *conn, uint64_t now,
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

void client_forget(struct load_client *c, struct load_conn *conn, uint64_t now)
{
    while (conn->flying) {
        c->results->due -= client_is_measured(c, client_oldest(conn), now);
        client_drop_oldest(c, conn);
    }
}

/* ---- is it right? ---- */

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

/* ---- by the parser ---- */

void client_malformed(struct load_client *c, struct load_conn *conn, uint64_t now, const char *what,
                      const char *data, size_t len)
{
    char text[LOAD_FIRST_MAX];

    snprintf(text, sizeof(text), "%s, in or before \"%.*s\"", what, (int)MIN(len, 40), data);
    if (conn->flying)
        client_failed(c, conn, now, LOAD_FAILURE_MALFORMED, text);
    else
        client_count_failure(c, LOAD_FAILURE_MALFORMED, text);
    stream_close(&c->loop, client_slot(c, conn));
}

void client_next_reply(struct load_conn *conn)
{
    reply_init(&conn->reply, false);
    conn->flags &= (uint8_t)~CONN_BAD_BODY;
    conn->body_at = 0;
}

void client_complete(struct load_client *c, struct load_conn *conn, uint64_t now, const char *from,
                     size_t len)
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
