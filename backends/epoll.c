/* SPDX-License-Identifier: MIT */
/*
 * epoll.c - the plain readiness backend: epoll_wait(2) and nothing else, edge-triggered.
 *
 * One request's way: epoll_wait says that the fd has become readable; one recv(2) into the
 * process's scratch buffer; the core's input() parses there, answers, and calls send(), which is
 * one send(2) straight from the core's block. A connection is registered once, at attach, and never
 * taken out: its close(2) does that. Turning its receiving off and on is a flag. Only one whose
 * socket buffer has been full is registered for room as well, once.
 *
 * An edge is told once, so what it told must not be forgotten: EPOLL_READABLE says that there may
 * be input that has not been read. It is cleared by a receive that was not filled to the brim,
 * because the kernel had no more then; unless the end or urgent data had been announced already
 * (EPOLL_ENDING), which come behind other bytes and are not told again. A connection that is
 * readable and has had its receive of this iteration, or was turned on again, is in the list of
 * those to be read at the next wait(), which does not block then. Level-triggered, the kernel looks
 * at each fd that it has told of once more: that took 2.4 % [0.4, 4.5] more CPU time a request on
 * baseline, and 1.4 % [0.4, 2.4] on pipelined, with 64 connections.
 *
 * Invariants:
 *   - at most one receive for a connection in an iteration, so that none starves the others
 *   - in the ready list (EPOLL_QUEUED) are only connections that are attached: detach() takes out
 *   - sent() or connected() is due exactly while EPOLL_SENDING or EPOLL_CONNECTING is set
 *   - an event carries the generation of its connection; one that comes after the detach, fetched
 *     by the same epoll_wait, is dropped
 *   - after an upcall nothing of the slot is touched unless its generation is still the one before
 *     the upcall
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "epoll_internal.h"
#include "readiness.h"
#include "util.h"

/* Connections accepted from one listener in an iteration, however many wait. */
#define EPOLL_BURST_MAX 256

/* Urgent data cuts a receive short, so its coming is asked for, too. */
#define EPOLL_INPUT (EPOLLIN | EPOLLRDHUP | EPOLLPRI)

#define EPOLL_LISTENER (UINT64_C(1) << 63) /* event data: | its index */

/* epoll_conn.flags */
enum {
    EPOLL_ATTACHED = 1 << 0,
    EPOLL_CONNECTING = 1 << 1, /* connected() is due */
    EPOLL_KNOWN = 1 << 2,      /* registered */
    EPOLL_PAUSED = 1 << 3,     /* receiving is off */
    EPOLL_READABLE = 1 << 4,   /* there may be input that has not been read */
    EPOLL_ENDING = 1 << 5,     /* the end, an error or urgent data may lie behind it */
    EPOLL_ROOM = 1 << 6,       /* registered for room in the socket buffer */
    EPOLL_SENDING = 1 << 7,    /* sent() is due */
    EPOLL_QUEUED = 1 << 8,     /* in the ready list */
    EPOLL_DOUBT = 1 << 9,      /* it was said to be readable, and a receive found nothing */
    EPOLL_ROUND = 1 << 10,     /* queued in an iteration of this parity: epoll_backend.round */
    EPOLL_LARGE = 1 << 11,     /* the next receive may carry epoll_conn.expect bytes */
};

/* A connection's private part of the slot. */
struct epoll_conn {
    int32_t prev, next; /* ready list, by fd; -1 ends */
    uint16_t flags;
    uint16_t spare;
    uint32_t expect; /* see EPOLL_LARGE */
};

static_assert(sizeof(struct epoll_conn) == 16, "every connection has one");

enum { EPOLL_COUNT_READY, EPOLL_COUNT_LATE, EPOLL_COUNT_BATCHES };
static const char *const epoll_counters[] = {
    "reread",      /* receives for connections of the ready list */
    "late_events", /* fetched before the detach, met after it */
    "batch_waits", /* that began with a window */
    NULL,
};

