/* SPDX-License-Identifier: MIT */
/*
 * stream.c - see stream.h.
 */
#include "config.h"

#include "stream.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "page_cache.h"
#include "readers.h"
#include "sys.h"
#include "trace.h"
#include "util.h"

/* The first upcall of a wait; apart, so that the others need no room for what it needs. */
static __attribute__((noinline)) void stream_read_clock(struct loop *l)
{
    clock_update(&l->clock);
    l->clock_stale = false;
}

/* What an upcall begins with. */
static inline struct slot *stream_of(struct loop *l, int fd)
{
    if (unlikely(l->clock_stale))
        stream_read_clock(l);
    return l->current = slot_get(&l->slots, fd);
}

/* ---- the beginning and the end ---- */

/* The slot of a new connection of listener `index`; NULL: there is none for it. */
static struct slot *stream_take(struct loop *l, unsigned index, int fd)
{
    struct slot *s = slot_take(&l->slots, fd);

    if (unlikely(!s))
        return NULL;
    s->listener = (uint8_t)index;
    if (l->acceptor.listener[index].unix_socket)
        s->flags = STREAM_UNIX;
    if (l->acceptor.listener[index].layer)
        s->flags |= STREAM_LAYERED;
    return s;
}

bool stream_open(struct loop *l, unsigned index, int fd)
{
    struct slot *s = stream_take(l, index, fd);

    if (unlikely(!s)) {
        l->stats->rejected++;
        log_limited(LOG_LEVEL_WARN, "connection refused: fd %d is beyond the slot table of %u", fd,
                    l->slots.cap);
        close(fd);
        return false;
    }
    int rc = backend_attach(l->be, fd);
    if (unlikely(rc < 0)) {
        l->stats->backend_errors++;
        l->stats->closed++;
        log_limited(LOG_LEVEL_ERROR, "cannot receive on a new connection: %s", strerror(-rc));
        slot_release(&l->slots, fd);
        close(fd);
        return false;
    }
    s->state = STREAM_OPEN;
    TRACE2(connection__open, s, fd);
    stream_protocol(l, s)->open(l, s);
    return true;
}

void stream_move(struct loop *l, struct slot *s, unsigned index)
{
    assert(s->state == STREAM_OPEN && !s->exchange && !(s->flags & STREAM_LAYERED));
    s->listener = (uint8_t)index;
    if (l->acceptor.listener[index].layer)
        s->flags |= STREAM_LAYERED;
    stream_protocol(l, s)->open(l, s);
}

/* The backend holds nothing any more. */
static void stream_release(struct loop *l, struct slot *s)
{
    int fd = stream_fd(l, s);

    TRACE2(connection__close, s, fd);
    out_clear(&s->out, &l->out_pool);
    s->state = STREAM_FREE;
    slot_release(&l->slots, fd);
    l->stats->closed++;
    l->trim_pending = true;
    close(fd);
}

void stream_on_detached(void *loop, int fd)
{
    struct loop *l = loop;
    struct slot *s = stream_of(l, fd);

    assert(s->state == STREAM_DETACHING);
    l->budget.releasing -= stream_held(l, s);
    stream_release(l, s);
}

/* The protocol hears that it is over, and why; there is no deadline any more. */
static void stream_part(struct loop *l, struct slot *s, int err)
{
    s->state = STREAM_DETACHING;
    stream_protocol(l, s)->gone(l, s, err);
    assert(!s->exchange);
    timer_stop(&l->timers, &s->timer);
}

/* stream_close() because of `err`, a positive errno. */
static bool stream_fail(struct loop *l, struct slot *s, int err)
{
    assert(s->state != STREAM_FREE);
    if (s->state == STREAM_DETACHING)
        return false;
    stream_part(l, s, err);
    if (backend_detach(l->be, stream_fd(l, s)) == IO_PENDING)
        l->budget.releasing += stream_held(l, s);
    else
        stream_release(l, s);
    return false;
}

