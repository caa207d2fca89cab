/* SPDX-License-Identifier: MIT */
/*
 * skeleton.c - the smallest honest backend there is: poll(2) over everything that is attached. It
 * is what doc/adding-a-backend.md starts from, and passes the whole contract test; nobody would
 * serve with it, since every wait looks at every fd.
 *
 * One request's way: poll says that the fd is readable; one recv(2), input(), in it send(2).
 *
 * Invariants:
 *   - what a connection waits for is in its flags alone; the array for poll is made anew each time
 *   - nothing is kept of output: when there is room, sent(0) has the core send again
 *   - after an upcall nothing of a connection is used unless its generation is still the same
 */
#include "config.h"

#include "skeleton.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "readiness.h"
#include "sys.h"

enum {
    SKELETON_ATTACHED = 1,
    SKELETON_RECEIVING = 2,
    SKELETON_SENDING = 4, /* sent() is due */
    SKELETON_CONNECTING = 8,
};

/* A connection's private part of the slot: zero when the slot is taken. */
struct skeleton_conn {
    uint32_t flags;
    uint32_t spare[3];
};

struct skeleton_listener {
    int fd;
    uint32_t burst;
    bool on;
};

struct skeleton {
    struct backend base; /* first */
    struct skeleton_listener listener[BACKEND_LISTENERS_MAX];
    int wake_fd;
    int fd_top; /* no fd from here on has been used */
    struct pollfd *polled;
    uint32_t *polled_index; /* of each: a listener's index, a connection's generation */
    char *scratch;          /* one receive */
};

static struct skeleton *skeleton_of(struct backend *be)
{
    return (struct skeleton *)be;
}

static struct skeleton_conn *skeleton_conn(struct backend *be, int fd)
{
    return slot_priv(be->cfg.slots, fd);
}

static uint32_t skeleton_gen(struct backend *be, int fd)
{
    return slot_get(be->cfg.slots, fd)->gen;
}

/* ---- what the core calls ---- */

static int skeleton_listen_ctl(struct backend *be, unsigned index, int lfd, bool on, uint32_t burst)
{
    skeleton_of(be)->listener[index] =
        (struct skeleton_listener){.fd = lfd, .burst = burst, .on = on};
    return 0;
}

/* From now on fd is looked at. */
static void skeleton_watch(struct backend *be, int fd, uint32_t flags)
{
    skeleton_conn(be, fd)->flags = flags;
    if (fd >= skeleton_of(be)->fd_top)
        skeleton_of(be)->fd_top = fd + 1;
}

static int skeleton_connect(struct backend *be, int fd, const struct sockaddr *addr, socklen_t len)
{
    int rc = readiness_connect(fd, addr, len);

    if (rc == 0)
        skeleton_watch(be, fd, SKELETON_CONNECTING);
    return rc;
}

static int skeleton_attach(struct backend *be, int fd)
{
    skeleton_watch(be, fd, SKELETON_ATTACHED | SKELETON_RECEIVING);
    return 0;
}

static void skeleton_recv_ctl(struct backend *be, int fd, bool on)
{
    struct skeleton_conn *c = skeleton_conn(be, fd);

    c->flags = on ? c->flags | SKELETON_RECEIVING : c->flags & ~(uint32_t)SKELETON_RECEIVING;
}

static int skeleton_send(struct backend *be, int fd, const struct backend_segment *segments,
                         unsigned count)
{
    int rc = readiness_send(be, fd, segments, count);

    if (rc == IO_PENDING)
        skeleton_conn(be, fd)->flags |= SKELETON_SENDING;
    return rc;
}

static int skeleton_detach(struct backend *be, int fd)
{
    skeleton_conn(be, fd)->flags = 0; /* nothing is in flight: readiness is only asked for */
    return 0;
}

static void skeleton_wake(struct backend *be)
{
    const uint64_t one = 1;
    int err = errno;

    (void)!write(skeleton_of(be)->wake_fd, &one, sizeof(one));
    errno = err;
}

/* ---- waiting ---- */

/* Everything that something is waited for: the wake-up, then `listeners` listeners, then
 * connections. poll takes no more than the limit of fds, so only what is needed. */
static nfds_t skeleton_collect(struct skeleton *b, nfds_t *listeners)
{
    nfds_t n = 0;

    b->polled[n++] = (struct pollfd){.fd = b->wake_fd, .events = POLLIN};
    for (unsigned i = 0; i < BACKEND_LISTENERS_MAX; i++)
        if (b->listener[i].on && b->base.accept_room) {
            b->polled_index[n] = i;
            b->polled[n++] = (struct pollfd){.fd = b->listener[i].fd, .events = POLLIN};
        }
    *listeners = n - 1;
    for (int fd = 0; fd < b->fd_top; fd++) {
        uint32_t gen = skeleton_gen(&b->base, fd);
        uint32_t flags = gen ? skeleton_conn(&b->base, fd)->flags : 0;
        short events = 0;

        if (flags & SKELETON_RECEIVING)
            events |= POLLIN;
        if (flags & (SKELETON_SENDING | SKELETON_CONNECTING))
            events |= POLLOUT;
        if (events) {
            b->polled_index[n] = gen;
            b->polled[n++] = (struct pollfd){.fd = fd, .events = events};
        }
    }
    return n;
}

