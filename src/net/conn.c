/* SPDX-License-Identifier: MIT */
/*
 * conn.c - life and death of a connection: accept, upcalls from the engine, deadlines, closing,
 * drain.
 *
 *   conn_on_open
 *        |       response said close       all sent, the client may still write
 *    SLOT_OPEN -------------------> SLOT_LAST -------------------> SLOT_LINGER
 *        |                              |                              |
 *        | error, timeout, end of       | the client had said          | end of input,
 *        | input with nothing to say    | that it is done              | limit, time
 *        +------------------------------+------------------------------+
 *                                       v
 *          detach(): at once, or SLOT_DETACHING until conn_on_detached()
 *                                       v
 *         blocks given back, slot released, and as the very last act close(2)
 *
 * Because the fd is closed last, no completion can ever be for a reused fd.
 */
#include "config.h"

#include "conn.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend.h"
#include "conn_internal.h"
#include "log.h"

#define CONN_TRIM_MS   1000 /* how often emptied pages are looked for, while there may be any */
#define CONN_RESUME_MS 500  /* accepting paused for want of fds is tried again after so long */
#define CONN_DRAIN_GRACE_MS \
    500 /* at the drain an idle client may send one more request, and learn of the end */
#define CONN_ACCEPT_NEAR   16 /* accepts of one turn when --max-connections is near */
#define CONN_ACCEPT_SHARED 4  /* ... on a listener that other workers accept from as well */
#define CONN_ACCEPT_BACKLOG \
    4096 /* what an engine may accept at once when it is not held back: a full queue */

static inline void conn_upcall_begin(struct core *c)
{
    assert(c->in_wait);
    if (unlikely(c->clock_stale)) {
        clock_update(&c->clock);
        c->clock_stale = false;
    }
}

/* ---- accepting ---- */

static bool conn_accept_wanted(const struct core *c)
{
    return c->accepting && !c->paused_full && !c->paused_fds && !c->draining;
}

/* Far enough from the limit for an engine that accepts all there is? */
static bool conn_accept_is_free(const struct core *c, uint32_t room)
{
    return (uint64_t)c->slots.used + room < c->connections_max;
}

static int conn_listen_all(struct core *c, bool on)
{
    const struct backend_ops *ops = c->be->ops;
    int rc = 0;

    if (on)
        c->accept_free = conn_accept_is_free(c, CONN_ACCEPT_BACKLOG);
    unsigned own = c->accept_free ? BACKEND_ACCEPT_FREE : CONN_ACCEPT_NEAR;

    for (unsigned i = 0; i < c->listener_count; i++) {
        struct core_listener *l = &c->listeners[i];
        if (l->fd < 0)
            continue;
        int r = ops->listen_ctl(c->be, i, l->fd, on, l->shared ? CONN_ACCEPT_SHARED : own);
        if (r < 0)
            rc = r;
    }
    return rc;
}

int conn_accept_start(struct core *c)
{
    c->accepting = true;
    return conn_accept_wanted(c) ? conn_listen_all(c, true) : 0;
}

void conn_accept_stop(struct core *c)
{
    c->accepting = false;
    conn_listen_all(c, false);
}

static void conn_accept_pause(struct core *c, bool *why)
{
    if (!*why) {
        *why = true;
        c->stats->accept_pauses++;
    }
    conn_listen_all(c, false);
}

static void conn_accept_resume(struct core *c, bool *why)
{
    *why = false;
    if (conn_accept_wanted(c))
        conn_listen_all(c, true);
}

/* A connection has ended: an fd and a place are free again. */
static void conn_accept_recheck(struct core *c)
{
    if (unlikely(c->paused_full) && c->slots.used < c->connections_max)
        conn_accept_resume(c, &c->paused_full);
    if (unlikely(!c->accept_free) && conn_accept_is_free(c, 2 * CONN_ACCEPT_BACKLOG) &&
        conn_accept_wanted(c)) {
        conn_listen_all(c, false);
        conn_listen_all(c, true);
    }
    if (unlikely(c->paused_fds))
        c->resume_ms = c->clock.now_ms; /* conn_tick() tries again once this turn is over */
}