static inline struct epoll_conn *epoll_conn(struct epoll_backend *b, int fd)
{
    return slot_priv(b->base.cfg.slots, fd);
}

static inline uint32_t epoll_gen(struct epoll_backend *b, int fd)
{
    return slot_get(b->base.cfg.slots, fd)->gen;
}

/* Register a connection for `events`, or change what it is registered for. 0 or -errno. */
static int epoll_register(struct epoll_backend *b, int fd, struct epoll_conn *c, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLET,
                                .data.u64 = (uint64_t)epoll_gen(b, fd) << 32 | (uint32_t)fd};

    if (epoll_ctl(b->epoll_fd, c->flags & EPOLL_KNOWN ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) <
        0)
        return -errno;
    c->flags |= EPOLL_KNOWN;
    return 0;
}

/* ---- the ready list ---- */

static void epoll_enqueue(struct epoll_backend *b, int fd, struct epoll_conn *c)
{
    if (c->flags & EPOLL_QUEUED)
        return;
    c->flags = (uint16_t)((c->flags & ~EPOLL_ROUND) | EPOLL_QUEUED | b->round);
    c->prev = b->ready_tail;
    c->next = -1;
    if (b->ready_tail >= 0)
        epoll_conn(b, b->ready_tail)->next = fd;
    else
        b->ready_head = fd;
    b->ready_tail = fd;
}

static void epoll_dequeue(struct epoll_backend *b, struct epoll_conn *c)
{
    if (!(c->flags & EPOLL_QUEUED))
        return;
    c->flags &= (uint16_t)~EPOLL_QUEUED;
    if (c->prev >= 0)
        epoll_conn(b, c->prev)->next = c->next;
    else
        b->ready_head = c->next;
    if (c->next >= 0)
        epoll_conn(b, c->next)->prev = c->prev;
    else
        b->ready_tail = c->prev;
}

/* ---- events of a connection ---- */

/* Where the next receive goes, and how much it may carry. */
static inline char *epoll_buffer(struct epoll_backend *b, struct epoll_conn *c, size_t *size)
{
    *size = b->base.cfg.recv_buffer_bytes;
    if (likely(!(c->flags & EPOLL_LARGE)))
        return b->scratch;
    c->flags &= (uint16_t)~EPOLL_LARGE;
    size_t large = readiness_large(&b->base, c->expect, &b->large);
    if (!large)
        return b->scratch;
    *size = large;
    return b->large;
}

/* One receive for a connection that is readable and not paused. */
static void epoll_receive(struct epoll_backend *b, int fd, struct epoll_conn *c)
{
    size_t size;
    char *buffer = epoll_buffer(b, c, &size);
    ssize_t n = recv(fd, buffer, size, 0);

    b->base.cfg.stats->recv_calls++;
    if (likely(n > 0)) {
        c->flags &= (uint16_t)~EPOLL_DOUBT;
        if (likely((size_t)n < size && !(c->flags & EPOLL_ENDING)))
            c->flags &= (uint16_t)~EPOLL_READABLE;
        else
            epoll_enqueue(b, fd, c);
        backend_on_input(&b->base, fd, buffer, (size_t)n);
        return;
    }
    /* Nothing, against the event's word: the edge is not told again, so look once more. */
    if (n < 0 && (errno == EINTR || (errno == EAGAIN && !(c->flags & EPOLL_DOUBT)))) {
        if (errno == EAGAIN)
            c->flags |= EPOLL_DOUBT;
        epoll_enqueue(b, fd, c);
        return;
    }
    c->flags &= (uint16_t) ~(EPOLL_READABLE | EPOLL_DOUBT);
    if (n < 0 && errno == EAGAIN)
        return;
    c->flags |= EPOLL_PAUSED;
    if (n == 0)
        backend_on_eof(&b->base, fd);
    else
        backend_on_failed(&b->base, fd, errno);
}

/*
 * An error of the socket is for whoever calls next: the receive, unless that is off and there is a
 * send to be told.
 */
