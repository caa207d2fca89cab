/* SPDX-License-Identifier: MIT */
/*
 * load_answer.h - what becomes of the requests in flight on a connection: each is answered, rightly or
 * not, or fails; the oldest first. Counted where it is measured. For load_conn.c, load_connect.c and
 * load_pace.c.
 */
#ifndef BIVALVE_LOAD_ANSWER_H
#define BIVALVE_LOAD_ANSWER_H

#include "load_client_internal.h"

static inline struct load_flight *client_oldest(struct load_conn *conn)
{
    return &conn->ring[conn->head];
}

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

/* The oldest has been answered, as it has to be. */
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

/*
 * An answer that the parser has found complete, `len` bytes at `from`, or NULL where they were not all
 * there at once.
 */
void client_complete(struct load_client *c, struct load_conn *conn, uint64_t now, const char *from,
                     size_t len);

/* Ready for the next answer. */
void client_next_reply(struct load_conn *conn);

/* `data` is no answer, `what` says why not: the connection is closed. */
void client_malformed(struct load_client *c, struct load_conn *conn, uint64_t now, const char *what,
                      const char *data, size_t len);

/* The oldest has come to nothing, `text` says how; the same with all of them. */
void client_failed(struct load_client *c, struct load_conn *conn, uint64_t now,
                   enum load_failure kind, const char *text);
void client_all_failed(struct load_client *c, struct load_conn *conn, uint64_t now,
                       enum load_failure kind, const char *text);

/*
 * Those that have waited for the timeout come to nothing. True: some have.
 */
bool client_expire(struct load_client *c, struct load_conn *conn, uint64_t now, const char *text);

/* All of them have neither been answered nor failed: the end has come too early. */
void client_forget(struct load_client *c, struct load_conn *conn, uint64_t now);

/* A failure that is not of one request, or that has been attributed already. */
void client_count_failure(struct load_client *c, enum load_failure kind, const char *text);

#endif
