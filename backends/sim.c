/* SPDX-License-Identifier: MIT */
/*
 * sim.c - see sim.h.
 *
 * A client is one end of a socketpair that carries no data: it gives the connection a real fd, on
 * which the core's shutdown(2) and close(2) can be observed from the other end.
 */
#include "config.h"

#include "sim.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"

#define SIM_FDS 4096 /* fds a simulated server may use */

struct sim_conn {
    /* the other end of the socketpair, -1: this fd was never connected */
    int peer;
    bool announced, attached, receiving, detaching, eof, eof_told;
    int err;
    int detach_turns;
    char *in; /* queued input */
    size_t in_len, in_off;
    char *out; /* what the client got */
    size_t out_len, out_cap;
    const char *lent; /* pending send */
    char *lent_copy;
    size_t lent_len;
};

struct sim_backend {
    struct backend base;
    const struct sim_script *script;
    bool in_upcall, listening;
    int fd_top; /* no fd from here on has been used */
    struct sim_conn conn[SIM_FDS];
};

static int sim_choose_plain(void *arg, int fd, enum sim_choice what, int limit)
{
    (void)arg;
    (void)fd;
    return what == SIM_DETACH || what == SIM_ATTACH ? 0 : limit;
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

int sim_connect(struct backend *be)
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
    free(p->in);
    free(p->out);
    if (p->peer > 0)
        close(p->peer);
    memset(p, 0, sizeof(*p));
    p->peer = peer;
    b->fd_top = MAX(b->fd_top, pair[0] + 1);
    return pair[0];
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
                     "the simulated engine needs %llu fds: raise the hard limit (ulimit -Hn)",
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
        free(p->lent_copy);
    }
    free(b);
}

static void sim_describe(struct backend *be, char *out, size_t out_size)
{
    (void)be;
    snprintf(out, out_size, "simulated");
}

static int sim_listen_ctl(struct backend *be, unsigned index, int lfd, bool on, unsigned burst)
{
    (void)index;
    (void)lfd;
    (void)burst;
    sim_of(be)->listening = on;
    return 0;
}

static int sim_attach(struct backend *be, int fd)
{
    struct sim_backend *b = sim_of(be);
    struct sim_conn *p = &b->conn[fd];
    int rc = sim_choose(b, fd, SIM_ATTACH, 0);

    assert(!p->attached);
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

static int sim_send(struct backend *be, int fd, const char *buf, size_t len)
{
    struct sim_backend *b = sim_of(be);
    struct sim_conn *p = &b->conn[fd];

    assert(p->attached && !p->detaching && !p->lent && len > 0);
    int n = sim_choose(b, fd, SIM_SEND, len);
    if (n < 0)
        return n;
    if (n > 0) {
        sim_deliver(p, buf, (size_t)n);
        return n;
    }
    p->lent = buf;
    p->lent_len = len;
    p->lent_copy = malloc(len);
    assert(p->lent_copy);
    memcpy(p->lent_copy, buf, len);
    return IO_PENDING;
}

static void sim_give_back(struct sim_conn *p)
{
    assert(!memcmp(p->lent, p->lent_copy, p->lent_len)); /* frozen while lent */
    free(p->lent_copy);
    p->lent = p->lent_copy = NULL;
}

static int sim_detach(struct backend *be, int fd)
{
    struct sim_backend *b = sim_of(be);
    struct sim_conn *p = &b->conn[fd];

    assert(p->attached && !p->detaching);
    p->receiving = false;
    p->detach_turns = sim_choose(b, fd, SIM_DETACH, 1 << 20);
    if (p->detach_turns == 0) {
        if (p->lent)
            sim_give_back(p);
        p->attached = false;
        return 0;
    }
    p->detaching = true;
    return IO_PENDING;
}

/* Was SHUT_RD called on the connection's own fd? Then reading it would give an end of file. */
static bool sim_read_shut(int fd)
{
    char c;
    return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* At most one upcall for this fd. True if there was one. */
static bool sim_step(struct sim_backend *b, int fd)
{
    struct sim_conn *p = &b->conn[fd];
    struct core *core = b->base.cfg.core;

    if (p->peer <= 0)
        return false;
    if (!p->announced) {
        if (!b->listening)
            return false;
        p->announced = true;
        conn_on_open(core, 0, fd);
        return true;
    }
    if (!p->attached)
        return false;
    if (p->detaching) {
        if (--p->detach_turns > 0)
            return false;
        if (p->lent)
            sim_give_back(p);
        p->attached = p->detaching = false;
        conn_on_detached(core, fd);
        return true;
    }
    if (p->lent) {
        int n = sim_choose(b, fd, SIM_SENT, p->lent_len);
        if (n != 0) {
            if (n > 0)
                sim_deliver(p, p->lent, (size_t)n);
            sim_give_back(p);
            conn_on_sent(core, fd, n);
            return true;
        }
    }
    if (!p->receiving)
        return false;
    if (p->in_off < p->in_len) {
        size_t limit = MIN(p->in_len - p->in_off, b->base.cfg.recv_buffer_bytes);
        int n = sim_choose(b, fd, SIM_INPUT, limit);
        if (n <= 0)
            return false;
        /*
         * A copy of its own size, gone after the upcall: what is kept of it is found by the
         * sanitizer.
         */
        char *piece = malloc((size_t)n);
        assert(piece);
        memcpy(piece, p->in + p->in_off, (size_t)n);
        p->in_off += (size_t)n;
        conn_on_input(core, fd, piece, (size_t)n);
        free(piece);
        return true;
    }
    if (p->err) {
        int err = p->err;
        p->receiving = false;
        p->err = 0;
        conn_on_error(core, fd, err);
        return true;
    }
    if (!p->eof_told && (p->eof || sim_read_shut(fd))) {
        p->eof_told = true;
        p->receiving = false;
        conn_on_eof(core, fd);
        return true;
    }
    return false;
}

static int sim_wait(struct backend *be, int64_t timeout_ms)
{
    struct sim_backend *b = sim_of(be);

    (void)timeout_ms;
    assert(!b->in_upcall);
    b->in_upcall = true;
    for (int fd = 0; fd < b->fd_top; fd++)
        sim_step(b, fd);
    b->in_upcall = false;
    return 0;
}

static void sim_wake(struct backend *be)
{
    (void)be;
}

const struct backend_ops sim_backend_ops = {
    .name = "sim",
    .slot_priv_size = 0,
    .version = sim_version,
    .probe = sim_probe,
    .open = sim_open,
    .close = sim_close,
    .describe = sim_describe,
    .listen_ctl = sim_listen_ctl,
    .attach = sim_attach,
    .recv_ctl = sim_recv_ctl,
    .send = sim_send,
    .detach = sim_detach,
    .wait = sim_wait,
    .wake = sim_wake,
};
