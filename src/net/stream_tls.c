/* SPDX-License-Identifier: MIT */
/*
 * stream_tls.c - see stream_tls.h.
 *
 * Output. slot->out is plain text, as the protocol has written it. When something can be sent, up to
 * TLS_BATCH bytes of it become ciphertext in tls.out, which is what the backend gets; they leave
 * slot->out when the kernel has taken all of that. So what is pending, what is full and what is empty
 * mean what they mean without TLS, and a file is read as far as there is room.
 *
 * Input. It is decrypted where it was received, into one buffer of the process, as much of it as one
 * receive may carry; the protocol gets that. When it is not ready for more, what is left stays as
 * ciphertext: it is one piece, since nothing is received meanwhile.
 */
#include "config.h"

#include "stream_tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"
#include "page_cache.h"
#include "stream.h"

#define TLS_BATCH              65536      /* plain text that is encrypted for one send */
#define TLS_FILE_WINDOW        (1u << 20) /* of a file, that is read at once where it is not in memory */
#define TLS_OWN_BLOCKS_MAX     8   /* of output; more of it is a client that reads none of it */
#define TLS_HANDSHAKES_MAX     8   /* begun in one iteration: some ms of an RSA key's work */
#define TLS_DRAIN_HANDSHAKE_MS 500 /* at the drain, for who has not begun */

struct tls_stream {
    struct tls tls;
    struct slot *slot;
    uint64_t covers; /* bytes of slot->out whose ciphertext is in tls.out */
    char *in;        /* ciphertext that waits, from in_at to in_len; NULL: none */
    size_t in_len, in_at;
    struct tls_stream *next, **link;
    struct tls_queue *queue; /* that it is in, NULL: none */
    bool open;               /* the protocol above knows of it */
    bool begun;              /* its handshake was counted */
};

struct tls_queue {
    struct tls_stream *first, **end;
    unsigned count;
};

struct tls_streams {
    struct loop_hooks hooks; /* ours, before those of the program */
    const struct loop_hooks *program;
    struct tls_context *context;
    struct tls_stream **stream; /* by fd; reserved for all, touched where there are some */
    size_t stream_bytes;
    struct tls_queue run;      /* have input that waits, and may go on */
    struct tls_queue begin;    /* may, when handshakes may begin again */
    unsigned handshakes;       /* begun in this iteration */
    size_t plain_size;         /* --recv-buffer */
    char file[TLS_RECORD_MAX]; /* a piece of a file */
    char plain[] __attribute__((aligned(16)));
};

static struct tls_stream *tls_of(const struct loop *l, const struct slot *s)
{
    return l->tls->stream[stream_fd(l, s)];
}

const struct tls *tls_stream_of(const struct loop *l, const struct slot *s)
{
    const struct tls_stream *t = s->flags & STREAM_LAYERED ? tls_of(l, s) : NULL;

    return t ? &t->tls : NULL;
}

static const struct protocol *tls_above(const struct loop *l, const struct slot *s)
{
    return l->acceptor.listener[s->listener].above;
}

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

static void tls_dequeue(struct tls_stream *t)
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

/* ---- output ---- */

/* Encrypt memory. 0 or -errno. */
static int tls_encrypt(struct tls_stream *t, const char *data, size_t len)
{
    while (len > 0) {
        size_t n = MIN(len, (size_t)TLS_RECORD_MAX);
        int rc = tls_write(&t->tls, data, n);
        if (unlikely(rc < 0))
            return rc;
        t->covers += n;
        data += n;
        len -= n;
    }
    return 0;
}