static void skeleton_receive(struct skeleton *b, int fd)
{
    struct skeleton_conn *c = skeleton_conn(&b->base, fd);
    ssize_t n = recv(fd, b->scratch, b->base.cfg.recv_buffer_bytes, 0);
    int err = n < 0 ? errno : 0;

    b->base.cfg.stats->recv_calls++;
    if (n > 0) {
        backend_on_input(&b->base, fd, b->scratch, (size_t)n);
    } else if (err != EAGAIN && err != EINTR) {
        c->flags &= ~(uint32_t)SKELETON_RECEIVING;
        if (err)
            backend_on_failed(&b->base, fd, err);
        else
            backend_on_eof(&b->base, fd);
    }
}

static void skeleton_on_conn(struct skeleton *b, int fd, short revents)
{
    struct skeleton_conn *c = skeleton_conn(&b->base, fd);
    uint32_t gen = skeleton_gen(&b->base, fd);

    if (c->flags & SKELETON_CONNECTING) {
        c->flags = 0;
        backend_on_connected(&b->base, fd, readiness_connect_result(fd));
        return;
    }
    if ((c->flags & SKELETON_SENDING) && (revents & (POLLOUT | POLLERR | POLLHUP))) {
        c->flags &= ~(uint32_t)SKELETON_SENDING;
        backend_on_sent(&b->base, fd, 0);
    }
    /* It may be gone, and another connection have its number. */
    if (skeleton_gen(&b->base, fd) == gen && (c->flags & SKELETON_RECEIVING) &&
        (revents & (POLLIN | POLLERR | POLLHUP)))
        skeleton_receive(b, fd);
}

static void skeleton_on_listener(struct skeleton *b, unsigned index)
{
    struct skeleton_listener *l = &b->listener[index];

    for (uint32_t i = 0; i < l->burst && l->on; i++)
        if (!readiness_accept(&b->base, index, l->fd, i == 0))
            return;
}

static int skeleton_wait(struct backend *be, int64_t timeout_us)
{
    struct skeleton *b = skeleton_of(be);
    nfds_t listeners, count = skeleton_collect(b, &listeners);
    struct timespec timeout = {.tv_sec = timeout_us / 1000000,
                               .tv_nsec = timeout_us % 1000000 * 1000};

    be->cfg.stats->enters++;
    int n = sys_ppoll(b->polled, count, timeout_us < 0 ? NULL : &timeout, NULL);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    be->cfg.stats->events += (uint64_t)n;
    if (b->polled[0].revents) {
        uint64_t wakes;
        (void)!read(b->wake_fd, &wakes, sizeof(wakes)); /* EAGAIN: it is empty already */
    }
    for (nfds_t i = 1; i < count; i++) {
        struct pollfd *p = &b->polled[i];

        if (p->revents && i <= listeners)
            skeleton_on_listener(b, b->polled_index[i]);
        else if (p->revents && skeleton_gen(be, p->fd) == b->polled_index[i])
            skeleton_on_conn(b, p->fd, p->revents);
    }
    return 0;
}

/* ---- the backend as a whole ---- */

static int skeleton_check_variant(const char *variant, char *error)
{
    (void)variant;
    snprintf(error, BACKEND_TEXT_MAX, "skeleton has no variants");
    return -EINVAL;
}

static void skeleton_version(char *out, size_t out_size)
{
    snprintf(out, out_size, "poll of POSIX.1-2008");
}

static void skeleton_probe(const char *variant, struct backend_probe *out)
{
    memset(out, 0, sizeof(*out));
    out->usable = !variant || skeleton_check_variant(variant, out->reason) == 0;
}

static void skeleton_close(struct backend *be)
{
    struct skeleton *b = skeleton_of(be);

    if (b->wake_fd >= 0)
        close(b->wake_fd);
    free(b->polled);
    free(b->polled_index);
    free(b->scratch);
    free(b);
}

static int skeleton_open(const struct backend_config *cfg, struct backend **be, char *error)
{
    struct skeleton *b = calloc(1, sizeof(*b));

    if (!b)
        return -ENOMEM;
    b->base.ops = &skeleton_backend_ops;
    b->base.cfg = *cfg;
    b->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    size_t most = 1 + BACKEND_LISTENERS_MAX + (size_t)cfg->slots->cap;
    b->polled = calloc(most, sizeof(*b->polled));
    b->polled_index = calloc(most, sizeof(*b->polled_index));
    b->scratch = malloc(cfg->recv_buffer_bytes);
    if (b->wake_fd < 0 || !b->polled || !b->polled_index || !b->scratch) {
        snprintf(error, BACKEND_TEXT_MAX, "no memory, or no eventfd, for the skeleton backend");
        skeleton_close(&b->base);
        return -ENOMEM;
    }
    *be = &b->base;
    return 0;
}

static void skeleton_describe(struct backend *be, char *out, size_t out_size)
{
    (void)be;
    snprintf(out, out_size, "poll");
}

static const char *const skeleton_counters[] = {NULL};
static const int skeleton_syscalls[] = {-1};

const struct backend_ops skeleton_backend_ops = {
    .contract = BACKEND_VERSION,
    .name = "skeleton",
    .slot_priv_size = sizeof(struct skeleton_conn),
    .waits_for_files = true,
    .help = "skeleton: poll(2), to start from",
    .counters = skeleton_counters,
    .syscalls = skeleton_syscalls,
    .check_variant = skeleton_check_variant,
    .version = skeleton_version,
    .probe = skeleton_probe,
    .open = skeleton_open,
    .close = skeleton_close,
    .describe = skeleton_describe,
    .listen_ctl = skeleton_listen_ctl,
    .connect = skeleton_connect,
    .attach = skeleton_attach,
    .recv_ctl = skeleton_recv_ctl,
    .send = skeleton_send,
    .detach = skeleton_detach,
    .wait = skeleton_wait,
    .wake = skeleton_wake,
};