bool stream_close(struct loop *l, struct slot *s)
{
    return stream_fail(l, s, 0);
}

/* From now on a close is a reset, by which the kernel drops what it has queued for the peer. */
static void stream_no_linger(const struct loop *l, struct slot *s)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};

    s->flags |= STREAM_RESET;
    setsockopt(stream_fd(l, s), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

bool stream_reset(struct loop *l, struct slot *s)
{
    stream_no_linger(l, s);
    return stream_close(l, s);
}

/* ---- connecting ---- */

int stream_connect(struct loop *l, unsigned index, int fd, const struct sockaddr *addr,
                   socklen_t len, void *exchange)
{
    struct slot *s = stream_take(l, index, fd);
    int rc = -EMFILE;

    assert(exchange);
    if (likely(s)) {
        rc = backend_connect(l->be, fd, addr, len);
        if (likely(rc == 0)) {
            s->exchange = exchange;
            s->state = STREAM_CONNECTING;
            return 0;
        }
        slot_release(&l->slots, fd);
    }
    close(fd);
    return rc;
}

void stream_on_connected(void *loop, int fd, int err)
{
    struct loop *l = loop;
    struct slot *s = stream_of(l, fd);

    assert(s->state == STREAM_CONNECTING);
    if (likely(err == 0))
        err = -backend_attach(l->be, fd);
    if (unlikely(err)) { /* the backend has nothing to let go of */
        stream_part(l, s, err);
        stream_release(l, s);
        return;
    }
    s->state = STREAM_OPEN;
    stream_protocol(l, s)->open(l, s);
}

/* All output is sent, and no more will come. */
static bool stream_finish(struct loop *l, struct slot *s)
{
    if ((s->flags & (STREAM_EOF | STREAM_PEER_DONE)) || shutdown(stream_fd(l, s), SHUT_WR) < 0)
        return stream_close(l, s);
    l->stats->lingers++;
    s->state = STREAM_LINGER;
    stream_set_timer(l, s, STREAM_TIMER_LINGER, MAX(l->set->linger_timeout_ms, 1));
    stream_resume(l, s);
    return true;
}

bool stream_end(struct loop *l, struct slot *s, bool peer_done)
{
    if (s->state == STREAM_OPEN) {
        s->state = STREAM_ENDING;
        if (peer_done)
            s->flags |= STREAM_PEER_DONE;
    }
    /* A layer has a word of its own to say at the end. */
    if ((s->flags & (STREAM_SENDING | STREAM_LAYERED)) || !out_empty(&s->out))
        return stream_flush(l, s);
    return stream_finish(l, s);
}

bool stream_shut_input(struct loop *l, struct slot *s)
{
    if (shutdown(stream_fd(l, s), SHUT_RD) < 0)
        return stream_close(l, s);
    s->flags |= STREAM_SHUT_IN;
    stream_set_timer(l, s, STREAM_TIMER_LINGER, MAX(l->set->linger_timeout_ms, 1));
    return true;
}

/* ---- input ---- */

void stream_pause(struct loop *l, struct slot *s)
{
    if (s->flags & (STREAM_PAUSED | STREAM_EOF))
        return;
    s->flags |= STREAM_PAUSED;
    l->stats->paused++;
    backend_recv_ctl(l->be, stream_fd(l, s), false);
}

void stream_resume(struct loop *l, struct slot *s)
{
    if (likely(!(s->flags & STREAM_PAUSED)))
        return;
    s->flags &= (uint16_t)~STREAM_PAUSED;
    if (unlikely(s->flags & STREAM_LAYERED) && stream_layer(l, s)->resume(l, s))
        return;
    backend_recv_ctl(l->be, stream_fd(l, s), true);
}

void stream_look_again(struct loop *l, struct slot *s)
{
    assert(s->flags & STREAM_EOF);
    s->flags &= (uint16_t)~STREAM_EOF;
    backend_recv_ctl(l->be, stream_fd(l, s), true);
}

void stream_expect(struct loop *l, struct slot *s, size_t bytes)
{
    if (!(s->flags & STREAM_LAYERED))
        backend_recv_expect(l->be, stream_fd(l, s), bytes);
}

/*
 * Nothing that comes after the last answer is looked at, but reading it keeps the answer from a
 * reset.
 */
static void stream_discard(struct loop *l, struct slot *s, size_t len)
{
    s->flags &= (uint16_t)~STREAM_PEER_DONE;
    s->discarded += (uint32_t)len;
    if (s->discarded <= l->set->max_linger_bytes)
        return;
    if (s->state == STREAM_LINGER) {
        l->stats->limit_linger++;
        stream_close(l, s);
    } else {
        stream_pause(l, s);
    }
}

void stream_on_input(void *loop, int fd, const char *data, size_t len)
{
    struct loop *l = loop;
    struct slot *s = stream_of(l, fd);

    assert(len > 0 && s->state != STREAM_FREE && s->state != STREAM_DETACHING);
    TRACE2(input, s, len);
    l->stats->bytes_in += len;
    if (likely(s->state == STREAM_OPEN))
        stream_protocol(l, s)->input(l, s, data, len);
    else
        stream_discard(l, s, len);
}

void stream_on_eof(void *loop, int fd)
{
    struct loop *l = loop;
    struct slot *s = stream_of(l, fd);

    assert(s->state != STREAM_FREE && s->state != STREAM_DETACHING);
    s->flags |= STREAM_EOF;
    if (s->state == STREAM_OPEN)
        stream_protocol(l, s)->eof(l, s);
    else if (s->state == STREAM_LINGER)
        stream_close(l, s);
    /* ENDING: closed when all is sent */
}

void stream_on_failed(void *loop, int fd, int err)
{
    struct loop *l = loop;
    struct slot *s = stream_of(l, fd);

    l->stats->resets++;
    log_debug("connection %d: %s", fd, strerror(err));
    stream_fail(l, s, err);
}

/* ---- output ---- */

/* At most so much of a file is looked at, or read, before it is sent. */
#define STREAM_FILE_WINDOW (1u << 20)

/*
 * While much of a file is to be sent the kernel may hold more of it than --max-unsent-bytes: what it
 * holds are the file's own pages, and each time that it has room for a little more costs as much as
 * for a lot.
 */
static void stream_bound_file(struct loop *l, struct slot *s, size_t left)
{
    bool unbound = left > MAX(l->set->max_unsent_bytes, STREAM_FILE_WINDOW / 4);
    int bytes = unbound ? INT_MAX : (int)l->set->max_unsent_bytes;

    if (unbound == !!(s->flags & STREAM_UNBOUND) || (s->flags & STREAM_UNIX) ||
        !l->set->max_unsent_bytes)
        return;
    s->flags ^= STREAM_UNBOUND;
    sys_limit_unsent(stream_fd(l, s), bytes);
}

/* Called by a reader: end the wait. */
static void stream_reads_done(void *loop)
{
    struct loop *l = loop;

    atomic_store(&l->reads_done, true);
    l->be->ops->wake(l->be);
}

/* Have a range of a file read. False: nobody can. */
static bool stream_read_file(struct loop *l, struct slot *s, const struct backend_segment *file)
{
    if (!l->readers && l->set->file_readers)
        l->readers = readers_new(l->set->file_readers, stream_reads_done, l);
    return l->readers &&
           readers_ask(l->readers, stream_fd(l, s), s->gen, file->file, file->offset, file->len);
}

/*
 * A file comes first: as backend_send(). It is sent only when it is in memory, if the backend would
 * wait for the disk; what has been read just now is not looked at again, so that there is progress
 * also where memory is so short that it has gone.
 */
static int stream_send_file(struct loop *l, struct slot *s, struct backend_segment *file)
{
    stream_bound_file(l, s, file->len);
    file->len = MIN(file->len, STREAM_FILE_WINDOW);
    if (l->be->ops->waits_for_files && !(s->flags & STREAM_READ) && l->set->file_readers &&
        !page_cache_has(file->file, file->offset, file->len)) {
        l->stats->file_reads++;
        if (stream_read_file(l, s, file))
            return IO_PENDING;
        l->stats->file_waits++;
    }
    s->flags &= (uint16_t)~STREAM_READ;
    return backend_send(l->be, stream_fd(l, s), file, 1);
}

/* A layer wants a range of a file in memory. IO_PENDING, or 0: it has to wait for the disk itself. */
static int stream_await_file(struct loop *l, struct slot *s, const struct backend_segment *file)
{
    l->stats->file_reads++;
    if (stream_read_file(l, s, file))
        return IO_PENDING;
    l->stats->file_waits++;
    s->flags |= STREAM_READ;
    return 0;
}

/* Hand the head of the output to the backend, as `*count` segments, or a file. */
static int stream_send_out(struct loop *l, struct slot *s, struct backend_segment *segments,
                           unsigned *count)
{
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
        out_consume(&s->out, &l->out_pool, (size_t)rc);
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
    segment.data = b->data + b->start;
    segment.len = b->end - b->start;
    int rc = backend_send(l->be, stream_fd(l, s), &segment, 1);
    if (unlikely(rc != (int)segment.len))
        return stream_flush_rest(l, s, rc, segment.len);
    TRACE2(send, s, rc);
    l->stats->bytes_out += segment.len;
    s->out.tail = NULL;
    bufpool_put(&l->out_pool, b);
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
        out_consume(&s->out, &l->out_pool, MIN(n, pending));
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
    out_consume(&s->out, &l->out_pool, (size_t)result);
    if (unlikely(!out_empty(&s->out)) || s->state == STREAM_ENDING) {
        l->stats->short_sends += !more && !out_empty(&s->out);
        if (!stream_send(l, s, result > 0))
            return;
    }
    if (s->state == STREAM_OPEN)
        stream_protocol(l, s)->writable(l, s);
}

/* The same as if there were room again, if the connection still waits. */
static void stream_on_read(void *loop, int fd, uint32_t gen)
{
    struct loop *l = loop;
    struct slot *s = slot_get(&l->slots, fd);

    if (s->gen != gen || !(s->flags & STREAM_SENDING) || s->state == STREAM_DETACHING)
        return;
    s->flags |= STREAM_READ;
    stream_on_sent(l, fd, 0);
}

void stream_collect_reads(struct loop *l)
{
    atomic_store(&l->reads_done, false);
    readers_collect(l->readers, stream_on_read, l);
}

size_t stream_held(const struct loop *l, const struct slot *s)
{
    size_t blocks = out_blocks(&s->out);

    if (s->exchange || (s->flags & STREAM_LAYERED))
        return blocks * l->out_pool.block_size + stream_protocol(l, s)->held(l, s);
    return blocks * l->out_pool.block_size;
}

/* ---- deadlines ---- */

void stream_on_timer(void *loop, struct timer *t)
{
    struct loop *l = loop;
    struct slot *s = CONTAINER_OF(t, struct slot, timer);

    unsigned kind = s->timer_kind;

    l->current = s;
    s->timer_kind = STREAM_TIMER_NONE;
    switch (kind) {
    case STREAM_TIMER_WRITE:
        if (stream_send_is_fresh(l, s)) { /* it is this iteration that took so long */
            stream_set_timer(l, s, STREAM_TIMER_WRITE, l->set->write_timeout_ms);
            break;
        }
        /* what is queued in the kernel for it goes as well */
        l->stats->timeout_write++;
        stream_no_linger(l, s);
        stream_fail(l, s, ETIMEDOUT);
        break;
    case STREAM_TIMER_LINGER:
        l->stats->timeout_linger++;
        stream_close(l, s);
        break;
    default: stream_protocol(l, s)->timeout(l, s, kind);
    }
}