static void conn_open(struct core *c, unsigned index, int fd)
{
    struct slot *s = slot_take(&c->slots, fd);

    c->stats->accepted++;
    if (unlikely(!s)) {
        c->stats->rejected++;
        log_limited(LOG_LEVEL_WARN, "connection refused: fd %d is beyond the slot table of %u", fd,
                    c->slots.cap);
        close(fd);
        return;
    }
    c->told_fds = false;
    s->state = SLOT_OPEN;
    s->flags = SLOT_FRESH | (c->listeners[index].unix_socket ? SLOT_UNIX : 0);
    http_parser_init(&s->parser);
    int rc = c->be->ops->attach(c->be, fd);
    if (unlikely(rc < 0)) {
        c->stats->engine_errors++;
        log_limited(LOG_LEVEL_ERROR, "cannot receive on a new connection: %s", strerror(-rc));
        slot_release(&c->slots, fd);
        c->stats->closed++;
        close(fd);
        return;
    }
    conn_arm_timer(c, fd);
    if (unlikely(c->slots.used >= c->connections_max) && !c->paused_full && !c->draining) {
        log_limited(LOG_LEVEL_WARN, "%u connections open (--max-connections): accepting pauses",
                    c->slots.used);
        conn_accept_pause(c, &c->paused_full);
    } else if (unlikely(c->accept_free) && !conn_accept_is_free(c, CONN_ACCEPT_BACKLOG) &&
               conn_accept_wanted(c)) {
        conn_listen_all(c, false); /* from here on in steps, so that the limit is met exactly */
        conn_listen_all(c, true);
    }
}

/*
 * Take what the kernel has queued on a listener: those clients believe they are connected. Not
 * without end: whoever keeps connecting cannot keep the drain from beginning.
 */
static void conn_accept_rest(struct core *c, unsigned index)
{
    for (unsigned i = 0; i < CONN_ACCEPT_BACKLOG && c->slots.used < c->connections_max; i++) {
        int fd = accept4(c->listeners[index].fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            conn_open(c, index, fd);
        } else if (errno == EAGAIN) {
            return;
        } else if (!backend_accept_goes_on(errno)) {
            c->stats->accept_errors++;
            return;
        }
    }
}

/* The drain is through with a listener. Others may still accept from one that is shared. */
static void conn_listener_close(struct core *c, unsigned index)
{
    struct core_listener *l = &c->listeners[index];
    struct pollfd waiting = {.fd = l->fd, .events = POLLIN};

    if (!l->shared && poll(&waiting, 1, 0) > 0) {
        c->stats->limit_drain++;
        log_limited(LOG_LEVEL_WARN,
                    "listener %u closed with clients waiting: there was no room for them", index);
    }
    close(l->fd);
    l->fd = -1;
}

void conn_on_open(struct core *c, unsigned index, int fd)
{
    conn_upcall_begin(c);
    conn_open(c, index, fd);
}

void conn_on_accept_error(struct core *c, unsigned index, int err, bool stopped)
{
    conn_upcall_begin(c);
    c->stats->accept_errors++;
    if (!stopped && err != EMFILE && err != ENFILE && err != ENOMEM && err != ENOBUFS)
        return;
    if (!c->told_fds) /* once, until accepting works again */
        log_limited(LOG_LEVEL_WARN,
                    "listener %u: accept: %s: accepting pauses, and is tried again every %d ms or "
                    "when a connection ends%s",
                    index, strerror(err), CONN_RESUME_MS,
                    err == EMFILE ? " (raise the fd limit or lower --max-connections)" : "");
    c->told_fds = true;
    c->resume_ms = c->clock.now_ms + CONN_RESUME_MS;
    conn_accept_pause(c, &c->paused_fds);
}