/* Encrypt of a range of a file what has room. 0 or -errno. */
static int tls_encrypt_file(struct loop *l, struct tls_stream *t,
                            const struct backend_segment *file)
{
    uint64_t off = 0;

    while (off < file->len && t->covers < TLS_BATCH) {
        size_t want = (size_t)MIN(file->len - off, sizeof(l->tls->file));
        ssize_t n = pread(file->file, l->tls->file, want, file->offset + (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO; /* it has become shorter */
        int rc = tls_encrypt(t, l->tls->file, (size_t)n);
        if (rc < 0)
            return rc;
        off += (uint64_t)n;
    }
    return 0;
}

/* May the next piece of this file be read without waiting for the disk? */
static bool tls_file_is_read(const struct loop *l, const struct slot *s,
                             const struct backend_segment *file)
{
    return (s->flags & STREAM_READ) || !l->set->file_readers ||
           page_cache_has(file->file, file->offset, MIN(file->len, TLS_BATCH));
}

/* Encrypt the beginning of slot->out. 0 or -errno. */
static int tls_fill(struct loop *l, struct slot *s, struct tls_stream *t)
{
    struct backend_segment segments[BACKEND_SEGMENTS_MAX];
    unsigned count = out_segments(&s->out, segments, ARRAY_LEN(segments));
    int rc = 0;

    for (unsigned i = 0; i < count && rc == 0 && t->covers < TLS_BATCH; i++) {
        if (segments[i].data) {
            rc = tls_encrypt(t, segments[i].data, segments[i].len);
        } else {
            if (i == 0 || tls_file_is_read(l, s, &segments[i]))
                rc = tls_encrypt_file(l, t, &segments[i]);
            break; /* the range may have been left in the middle */
        }
    }
    s->flags &= (uint16_t)~STREAM_READ;
    if (unlikely(rc < 0)) {
        l->stats->no_block += rc == -ENOMEM;
        log_limited(LOG_LEVEL_WARN, "TLS: a connection's output cannot be encrypted: %s",
                    rc == -EPROTO ? tls_reason() : strerror(-rc));
    }
    return rc;
}

static int tls_segments(struct loop *l, struct slot *s, struct backend_segment *segments,
                        unsigned max)
{
    struct tls_stream *t = tls_of(l, s);

    if (!t)
        return 0;
    if (t->covers == 0 && !out_empty(&s->out)) {
        out_segments(&s->out, segments, 1);
        if (unlikely(!segments->data) && !tls_file_is_read(l, s, segments)) {
            segments->len = MIN(segments->len, TLS_FILE_WINDOW);
            return 1;
        }
        int rc = tls_fill(l, s, t);
        if (rc < 0)
            return rc;
    }
    if (s->state == STREAM_ENDING && out_pending(&s->out) == t->covers)
        tls_close(&t->tls);
    return (int)out_segments(&t->tls.out, segments, max);
}

static void tls_consume(struct loop *l, struct slot *s, size_t n)
{
    struct tls_stream *t = tls_of(l, s);

    out_consume(&t->tls.out, &l->out_pool, n);
    if (!out_empty(&t->tls.out) || t->covers == 0)
        return;
    out_consume(&s->out, &l->out_pool, t->covers);
    t->covers = 0;
}

/* ---- input that waits ---- */

static void tls_drop_input(struct loop *l, struct tls_stream *t)
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

static bool tls_resume(struct loop *l, struct slot *s)
{
    struct tls_stream *t = tls_of(l, s);

    if (!t || s->state != STREAM_OPEN || !tls_has_input(s, t))
        return false;
    tls_enqueue(&l->tls->run, t);
    return true;
}

static const struct stream_layer tls_layer = {
    .segments = tls_segments,
    .consume = tls_consume,
    .resume = tls_resume,
};

/* ---- the ends ---- */

/* The protocol above hears that it is over, if it has heard of the connection and not of its end. */
static void tls_part(struct loop *l, struct slot *s, struct tls_stream *t, int err)
{
    bool known = (t && t->open) || s->exchange; /* what has connected has an exchange at once */

    if (t)
        t->open = false;
    if (known)
        tls_above(l, s)->gone(l, s, err);
}

/*
 * It goes no further. What there is to say by way of an alert has been written; the peer is given
 * time to read it, if it is a client, which has no other to go to.
 */
static bool tls_break(struct loop *l, struct slot *s, struct tls_stream *t)
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
    tls_part(l, s, t, EPROTO);
    out_clear(&s->out, &l->out_pool);
    t->covers = 0;
    if (t->tls.no_memory || client)
        return stream_close(l, s);
    stream_end(l, s, false);
    return false;
}

/* Whoever speaks HTTP to this port is told how to speak. */
static void tls_refuse_plain(struct loop *l, struct slot *s)
{
    const struct protocol *above = tls_above(l, s);

    l->stats->tls_plain++;
    s->flags &= (uint16_t)~STREAM_LAYERED;
    stream_set_timer(l, s, STREAM_TIMER_NONE, 0);
    if (above->refuse_plain && above->refuse_plain(l, s) == 0)
        stream_end(l, s, false);
    else
        stream_close(l, s);
}

/* The peer's close_notify: what it has sent is complete. False: the connection is gone. */
static bool tls_on_close_notify(struct loop *l, struct slot *s)
{
    if (s->flags & STREAM_EOF)
        return true;
    s->flags |= STREAM_EOF;
    backend_recv_ctl(l->be, stream_fd(l, s), false);
    tls_above(l, s)->eof(l, s);
    return false; /* there is nothing more to read in any case */
}

/* ---- input ---- */

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
    tls_above(l, s)->open(l, s);
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
        if (len > 0) {
            tls_above(l, s)->input(l, s, ts->plain, len);
            if (!tls_is_open(s, gen))
                return false;
        }
    }
    if (status == TLS_FAILED)
        return tls_break(l, s, t);
    if (status == TLS_CLOSED && !(s->flags & STREAM_PAUSED))
        return tls_on_close_notify(l, s);
    return true;
}