static void epoll_on_conn(struct epoll_backend *b, int fd, uint32_t gen, uint32_t events)
{
    struct epoll_conn *c = epoll_conn(b, fd);

    if (unlikely(c->flags & EPOLL_CONNECTING)) {
        c->flags &= (uint16_t)~EPOLL_CONNECTING;
        b->base.cfg.stats->in_flight--;
        backend_on_connected(&b->base, fd, readiness_connect_result(fd));
        return;
    }
    if (unlikely(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)))
        c->flags |= EPOLL_READABLE | EPOLL_ENDING;
    if (likely(events & EPOLLIN))
        c->flags |= EPOLL_READABLE;
    if (unlikely(c->flags & EPOLL_SENDING) && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))) {
        c->flags &= (uint16_t)~EPOLL_SENDING;
        b->base.cfg.stats->in_flight--;
        backend_on_sent(&b->base, fd, 0);
        if (epoll_gen(b, fd) != gen)
            return;
    }
    if ((c->flags & (EPOLL_READABLE | EPOLL_PAUSED | EPOLL_QUEUED)) == EPOLL_READABLE)
        epoll_receive(b, fd, c);
}

static void epoll_on_listener(struct epoll_backend *b, unsigned index)
{
    struct epoll_listener *l = &b->listener[index];

    for (uint32_t i = 0; i < MIN(l->burst, EPOLL_BURST_MAX) && l->on; i++)
        if (!readiness_accept(&b->base, index, l->fd, i == 0))
            return;
}