void conn_on_listen_off(struct core *c, unsigned index)
{
    conn_upcall_begin(c);
    if (!c->draining || c->listeners[index].fd < 0)
        return;
    conn_accept_rest(c, index); /* who has connected while the engine let go of the listener */
    conn_listener_close(c, index);
}

/* ---- upcalls for a connection ---- */

void conn_on_input(struct core *c, int fd, const char *data, size_t len)
{
    struct slot *s = slot_get(&c->slots, fd);

    conn_upcall_begin(c);
    assert(len > 0 && s->state != SLOT_FREE && s->state != SLOT_DETACHING);
    c->stats->bytes_in += len;
    if (likely(s->state == SLOT_OPEN)) {
        conn_serve_input(c, fd, data, len);
        return;
    }
    /*
     * SLOT_LAST, SLOT_LINGER: nothing after the last request is looked at, but reading it keeps the
     * answer from a reset.
     */
    s->lingered += (uint32_t)len;
    if (s->lingered <= c->set->max_linger_bytes)
        return;
    if (s->state == SLOT_LINGER) {
        c->stats->limit_linger++;
        conn_close(c, fd);
    } else if (!(s->flags & SLOT_PAUSED)) {
        s->flags |= SLOT_PAUSED;
        c->be->ops->recv_ctl(c->be, fd, false);
    }
}

/*
 * An end of input inside a request may be one that we made ourselves, with shutdown(SHUT_RD),
 * between two pieces of it: what comes later can still be read, so look again for as long as a head
 * may take. False: it is the client's end.
 */
static bool conn_look_again(struct core *c, int fd)
{
    struct slot *s = slot_get(&c->slots, fd);
    uint32_t limit_ms = c->set->header_timeout_ms;

    if (s->state != SLOT_OPEN || !(s->flags & SLOT_RD_SHUT) ||
        !(s->flags & (SLOT_STARTED | SLOT_IN_BODY)) ||
        (limit_ms && (uint64_t)s->lingered * TIMER_TICK_MS >= limit_ms))
        return false;
    s->lingered++;
    timer_set(&c->timers, fd, TIMER_LINGER, c->clock.now_ms, TIMER_TICK_MS);
    return true;
}

void conn_on_eof(struct core *c, int fd)
{
    struct slot *s = slot_get(&c->slots, fd);

    conn_upcall_begin(c);
    assert(s->state != SLOT_FREE && s->state != SLOT_DETACHING);
    s->flags |= SLOT_EOF;
    if (s->state == SLOT_LINGER) {
        conn_close(c, fd);
        return;
    }
    if (s->state == SLOT_OPEN && (s->flags & (SLOT_STARTED | SLOT_IN_BODY)) &&
        !(s->flags & SLOT_SENDING)) {
        if (conn_look_again(c, fd))
            return;
        c->stats->eof_mid_request++;
        conn_end(c, fd);
        return;
    }
    /* Whoever half-closes after a request still gets the answer. */
    if (out_empty(&s->out) && !(s->flags & SLOT_PRODUCING))
        conn_close(c, fd);
}

void conn_on_error(struct core *c, int fd, int err)
{
    conn_upcall_begin(c);
    c->stats->resets++;
    log_debug("connection %d: %s", fd, strerror(err));
    conn_close(c, fd);
}

void conn_on_sent(struct core *c, int fd, int result)
{
    struct slot *s = slot_get(&c->slots, fd);
    char *data;

    conn_upcall_begin(c);
    assert(s->flags & SLOT_SENDING);
    bool behind = s->flags & SLOT_BEHIND;
    s->flags &= (uint16_t) ~(SLOT_SENDING | SLOT_BEHIND);
    if (unlikely(result <= 0)) {
        c->stats->resets++;
        conn_close(c, fd);
        return;
    }
    size_t lent = out_peek(&s->out, &data);
    assert((size_t)result <= lent);
    if ((size_t)result < lent && !behind)
        c->stats->short_sends++;
    c->stats->bytes_out += (uint64_t)result;
    out_consume(&s->out, &c->out_pool, (size_t)result);
    if (!conn_flush(c, fd))
        return;
    if ((s->flags & (SLOT_PAUSED | SLOT_PRODUCING)) && s->state == SLOT_OPEN &&
        !(s->flags & SLOT_QUEUED) && out_pending(&s->out) <= c->set->max_output_bytes / 2) {
        conn_serve_stored(c, fd);
        return;
    }
    if ((s->flags & SLOT_EOF) && out_empty(&s->out) && !(s->flags & SLOT_PRODUCING)) {
        if (!conn_look_again(c, fd))
            conn_close(c, fd);
        return;
    }
    conn_arm_timer(c, fd);
}

