/* SPDX-License-Identifier: MIT */
/*
 * accept.c - see accept.h.
 */
#include "config.h"

#include "accept.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "stream.h"
#include "sys.h"
#include "util.h"

static_assert(BACKEND_LISTENERS_MAX <= 64, "a bit for each listener");

#define ACCEPT_SHARED_BURST   4 /* an iteration, from a listener that others accept from as well */
#define ACCEPT_REFUSED_MAX    8 /* EPERM is a firewall's word on one client; so often, on us all */
#define ACCEPT_BACKOFF_MS     125 /* after the first error; then twice as long */
#define ACCEPT_BACKOFF_MAX_MS 8000
#define ACCEPT_DRAIN_MAX      4096 /* clients that are taken from a queue at the end */

bool accept_is_transient(int err)
{
    switch (err) {
    case ECONNABORTED:
    /* accept(2) passes pending network errors of the new socket on */
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH: return true;
    default: return false;
    }
}

/* Errors that go away when a connection ends. */
static bool accept_lacks_resources(int err)
{
    return err == EMFILE || err == ENFILE || err == ENOMEM || err == ENOBUFS;
}

static uint32_t acceptor_room(const struct loop *l)
{
    uint32_t max = l->acceptor.connections_max;

    return l->slots.used < max ? max - l->slots.used : 0;
}

static int acceptor_listen(struct loop *l, unsigned index, bool on)
{
    struct accept_listener *a = &l->acceptor.listener[index];

    return backend_listen_ctl(l->be, index, a->fd, on,
                              a->shared ? ACCEPT_SHARED_BURST : BACKEND_BURST_ANY);
}

/* Turn all those listeners on, or off, that nothing keeps off. 0 or the first error. */
static int acceptor_listen_all(struct loop *l, bool on)
{
    struct acceptor *acc = &l->acceptor;
    int rc = 0;

    l->be->accept_room = acceptor_room(l);
    for (unsigned i = 0; i < acc->count; i++) {
        if (acc->listener[i].fd < 0 || acc->listener[i].failing)
            continue;
        int r = acceptor_listen(l, i, on);
        if (r < 0 && rc == 0)
            rc = r;
    }
    return rc;
}

static bool acceptor_wants(const struct loop *l)
{
    return l->acceptor.started && !l->acceptor.full && !l->draining;
}

void acceptor_add(struct loop *l, const struct accept_listener *listener)
{
    assert(l->acceptor.count < BACKEND_LISTENERS_MAX && !l->acceptor.started);
    l->acceptor.listener[l->acceptor.count++] = *listener;
}

int acceptor_start(struct loop *l)
{
    l->acceptor.started = true;
    return acceptor_wants(l) ? acceptor_listen_all(l, true) : 0;
}

void acceptor_stop(struct loop *l)
{
    l->acceptor.started = false;
    acceptor_listen_all(l, false);
}

/* ---- places ---- */

/* The last place is taken: nothing is accepted until a connection ends. */
static void acceptor_fill(struct loop *l)
{
    log_limited(LOG_LEVEL_WARN, "%u connections open (--max-connections): accepting pauses",
                l->slots.used);
    l->acceptor.full = true;
    l->stats->accept_pauses++;
    acceptor_listen_all(l, false);
}

void acceptor_on_accepted(void *loop, unsigned index, int fd)
{
    struct loop *l = loop;
    struct accept_listener *a = &l->acceptor.listener[index];

    if (unlikely(l->clock_stale)) {
        clock_update(&l->clock);
        l->clock_stale = false;
    }
    l->stats->accepted++;
    a->told = false;
    a->refused = 0;
    a->backoff_ms = 0;
    stream_open(l, index, fd);
    l->be->accept_room = acceptor_room(l);
    if (unlikely(l->be->accept_room == 0) && acceptor_wants(l))
        acceptor_fill(l);
}

/* ---- errors ---- */

static void acceptor_pause(struct loop *l, unsigned index, int err)
{
    struct accept_listener *a = &l->acceptor.listener[index];

    a->backoff_ms =
        a->backoff_ms ? MIN(2 * a->backoff_ms, ACCEPT_BACKOFF_MAX_MS) : ACCEPT_BACKOFF_MS;
    a->resume_ms = l->clock.now_ms + a->backoff_ms;
    a->failing = true;
    l->acceptor.failing++;
    a->starved = accept_lacks_resources(err);
    l->acceptor.starved |= a->starved;
    l->stats->accept_pauses++;
    if (!a->told)
        log_warn("%s: accept: %s: accepting pauses there, and is tried again after %d ms and then "
                 "less and less often%s",
                 a->text, strerror(err), ACCEPT_BACKOFF_MS,
                 err == EMFILE ? ", or when a connection ends (raise the fd limit or lower "
                                 "--max-connections)"
                               : "");
    a->told = true;
    acceptor_listen(l, index, false);
}

