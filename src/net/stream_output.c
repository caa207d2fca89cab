/* SPDX-License-Identifier: MIT */
/*
 * stream_output.c - see stream.h: what is sent, as it stands or by way of a layer.
 */
#include "config.h"

#include "stream.h"
#include "stream_internal.h"
#include "trace.h"
#include "util.h"

/* Hand the head of the output to the backend, as `*count` segments, or a file. */
static int stream_send_out(struct loop *l, struct slot *s, struct backend_segment *segments,
                           unsigned *count)
{
    if (l->be->ops->sends_later)
        out_shrink(&s->out, &l->sent_pool);
    *count = out_segments(&s->out, segments, BACKEND_SEGMENTS_MAX);
    if (segments->data)
        return backend_send(l->be, stream_fd(l, s), segments, *count);
    *count = 1;
    return stream_send_file(l, s, segments);
}

/* What a send has come to, for who sends. */
enum stream_sent {
    STREAM_SENT_GONE, /* the connection is, as `false` elsewhere */
    STREAM_SENT_WAIT, /* it pends */
    STREAM_SENT_ON,   /* bytes were taken: there may be more to send */
};

/*
 * The backend has answered `rc` to a send of `len` bytes. `progress`: the peer has taken bytes since
 * the deadline was set, if it was. `layer` is NULL, a constant, or the stream's.
 */
static inline __attribute__((always_inline)) enum stream_sent
stream_sent_by(struct loop *l, struct slot *s, int rc, size_t len, bool progress,
               const struct stream_layer *layer)
{
    TRACE2(send, s, rc);
    if (rc == IO_PENDING) {
        s->flags |= STREAM_SENDING;
        s->sent_at = (uint32_t)l->stats->iterations;
        if (layer && s->timer_kind == STREAM_TIMER_LAYER)
            return STREAM_SENT_WAIT; /* it does not begin anew with every step */
        if (likely(progress) || s->timer_kind != STREAM_TIMER_WRITE)
            stream_set_timer(l, s, STREAM_TIMER_WRITE, l->set->write_timeout_ms);
        return STREAM_SENT_WAIT;
    }
    if (unlikely(rc <= 0)) {
        l->stats->resets++;
        stream_fail(l, s, -rc);
        return STREAM_SENT_GONE;
    }
    if (unlikely((size_t)rc < len))
        l->stats->short_sends++;
    l->stats->bytes_out += (uint64_t)rc;
    if (layer)
        layer->consume(l, s, (size_t)rc);
    else
        out_consume(&s->out, (size_t)rc);
    return STREAM_SENT_ON;
}

/* Send what there is; as above. */
static inline __attribute__((always_inline)) bool
stream_send_by(struct loop *l, struct slot *s, bool progress, const struct stream_layer *layer)
{
    struct backend_segment segments[BACKEND_SEGMENTS_MAX];

    for (;;) {
        unsigned count = 1;
        int rc;
        if (layer) {
            int n = layer->segments(l, s, segments, ARRAY_LEN(segments));
            if (unlikely(n < 0))
                return stream_fail(l, s, -n);
            if (n == 0)
                break;
            count = (unsigned)n;
            if (unlikely(!segments->data && (s->flags & STREAM_DIRECT))) {
                count = 1;
                rc = segments->record ? backend_send(l->be, stream_fd(l, s), segments, 1)
                                      : stream_send_file(l, s, segments);
            } else if (unlikely(!segments->data)) {
                rc = stream_await_file(l, s, segments);
                if (rc != IO_PENDING)
                    continue;
            } else {
                rc = backend_send(l->be, stream_fd(l, s), segments, count);
            }
        } else if (unlikely(out_empty(&s->out))) {
            break;
        } else {
            rc = stream_send_out(l, s, segments, &count);
        }
        enum stream_sent sent =
            stream_sent_by(l, s, rc, backend_segments_len(segments, count), progress, layer);
        if (sent != STREAM_SENT_ON)
            return sent == STREAM_SENT_WAIT;
        progress = true;
    }
    return s->state == STREAM_ENDING ? stream_finish(l, s) : true;
}

static bool stream_send(struct loop *l, struct slot *s, bool progress)
{
    return stream_send_by(l, s, progress, NULL);
}