/* ---- closing ---- */

static void conn_release(struct core *c, int fd)
{
    struct slot *s = slot_get(&c->slots, fd);

    if (s->flags & SLOT_QUEUED) {
        s->state = SLOT_DETACHED; /* conn_run() takes it out of its queue and comes back here */
        return;
    }
    out_clear(&s->out, &c->out_pool);
    if (s->in)
        bufpool_put(&c->in_pool, s->in);
    slot_release(&c->slots, fd);
    c->stats->closed++;
    c->trim_pending = true;
    close(fd);
    conn_accept_recheck(c);
}

void conn_on_detached(struct core *c, int fd)
{
    conn_upcall_begin(c);
    assert(slot_get(&c->slots, fd)->state == SLOT_DETACHING);
    conn_release(c, fd);
}

bool conn_close(struct core *c, int fd)
{
    struct slot *s = slot_get(&c->slots, fd);

    assert(s->state != SLOT_FREE);
    if (s->state == SLOT_DETACHING || s->state == SLOT_DETACHED)
        return false;
    timer_stop(&c->timers, fd);
    s->state = SLOT_DETACHING;
    if (c->be->ops->detach(c->be, fd) != IO_PENDING)
        conn_release(c, fd);
    return false;
}

bool conn_end(struct core *c, int fd)
{
    struct slot *s = slot_get(&c->slots, fd);
    /*
     * A client that said it would send no more, and has not, cannot lose the answer to a reset.
     * Anybody else may have bytes on the way; closing now would make the kernel answer them with a
     * reset that can overtake our response (RFC 9112 section 9.6).
     */
    bool done = (s->flags & SLOT_EOF) || (!http_keeps_alive(&s->parser) && !s->lingered && !s->in &&
                                          !(s->flags & (SLOT_IN_BODY | SLOT_STARTED)));

    if (s->state == SLOT_OPEN)
        s->state = SLOT_LAST;
    if (s->flags & SLOT_SENDING || !out_empty(&s->out))
        return conn_flush(c, fd);
    if (done || shutdown(fd, SHUT_WR) < 0)
        return conn_close(c, fd);
    c->stats->lingers++;
    s->state = SLOT_LINGER;
    if (s->in) {
        bufpool_put(&c->in_pool, s->in);
        s->in = NULL;
    }
    timer_set(&c->timers, fd, TIMER_LINGER, c->clock.now_ms, MAX(c->set->linger_timeout_ms, 1));
    if (s->flags & SLOT_PAUSED) {
        s->flags &= (uint16_t)~SLOT_PAUSED;
        c->be->ops->recv_ctl(c->be, fd, true);
    }
    return true;
}

bool conn_close_idle(struct core *c, int fd)
{
    struct slot *s = slot_get(&c->slots, fd);

    /*
     * A request may lie in the socket, or in the engine's hands, that we have not seen. After
     * SHUT_RD the engine reports what there is and then the end of input, on which the connection
     * closes.
     */
    if (shutdown(fd, SHUT_RD) < 0)
        return conn_close(c, fd);
    s->flags |= SLOT_RD_SHUT;
    timer_set(&c->timers, fd, TIMER_LINGER, c->clock.now_ms, MAX(c->set->linger_timeout_ms, 1));
    return true;
}

/* ---- deadlines ---- */

