/* SPDX-License-Identifier: MIT */
/*
 * sim.c - see sim.h.
 *
 * A client is one end of a socketpair that carries no data: it gives the connection a real fd, on
 * which the core's shutdown(2) and close(2) can be observed from the other end.
 *
 * A socket that is attached without having been made by sim_connect() is a real one, and so is a
 * listener that really listens: bytes and clients come from the kernel then, but how many at a
 * time, and when, is still the script's choice. That is for the test of the contract.
 */
#include "config.h"

#include "sim.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "readiness.h"
#include "util.h"

#define SIM_FDS 4096 /* fds a simulated server may use */

struct sim_conn {
    /* the other end of the socketpair, -1: this fd was never connected */
    int peer;
    bool announced, done, attached, receiving, detaching, eof, eof_told;
    bool connecting, real;
    size_t expect; /* as recv_expect() said of the next input */
    unsigned listener;
    int err;
    int detach_in; /* iterations */
    char *in;      /* queued input */
    size_t in_len, in_off;
    char *out; /* what the client got */
    size_t out_len, out_cap;
    struct backend_segment sending[BACKEND_SEGMENTS_MAX]; /* in flight */
    unsigned sending_count;                               /* 0: nothing is */
    char *sending_copy;                                   /* of the memory among them */
};

struct sim_listener {
    int fd;
    bool on, real;
    int off_in; /* iterations until listen_off(); 0: not pending */
    int err;    /* of accept */
    uint32_t burst;
};

struct sim_backend {
    struct backend base;
    const struct sim_script *script;
    struct sim_listener listener[BACKEND_LISTENERS_MAX];
    int fd_top; /* no fd from here on has been used */
    struct sim_conn conn[SIM_FDS];
};

static int sim_choose_plain(void *arg, int fd, enum sim_choice what, int limit)
{
    (void)arg;
    (void)fd;
    return what == SIM_INPUT || what == SIM_SEND || what == SIM_SENT ? limit : 0;
}

const struct sim_script sim_script_plain = {.choose = sim_choose_plain};

static inline struct sim_backend *sim_of(struct backend *be)
{
    return (struct sim_backend *)be;
}

static int sim_choose(struct sim_backend *b, int fd, enum sim_choice what, size_t limit)
{
    int n = b->script->choose(b->script->arg, fd, what, (int)limit);
    return n > (int)limit ? (int)limit : n;
}

/* ---- what tests do ---- */

void sim_set_script(struct backend *be, const struct sim_script *script)
{
    sim_of(be)->script = script;
}

/* The fd has a new user. */
static void sim_forget(struct sim_conn *p)
{
    free(p->in);
    free(p->out);
    if (p->peer > 0)
        close(p->peer);
    memset(p, 0, sizeof(*p));
}

int sim_connect(struct backend *be)
{
    return sim_connect_to(be, 0);
}

int sim_connect_to(struct backend *be, unsigned index)
{
    struct sim_backend *b = sim_of(be);
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    /*
     * The peers' numbers are moved out of the way: the core's fds stay as dense as a kernel would
     * hand them out.
     */
    int peer = fcntl(pair[1], F_DUPFD_CLOEXEC, SIM_FDS);
    assert(peer >= 0 && pair[0] < SIM_FDS);
    close(pair[1]);
    struct sim_conn *p = &b->conn[pair[0]];
    sim_forget(p);
    p->peer = peer;
    p->listener = index;
    b->fd_top = MAX(b->fd_top, pair[0] + 1);
    return pair[0];
}

void sim_accept_error(struct backend *be, unsigned index, int err)
{
    sim_of(be)->listener[index].err = err;
}

bool sim_is_listening(struct backend *be, unsigned index)
{
    return sim_of(be)->listener[index].on;
}

void sim_input(struct backend *be, int fd, const void *data, size_t len)
{
    struct sim_conn *p = &sim_of(be)->conn[fd];

    p->in = realloc(p->in, p->in_len + len + 1);
    assert(p->in);
    memcpy(p->in + p->in_len, data, len);
    p->in_len += len;
}

void sim_eof(struct backend *be, int fd)
{
    sim_of(be)->conn[fd].eof = true;
}

void sim_error(struct backend *be, int fd, int err)
{
    sim_of(be)->conn[fd].err = err;
}

const char *sim_output(struct backend *be, int fd, size_t *len)
{
    struct sim_conn *p = &sim_of(be)->conn[fd];
    *len = p->out_len;
    return p->out ? p->out : "";
}

