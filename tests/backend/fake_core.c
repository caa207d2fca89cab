/* SPDX-License-Identifier: MIT */
/*
 * fake_core.c - see fake_core.h.
 */
#include "config.h"

#include "fake_core.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "registry.h"
#include "skeleton.h"
#include "util.h"

#define FAKE_TURNS_MAX \
    20000 /* of 1 ms or less: a bound for what never comes, not for how long it may take */

static struct fake *fake_current;

#define CHECK(cond)                                                    \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            abort();                                                   \
        }                                                              \
    } while (0)

uint64_t fake_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

bool fake_stream_is(const struct fake_conn *conn, uint32_t id, size_t start)
{
    for (size_t i = 0; i < conn->in_len; i++)
        if (conn->in[i] != fake_byte(id, start + i)) {
            fprintf(stderr, "stream %u differs at byte %zu of %zu\n", id, i, conn->in_len);
            return false;
        }
    return true;
}

/* ---- calls down ---- */

static void fake_released(struct fake *f, int fd)
{
    struct fake_conn *c = &f->conn[fd];

    c->open = c->detaching = c->sending = c->connecting = false;
    c->out = NULL;
    free(c->echo);
    c->echo = NULL;
    slot_release(&f->slots, fd);
    close(fd);
}

void fake_detach(struct fake *f, int fd)
{
    struct fake_conn *c = &f->conn[fd];

    CHECK(c->open && !c->detaching);
    c->detaching = true;
    int rc = backend_detach(f->be, fd);
    CHECK(rc == 0 || rc == IO_PENDING);
    if (rc == 0)
        fake_released(f, fd);
}

void fake_recv(struct fake *f, int fd, bool on)
{
    struct fake_conn *c = &f->conn[fd];

    CHECK(c->open && !c->detaching);
    c->receiving = on;
    backend_recv_ctl(f->be, fd, on);
}

/* Cut what is to be sent into segments, as `pieces` says. */
static unsigned fake_segments(const struct fake_conn *c, struct backend_segment *segments)
{
    unsigned count = 0;
    size_t at = 0;

    do {
        size_t n = c->piece && count + 1 < BACKEND_SEGMENTS_MAX ? MIN(c->piece, c->out_len - at)
                                                                : c->out_len - at;
        segments[count].data = c->out + at;
        segments[count++].len = n;
        at += n;
    } while (at < c->out_len);
    return count;
}

/* Offer the rest until it pends or is gone. */
static void fake_flush(struct fake *f, int fd)
{
    struct fake_conn *c = &f->conn[fd];
    struct backend_segment segments[BACKEND_SEGMENTS_MAX];

    while (c->out_len) {
        unsigned count = fake_segments(c, segments);
        int rc = backend_send(f->be, fd, segments, count);
        memset(segments, 0xff, sizeof(segments)); /* the array is ours again at once */
        if (rc == IO_PENDING) {
            c->sending = true;
            c->in_flight = c->out_len;
            return;
        }
        if (rc < 0) {
            c->err = -rc;
            c->out_len = 0;
            return;
        }
        CHECK(rc > 0 && (size_t)rc <= c->out_len);
        c->out += rc;
        c->out_len -= (size_t)rc;
    }
    c->sents++;
}

void fake_send(struct fake *f, int fd, const char *buf, size_t len)
{
    struct fake_conn *c = &f->conn[fd];

    CHECK(c->open && !c->detaching && !c->sending && len);
    c->out = buf;
    c->out_len = len;
    fake_flush(f, fd);
}

/* Take the slot of fd. */
static struct fake_conn *fake_take(struct fake *f, int fd)
{
    struct fake_conn *c = &f->conn[fd];

    CHECK(fd >= 0 && fd < FAKE_FDS && !c->open);
    CHECK(slot_take(&f->slots, fd));
    free(c->in);
    memset(c, 0, sizeof(*c));
    c->open = true;
    c->reaction = f->reaction;
    c->id = ++f->next_id;
    return c;
}

static void fake_start(struct fake *f, int fd)
{
    struct fake_conn *c = &f->conn[fd];

    c->receiving = true;
    CHECK(backend_attach(f->be, fd) == 0);
}