static void epoll_on_wake(struct epoll_backend *b)
{
    uint64_t count;

    if (read(b->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN && errno != EINTR)
        b->base.cfg.stats->backend_errors++;
}

static void epoll_dispatch(struct epoll_backend *b, uint64_t data, uint32_t events)
{
    int fd = (int)(uint32_t)data;
    uint32_t gen = (uint32_t)(data >> 32);

    if (unlikely(data & EPOLL_LISTENER))
        epoll_on_listener(b, (unsigned)fd);
    else if (unlikely(data & EPOLL_WAKE))
        epoll_on_wake(b);
    else if (likely(epoll_gen(b, fd) == gen))
        epoll_on_conn(b, fd, gen, events);
    else
        b->base.cfg.stats->backend[EPOLL_COUNT_LATE]++;
}

/*
 * Those that were in the ready list when wait() began. Later ones are behind all of them, and of
 * the other round; any of either can have been taken out by an upcall meanwhile.
 */
static void epoll_reread(struct epoll_backend *b)
{
    while (b->ready_head >= 0) {
        int fd = b->ready_head;
        struct epoll_conn *c = epoll_conn(b, fd);

        if ((c->flags & EPOLL_ROUND) == b->round)
            return;
        epoll_dequeue(b, c);
        if ((c->flags & (EPOLL_READABLE | EPOLL_PAUSED)) == EPOLL_READABLE) {
            b->base.cfg.stats->backend[EPOLL_COUNT_READY]++;
            epoll_receive(b, fd, c);
        }
    }
}

/* ---- waiting ---- */

static int epoll_fetch_ms(struct epoll_backend *b, int64_t timeout_ms)
{
    return epoll_wait(b->epoll_fd, b->events, EPOLL_EVENTS, (int)MIN(timeout_ms, INT32_MAX));
}

/* For a time that is not of whole milliseconds: precise where the kernel can (5.11). */
static __attribute__((noinline)) int epoll_fetch_us(struct epoll_backend *b, int64_t timeout_us)
{
#ifdef SYS_epoll_pwait2
    if (!b->no_pwait2) {
        const struct {
            int64_t sec, nsec;
        } ts = {timeout_us / 1000000, timeout_us % 1000000 * 1000};
        int n = (int)syscall(SYS_epoll_pwait2, b->epoll_fd, b->events, EPOLL_EVENTS, &ts, NULL, 0);
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return n;
        b->no_pwait2 = true;
    }
#endif
    return epoll_fetch_ms(b, timeout_us / 1000 + 1);
}

/* epoll_wait(2) for so long; -1: for ever. */
static int epoll_fetch(struct epoll_backend *b, int64_t timeout_us)
{
    if (timeout_us < 0)
        return epoll_fetch_ms(b, -1);
    return timeout_us % 1000 ? epoll_fetch_us(b, timeout_us) : epoll_fetch_ms(b, timeout_us / 1000);
}

bool epoll_has_pwait2(struct epoll_backend *b)
{
    b->no_pwait2 = false;
    epoll_fetch(b, 1);
    return !b->no_pwait2;
}

/* The window of batch.h; a signal ends it. What is left of timeout_us. */
static int64_t epoll_window(struct epoll_backend *b, int64_t timeout_us)
{
    const struct timespec ts = {.tv_nsec = b->batch.us * 1000L};

    b->base.cfg.stats->backend[EPOLL_COUNT_BATCHES]++;
    b->base.cfg.stats->enters++;
    clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
    return timeout_us < 0 ? timeout_us : timeout_us - b->batch.us;
}

static int epoll_backend_wait(struct backend *be, int64_t timeout_us)
{
    struct epoll_backend *b = epoll_of(be);

    b->round ^= EPOLL_ROUND;
    if (unlikely(b->ready_head >= 0))
        timeout_us = 0;
    if (unlikely(b->batch.us) && batch_begins(&b->batch, be->cfg.stats->recv_calls, timeout_us))
        timeout_us = epoll_window(b, timeout_us);
    be->cfg.stats->enters++;
    int n = epoll_fetch(b, timeout_us);
    if (unlikely(n < 0 && errno != EINTR)) {
        be->cfg.stats->backend_errors++;
        return -errno;
    }
    for (int i = 0; i < n; i++)
        epoll_dispatch(b, b->events[i].data.u64, b->events[i].events);
    be->cfg.stats->events += (uint64_t)MAX(n, 0);
    epoll_reread(b);
    return 0;
}

static void epoll_wake(struct backend *be)
{
    const uint64_t one = 1;
    int err = errno;

    /* It fails only where the count is full: then it wakes anyway. */
    (void)!write(epoll_of(be)->wake_fd, &one, sizeof(one));
    errno = err;
}

/* ---- listeners ---- */

static int epoll_listen_ctl(struct backend *be, unsigned index, int lfd, bool on, uint32_t burst)
{
    struct epoll_backend *b = epoll_of(be);
    struct epoll_listener *l = &b->listener[index];
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = EPOLL_LISTENER | index};

    l->burst = burst;
    if (on == l->on)
        return 0;
    if (burst != BACKEND_BURST_ANY) /* others wait for its clients, too: one of us is enough */
        event.events |= EPOLLEXCLUSIVE;
    int rc = epoll_ctl(b->epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, lfd, &event);
    if (rc < 0 && on && errno == EINVAL && (event.events & EPOLLEXCLUSIVE)) { /* before Linux 4.5 */
        event.events = EPOLLIN;
        rc = epoll_ctl(b->epoll_fd, EPOLL_CTL_ADD, lfd, &event);
    }
    if (rc < 0 && on)
        return -errno;
    /* Taking out needs no memory: it fails only for what is not there, which is off then. */
    l->fd = lfd;
    l->on = on;
    return 0;
}

/* ---- connections ---- */

static int epoll_connect(struct backend *be, int fd, const struct sockaddr *addr, socklen_t len)
{
    struct epoll_backend *b = epoll_of(be);
    struct epoll_conn *c = epoll_conn(b, fd);
    int rc = readiness_connect(fd, addr, len);

    /* Registered behind the connect: an edge before it would not be its end. */
    if (rc == 0)
        rc = epoll_register(b, fd, c, EPOLLOUT);
    if (rc < 0)
        return rc;
    c->flags |= EPOLL_CONNECTING;
    be->cfg.stats->in_flight++;
    return 0;
}