static bool stream_send_layered(struct loop *l, struct slot *s, bool progress)
{
    return stream_send_by(l, s, progress, stream_layer(l, s));
}

/* stream_flush() of anything but one block. */
static __attribute__((noinline)) bool stream_flush_any(struct loop *l, struct slot *s)
{
    if (!(s->flags & (STREAM_SENDING | STREAM_LAYERED)))
        return stream_send(l, s, true);
    if (!(s->flags & STREAM_SENDING))
        return stream_send_layered(l, s, true);
    s->flags |= STREAM_MORE;
    return true;
}

/* One block has been handed to the backend, which has not taken all of it at once. */
static __attribute__((noinline)) bool stream_flush_rest(struct loop *l, struct slot *s, int rc,
                                                        size_t len)
{
    enum stream_sent sent = stream_sent_by(l, s, rc, len, true, NULL);

    return sent == STREAM_SENT_ON ? stream_send(l, s, true) : sent == STREAM_SENT_WAIT;
}

bool stream_flush(struct loop *l, struct slot *s)
{
    struct backend_segment segment;
    struct buf *b = s->out.tail;

    if (unlikely((s->flags & (STREAM_SENDING | STREAM_LAYERED)) || !b || !out_is_simple(&s->out) ||
                 s->state != STREAM_OPEN))
        return stream_flush_any(l, s);
    if (l->be->ops->sends_later) {
        out_shrink(&s->out, &l->sent_pool);
        b = s->out.tail;
    }
    segment.data = b->data + b->start;
    segment.len = b->end - b->start;
    int rc = backend_send(l->be, stream_fd(l, s), &segment, 1);
    if (unlikely(rc != (int)segment.len))
        return stream_flush_rest(l, s, rc, segment.len);
    TRACE2(send, s, rc);
    l->stats->bytes_out += segment.len;
    s->out.tail = NULL;
    bufpool_put(b);
    return true;
}

size_t stream_send_now(struct loop *l, struct slot *s, const char *data, size_t len)
{
    struct backend_segment segments[BACKEND_SEGMENTS_MAX];
    unsigned count = 0;

    if (s->flags & (STREAM_SENDING | STREAM_LAYERED))
        return 0;
    if (!out_empty(&s->out))
        count = out_segments(&s->out, segments, ARRAY_LEN(segments) - 1);
    for (unsigned i = 0; i < count; i++)
        if (!segments[i].data)
            return 0;
    size_t pending = backend_segments_len(segments, count);
    if (pending < out_pending(&s->out))
        return 0;
    segments[count++] = (struct backend_segment){.data = data, .len = len};
    size_t n = backend_send_now(l->be, stream_fd(l, s), segments, count);
    TRACE2(send, s, (int)n);
    l->stats->bytes_out += n;
    if (pending && n)
        out_consume(&s->out, MIN(n, pending));
    return n > pending ? n - pending : 0;
}

/* stream_on_sent() of a layered stream: there may be more to send than slot->out tells. */
static void stream_on_sent_layered(struct loop *l, struct slot *s, size_t n)
{
    stream_layer(l, s)->consume(l, s, n);
    if (stream_send_layered(l, s, n > 0) && s->state == STREAM_OPEN)
        stream_protocol(l, s)->writable(l, s);
}

void stream_on_sent(void *loop, int fd, int result)
{
    struct loop *l = loop;
    struct slot *s = stream_of(l, fd);

    assert(s->flags & STREAM_SENDING);
    if (unlikely(result < 0)) {
        l->stats->resets++;
        stream_fail(l, s, -result);
        return;
    }
    bool more = s->flags & STREAM_MORE;
    s->flags &= (uint16_t) ~(STREAM_SENDING | STREAM_MORE);
    l->stats->bytes_out += (uint64_t)result;
    if (unlikely(s->flags & STREAM_LAYERED)) {
        stream_on_sent_layered(l, s, (size_t)result);
        return;
    }
    out_consume(&s->out, (size_t)result);
    if (unlikely(!out_empty(&s->out)) || s->state == STREAM_ENDING) {
        l->stats->short_sends += !more && !out_empty(&s->out);
        if (!stream_send(l, s, result > 0))
            return;
    }
    if (s->state == STREAM_OPEN)
        stream_protocol(l, s)->writable(l, s);
}
