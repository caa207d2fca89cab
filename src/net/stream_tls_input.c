/* SPDX-License-Identifier: MIT */
/*
 * stream_tls_input.c - the input of streams with TLS, handshakes among it.
 *
 * It is decrypted where it was received, into one buffer of the process, as much of it as one receive
 * may carry; the protocol gets that. When it is not ready for more, what is left stays as ciphertext:
 * it is one piece, since nothing is received meanwhile.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "stream_tls_internal.h"

#define TLS_HANDSHAKES_MAX 8 /* begun in one iteration: some ms of an RSA key's work */

/* ---- the queues of those that go on in a later iteration ---- */

static void tls_enqueue(struct tls_queue *q, struct tls_stream *t)
{
    if (t->queue)
        return;
    t->queue = q;
    t->next = NULL;
    t->link = q->end;
    *t->link = t;
    q->end = &t->next;
    q->count++;
}

void tls_stream_dequeue(struct tls_stream *t)
{
    struct tls_queue *q = t->queue;

    if (!q)
        return;
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    else
        q->end = t->link;
    q->count--;
    t->queue = NULL;
}

/* ---- input that waits ---- */

void tls_stream_drop_input(struct loop *l, struct tls_stream *t)
{
    l->budget.used -= t->in_len;
    free(t->in);
    t->in = NULL;
    t->in_len = t->in_at = 0;
}

/* Keep what was not used of what was received. False: no memory, and the connection is closed. */
static bool tls_keep_input(struct loop *l, struct slot *s, struct tls_stream *t, const char *data,
                           size_t len)
{
    assert(!t->in && len > 0);
    if (l->budget.used + len <= l->budget.max)
        t->in = malloc(len);
    if (!t->in) {
        l->stats->no_block++;
        return stream_close(l, s);
    }
    memcpy(t->in, data, len);
    t->in_len = len;
    l->budget.used += len;
    return true;
}

/* Is there something to hand over without receiving? */
static bool tls_has_input(const struct slot *s, const struct tls_stream *t)
{
    return t->in || (t->tls.established && (tls_has_pending(&t->tls) ||
                                            (t->tls.peer_closed && !(s->flags & STREAM_EOF))));
}

bool tls_stream_resume(struct loop *l, struct slot *s)
{
    struct tls_stream *t = tls_stream_get(l, s);

    if (!t || s->state != STREAM_OPEN || !tls_has_input(s, t))
        return false;
    tls_enqueue(&l->tls->run, t);
    return true;
}

/* ---- input ---- */

/* The peer's close_notify: what it has sent is complete. False: the connection is gone. */
static bool tls_on_close_notify(struct loop *l, struct slot *s)
{
    if (s->flags & STREAM_EOF)
        return true;
    s->flags |= STREAM_EOF;
    backend_recv_ctl(l->be, stream_fd(l, s), false);
    tls_stream_above(l, s)->eof(l, s);
    return false; /* there is nothing more to read in any case */
}

/* Does the protocol above take more? After it has been called anything may have happened. */
static bool tls_is_open(const struct slot *s, uint32_t gen)
{
    return s->gen == gen && s->state == STREAM_OPEN;
}

static bool tls_on_established(struct loop *l, struct slot *s, struct tls_stream *t)
{
    uint32_t gen = s->gen;

    l->stats->tls_handshakes++;
    l->stats->tls_resumed += tls_is_resumed(&t->tls);
    log_debug("connection %d: %s, %s%s", stream_fd(l, s), tls_protocol_name(&t->tls),
              tls_cipher_name(&t->tls), tls_is_resumed(&t->tls) ? ", resumed" : "");
    t->open = true;
    tls_stream_above(l, s)->open(l, s);
    return tls_is_open(s, gen);
}

/*
 * Decrypt what was fed, as much as the protocol takes, and hand it over. False: there is nothing to
 * be done for this connection any more, which may be gone.
 */
