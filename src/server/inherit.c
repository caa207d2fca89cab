/* SPDX-License-Identifier: MIT */
/*
 * inherit.c - see inherit.h.
 */
#include "config.h"

#include "inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "util.h"

#define INHERIT_FIRST 3 /* SD_LISTEN_FDS_START */

/* Names of the old server's own sockets; the second is of those that asked for any port. */
#define INHERIT_OWN     "=own"
#define INHERIT_OWN_ANY "=any"

/* A number from the environment that is digits and nothing else, from 0 to `max`; or -1. */
static long inherit_number(const char *name, long max)
{
    const char *text = getenv(name);
    char *end;

    if (!text || *text < '0' || *text > '9')
        return -1;
    errno = 0;
    long value = strtol(text, &end, 10);
    return *end || errno || value > max ? -1 : value;
}

/* The next of names separated by colons, into `out`; those that are missing are empty. */
static const char *inherit_next_name(const char *names, char *out)
{
    size_t len = strcspn(names, ":"), kept = MIN(len, LISTENER_NAME_MAX - 1);

    memcpy(out, names, kept);
    out[kept] = '\0';
    return names + len + (names[len] == ':');
}

static int inherit_socket(struct inherited *in, int fd, const char *name, char *error)
{
    char why[LISTENER_ERROR_MAX], shown[4 * LISTENER_NAME_MAX];
    struct inherited_socket *s = &in->sockets[in->count];

    *s = (struct inherited_socket){.fd = fd, .given = true};
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    int rc = listener_inspect(fd, &s->addr, why);
    if (rc < 0) {
        log_escape(shown, sizeof(shown), name, strlen(name));
        snprintf(error, LISTENER_ERROR_MAX, "LISTEN_FDS: descriptor %d (%.128s) %.300s", fd, shown,
                 why);
        return rc;
    }
    snprintf(s->name, sizeof(s->name), "%s", name);
    if (in->word_fd >= 0 && (!strcmp(name, INHERIT_OWN) || !strcmp(name, INHERIT_OWN_ANY))) {
        s->given = false;
        s->any_port = !strcmp(name, INHERIT_OWN_ANY);
        s->name[0] = '\0';
    }
    in->count++;
    return 0;
}

int inherit_init(struct inherited *in, char *error)
{
    long pid = inherit_number("LISTEN_PID", INT32_MAX),
         count = inherit_number("LISTEN_FDS", 1 << 20);
    bool ours = pid == (long)getpid();
    const char *names = ours ? getenv("LISTEN_FDNAMES") : NULL;
    char name[LISTENER_NAME_MAX];
    int rc = 0;

    *in = (struct inherited){.word_fd = -1};
    if (ours && count > 0) {
        in->word_fd = (int)inherit_number(INHERIT_UPGRADE, 1 << 20);
        in->sockets = calloc((size_t)MIN(count, INHERIT_MAX), sizeof(*in->sockets));
        if (count > INHERIT_MAX || !in->sockets) {
            snprintf(error, LISTENER_ERROR_MAX, "LISTEN_FDS: %ld sockets are more than %d", count,
                     INHERIT_MAX);
            rc = -E2BIG;
        }
        if (in->word_fd >= 0)
            fcntl(in->word_fd, F_SETFD, FD_CLOEXEC);
        for (int fd = INHERIT_FIRST; rc == 0 && fd < INHERIT_FIRST + count; fd++) {
            name[0] = '\0';
            if (names)
                names = inherit_next_name(names, name);
            rc = inherit_socket(in, fd, name, error);
        }
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    unsetenv(INHERIT_UPGRADE);
    return rc;
}

bool inherit_has_given(const struct inherited *in)
{
    for (unsigned i = 0; i < in->count; i++)
        if (in->sockets[i].given)
            return true;
    return false;
}

static bool inherit_is_any_port(const struct listener_addr *addr)
{
    if (addr->unix_socket || addr->named)
        return false;
    return (addr->u.sa.sa_family == AF_INET6 ? addr->u.in6.sin6_port : addr->u.in4.sin_port) == 0;
}

static bool inherit_is_meant(const struct inherited_socket *s, const struct listener_addr *asked)
{
    struct listener_addr any = s->addr;

    if (s->taken)
        return false;
    if (asked->named)
        return s->given && !strcmp(s->name, asked->text + strlen("fd:"));
    if (!s->any_port)
        return listener_same_place(&s->addr, asked);
    if (any.u.sa.sa_family == AF_INET6)
        any.u.in6.sin6_port = 0;
    else
        any.u.in4.sin_port = 0;
    return inherit_is_any_port(asked) && listener_same_place(&any, asked);
}

/* A listener of the socket and all others of the same place. NULL: *rc and `error`. */
static struct listener *inherit_adopt(struct inherited *in, const struct inherited_socket *first,
                                      const struct listener_addr *asked, int *rc, char *error)
{
    struct listener *l = calloc(1, sizeof(*l));
    int *fds = calloc(in->count, sizeof(*fds));
    unsigned count = 0;

    *rc = -ENOMEM;
    snprintf(error, LISTENER_ERROR_MAX, "no memory");
    for (unsigned i = 0; fds && i < in->count; i++) {
        struct inherited_socket *s = &in->sockets[i];
        if (s->taken || s->given != first->given || !listener_same_place(&s->addr, &first->addr))
            continue;
        fds[count++] = s->fd;
        s->taken = true;
    }
    if (l && fds)
        *rc = listener_adopt(l, asked, &first->addr, fds, count, error);
    free(fds);
    if (*rc < 0) {
        free(l);
        return NULL;
    }
    l->given = first->given;
    memcpy(l->name, first->name, sizeof(l->name));
    return l;
}

struct listener *inherit_listener(struct inherited *in, const struct listener_addr *asked, int *rc,
                                  char *error)
{
    *rc = 0;
    for (unsigned i = 0; i < in->count; i++)
        if (inherit_is_meant(&in->sockets[i], asked))
            return inherit_adopt(in, &in->sockets[i], asked, rc, error);
    return NULL;
}

struct listener *inherit_rest(struct inherited *in, int *rc, char *error)
{
    *rc = 0;
    for (unsigned i = 0; i < in->count; i++)
        if (in->sockets[i].given && !in->sockets[i].taken)
            return inherit_adopt(in, &in->sockets[i], &in->sockets[i].addr, rc, error);
    return NULL;
}

const char *inherit_name(const struct listener *l, char *out)
{
    struct listener_addr asked;
    char why[LISTENER_ERROR_MAX];
    const char *name = INHERIT_OWN;

    if (l->given)
        name = l->name;
    else if (listener_parse(l->asked, &asked, why) == 0 && inherit_is_any_port(&asked))
        name = INHERIT_OWN_ANY;
    snprintf(out, LISTENER_NAME_MAX, "%s", name);
    return out;
}

void inherit_close_rest(struct inherited *in)
{
    for (unsigned i = 0; i < in->count; i++) {
        struct inherited_socket *s = &in->sockets[i];
        if (s->taken)
            continue;
        log_notice("%s, on which the server before this one listens, is not asked for any more",
                   s->addr.text);
        close(s->fd);
        s->taken = true;
    }
}

void inherit_tell(struct inherited *in)
{
    if (in->word_fd < 0)
        return;
    if (write(in->word_fd, "", 1) != 1)
        log_warn("the server before this one cannot be told to end: %s", strerror(errno));
    close(in->word_fd);
    in->word_fd = -1;
}

void inherit_destroy(struct inherited *in)
{
    if (in->word_fd >= 0)
        close(in->word_fd);
    free(in->sockets);
    *in = (struct inherited){.word_fd = -1};
}