/* What OpenSSL has to say itself: handshakes, tickets, answers to key updates. */
static bool tls_flush_own(struct loop *l, struct slot *s, struct tls_stream *t)
{
    if (likely(out_empty(&t->tls.out)))
        return true;
    if (!(s->flags & STREAM_SENDING))
        return stream_flush(l, s);
    if (out_blocks(&t->tls.out) <= TLS_OWN_BLOCKS_MAX)
        return true;
    l->stats->limit_buffers++;
    return stream_reset(l, s);
}

/* Work on what was fed. False: as tls_deliver(). */
static bool tls_work(struct loop *l, struct slot *s, struct tls_stream *t)
{
    if (!t->tls.established) {
        switch (tls_handshake(&t->tls)) {
        case TLS_OK: break;
        case TLS_WANT_INPUT: return tls_flush_own(l, s, t);
        default: return tls_break(l, s, t);
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

    tls_dequeue(t);
    return t;
}

/* Go on with input that has waited. */
static void tls_go_on(struct loop *l, struct tls_stream *t)
{
    struct slot *s = t->slot;

    l->current = s;
    while (s->state == STREAM_OPEN && !(s->flags & STREAM_PAUSED) && tls_has_input(s, t)) {
        tls_feed(&t->tls, t->in ? t->in + t->in_at : NULL, t->in_len - t->in_at);
        if (!tls_work(l, s, t))
            return;
        t->in_at = t->in_len - t->tls.len;
        t->tls.len = 0;
        if (t->in_at == t->in_len)
            tls_drop_input(l, t);
    }
    if (s->state != STREAM_OPEN) /* nobody looks at it */
        tls_drop_input(l, t);
    if (!(s->flags & (STREAM_PAUSED | STREAM_EOF)))
        backend_recv_ctl(l->be, stream_fd(l, s), true);
}

static int64_t tls_before_wait(struct loop *l)
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
    free(t);
    l->stats->no_block++;
    log_limited(LOG_LEVEL_WARN, "no memory for a TLS connection: closing it");
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
        tls_work(l, s, t);
    }
}

/* The first bytes of a connection. NULL: it is no TLS, or there is no memory; that is done. */
static struct tls_stream *tls_begin(struct loop *l, struct slot *s, const char *data)
{
    if ((*data >= 'A' && *data <= 'Z') || (*data >= 'a' && *data <= 'z')) {
        tls_refuse_plain(l, s);
        return NULL;
    }
    return tls_make(l, s);
}

