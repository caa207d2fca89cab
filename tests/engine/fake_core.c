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

#define FAKE_TURNS_MAX \
    20000 /* of 1 ms or less: a bound for what never comes, not for how long it may take */

static struct fake
    *fake_current; /* struct core is opaque to engines: this is what theirs points to */

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

    c->open = c->detaching = c->sending = false;
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
    int rc = f->ops->detach(f->be, fd);
    CHECK(rc == 0 || rc == IO_PENDING);
    if (rc == 0)
        fake_released(f, fd);
}

void fake_recv(struct fake *f, int fd, bool on)
{
    struct fake_conn *c = &f->conn[fd];

    CHECK(c->open && !c->detaching);
    c->receiving = on;
    f->ops->recv_ctl(f->be, fd, on);
}

/* Offer the rest until it pends or is gone. */
static void fake_flush(struct fake *f, int fd)
{
    struct fake_conn *c = &f->conn[fd];

    while (c->out_len) {
        int rc = f->ops->send(f->be, fd, c->out, c->out_len);
        if (rc == IO_PENDING) {
            c->sending = true;
            c->lent = c->out_len;
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

struct fake_conn *fake_attach(struct fake *f, int fd)
{
    struct fake_conn *c = &f->conn[fd];

    CHECK(fd >= 0 && fd < FAKE_FDS && !c->open);
    struct slot *s = slot_take(&f->slots, fd);
    CHECK(s);
    s->state = SLOT_OPEN;
    free(c->in);
    memset(c, 0, sizeof(*c));
    c->open = c->receiving = true;
    c->reaction = f->reaction;
    c->id = ++f->next_id;
    int rc = f->ops->attach(f->be, fd);
    CHECK(rc == 0);
    return c;
}

/* ---- upcalls ---- */

static struct fake_conn *fake_upcall(struct core *core, int fd)
{
    struct fake *f = fake_current;

    CHECK((void *)core == (void *)f && f->in_wait);
    CHECK(fd >= 0 && fd < FAKE_FDS && f->conn[fd].open);
    return &f->conn[fd];
}

void conn_on_open(struct core *core, unsigned index, int fd)
{
    struct fake *f = fake_current;
    int flags = fcntl(fd, F_GETFL);

    (void)core;
    CHECK(f->in_wait && index < FAKE_LISTENERS);
    CHECK(flags >= 0 && (flags & O_NONBLOCK) && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
    f->opens[index]++;
    fake_attach(f, fd);
    f->opened[f->opened_count++] = fd;
    if (f->connections_max && f->slots.used == f->connections_max) {
        CHECK(index == 0);
        f->ops->listen_ctl(f->be, 0, f->lfd, false, 0);
    }
}

void conn_on_accept_error(struct core *core, unsigned index, int err, bool stopped)
{
    (void)core;
    CHECK(fake_current->in_wait && index < FAKE_LISTENERS && err > 0);
    fake_current->accept_errors++;
    fake_current->accept_stops += stopped;
    fake_current->accept_err = err;
}

void conn_on_listen_off(struct core *core, unsigned index)
{
    (void)core;
    CHECK(fake_current->in_wait && index < FAKE_LISTENERS);
    fake_current->listen_offs[index]++;
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

void conn_on_input(struct core *core, int fd, const char *data, size_t len)
{
    struct fake_conn *c = fake_upcall(core, fd);

    CHECK(!c->detaching && c->receiving && !c->eof && len > 0 && len <= FAKE_RECV_BYTES);
    if (c->in_len + len > c->in_cap) {
        c->in_cap = (c->in_len + len) * 2;
        c->in = realloc(c->in, c->in_cap);
        CHECK(c->in);
    }
    memcpy(c->in + c->in_len, data, len);
    c->in_len += len;
    c->inputs++;
    fake_react(fake_current, fd, data, len);
}

void conn_on_eof(struct core *core, int fd)
{
    struct fake_conn *c = fake_upcall(core, fd);

    CHECK(!c->detaching && c->receiving);
    c->receiving = false; /* "receiving has stopped" */
    c->eof = true;
    c->eofs++;
    if (c->detach_in_eof)
        fake_detach(fake_current, fd);
}

void conn_on_error(struct core *core, int fd, int err)
{
    struct fake_conn *c = fake_upcall(core, fd);

    CHECK(!c->detaching && c->receiving && err > 0);
    c->err = err;
    fake_detach(fake_current, fd);
}

void conn_on_sent(struct core *core, int fd, int result)
{
    struct fake_conn *c = fake_upcall(core, fd);

    CHECK(!c->detaching && c->sending && result != 0 && result <= (int)c->lent);
    c->sending = false;
    if (c->detach_in_sent) {
        fake_detach(fake_current, fd);
        return;
    }
    if (result < 0) {
        c->err = -result;
        c->out_len = 0;
        return;
    }
    c->out += result;
    c->out_len -= (size_t)result;
    fake_flush(fake_current, fd);
    if (c->again && !c->sending)
        fake_send(fake_current, fd, c->again, c->again_len);
    if (c->echo && !c->sending) {
        free(c->echo);
        c->echo = NULL;
        if (!c->err)
            fake_recv(fake_current, fd, true);
    }
}

void conn_on_detached(struct core *core, int fd)
{
    struct fake_conn *c = fake_upcall(core, fd);

    CHECK(c->detaching);
    fake_released(fake_current, fd);
}

/* ---- running ---- */

int fake_open(struct fake *f, const char *spec, char *error)
{
    size_t name_len = strcspn(spec, ":");

    memset(f, 0, sizeof(*f));
    f->ops = registry_find(spec, name_len);
    f->variant = spec[name_len] ? spec + name_len + 1 : NULL;
    f->random = 88172645463325252u;
    fake_current = f;
    CHECK(f->ops);
    CHECK(slot_table_init(&f->slots, FAKE_FDS, f->ops->slot_priv_size) == 0);
    const struct backend_config cfg = {
        .core = (struct core *)(void *)f,
        .slots = &f->slots,
        .stats = &f->stats,
        .variant = f->variant,
        .recv_buffer_bytes = FAKE_RECV_BYTES,
        .connections_max = FAKE_FDS,
    };
    error[0] = '\0';
    int rc = f->ops->open(&cfg, &f->be, error);
    CHECK(rc == 0 || (rc < 0 && error[0] && !f->be));
    if (rc < 0)
        slot_table_destroy(&f->slots);
    return rc;
}

void fake_turn(struct fake *f, int64_t timeout_ms)
{
    f->in_wait = true;
    int rc = f->ops->wait(f->be, timeout_ms);
    f->in_wait = false;
    CHECK(rc == 0);
}

void fake_until_(struct fake *f, const unsigned *what, unsigned least, const char *text)
{
    for (int i = 0; *what < least; i++) {
        if (i == FAKE_TURNS_MAX) {
            char counters[STATS_TEXT_MAX];
            stats_format(counters, sizeof(counters), &f->stats, 0);
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
    CHECK(f->stats.engine_inflight == 0 && f->stats.stale == 0);
    CHECK(f->errors_expected || f->stats.engine_errors == 0);
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