struct fake_conn *fake_attach(struct fake *f, int fd)
{
    struct fake_conn *c = fake_take(f, fd);

    fake_start(f, fd);
    return c;
}

int fake_connect(struct fake *f, int fd, const struct sockaddr *addr, socklen_t len)
{
    struct fake_conn *c = fake_take(f, fd);
    struct sockaddr_storage copy;

    memcpy(&copy, addr, len);
    c->connecting = true;
    int rc = backend_connect(f->be, fd, (struct sockaddr *)&copy, len);
    memset(&copy, 0xff, sizeof(copy)); /* it is the caller's again at once */
    if (rc < 0) {
        c->connecting = false;
        fake_released(f, fd);
    }
    return rc;
}

int fake_listen(struct fake *f, unsigned index, int lfd, bool on, uint32_t burst)
{
    bool was = f->listening[index];
    int rc = backend_listen_ctl(f->be, index, lfd, on, burst);

    CHECK(rc <= 0 || (rc == IO_PENDING && !on && was));
    if (rc < 0)
        return rc;
    f->off_pending[index] = rc == IO_PENDING;
    f->listening[index] = on || rc == IO_PENDING; /* what was accepted is still reported */
    return rc;
}

/* ---- upcalls ---- */

static struct fake_conn *fake_upcall(void *arg, int fd)
{
    struct fake *f = arg;

    CHECK(f == fake_current && f->in_wait);
    CHECK(fd >= 0 && fd < FAKE_FDS && f->conn[fd].open);
    return &f->conn[fd];
}

