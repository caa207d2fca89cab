/* SPDX-License-Identifier: MIT */
/*
 * libev.c - the portable readiness backend: libev on epoll (or poll, select, for comparison).
 *
 * One request's way: epoll_wait says that the fd is readable; one recv(2) into the process's
 * scratch buffer; the core's input() parses there, answers, and calls send(), which is one send(2)
 * straight from the core's block. Nothing is armed or disarmed on that way: read interest is
 * registered once, at attach. Write interest exists only while the kernel's socket buffer is full,
 * or while a connect is under way.
 *
 * Invariants:
 *   - one watcher a connection, in the slot's private part; watcher.events is what epoll has been
 *     told
 *   - write interest is registered exactly while sent() or connected() is due: which of them, the
 *     watcher's callback tells
 *   - nothing is kept of output: when there is room, sent(0) has the core send again
 *   - after an upcall nothing of the slot is touched unless its generation is still the one before
 *     the upcall
 */
#include "config.h"

#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#if HAVE_LIBSECCOMP
#include <sys/syscall.h>
#endif

#include "list.h"
#include "readiness.h"
#include "util.h"
#include "wakeup.h"

static_assert(sizeof(ev_io) % 16 == 0, "slot_priv_size is a multiple of 16");

/*
 * What epoll refuses (ENOMEM, ENOSPC) libev reports as an event, but one that it makes only after
 * it has waited. So the wait after a change of interest is not longer than this.
 */
#define LIBEV_CHANGED_US 1000000

/* The arrays of a loop that has seen so many connections at once are worth a new loop: libev_trim(). */
#define LIBEV_TRIM_CONNS 128

struct libev_listener {
    ev_io io;
    unsigned index;
    uint32_t burst;
};

struct libev_backend {
    struct backend base;
    struct ev_loop *loop;
    ev_timer timeout; /* bounds wait(); does nothing itself */
    struct wakeup wakeup;
    ev_io wake;   /* of wakeup.read_fd: see libev_wake() */
    bool changed; /* interest has changed since the last wait(): see LIBEV_CHANGED_US */
    uint32_t conns, conns_peak; /* connections attached or connecting; most of them, in this loop */
    struct libev_listener listener[BACKEND_LISTENERS_MAX];
    char *large;    /* one receive of READINESS_LARGE_BYTES; NULL: none was needed lately */
    char scratch[]; /* one receive */
};

/* The names of libev's pollers, as variants of --backend libev:NAME. */
static const struct {
    const char *name;
    unsigned flag;
} libev_pollers[] = {
    {"epoll", EVBACKEND_EPOLL}, {"poll", EVBACKEND_POLL}, {"select", EVBACKEND_SELECT}};

static inline struct libev_backend *libev_of(struct backend *be)
{
    return (struct libev_backend *)be;
}

static inline ev_io *libev_io(struct libev_backend *b, int fd)
{
    return slot_priv(b->base.cfg.slots, fd);
}

/* Change what epoll is told, only if it is something else. */
static void libev_interest(struct libev_backend *b, ev_io *io, int events)
{
    if ((io->events & (EV_READ | EV_WRITE)) == events && ev_is_active(io) == (events != 0))
        return;
    ev_io_stop(b->loop, io);
    ev_io_set(io, io->fd, events);
    if (!events)
        return;
    ev_io_start(b->loop, io);
    b->changed = true;
}

/* A new connection's watcher. */
static void libev_start(struct libev_backend *b, int fd, void (*cb)(struct ev_loop *, ev_io *, int),
                        int events)
{
    ev_io *io = libev_io(b, fd);

    ev_io_init(io, cb, fd, events);
    ev_io_start(b->loop, io);
    b->changed = true;
    b->conns++;
    b->conns_peak = MAX(b->conns_peak, b->conns);
}

static inline int libev_events(const ev_io *io)
{
    return ev_is_active(io) ? io->events & (EV_READ | EV_WRITE) : 0;
}