void conn_arm_timer(struct core *c, int fd)
{
    struct slot *s = slot_get(&c->slots, fd);
    const struct settings *set = c->set;
    enum timer_kind kind;
    uint32_t delay_ms;

    if (s->flags & SLOT_SENDING)
        /* TIMER_WRITE: set by conn_flush() for each range, not renewed by what the client sends */
        return;
    if (s->state != SLOT_OPEN || (s->flags & SLOT_RD_SHUT)) {
        if (s->timer_kind == TIMER_LINGER)
            return;
        kind = TIMER_LINGER;
        delay_ms = MAX(set->linger_timeout_ms, 1);
    } else if (s->flags & SLOT_IN_BODY) {
        kind = TIMER_BODY;
        delay_ms = set->body_timeout_ms;
        if (set->min_body_rate && s->timer_kind == TIMER_BODY)
            return; /* extended by what is received, see conn_serve.c */
    } else if (s->flags & SLOT_STARTED) {
        if (s->timer_kind == TIMER_HEADER)
            return; /* counts from the first byte, not the last */
        kind = TIMER_HEADER;
        delay_ms = set->header_timeout_ms;
    } else {
        kind = TIMER_IDLE;
        delay_ms = set->idle_timeout_ms;
        if (unlikely(c->draining) && (!delay_ms || delay_ms > CONN_DRAIN_GRACE_MS))
            delay_ms = CONN_DRAIN_GRACE_MS;
    }
    timer_set(&c->timers, fd, kind, c->clock.now_ms, delay_ms);
}

/* The client stopped reading: what is queued in the kernel for it is dropped as well. */
static void conn_reset(struct core *c, int fd)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    conn_close(c, fd);
}

static void conn_expire(void *arg, int fd, enum timer_kind kind)
{
    struct core *c = arg;
    struct slot *s = slot_get(&c->slots, fd);

    switch (kind) {
    case TIMER_HEADER:
        c->stats->timeout_header++;
        conn_serve_timeout(c, fd);
        break;
    case TIMER_BODY:
        c->stats->timeout_body++;
        conn_serve_timeout(c, fd);
        break;
    case TIMER_IDLE:
        c->stats->timeout_idle += !c->draining;
        conn_close_idle(c, fd);
        break;
    case TIMER_WRITE:
        c->stats->timeout_write++;
        conn_reset(c, fd);
        break;
    case TIMER_LINGER:
        if (s->state == SLOT_OPEN && (s->flags & (SLOT_STARTED | SLOT_IN_BODY)) &&
            (s->flags & SLOT_EOF)) {
            s->flags &= (uint16_t)~SLOT_EOF;
            timer_set(&c->timers, fd, TIMER_LINGER, c->clock.now_ms,
                      MAX(c->set->linger_timeout_ms, 1));
            c->be->ops->recv_ctl(c->be, fd, true);
            break;
        }
        c->stats->timeout_linger++;
        conn_close(c, fd);
        break;
    case TIMER_NONE: break;
    }
}

/* ---- what the worker calls between waits ---- */

void conn_enqueue(struct core *c, int fd)
{
    struct slot *s = slot_get(&c->slots, fd);

    assert(!(s->flags & SLOT_QUEUED));
    s->flags |= SLOT_QUEUED;
    s->run_next = -1;
    if (c->run_tail >= 0)
        slot_get(&c->slots, c->run_tail)->run_next = fd;
    else
        c->run_head = fd;
    c->run_tail = fd;
}

bool conn_run(struct core *c)
{
    int last = c->run_tail; /* what is put back now waits for the next turn */
    bool more = c->run_head >= 0;

    while (more) {
        int fd = c->run_head;
        struct slot *s = slot_get(&c->slots, fd);

        more = fd != last;
        c->run_head = s->run_next;
        if (c->run_head < 0)
            c->run_tail = -1;
        s->flags &= (uint16_t)~SLOT_QUEUED;
        if (s->state == SLOT_DETACHED)
            conn_release(c, fd);
        else if (s->state == SLOT_OPEN && !(s->flags & SLOT_SENDING))
            conn_serve_stored(c, fd);
    }
    return c->run_head >= 0;
}