static void fake_on_accepted(void *arg, unsigned index, int fd)
{
    struct fake *f = arg;
    int flags = fcntl(fd, F_GETFL);

    CHECK(f->in_wait && f->listening[index] && index < FAKE_LISTENERS);
    CHECK(flags >= 0 && (flags & O_NONBLOCK) && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
    f->opens[index]++;
    if (f->reject) {
        close(fd);
        return;
    }
    fake_attach(f, fd);
    f->opened[f->opened_count++] = fd;
    if (f->connections_max && f->slots.used == f->connections_max) {
        CHECK(index == 0);
        fake_listen(f, 0, f->lfd, false, 0);
    }
}

static void fake_on_accept_failed(void *arg, unsigned index, int err)
{
    struct fake *f = arg;

    CHECK(f->in_wait && index < FAKE_LISTENERS && err > 0 && err != EAGAIN && err != EINTR);
    CHECK(f->listening[index]);
    f->accept_errors++;
    f->accept_err = err;
    if (f->off_after_errors && f->accept_errors >= f->off_after_errors)
        fake_listen(f, index, f->lfd, false, 0);
}

static void fake_on_listen_off(void *arg, unsigned index)
{
    struct fake *f = arg;

    CHECK(f->in_wait && index < FAKE_LISTENERS && f->off_pending[index]);
    f->off_pending[index] = f->listening[index] = false;
    f->listen_offs[index]++;
}

static void fake_on_connected(void *arg, int fd, int err)
{
    struct fake_conn *c = fake_upcall(arg, fd);

    CHECK(c->connecting && !c->detaching && err >= 0);
    c->connecting = false;
    c->connects++;
    c->err = err;
    if (err)
        fake_released(arg, fd);
    else
        fake_start(arg, fd);
}

static void fake_react(struct fake *f, int fd, const char *data, size_t len)
{
    struct fake_conn *c = &f->conn[fd];

    switch (c->reaction) {
    case FAKE_KEEP: break;
    case FAKE_PAUSE: fake_recv(f, fd, false); break;
    case FAKE_PAUSE_RESUME:
        fake_recv(f, fd, false);
        fake_recv(f, fd, true);
        break;
    case FAKE_DETACH: fake_detach(f, fd); break;
    case FAKE_RANDOM_PAUSE:
        if (fake_random(&f->random) % 3 == 0)
            fake_recv(f, fd, false);
        break;
    case FAKE_ECHO:
        fake_recv(f, fd, false);
        CHECK(!c->echo);
        c->echo = malloc(len);
        CHECK(c->echo);
        memcpy(c->echo, data, len);
        fake_send(f, fd, c->echo, len);
        if (!c->sending && c->open && !c->detaching) {
            free(c->echo);
            c->echo = NULL;
            if (!c->err)
                fake_recv(f, fd, true);
        }
        break;
    }
}

static void fake_on_input(void *arg, int fd, const char *data, size_t len)
{
    struct fake_conn *c = fake_upcall(arg, fd);

    CHECK(!c->detaching && c->receiving && !c->eof && len > 0);
    CHECK(len <= MAX(c->expect, FAKE_RECV_BYTES));
    c->expect = 0;
    c->input_max = MAX(c->input_max, len);
    if (c->in_len + len > c->in_cap) {
        c->in_cap = (c->in_len + len) * 2;
        c->in = realloc(c->in, c->in_cap);
        CHECK(c->in);
    }
    memcpy(c->in + c->in_len, data, len);
    c->in_len += len;
    c->inputs++;
    fake_react(arg, fd, data, len);
}

static void fake_on_eof(void *arg, int fd)
{
    struct fake_conn *c = fake_upcall(arg, fd);

    CHECK(!c->detaching && c->receiving);
    c->receiving = false; /* "receiving has stopped" */
    c->eof = true;
    c->eofs++;
    if (c->detach_in_eof)
        fake_detach(arg, fd);
}

static void fake_on_failed(void *arg, int fd, int err)
{
    struct fake_conn *c = fake_upcall(arg, fd);

    CHECK(!c->detaching && c->receiving && err > 0);
    c->receiving = false; /* "receiving is off and stays so" */
    c->err = err;
    if (!c->keep_when_failed)
        fake_detach(arg, fd);
}

static void fake_on_sent(void *arg, int fd, int result)
{
    struct fake_conn *c = fake_upcall(arg, fd);

    CHECK(!c->detaching && c->sending && result <= (int)c->in_flight);
    c->sent_zero += result == 0;
    c->sending = false;
    c->last_sent = result;
    if (c->out_keep)
        return;
    if (c->detach_in_sent) {
        fake_detach(arg, fd);
        return;
    }
    if (result < 0) {
        c->err = -result;
        c->out_len = 0;
        return;
    }
    c->out += result;
    c->out_len -= (size_t)result;
    fake_flush(arg, fd);
    if (c->again && !c->sending)
        fake_send(arg, fd, c->again, c->again_len);
    if (c->echo && !c->sending) {
        free(c->echo);
        c->echo = NULL;
        if (!c->err)
            fake_recv(arg, fd, true);
    }
}

static void fake_on_detached(void *arg, int fd)
{
    struct fake_conn *c = fake_upcall(arg, fd);

    CHECK(c->detaching);
    fake_released(arg, fd);
}

/* ---- running ---- */

const struct backend_ops *fake_find(const char *name, size_t len)
{
    static const struct backend_ops *const own[] = {&sim_backend_ops, &skeleton_backend_ops};

    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (strlen(own[i]->name) == len && !memcmp(name, own[i]->name, len))
            return own[i];
    return registry_find(name, len);
}

/* sim's script: everything is cut and late. */
static int fake_choose(void *arg, int fd, enum sim_choice what, int limit)
{
    struct fake *f = arg;
    unsigned r = (unsigned)(fake_random(&f->sim_random) >> 8);

    (void)fd;
    switch (what) {
    case SIM_INPUT: return r % 4 ? 1 + (int)(r / 4 % (unsigned)limit) : 0;
    case SIM_SEND: return r % 2 ? 1 + (int)(r / 4 % (unsigned)limit) : 0;
    case SIM_SENT: return r % 8 == 0 ? -EAGAIN : r % 2 ? 1 + (int)(r / 8 % (unsigned)limit) : 0;
    case SIM_DETACH: return r % 2 ? 0 : (int)(r / 2 % 5);
    case SIM_LISTEN_OFF: return r % 2 ? 0 : (int)(r / 2 % 5);
    case SIM_CONNECT: return r % 3 != 0;
    case SIM_ATTACH: return 0;
    }
    return 0;
}

int fake_open(struct fake *f, const char *spec, char *error)
{
    size_t name_len = strcspn(spec, ":");

    memset(f, 0, sizeof(*f));
    f->ops = fake_find(spec, name_len);
    f->variant = spec[name_len] ? spec + name_len + 1 : NULL;
    f->random = 88172645463325252u;
    fake_current = f;
    CHECK(f->ops);
    CHECK(slot_table_init(&f->slots, FAKE_FDS, f->ops->slot_priv_size) == 0);
    const struct backend_config cfg = {
        .events = {.accepted = fake_on_accepted,
                   .accept_failed = fake_on_accept_failed,
                   .listen_off = fake_on_listen_off,
                   .connected = fake_on_connected,
                   .input = fake_on_input,
                   .eof = fake_on_eof,
                   .failed = fake_on_failed,
                   .sent = fake_on_sent,
                   .detached = fake_on_detached},
        .arg = f,
        .slots = &f->slots,
        .stats = &f->stats,
        .variant = f->variant,
        .recv_buffer_bytes = FAKE_RECV_BYTES,
        .connections_max = FAKE_FDS,
    };
    error[0] = '\0';
    int rc = f->ops->open(&cfg, &f->be, error);
    CHECK(rc == 0 || (rc < 0 && error[0] && !f->be));
    if (rc < 0) {
        slot_table_destroy(&f->slots);
        return rc;
    }
    f->be->accept_room = FAKE_FDS;
    if (f->ops == &sim_backend_ops) {
        f->sim_random = 1234567;
        f->script = (struct sim_script){.choose = fake_choose, .arg = f};
        sim_set_script(f->be, &f->script);
    }
    return 0;
}

void fake_is(struct fake *f)
{
    fake_current = f;
}

void fake_turn_us(struct fake *f, int64_t timeout_us)
{
    f->in_wait = true;
    int rc = backend_wait(f->be, timeout_us);
    f->in_wait = false;
    CHECK(rc == 0);
}

void fake_turn(struct fake *f, int64_t timeout_ms)
{
    fake_turn_us(f, timeout_ms < 0 ? -1 : timeout_ms * 1000);
}

void fake_until_(struct fake *f, const unsigned *what, unsigned least, const char *text)
{
    for (int i = 0; *what < least; i++) {
        if (i == FAKE_TURNS_MAX) {
            char counters[STATS_TEXT_MAX];
            stats_format(counters, sizeof(counters), &f->stats, f->ops->counters, 0);
            fprintf(stderr, "%s stays at %u instead of %u: %s\n", text, *what, least, counters);
            abort();
        }
        fake_turn(f, 1);
    }
}

void fake_settle(struct fake *f)
{
    for (int i = 0; i < 20; i++)
        fake_turn(f, i < 10 ? 0 : 1);
}

void fake_close(struct fake *f)
{
    unsigned left = 0;

    for (int fd = 0; fd < FAKE_FDS; fd++)
        if (f->conn[fd].open && !f->conn[fd].detaching)
            fake_detach(f, fd);
    for (int i = 0; i < FAKE_TURNS_MAX && f->slots.used; i++)
        fake_turn(f, 1);
    for (int fd = 0; fd < FAKE_FDS; fd++) {
        left += f->conn[fd].open;
        free(f->conn[fd].in);
    }
    CHECK(left == 0 && f->slots.used == 0);
    CHECK(f->stats.in_flight == 0 && f->stats.stale == 0);
    CHECK(f->errors_expected || f->stats.backend_errors == 0);
    f->ops->close(f->be);
    slot_table_destroy(&f->slots);
}

void fake_pair(bool tcp, int pair[2])
{
    if (!tcp) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    } else {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(a);
        int lfd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(lfd >= 0 && bind(lfd, (struct sockaddr *)&a, len) == 0 && listen(lfd, 1) == 0);
        CHECK(getsockname(lfd, (struct sockaddr *)&a, &len) == 0);
        pair[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(pair[1] >= 0 && connect(pair[1], (struct sockaddr *)&a, len) == 0);
        pair[0] = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
        CHECK(pair[0] >= 0);
        close(lfd);
    }
    CHECK(fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0);
}