static size_t sim_usable(void *p)
{
    return p ? malloc_usable_size(p) + sizeof(size_t) : 0;
}

size_t sim_memory(struct backend *be, int fd)
{
    const struct sim_conn *p = &sim_of(be)->conn[fd];
    return sim_usable(p->in) + sim_usable(p->out) + sim_usable(p->sending_copy);
}

/*
 * What the other end of the socketpair sees: POLLRDHUP after shutdown(SHUT_WR), POLLHUP after
 * close().
 */
static bool sim_poll(struct sim_conn *p, short events)
{
    struct pollfd f = {.fd = p->peer, .events = events};
    return p->peer > 0 && poll(&f, 1, 0) > 0 && (f.revents & events);
}

bool sim_is_open(struct backend *be, int fd)
{
    struct sim_conn *p = &sim_of(be)->conn[fd];
    return p->peer > 0 && !sim_poll(p, POLLHUP);
}

bool sim_is_receiving(struct backend *be, int fd)
{
    struct sim_conn *p = &sim_of(be)->conn[fd];
    return p->attached && p->receiving;
}

bool sim_is_half_closed(struct backend *be, int fd)
{
    return sim_poll(&sim_of(be)->conn[fd], POLLRDHUP);
}

unsigned sim_in_flight(struct backend *be)
{
    unsigned n = 0;
    for (int fd = 0; fd < sim_of(be)->fd_top; fd++)
        n += sim_of(be)->conn[fd].attached;
    return n;
}

/* ---- the contract's members ---- */

static void sim_version(char *out, size_t out_size)
{
    snprintf(out, out_size, "sim");
}

static void sim_probe(const char *variant, struct backend_probe *out)
{
    (void)variant;
    memset(out, 0, sizeof(*out));
    out->usable = true;
}

/* The peers' numbers lie above SIM_FDS, where the usual soft limit of 1024 has none to give. */
static int sim_raise_fds(char *error)
{
    const rlim_t needed = 2 * SIM_FDS;
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < needed) {
        r.rlim_cur = MIN(r.rlim_max, needed);
        if (r.rlim_cur < needed || setrlimit(RLIMIT_NOFILE, &r) < 0) {
            snprintf(error, BACKEND_TEXT_MAX,
                     "the simulated backend needs %llu fds: raise the hard limit (ulimit -Hn)",
                     (unsigned long long)needed);
            return -EMFILE;
        }
    }
    return 0;
}

static int sim_open(const struct backend_config *cfg, struct backend **be, char *error)
{
    int rc = sim_raise_fds(error);
    if (rc < 0)
        return rc;
    struct sim_backend *b = calloc(1, sizeof(*b));
    if (!b) {
        snprintf(error, BACKEND_TEXT_MAX, "no memory");
        return -ENOMEM;
    }
    b->base.ops = &sim_backend_ops;
    b->base.cfg = *cfg;
    b->script = &sim_script_plain;
    *be = &b->base;
    return 0;
}

static void sim_close(struct backend *be)
{
    struct sim_backend *b = sim_of(be);

    for (int fd = 0; fd < b->fd_top; fd++) {
        struct sim_conn *p = &b->conn[fd];
        if (p->peer > 0)
            close(p->peer);
        if (p->peer > 0 && !p->announced)
            close(fd); /* the core never had it */
        free(p->in);
        free(p->out);
        free(p->sending_copy);
    }
    free(b);
}

static void sim_describe(struct backend *be, char *out, size_t out_size)
{
    (void)be;
    snprintf(out, out_size, "simulated");
}