static int epoll_attach(struct backend *be, int fd)
{
    struct epoll_backend *b = epoll_of(be);
    struct epoll_conn *c = epoll_conn(b, fd);
    int rc = epoll_register(b, fd, c, EPOLL_INPUT);

    if (rc == 0)
        c->flags |= EPOLL_ATTACHED;
    return rc;
}

static void epoll_recv_ctl(struct backend *be, int fd, bool on)
{
    struct epoll_backend *b = epoll_of(be);
    struct epoll_conn *c = epoll_conn(b, fd);

    if (on == !(c->flags & EPOLL_PAUSED))
        return;
    if (!on) {
        c->flags |= EPOLL_PAUSED;
        return;
    }
    c->flags &= (uint16_t)~EPOLL_PAUSED;
    if (c->flags & EPOLL_ENDING) /* after an end there may be something again */
        c->flags |= EPOLL_READABLE;
    if (c->flags & EPOLL_READABLE)
        epoll_enqueue(b, fd, c);
}

static void epoll_recv_expect(struct backend *be, int fd, size_t bytes)
{
    struct epoll_conn *c = epoll_conn(epoll_of(be), fd);

    c->expect = (uint32_t)MIN(bytes, (size_t)UINT32_MAX);
    c->flags |= EPOLL_LARGE;
}

static int epoll_send(struct backend *be, int fd, const struct backend_segment *segments,
                      unsigned count)
{
    struct epoll_backend *b = epoll_of(be);
    int rc = readiness_send(be, fd, segments, count);

    if (likely(rc != IO_PENDING))
        return rc;
    struct epoll_conn *c = epoll_conn(b, fd);
    if (!(c->flags & EPOLL_ROOM)) {
        rc = epoll_register(b, fd, c, EPOLL_INPUT | EPOLLOUT);
        if (rc < 0)
            return rc;
        c->flags |= EPOLL_ROOM;
    }
    c->flags |= EPOLL_SENDING;
    be->cfg.stats->in_flight++;
    return IO_PENDING;
}

static int epoll_detach(struct backend *be, int fd)
{
    struct epoll_backend *b = epoll_of(be);
    struct epoll_conn *c = epoll_conn(b, fd);

    epoll_dequeue(b, c);
    if (c->flags & (EPOLL_SENDING | EPOLL_CONNECTING))
        be->cfg.stats->in_flight--;
    /* The close(2) that follows takes it out of the epoll set: nobody else has it open. */
    c->flags = 0;
    return 0;
}

/* ---- the backend as a whole ---- */

/* The buffer is made again where it is needed. */
static size_t epoll_trim(struct backend *be)
{
    struct epoll_backend *b = epoll_of(be);
    size_t bytes = b->large ? READINESS_LARGE_BYTES : 0;

    free(b->large);
    b->large = NULL;
    return bytes;
}

static const int epoll_syscalls[] = {
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
#ifdef SYS_epoll_pwait2
    SYS_epoll_pwait2,
#endif
#ifdef SYS_clock_nanosleep_time64
    SYS_clock_nanosleep_time64,
#endif
    SYS_clock_nanosleep,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_sendfile,
    -1,
};

const struct backend_ops epoll_backend_ops = {
    .contract = BACKEND_VERSION,
    .name = "epoll",
    .slot_priv_size = sizeof(struct epoll_conn),
    .waits_for_files = true,
    .help = "epoll[:batch=TIME]: epoll_wait(2) alone, edge-triggered",
    .counters = epoll_counters,
    .syscalls = epoll_syscalls,
    .check_variant = epoll_check_variant,
    .version = epoll_version,
    .probe = epoll_probe,
    .open = epoll_open,
    .close = epoll_close,
    .describe = epoll_describe,
    .listen_ctl = epoll_listen_ctl,
    .connect = epoll_connect,
    .attach = epoll_attach,
    .recv_ctl = epoll_recv_ctl,
    .recv_expect = epoll_recv_expect,
    .send = epoll_send,
    .send_now = readiness_send_now,
    .detach = epoll_detach,
    .wait = epoll_backend_wait,
    .trim = epoll_trim,
    .wake = epoll_wake,
};
