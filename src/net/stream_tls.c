/* SPDX-License-Identifier: MIT */
/*
 * stream_tls.c - see stream_tls.h: the ends of connections, what the stream reports, and the loop.
 */
#include "config.h"

#include "stream_tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "log.h"
#include "stream_tls_internal.h"
#include "sys.h"

#define TLS_DRAIN_HANDSHAKE_MS 500 /* at the drain, for who has not begun */

const struct tls *tls_stream_of(const struct loop *l, const struct slot *s)
{
    const struct tls_stream *t = s->flags & STREAM_LAYERED ? tls_stream_get(l, s) : NULL;

    return t ? &t->tls : NULL;
}

/* ---- the ends ---- */

void tls_stream_part(struct loop *l, struct slot *s, struct tls_stream *t, int err)
{
    bool known = (t && t->open) || s->exchange; /* what has connected has an exchange at once */

    if (t)
        t->open = false;
    if (known)
        tls_stream_above(l, s)->gone(l, s, err);
}

bool tls_stream_break(struct loop *l, struct slot *s, struct tls_stream *t)
{
    bool client = tls_is_client(l->tls->context);

    if (t->tls.no_memory)
        l->stats->no_block++;
    else
        l->stats->tls_failed++;
    if (!client)
        log_limited(t->tls.no_memory ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "TLS: connection %d %s: %s",
                    stream_fd(l, s), t->open ? "has failed" : "fails in its handshake",
                    tls_reason());
    t->tls.len = 0;
    tls_stream_part(l, s, t, EPROTO);
    if (!(s->flags & STREAM_SENDING) ||
        !t->tls.in_kernel) /* else it may be in flight, and goes out */
        out_clear(&s->out);
    t->covers = 0;
    if (t->tls.no_memory || client)
        return stream_close(l, s);
    stream_end(l, s, false);
    return false;
}

/* Whoever speaks HTTP to this port is told how to speak. */
static void tls_refuse_plain(struct loop *l, struct slot *s)
{
    const struct protocol *above = tls_stream_above(l, s);

    l->stats->tls_plain++;
    s->flags &= (uint16_t)~STREAM_LAYERED;
    stream_set_timer(l, s, STREAM_TIMER_NONE, 0);
    if (above->refuse_plain && above->refuse_plain(l, s) == 0)
        stream_end(l, s, false);
    else
        stream_close(l, s);
}

/* ---- what the stream reports ---- */

/* TLS for a connection. NULL: there is no memory; it is closed. */
static struct tls_stream *tls_make(struct loop *l, struct slot *s)
{
    struct tls_stream *t = calloc(1, sizeof(*t));
    if (t && tls_open(&t->tls, l->tls->context, &l->out_pool) == 0) {
        t->slot = s;
        l->tls->stream[stream_fd(l, s)] = t;
        return t;
    }
    l->stats->no_block++;
    log_limited(LOG_LEVEL_WARN, "TLS: connection %d cannot be set up, closing it: %s",
                stream_fd(l, s), t ? tls_reason() : "no memory");
    free(t);
    stream_close(l, s);
    return NULL;
}

static void tls_on_open(struct loop *l, struct slot *s)
{
    uint32_t ms = l->set->header_timeout_ms;

    stream_set_timer(l, s, STREAM_TIMER_LAYER, ms ? ms : l->set->idle_timeout_ms);
    if (!tls_is_client(l->tls->context))
        return;
    struct tls_stream *t = tls_make(l, s);
    if (t) { /* a client speaks first */
        t->begun = true;
        tls_stream_work(l, s, t);
    }
}

struct tls_stream *tls_stream_begin(struct loop *l, struct slot *s, const char *data)
{
    if ((*data >= 'A' && *data <= 'Z') || (*data >= 'a' && *data <= 'z')) {
        tls_refuse_plain(l, s);
        return NULL;
    }
    return tls_make(l, s);
}

static void tls_on_eof(struct loop *l, struct slot *s)
{
    struct tls_stream *t = tls_stream_get(l, s);

    if (!t || !t->open) {
        l->stats->tls_failed += t != NULL;
        tls_stream_part(l, s, t, ECONNABORTED);
        stream_close(l, s);
        return;
    }
    /* A message is complete by what it says of its length: an end without a word makes none. */
    l->stats->tls_truncated += !t->tls.peer_closed;
    tls_stream_above(l, s)->eof(l, s);
}