static int sim_listen_ctl(struct backend *be, unsigned index, int lfd, bool on, uint32_t burst)
{
    struct sim_backend *b = sim_of(be);
    struct sim_listener *l = &b->listener[index];

    assert(index < BACKEND_LISTENERS_MAX && (!on || lfd >= 0));
    l->burst = burst;
    if (on) {
        int type = 0;
        socklen_t len = sizeof(type);
        l->fd = lfd;
        l->real = lfd != SIM_LISTENER && getsockopt(lfd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
        l->off_in = 0; /* a pending off is called off */
    } else if (l->on) {
        l->off_in = sim_choose(b, (int)index, SIM_LISTEN_OFF, 1 << 20);
    }
    l->on = on;
    return l->off_in ? IO_PENDING : 0;
}

static int sim_connect_out(struct backend *be, int fd, const struct sockaddr *addr, socklen_t len)
{
    struct sim_backend *b = sim_of(be);
    struct sim_conn *p = &b->conn[fd];

    assert(fd < SIM_FDS && addr && len > 0 && !p->attached && !p->connecting);
    int rc = readiness_connect(fd, addr, len);
    if (rc < 0)
        return rc;
    sim_forget(p);
    p->connecting = p->real = true;
    b->fd_top = MAX(b->fd_top, fd + 1);
    return 0;
}

static int sim_attach(struct backend *be, int fd)
{
    struct sim_backend *b = sim_of(be);
    struct sim_conn *p = &b->conn[fd];
    int rc = sim_choose(b, fd, SIM_ATTACH, 0);

    assert(fd < SIM_FDS);
    if (p->peer <= 0 || p->done) { /* no client of sim_connect()'s, or not any more */
        sim_forget(p);
        p->real = true;
        b->fd_top = MAX(b->fd_top, fd + 1);
    }
    assert(!p->attached && !p->connecting);
    if (rc < 0)
        return rc;
    p->attached = p->receiving = true;
    return 0;
}

static void sim_recv_ctl(struct backend *be, int fd, bool on)
{
    struct sim_conn *p = &sim_of(be)->conn[fd];

    assert(p->attached && !p->detaching);
    p->receiving = on;
    if (on)
        p->eof_told = false;
}

static void sim_recv_expect(struct backend *be, int fd, size_t bytes)
{
    sim_of(be)->conn[fd].expect = bytes;
}

static void sim_deliver(struct sim_conn *p, const char *data, size_t len)
{
    if (p->out_len + len > p->out_cap) {
        p->out_cap = 2 * (p->out_len + len);
        p->out = realloc(p->out, p->out_cap);
        assert(p->out);
    }
    memcpy(p->out + p->out_len, data, len);
    p->out_len += len;
}

/* Give the client the first `len` bytes of the segments. len, or -EIO: a file is too short. */
static int sim_deliver_segments(struct sim_conn *p, const struct backend_segment *segments,
                                size_t len)
{
    int total = (int)len;

    for (; len > 0; segments++) {
        size_t n = MIN(len, segments->len);
        if (segments->data || segments->record) {
            sim_deliver(p, segments->data ? segments->data : segments->text, n);
        } else {
            char *piece = malloc(n);
            assert(piece);
            bool whole = pread(segments->file, piece, n, segments->offset) == (ssize_t)n;
            if (whole)
                sim_deliver(p, piece, n);
            free(piece);
            if (!whole)
                return -EIO;
        }
        len -= n;
    }
    return total;
}

/* Send the first `len` bytes of the segments, in one system call's worth. As backend_ops.send. */
static int sim_send_real(struct backend *be, int fd, const struct backend_segment *segments,
                         size_t len)
{
    struct backend_segment first[BACKEND_SEGMENTS_MAX];
    unsigned count = 0;

    for (; len > 0; len -= first[count++].len) {
        first[count] = segments[count];
        first[count].len = MIN(first[count].len, len);
    }
    return readiness_send(be, fd, first, count);
}

/* The same for either kind. */
static int sim_take(struct backend *be, int fd, const struct backend_segment *segments, size_t len)
{
    struct sim_conn *p = &sim_of(be)->conn[fd];

    return p->real ? sim_send_real(be, fd, segments, len) : sim_deliver_segments(p, segments, len);
}

/* The memory among the segments, one after the other. */
static size_t sim_copy_memory(char *to, const struct backend_segment *segments, unsigned count)
{
    size_t len = 0;

    for (unsigned i = 0; i < count; i++) {
        if (!segments[i].data)
            continue;
        if (to)
            memcpy(to + len, segments[i].data, segments[i].len);
        len += segments[i].len;
    }
    return len;
}

static int sim_send(struct backend *be, int fd, const struct backend_segment *segments,
                    unsigned count)
{
    struct sim_backend *b = sim_of(be);
    struct sim_conn *p = &b->conn[fd];

    assert(p->attached && !p->detaching && !p->sending_count);
    assert(count > 0 && count <= BACKEND_SEGMENTS_MAX);
    for (unsigned i = 0; i < count; i++)
        assert(segments[i].len > 0);
    int n = sim_choose(b, fd, SIM_SEND, backend_segments_len(segments, count));
    if (n < 0)
        return n;
    if (n > 0 && segments->record)
        n = (int)segments->len; /* whole, or not yet */
    if (n > 0 && (n = sim_take(be, fd, segments, (size_t)n)) != IO_PENDING)
        return n;
    memcpy(p->sending, segments, count * sizeof(*segments));
    p->sending_count = count;
    p->sending_copy = malloc(sim_copy_memory(NULL, segments, count) + 1);
    assert(p->sending_copy);
    sim_copy_memory(p->sending_copy, segments, count);
    return IO_PENDING;
}

static size_t sim_send_now(struct backend *be, int fd, const struct backend_segment *segments,
                           unsigned count)
{
    struct sim_backend *b = sim_of(be);
    struct sim_conn *p = &b->conn[fd];

    assert(p->attached && !p->detaching && !p->sending_count);
    for (unsigned i = 0; i < count; i++)
        assert(segments[i].len > 0 && segments[i].data);
    int n = sim_choose(b, fd, SIM_SEND, backend_segments_len(segments, count));
    if (n <= 0 || (n = sim_take(be, fd, segments, (size_t)n)) == IO_PENDING)
        return 0;
    return (size_t)MAX(n, 0);
}

/* The send in flight is over: what it was of has been frozen until now. */
static void sim_give_back(struct sim_conn *p)
{
    const char *copy = p->sending_copy;

    for (unsigned i = 0; i < p->sending_count; i++) {
        const struct backend_segment *segment = &p->sending[i];
        if (!segment->data)
            continue;
        assert(!memcmp(segment->data, copy, segment->len));
        copy += segment->len;
    }
    free(p->sending_copy);
    p->sending_copy = NULL;
    p->sending_count = 0;
}

static int sim_detach(struct backend *be, int fd)
{
    struct sim_backend *b = sim_of(be);
    struct sim_conn *p = &b->conn[fd];

    assert((p->attached || p->connecting) && !p->detaching);
    p->receiving = p->connecting = false;
    p->detach_in = sim_choose(b, fd, SIM_DETACH, 1 << 20);
    if (p->detach_in == 0) {
        if (p->sending_count)
            sim_give_back(p);
        p->attached = false;
        p->done = true;
        return 0;
    }
    p->attached = p->detaching = true;
    return IO_PENDING;
}

/* Was SHUT_RD called on the connection's own fd? Then reading it would give an end of file. */
static bool sim_read_shut(int fd)
{
    char c;
    return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* The next client of listener `index` that the core has not been told of; -1: none. */
static int sim_next_client(struct sim_backend *b, unsigned index)
{
    for (int fd = 0; fd < b->fd_top; fd++)
        if (b->conn[fd].peer > 0 && !b->conn[fd].announced && b->conn[fd].listener == index)
            return fd;
    return -1;
}

static void sim_accept(struct sim_backend *b, unsigned index)
{
    struct sim_listener *l = &b->listener[index];

    if (l->off_in > 0 && --l->off_in == 0) {
        backend_on_listen_off(&b->base, index);
        return;
    }
    for (uint32_t i = 0; i < l->burst && l->on && b->base.accept_room > 0; i++) {
        int fd = sim_next_client(b, index);
        if (l->err) {
            backend_on_accept_failed(&b->base, index, l->err);
            return;
        }
        if (fd < 0 && l->real) {
            if (!readiness_accept(&b->base, index, l->fd, i == 0))
                return;
            continue;
        }
        if (fd < 0)
            return;
        b->conn[fd].announced = true;
        backend_on_accepted(&b->base, index, fd);
    }
}

/* What has become of the send in flight. True: an upcall was made. */
static bool sim_step_send(struct sim_backend *b, int fd, struct sim_conn *p)
{
    int n = sim_choose(b, fd, SIM_SENT, backend_segments_len(p->sending, p->sending_count));

    if (n == 0)
        return false;
    if (n > 0 && (n = sim_take(&b->base, fd, p->sending, (size_t)n)) == IO_PENDING)
        return false;
    sim_give_back(p);
    backend_on_sent(&b->base, fd, n == -EAGAIN ? 0 : n);
    return true;
}

/* How much the next input may carry. */
static size_t sim_input_max(const struct sim_backend *b, const struct sim_conn *p)
{
    return MAX(MIN(p->expect, b->base.recv_room), b->base.cfg.recv_buffer_bytes);
}

static void sim_step_input(struct sim_backend *b, int fd, struct sim_conn *p)
{
    size_t limit = MIN(p->in_len - p->in_off, sim_input_max(b, p));
    int n = sim_choose(b, fd, SIM_INPUT, limit);

    if (n <= 0)
        return;
    /* A copy of its own size, gone after the upcall: what is kept of it is found by the sanitizer.
     */
    char *piece = malloc((size_t)n);
    assert(piece);
    memcpy(piece, p->in + p->in_off, (size_t)n);
    p->in_off += (size_t)n;
    p->expect = 0;
    backend_on_input(&b->base, fd, piece, (size_t)n);
    free(piece);
}

/* As sim_step_input(), from the kernel; the end and errors, too. */
static void sim_step_real(struct sim_backend *b, int fd, struct sim_conn *p)
{
    int limit = sim_choose(b, fd, SIM_INPUT, (int)sim_input_max(b, p));

    if (limit <= 0 || p->eof_told)
        return;
    char *piece = malloc((size_t)limit);
    assert(piece);
    ssize_t n = recv(fd, piece, (size_t)limit, MSG_DONTWAIT);
    if (n > 0) {
        p->expect = 0;
        backend_on_input(&b->base, fd, piece, (size_t)n);
    } else if (n == 0) {
        p->eof_told = true;
        p->receiving = false;
        backend_on_eof(&b->base, fd);
    } else if (errno != EAGAIN) {
        p->receiving = false;
        backend_on_failed(&b->base, fd, errno);
    }
    free(piece);
}

/* How a connect has ended, if it has. */
static void sim_step_connect(struct sim_backend *b, int fd, struct sim_conn *p)
{
    struct pollfd f = {.fd = fd, .events = POLLOUT};
    int n = sim_choose(b, fd, SIM_CONNECT, 1);

    if (n > 0 || poll(&f, 1, 0) == 0)
        return;
    p->connecting = false;
    backend_on_connected(&b->base, fd, n < 0 ? -n : readiness_connect_result(fd));
}

/* At most one upcall for this fd. */
static void sim_step(struct sim_backend *b, int fd)
{
    struct sim_conn *p = &b->conn[fd];

    if (p->connecting) {
        sim_step_connect(b, fd, p);
    } else if (!p->attached) {
        return;
    } else if (p->detaching) {
        if (--p->detach_in > 0)
            return;
        if (p->sending_count)
            sim_give_back(p);
        p->attached = p->detaching = false;
        p->done = true;
        backend_on_detached(&b->base, fd);
    } else if (p->sending_count && sim_step_send(b, fd, p)) {
        return;
    } else if (!p->receiving) {
        return;
    } else if (p->real) {
        sim_step_real(b, fd, p);
    } else if (p->in_off < p->in_len) {
        sim_step_input(b, fd, p);
    } else if (p->err) {
        int err = p->err;
        p->receiving = false;
        p->err = 0;
        backend_on_failed(&b->base, fd, err);
    } else if (!p->eof_told && (p->eof || sim_read_shut(fd))) {
        p->eof_told = true;
        p->receiving = false;
        backend_on_eof(&b->base, fd);
    }
}

static int sim_wait(struct backend *be, int64_t timeout_us)
{
    struct sim_backend *b = sim_of(be);

    (void)timeout_us;
    for (unsigned i = 0; i < BACKEND_LISTENERS_MAX; i++)
        sim_accept(b, i);
    for (int fd = 0; fd < b->fd_top; fd++)
        sim_step(b, fd);
    return 0;
}

static void sim_wake(struct backend *be)
{
    (void)be;
}

static int sim_check_variant(const char *variant, char *error)
{
    (void)variant;
    snprintf(error, BACKEND_TEXT_MAX, "sim has no variants");
    return -EINVAL;
}

static const char *const sim_counters[] = {NULL};
static const int sim_syscalls[] = {-1};

const struct backend_ops sim_backend_ops = {
    .contract = BACKEND_VERSION,
    .name = "sim",
    .slot_priv_size = 0,
    .sends_later = true,
    .help = "sim: simulated, for tests",
    .counters = sim_counters,
    .syscalls = sim_syscalls,
    .check_variant = sim_check_variant,
    .version = sim_version,
    .probe = sim_probe,
    .open = sim_open,
    .close = sim_close,
    .describe = sim_describe,
    .listen_ctl = sim_listen_ctl,
    .connect = sim_connect_out,
    .attach = sim_attach,
    .recv_ctl = sim_recv_ctl,
    .recv_expect = sim_recv_expect,
    .send = sim_send,
    .send_now = sim_send_now,
    .detach = sim_detach,
    .wait = sim_wait,
    .wake = sim_wake,
};