static int64_t conn_earlier(int64_t a_ms, int64_t b_ms)
{
    return a_ms < 0 || b_ms < a_ms ? b_ms : a_ms;
}

/* More than one slab, and a slab's worth of it free? */
static inline bool conn_pool_slack(const struct bufpool *p)
{
    return p->mapped > p->slab_bytes && bufpool_trimmable(p);
}

static void conn_trim(struct core *c)
{
    bool pending = false;
    size_t bytes = slot_table_trim(&c->slots, &pending);

    bytes += bufpool_trim(&c->in_pool);
    bytes += bufpool_trim(&c->out_pool);
    c->stats->pages_returned += bytes;
    c->trim_pending = pending || bufpool_trimmable(&c->in_pool) || bufpool_trimmable(&c->out_pool);
    c->trim_ms = c->clock.now_ms + CONN_TRIM_MS;
}

int64_t conn_tick(struct core *c)
{
    int64_t next_ms;

    clock_update(&c->clock);
    timer_expire(&c->timers, c->clock.now_ms, conn_expire, c);
    if (c->paused_fds && c->clock.now_ms >= c->resume_ms)
        conn_accept_resume(c, &c->paused_fds);
    /* Connections that stay open can have needed many blocks at once. */
    if (unlikely(conn_pool_slack(&c->in_pool) || conn_pool_slack(&c->out_pool)))
        c->trim_pending = true;
    if (c->trim_pending && c->clock.now_ms >= c->trim_ms)
        conn_trim(c);

    c->stats->slots_used = c->slots.used;
    c->stats->blocks_used = c->in_pool.used + c->out_pool.used;
    c->stats->block_bytes = c->in_pool.mapped + c->out_pool.mapped;

    next_ms = timer_next_ms(&c->timers, c->clock.now_ms);
    if (c->paused_fds)
        next_ms = conn_earlier(next_ms, (int64_t)(c->resume_ms - c->clock.now_ms));
    if (c->trim_pending)
        next_ms = conn_earlier(next_ms, (int64_t)(c->trim_ms - c->clock.now_ms));
    if (c->run_head >= 0)
        next_ms = 0;
    c->clock_stale = true;
    return next_ms;
}

/* Call f for every connection; f may close it. */
static void conn_each(struct core *c, void (*f)(struct core *c, int fd))
{
    for (uint32_t g = 0; g < c->slots.groups; g++) {
        if (!c->slots.group[g].live)
            continue;
        uint32_t end = MIN((g + 1) * SLOT_GROUP, c->slots.cap);
        for (uint32_t fd = g * SLOT_GROUP; fd < end; fd++)
            if (slot_get(&c->slots, (int)fd)->state != SLOT_FREE)
                f(c, (int)fd);
    }
}

/*
 * A connection that idles. Closing it now would fail the request that its client may just be
 * sending; so it is given a moment to send one, whose answer says close. conn_expire() closes it
 * otherwise.
 */
static void conn_drain_one(struct core *c, int fd)
{
    if (conn_is_idle(slot_get(&c->slots, fd)))
        conn_arm_timer(c, fd);
}

void conn_drain(struct core *c)
{
    c->draining = true;
    c->accepting = false;
    clock_update(&c->clock);
    conn_each(c, conn_drain_one);
    for (unsigned i = 0; i < c->listener_count; i++) {
        struct core_listener *l = &c->listeners[i];
        if (l->fd < 0)
            continue;
        int rc = c->be->ops->listen_ctl(c->be, i, l->fd, false, 0);
        conn_accept_rest(c, i);
        if (rc == IO_PENDING)
            continue; /* closed by conn_on_listen_off() */
        conn_listener_close(c, i);
    }
}

static void conn_abort_one(struct core *c, int fd)
{
    conn_close(c, fd);
}

void conn_abort_all(struct core *c)
{
    conn_each(c, conn_abort_one);
}