static bool tls_deliver(struct loop *l, struct slot *s, struct tls_stream *t)
{
    struct tls_streams *ts = l->tls;
    uint32_t gen = s->gen;
    enum tls_status status = TLS_OK;

    while (status == TLS_OK && !(s->flags & STREAM_PAUSED)) {
        size_t len = 0, n;
        while (len < ts->plain_size && status == TLS_OK) {
            status = tls_read(&t->tls, ts->plain + len, ts->plain_size - len, &n);
            if (status == TLS_OK)
                len += n;
        }
        /* What came before a record that is none is not handed over: no answer could be sent. */
        if (len > 0 && likely(status != TLS_FAILED)) {
            tls_stream_above(l, s)->input(l, s, ts->plain, len);
            if (!tls_is_open(s, gen))
                return false;
        }
    }
    if (status == TLS_FAILED)
        return tls_stream_break(l, s, t);
    if (status == TLS_CLOSED && !(s->flags & STREAM_PAUSED))
        return tls_on_close_notify(l, s);
    return true;
}

/* What OpenSSL has to say itself: a handshake, tickets, and answers of which TLS_IDLE_MESSAGES are the most. */
static bool tls_flush_own(struct loop *l, struct slot *s, struct tls_stream *t)
{
    return likely(out_empty(&t->tls.out)) || (s->flags & STREAM_SENDING) || stream_flush(l, s);
}

bool tls_stream_work(struct loop *l, struct slot *s, struct tls_stream *t)
{
    if (!t->tls.established) {
        switch (tls_handshake(&t->tls)) {
        case TLS_OK: break;
        case TLS_WANT_INPUT: return tls_flush_own(l, s, t);
        default: return tls_stream_break(l, s, t);
        }
        if (!tls_on_established(l, s, t))
            return false;
    }
    return tls_deliver(l, s, t) && tls_flush_own(l, s, t);
}

/* May a handshake begin in this iteration? */
static bool tls_may_begin(struct loop *l, struct tls_stream *t)
{
    if (likely(t->begun))
        return true;
    if (l->tls->handshakes >= TLS_HANDSHAKES_MAX)
        return false;
    l->tls->handshakes++;
    t->begun = true;
    return true;
}

static struct tls_stream *tls_next(struct tls_queue *q)
{
    struct tls_stream *t = q->first;

    tls_stream_dequeue(t);
    return t;
}

/* Go on with input that has waited. */
static void tls_go_on(struct loop *l, struct tls_stream *t)
{
    struct slot *s = t->slot;

    l->current = s;
    while (s->state == STREAM_OPEN && !(s->flags & STREAM_PAUSED) && tls_has_input(s, t)) {
        tls_feed(&t->tls, t->in ? t->in + t->in_at : NULL, t->in_len - t->in_at);
        if (!tls_stream_work(l, s, t))
            return;
        t->in_at = t->in_len - t->tls.len;
        t->tls.len = 0;
        if (t->in_at == t->in_len)
            tls_stream_drop_input(l, t);
    }
    if (s->state != STREAM_OPEN) /* nobody looks at it */
        tls_stream_drop_input(l, t);
    if (!(s->flags & (STREAM_PAUSED | STREAM_EOF)))
        backend_recv_ctl(l->be, stream_fd(l, s), true);
}

int64_t tls_stream_before_wait(struct loop *l)
{
    struct tls_streams *ts = l->tls;

    /* Who is put there anew comes in the next iteration. */
    for (unsigned n = ts->run.count; n > 0 && ts->run.first; n--)
        tls_go_on(l, tls_next(&ts->run));
    ts->handshakes = 0;
    while (ts->begin.first && tls_may_begin(l, ts->begin.first))
        tls_go_on(l, tls_next(&ts->begin));
    int64_t due_us = ts->program->before_wait(l);
    return ts->run.first || ts->begin.first ? 0 : due_us;
}

void tls_stream_on_input(struct loop *l, struct slot *s, const char *data, size_t len)
{
    struct tls_stream *t = tls_stream_get(l, s);

    if (unlikely(!t) && !(t = tls_stream_begin(l, s, data)))
        return;
    if (unlikely(!tls_may_begin(l, t))) {
        l->stats->tls_deferred++;
        if (tls_keep_input(l, s, t, data, len)) {
            backend_recv_ctl(l->be, stream_fd(l, s), false);
            tls_enqueue(&l->tls->begin, t);
        }
        return;
    }
    tls_feed(&t->tls, data, len);
    if (!tls_stream_work(l, s, t))
        return;
    if (unlikely(t->tls.len > 0)) {
        assert(s->flags & STREAM_PAUSED);
        len = t->tls.len;
        t->tls.len = 0;
        tls_keep_input(l, s, t, t->tls.data, len);
    }
}
