/* SPDX-License-Identifier: MIT */
/*
 * stream.c - see stream.h: how a stream begins and ends, its input and its deadlines.
 */
#include "config.h"

#include "stream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "stream_internal.h"
#include "trace.h"
#include "util.h"

__attribute__((noinline)) void stream_read_clock(struct loop *l)
{
    clock_update(&l->clock);
    l->clock_stale = false;
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
    out_clear(&s->out);
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

bool stream_fail(struct loop *l, struct slot *s, int err)
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

bool stream_finish(struct loop *l, struct slot *s)
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

/* ---- what it holds, and its deadlines ---- */

size_t stream_held(const struct loop *l, const struct slot *s)
{
    size_t held = out_held(&s->out);

    if (s->exchange || (s->flags & STREAM_LAYERED))
        held += stream_protocol(l, s)->held(l, s);
    return held;
}

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