static void tls_on_writable(struct loop *l, struct slot *s)
{
    struct tls_stream *t = tls_stream_get(l, s);

    if (t && t->open)
        tls_stream_above(l, s)->writable(l, s);
}

static void tls_on_timeout(struct loop *l, struct slot *s, unsigned kind)
{
    if (kind != STREAM_TIMER_LAYER) {
        tls_stream_above(l, s)->timeout(l, s, kind);
        return;
    }
    l->stats->timeout_handshake++;
    stream_close(l, s);
}

static void tls_on_drain(struct loop *l, struct slot *s)
{
    struct tls_stream *t = tls_stream_get(l, s);

    if (t && t->open)
        tls_stream_above(l, s)->drain(l, s);
    else if (!t)
        stream_set_timer(l, s, STREAM_TIMER_LAYER, TLS_DRAIN_HANDSHAKE_MS);
}

static size_t tls_on_held(const struct loop *l, const struct slot *s)
{
    const struct tls_stream *t = tls_stream_get(l, s);
    size_t above = s->exchange ? tls_stream_above(l, s)->held(l, s) : 0;

    return t ? above + t->in_len + out_held(&t->tls.out) : above;
}

static void tls_on_gone(struct loop *l, struct slot *s, int err)
{
    struct tls_stream *t = tls_stream_get(l, s);

    tls_stream_part(l, s, t, err);
    if (!t)
        return;
    tls_stream_dequeue(t);
    if (err == 0)
        tls_stream_say_goodbye(l, s, t);
    tls_stream_drop_input(l, t);
    /* What may be in flight is the ciphertext alone, or what the kernel encrypts: the stream keeps it
     * until it is detached. */
    if (!t->tls.in_kernel) {
        out_clear(&s->out);
        s->out = t->tls.out;
    }
    l->tls->stream[stream_fd(l, s)] = NULL;
    tls_free(&t->tls);
    free(t);
}

static const struct protocol tls_protocol = {
    .name = "tls",
    .open = tls_on_open,
    .input = tls_stream_on_input,
    .eof = tls_on_eof,
    .writable = tls_on_writable,
    .timeout = tls_on_timeout,
    .drain = tls_on_drain,
    .held = tls_on_held,
    .gone = tls_on_gone,
};

/* ---- the loop ---- */

static const struct stream_layer tls_layer = {
    .segments = tls_stream_segments,
    .consume = tls_stream_consume,
    .resume = tls_stream_resume,
};

int tls_streams_open(struct loop *l, struct tls_context *context)
{
    struct acceptor *acc = &l->acceptor;
    bool any = false;

    for (unsigned i = 0; i < acc->count; i++)
        any |= acc->listener[i].tls;
    if (!any)
        return 0;
    size_t size = l->set->recv_buffer_bytes;
    struct tls_streams *ts = calloc(1, sizeof(*ts) + size);
    size_t bytes = l->slots.cap * sizeof(struct tls_stream *);
    void *streams = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | SYS_MAP_NORESERVE, -1, 0);
    if (!ts || streams == MAP_FAILED) {
        if (streams != MAP_FAILED)
            munmap(streams, bytes);
        free(ts);
        return -ENOMEM;
    }
    ts->program = l->hooks;
    ts->hooks = *l->hooks;
    ts->hooks.before_wait = tls_stream_before_wait;
    ts->context = context;
    ts->stream = streams;
    ts->stream_bytes = bytes;
    ts->run.end = &ts->run.first;
    ts->begin.end = &ts->begin.first;
    ts->plain_size = size;
    l->tls = ts;
    l->hooks = &ts->hooks;
    for (unsigned i = 0; i < acc->count; i++) {
        struct accept_listener *a = &acc->listener[i];
        if (!a->tls)
            continue;
        a->above = a->protocol;
        a->protocol = &tls_protocol;
        a->layer = &tls_layer;
    }
    return 0;
}

void tls_streams_close(struct loop *l)
{
    if (!l->tls)
        return;
    munmap(l->tls->stream, l->tls->stream_bytes);
    free(l->tls);
    l->tls = NULL;
}