/* ---- events of a connection ---- */

/* Where the next receive goes, and how much it may carry: the watcher's `data` is what recv_expect()
 * said. */
static inline char *libev_buffer(struct libev_backend *b, ev_io *io, size_t *size)
{
    *size = b->base.cfg.recv_buffer_bytes;
    if (likely(!io->data))
        return b->scratch;
    size_t large = readiness_large(&b->base, (uintptr_t)io->data, &b->large);
    io->data = NULL;
    if (!large)
        return b->scratch;
    *size = large;
    return b->large;
}

static void libev_readable(struct libev_backend *b, int fd)
{
    size_t size;
    char *buffer = libev_buffer(b, libev_io(b, fd), &size);
    ssize_t n = recv(fd, buffer, size, 0);

    b->base.cfg.stats->recv_calls++;
    if (likely(n > 0)) {
        backend_on_input(&b->base, fd, buffer, (size_t)n);
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    int err = n < 0 ? errno : 0;
    ev_io *io = libev_io(b, fd);
    libev_interest(b, io, libev_events(io) & ~EV_READ);
    if (err)
        backend_on_failed(&b->base, fd, err);
    else
        backend_on_eof(&b->base, fd);
}

static void libev_on_io(struct ev_loop *loop, ev_io *io, int revents)
{
    struct libev_backend *b = ev_userdata(loop);
    int fd = io->fd;

    b->base.cfg.stats->events++;
    if (unlikely(revents & EV_ERROR)) { /* epoll would not have the fd: the watcher is stopped */
        b->base.cfg.stats->backend_errors++;
        backend_on_failed(&b->base, fd, ENOMEM);
        return;
    }
    if (unlikely(revents & EV_WRITE) && (libev_events(io) & EV_WRITE)) {
        uint32_t gen = slot_get(b->base.cfg.slots, fd)->gen;
        libev_interest(b, io, libev_events(io) & ~EV_WRITE);
        b->base.cfg.stats->in_flight--;
        backend_on_sent(&b->base, fd, 0);
        if (slot_get(b->base.cfg.slots, fd)->gen != gen)
            return;
    }
    if ((revents & EV_READ) && (libev_events(io) & EV_READ))
        libev_readable(b, fd);
}

static void libev_on_connect(struct ev_loop *loop, ev_io *io, int revents)
{
    struct libev_backend *b = ev_userdata(loop);
    int fd = io->fd;

    b->base.cfg.stats->events++;
    ev_io_stop(loop, io);
    b->conns--;
    b->base.cfg.stats->in_flight--;
    backend_on_connected(&b->base, fd, revents & EV_ERROR ? ENOMEM : readiness_connect_result(fd));
}

static void libev_on_accept(struct ev_loop *loop, ev_io *io, int revents)
{
    struct libev_backend *b = ev_userdata(loop);
    struct libev_listener *l = CONTAINER_OF(io, struct libev_listener, io);

    b->base.cfg.stats->events++;
    /* epoll would not have the listener, and libev stopped the watcher */
    if (unlikely(revents & EV_ERROR)) {
        b->base.cfg.stats->backend_errors++;
        ev_io_set(io, io->fd, EV_READ); /* without this libev believes that epoll knows already */
        ev_io_start(loop, io);
        b->changed = true;
        backend_on_accept_failed(&b->base, l->index, ENOMEM);
        return;
    }
    for (uint32_t i = 0; i < l->burst && ev_is_active(io); i++)
        if (!readiness_accept(&b->base, l->index, io->fd, i == 0))
            return;
}

static void libev_on_timeout(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

static void libev_on_wake(struct ev_loop *loop, ev_io *io, int revents)
{
    struct libev_backend *b = ev_userdata(loop);

    /* epoll would not have it, and libev stopped the watcher: once more */
    if (unlikely(revents & EV_ERROR)) {
        b->base.cfg.stats->backend_errors++;
        ev_io_set(io, io->fd, EV_READ); /* without this libev believes that epoll knows already */
        ev_io_start(loop, io);
        b->changed = true;
        return;
    }
    if (!wakeup_clear(&b->wakeup))
        b->base.cfg.stats->backend_errors++;
}

/* ---- the contract's members ---- */

static void libev_version(char *out, size_t out_size)
{
    snprintf(out, out_size, "libev %d.%d", ev_version_major(), ev_version_minor());
}

/*
 * Flag of the poller that `variant` names (NULL: epoll, or poll where that is missing); 0: unknown.
 */
static unsigned libev_poller(const char *variant)
{
    if (!variant)
        return ev_supported_backends() & EVBACKEND_EPOLL ? EVBACKEND_EPOLL : EVBACKEND_POLL;
    for (size_t i = 0; i < ARRAY_LEN(libev_pollers); i++)
        if (!strcmp(variant, libev_pollers[i].name))
            return libev_pollers[i].flag;
    return 0;
}

static int libev_check_variant(const char *variant, char *error)
{
    if (libev_poller(variant))
        return 0;
    snprintf(error, BACKEND_TEXT_MAX,
             "libev has no poller called \"%s\"; there are epoll, poll and select", variant);
    return -EINVAL;
}

static const char *libev_poller_name(unsigned flag)
{
    for (size_t i = 0; i < ARRAY_LEN(libev_pollers); i++)
        if (flag == libev_pollers[i].flag)
            return libev_pollers[i].name;
    return "unknown";
}

/*
 * A loop on exactly the wanted poller: without EVFLAG_NOENV, LIBEV_FLAGS in the environment could
 * make it another one (even libev's own io_uring), and every comparison with it would be void.
 */
static struct ev_loop *libev_loop_new(const char *variant, char *error)
{
    unsigned flag = libev_poller(variant);

    if (!flag) {
        errno = -libev_check_variant(variant, error);
        return NULL;
    }
    struct ev_loop *loop = ev_loop_new(flag | EVFLAG_NOENV);
    if (!loop) {
        int err = errno ? errno : ENOSYS;
        snprintf(error, BACKEND_TEXT_MAX, "libev cannot use %s here: %s", libev_poller_name(flag),
                 strerror(err));
        errno = err;
        return NULL;
    }
    if (ev_backend(loop) != flag) {
        snprintf(error, BACKEND_TEXT_MAX, "libev chose %s instead of %s",
                 libev_poller_name(ev_backend(loop)), libev_poller_name(flag));
        ev_loop_destroy(loop);
        errno = ENOTSUP;
        return NULL;
    }
    return loop;
}

static void libev_probe(const char *variant, struct backend_probe *out)
{
    size_t n = 0;

    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < ARRAY_LEN(libev_pollers); i++) {
        bool has = ev_supported_backends() & libev_pollers[i].flag;
        n += (size_t)snprintf(out->features + n, sizeof(out->features) - n, "%s%s%s", n ? " " : "",
                              has ? "" : "no:", libev_pollers[i].name);
    }
    struct ev_loop *loop = libev_loop_new(variant, out->reason);
    if (!loop) {
        if (errno == EMFILE || errno == ENFILE)
            snprintf(out->hint, sizeof(out->hint), "raise the fd limit (ulimit -n)");
        return;
    }
    ev_loop_destroy(loop);
    out->usable = true;
}

static int libev_open(const struct backend_config *cfg, struct backend **be, char *error)
{
    struct libev_backend *b = calloc(1, sizeof(*b) + cfg->recv_buffer_bytes);

    if (!b) {
        snprintf(error, BACKEND_TEXT_MAX, "no memory for the libev backend");
        return -ENOMEM;
    }
    b->base.ops = &libev_backend_ops;
    b->base.cfg = *cfg;
    errno = 0;
    b->loop = libev_loop_new(cfg->variant, error);
    if (!b->loop) {
        int err = errno ? errno : ENOTSUP;
        free(b);
        return -err;
    }
    int rc = wakeup_open(&b->wakeup);
    if (rc < 0) {
        snprintf(error, BACKEND_TEXT_MAX, "nothing to wake the libev backend by: %s",
                 strerror(-rc));
        ev_loop_destroy(b->loop);
        free(b);
        return rc;
    }
    ev_set_userdata(b->loop, b);
    ev_timer_init(&b->timeout, libev_on_timeout, 0., 0.);
    ev_io_init(&b->wake, libev_on_wake, b->wakeup.read_fd, EV_READ);
    ev_io_start(b->loop, &b->wake);
    b->changed = true;
    for (unsigned i = 0; i < BACKEND_LISTENERS_MAX; i++) {
        ev_io_init(&b->listener[i].io, libev_on_accept, -1, 0);
        b->listener[i].index = i;
    }
    *be = &b->base;
    return 0;
}

static void libev_close(struct backend *be)
{
    struct libev_backend *b = libev_of(be);

    ev_io_stop(b->loop, &b->wake);
    ev_loop_destroy(b->loop);
    wakeup_close(&b->wakeup);
    free(b->large);
    free(b);
}

static void libev_describe(struct backend *be, char *out, size_t out_size)
{
    snprintf(out, out_size, "%s, libev %d.%d", libev_poller_name(ev_backend(libev_of(be)->loop)),
             ev_version_major(), ev_version_minor());
}

static int libev_listen_ctl(struct backend *be, unsigned index, int lfd, bool on, uint32_t burst)
{
    struct libev_backend *b = libev_of(be);
    struct libev_listener *l = &b->listener[index];

    l->burst = burst;
    if (on == (bool)ev_is_active(&l->io))
        return 0;
    if (!on) {
        ev_io_stop(b->loop, &l->io);
        return 0;
    }
    ev_io_set(&l->io, lfd, EV_READ);
    ev_io_start(b->loop, &l->io);
    b->changed = true;
    return 0;
}

static int libev_connect(struct backend *be, int fd, const struct sockaddr *addr, socklen_t len)
{
    struct libev_backend *b = libev_of(be);
    int rc = readiness_connect(fd, addr, len);

    if (rc < 0)
        return rc;
    /* Connected at once, it is writable at once: reported by wait() like any other. */
    libev_start(b, fd, libev_on_connect, EV_WRITE);
    be->cfg.stats->in_flight++;
    return 0;
}

static int libev_attach(struct backend *be, int fd)
{
    libev_start(libev_of(be), fd, libev_on_io, EV_READ);
    return 0;
}

static void libev_recv_ctl(struct backend *be, int fd, bool on)
{
    struct libev_backend *b = libev_of(be);
    ev_io *io = libev_io(b, fd);
    int events = libev_events(io);

    libev_interest(b, io, on ? events | EV_READ : events & ~EV_READ);
}

static void libev_recv_expect(struct backend *be, int fd, size_t bytes)
{
    libev_io(libev_of(be), fd)->data = (void *)(uintptr_t)bytes;
}

static int libev_send(struct backend *be, int fd, const struct backend_segment *segments,
                      unsigned count)
{
    struct libev_backend *b = libev_of(be);
    int rc = readiness_send(be, fd, segments, count);

    if (likely(rc != IO_PENDING))
        return rc;
    ev_io *io = libev_io(b, fd);
    libev_interest(b, io, libev_events(io) | EV_WRITE);
    be->cfg.stats->in_flight++;
    return IO_PENDING;
}

static int libev_detach(struct backend *be, int fd)
{
    struct libev_backend *b = libev_of(be);
    ev_io *io = libev_io(b, fd);

    if (libev_events(io) & EV_WRITE)
        be->cfg.stats->in_flight--;
    ev_io_stop(b->loop, io); /* clears a pending event of this iteration as well */
    b->conns--;
    return 0;
}

static int libev_wait(struct backend *be, int64_t timeout_us)
{
    struct libev_backend *b = libev_of(be);

    if (b->changed && (timeout_us < 0 || timeout_us > LIBEV_CHANGED_US))
        timeout_us = LIBEV_CHANGED_US;
    b->changed = false;
    if (timeout_us > 0) {
        b->timeout.repeat = (ev_tstamp)timeout_us / 1e6;
        ev_timer_again(b->loop, &b->timeout);
    } else if (ev_is_active(&b->timeout)) {
        ev_timer_stop(b->loop, &b->timeout);
    }
    be->cfg.stats->enters++;
    ev_run(b->loop, timeout_us == 0 ? EVRUN_NOWAIT : EVRUN_ONCE);
    return 0;
}

/* Stop a watcher, and start it in another loop if it was active. */
static void libev_move(struct libev_backend *b, struct ev_loop *to, ev_io *io)
{
    if (!ev_is_active(io))
        return;
    ev_io_stop(b->loop, io);
    ev_io_set(io, io->fd, EV_READ);
    ev_io_start(to, io);
}

/*
 * A loop's arrays grow with the highest fd and never shrink, so after a burst the loop is replaced,
 * once there are no connections that would have to move.
 */
static void libev_renew(struct libev_backend *b)
{
    char error[BACKEND_TEXT_MAX];
    struct ev_loop *loop = libev_loop_new(b->base.cfg.variant, error);
    if (!loop)
        return; /* no fd or memory for it now: when connections have ended the next time */
    for (unsigned i = 0; i < BACKEND_LISTENERS_MAX; i++)
        libev_move(b, loop, &b->listener[i].io);
    libev_move(b, loop, &b->wake);
    ev_timer_stop(b->loop, &b->timeout);
    ev_loop_destroy(b->loop);
    ev_set_userdata(loop, b);
    b->loop = loop;
    b->changed = true;
    b->conns_peak = 0;
}

static size_t libev_trim(struct backend *be)
{
    struct libev_backend *b = libev_of(be);
    size_t bytes = b->large ? READINESS_LARGE_BYTES : 0;

    free(b->large); /* made again where it is needed */
    b->large = NULL;
    if (!b->conns && b->conns_peak >= LIBEV_TRIM_CONNS)
        libev_renew(b);
    return bytes;
}

static void libev_wake(struct backend *be)
{
    /*
     * Not an ev_async: all of those share one descriptor inside libev, and where epoll refuses that
     * one (ENOMEM, ENOSPC), the next ev_async_send() fails an assertion of libev's.
     */
    wakeup_send(libev_of(be)->wakeup.write_fd);
}

static const char *const libev_counters[] = {NULL};

static const int libev_syscalls[] = {
#if HAVE_LIBSECCOMP
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
#ifdef SYS_select
    SYS_select,
#endif
#ifdef SYS__newselect
    SYS__newselect,
#endif
    SYS_pselect6,
    SYS_sendfile,
#endif
    -1,
};

const struct backend_ops libev_backend_ops = {
    .contract = BACKEND_VERSION,
    .name = "libev",
    .slot_priv_size = sizeof(ev_io),
    .waits_for_files = true,
    .help = "libev: the portable one, on epoll; or libev:epoll, libev:poll, libev:select",
    .counters = libev_counters,
    .syscalls = libev_syscalls,
    .check_variant = libev_check_variant,
    .version = libev_version,
    .probe = libev_probe,
    .open = libev_open,
    .close = libev_close,
    .describe = libev_describe,
    .listen_ctl = libev_listen_ctl,
    .connect = libev_connect,
    .attach = libev_attach,
    .recv_ctl = libev_recv_ctl,
    .recv_expect = libev_recv_expect,
    .send = libev_send,
    .send_now = readiness_send_now,
    .detach = libev_detach,
    .wait = libev_wait,
    .trim = libev_trim,
    .wake = libev_wake,
};