static void tls_on_input(struct loop *l, struct slot *s, const char *data, size_t len)
{
    struct tls_stream *t = tls_of(l, s);

    if (unlikely(!t) && !(t = tls_begin(l, s, data)))
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
    if (!tls_work(l, s, t))
        return;
    if (unlikely(t->tls.len > 0)) {
        assert(s->flags & STREAM_PAUSED);
        len = t->tls.len;
        t->tls.len = 0;
        tls_keep_input(l, s, t, t->tls.data, len);
    }
}

static void tls_on_eof(struct loop *l, struct slot *s)
{
    struct tls_stream *t = tls_of(l, s);

    if (!t || !t->open) {
        l->stats->tls_failed += t != NULL;
        tls_part(l, s, t, ECONNABORTED);
        stream_close(l, s);
        return;
    }
    /* A message is complete by what it says of its length: an end without a word makes none. */
    l->stats->tls_truncated += !t->tls.peer_closed;
    tls_above(l, s)->eof(l, s);
}

static void tls_on_writable(struct loop *l, struct slot *s)
{
    struct tls_stream *t = tls_of(l, s);

    if (t && t->open)
        tls_above(l, s)->writable(l, s);
}

static void tls_on_timeout(struct loop *l, struct slot *s, unsigned kind)
{
    if (kind != STREAM_TIMER_LAYER) {
        tls_above(l, s)->timeout(l, s, kind);
        return;
    }
    l->stats->timeout_handshake++;
    stream_close(l, s);
}

static void tls_on_drain(struct loop *l, struct slot *s)
{
    struct tls_stream *t = tls_of(l, s);

    if (t && t->open)
        tls_above(l, s)->drain(l, s);
    else if (!t)
        stream_set_timer(l, s, STREAM_TIMER_LAYER, TLS_DRAIN_HANDSHAKE_MS);
}

static size_t tls_on_held(const struct loop *l, const struct slot *s)
{
    const struct tls_stream *t = tls_of(l, s);
    size_t above = s->exchange ? tls_above(l, s)->held(l, s) : 0;

    return t ? above + t->in_len + out_blocks(&t->tls.out) * l->out_pool.block_size : above;
}

/* A last word that need not arrive: the end, to a client that was idle, or an alert. */
static void tls_say_goodbye(struct loop *l, struct slot *s, struct tls_stream *t)
{
    struct backend_segment segments[2];

    if ((s->flags & (STREAM_SENDING | STREAM_RESET)) || !out_empty(&s->out))
        return;
    tls_close(&t->tls);
    unsigned count = out_segments(&t->tls.out, segments, ARRAY_LEN(segments));
    if (count == 0)
        return;
    /* If it pends, the segments are frozen until the stream is detached, which is next. */
    int rc = backend_send(l->be, stream_fd(l, s), segments, count);
    if (rc > 0 && rc != IO_PENDING)
        l->stats->bytes_out += (uint64_t)rc;
}

static void tls_on_gone(struct loop *l, struct slot *s, int err)
{
    struct tls_stream *t = tls_of(l, s);

    tls_part(l, s, t, err);
    if (!t)
        return;
    tls_dequeue(t);
    if (err == 0)
        tls_say_goodbye(l, s, t);
    tls_drop_input(l, t);
    /* What may be in flight is the ciphertext alone: the stream keeps it until it is detached. */
    out_clear(&s->out, &l->out_pool);
    s->out = t->tls.out;
    l->tls->stream[stream_fd(l, s)] = NULL;
    tls_free(&t->tls);
    free(t);
}

static const struct protocol tls_protocol = {
    .name = "tls",
    .open = tls_on_open,
    .input = tls_on_input,
    .eof = tls_on_eof,
    .writable = tls_on_writable,
    .timeout = tls_on_timeout,
    .drain = tls_on_drain,
    .held = tls_on_held,
    .gone = tls_on_gone,
};

/* ---- the loop ---- */

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
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!ts || streams == MAP_FAILED) {
        if (streams != MAP_FAILED)
            munmap(streams, bytes);
        free(ts);
        return -ENOMEM;
    }
    ts->program = l->hooks;
    ts->hooks = *l->hooks;
    ts->hooks.before_wait = tls_before_wait;
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