void acceptor_on_failed(void *loop, unsigned index, int err)
{
    struct loop *l = loop;
    struct accept_listener *a = &l->acceptor.listener[index];

    if (accept_is_transient(err) || (err == EPERM && ++a->refused < ACCEPT_REFUSED_MAX)) {
        l->stats->accept_aborted++;
        return;
    }
    l->stats->accept_errors++;
    if (!a->failing && acceptor_wants(l))
        acceptor_pause(l, index, err);
}

static void acceptor_retry(struct loop *l, unsigned index)
{
    struct accept_listener *a = &l->acceptor.listener[index];

    a->failing = false;
    l->acceptor.failing--;
    a->refused = ACCEPT_REFUSED_MAX - 1; /* one more is enough */
    if (!acceptor_wants(l))
        return;
    int rc = acceptor_listen(l, index, true);
    if (rc < 0)
        acceptor_pause(l, index, -rc);
}

/* Connections have ended. */
static void acceptor_on_closed(struct loop *l)
{
    struct acceptor *acc = &l->acceptor;

    acc->closed = l->stats->closed;
    l->be->accept_room = acceptor_room(l);
    if (unlikely(acc->starved)) { /* fds or memory may be free again */
        acc->starved = false;
        for (unsigned i = 0; i < acc->count; i++)
            if (acc->listener[i].failing && acc->listener[i].starved)
                acc->listener[i].resume_ms = l->clock.now_ms;
    }
    if (unlikely(acc->full) && l->be->accept_room > 0) {
        acc->full = false;
        if (acceptor_wants(l))
            acceptor_listen_all(l, true);
    }
}

void acceptor_update(struct loop *l)
{
    struct acceptor *acc = &l->acceptor;

    if (acc->closed != l->stats->closed)
        acceptor_on_closed(l);
    if (likely(acc->failing == 0))
        return;
    for (unsigned i = 0; i < acc->count; i++) {
        struct accept_listener *a = &acc->listener[i];
        if (a->failing && a->fd >= 0 && l->clock.now_ms >= a->resume_ms)
            acceptor_retry(l, i);
    }
}

int64_t acceptor_due_ms(const struct loop *l)
{
    const struct acceptor *acc = &l->acceptor;
    uint64_t due_ms = UINT64_MAX;

    for (unsigned i = 0; i < acc->count; i++)
        if (acc->listener[i].failing && acc->listener[i].fd >= 0)
            due_ms = MIN(due_ms, acc->listener[i].resume_ms);
    if (due_ms == UINT64_MAX)
        return -1;
    return due_ms > l->clock.now_ms ? (int64_t)(due_ms - l->clock.now_ms) : 0;
}

/* ---- the end ---- */

/*
 * Take what the kernel has queued on a listener: those clients believe they are connected. Also where other
 * processes go on accepting from it (`kept`, `shared`): a client wakes one of all that wait, and
 * that one may have been this one, which has let go of the listener since; nobody else would look until the
 * next client comes. Not without end: whoever keeps connecting cannot keep the drain from beginning.
 */
static void acceptor_take_rest(struct loop *l, unsigned index)
{
    struct accept_listener *a = &l->acceptor.listener[index];
    struct pollfd waiting = {.fd = a->fd, .events = POLLIN};
    unsigned errors = 0;

    for (unsigned i = 0; i < ACCEPT_DRAIN_MAX && acceptor_room(l) > 0; i++) {
        int fd = sys_accept(a->fd);
        if (fd >= 0) {
            l->stats->accepted++;
            stream_open(l, index, fd);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR && !accept_is_transient(errno) && ++errors > 1) {
            break;
        }
    }
    if (!a->shared && !a->kept && poll(&waiting, 1, 0) == 1 && (waiting.revents & POLLIN)) {
        l->stats->limit_drain++;
        log_limited(LOG_LEVEL_WARN, "%s: clients are still queued at the end: they are refused",
                    a->text);
    }
}

static void acceptor_close(struct loop *l, unsigned index)
{
    struct accept_listener *a = &l->acceptor.listener[index];

    acceptor_take_rest(l, index);
    close(a->fd);
    a->fd = -1;
}

void acceptor_on_listen_off(void *loop, unsigned index)
{
    struct loop *l = loop;

    /* Who has connected while the backend let go of the listener is still taken. */
    if (l->draining && l->acceptor.listener[index].fd >= 0)
        acceptor_close(l, index);
}

void acceptor_drain(struct loop *l)
{
    struct acceptor *acc = &l->acceptor;

    acc->started = false;
    for (unsigned i = 0; i < acc->count; i++) {
        if (acc->listener[i].fd < 0)
            continue;
        if (acceptor_listen(l, i, false) != IO_PENDING)
            acceptor_close(l, i);
        else if (!acc->listener[i].kept)
            acceptor_take_rest(l, i); /* closed by acceptor_on_listen_off() */
    }
}

void acceptor_retire(struct loop *l, uint64_t kept)
{
    for (unsigned i = 0; i < l->acceptor.count; i++)
        l->acceptor.listener[i].kept = kept >> i & 1;
    acceptor_drain(l);
}

bool acceptor_closed(const struct loop *l)
{
    for (unsigned i = 0; i < l->acceptor.count; i++)
        if (l->acceptor.listener[i].fd >= 0)
            return false;
    return true;
}
