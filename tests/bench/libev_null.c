/* SPDX-License-Identifier: MIT */
/*
 * libev_null.c - the least that a server on libev can do: an ev_io for each connection, one recv,
 * count, one send. The yardstick for the libev backend. usage: libev_null PORT [BODY-BYTES | =BODY]
 */
#include "config.h"

#include <errno.h>
#include <ev.h>

#include "null_common.h"

static char in[NULL_RECV_BYTES], out[NULL_BATCH_BYTES];

static void on_input(struct ev_loop *loop, ev_io *w, int events)
{
    ssize_t got = recv(w->fd, in, sizeof(in), 0);

    (void)events;
    if (got < 0 && errno == EAGAIN)
        return;
    size_t len = got > 0 ? null_fill(out, null_count(in, (size_t)got)) : 0;
    if (got <= 0 || (len && send(w->fd, out, len, MSG_NOSIGNAL) < 0)) {
        ev_io_stop(loop, w);
        close(w->fd);
        free(w);
    }
}

static void on_connections(struct ev_loop *loop, ev_io *listener, int events)
{
    int fd;

    (void)events;
    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        ev_io *w = malloc(sizeof(*w));
        if (!w) {
            close(fd);
            return;
        }
        ev_io_init(w, on_input, fd, EV_READ);
        ev_io_start(loop, w);
    }
}

int main(int argc, char **argv)
{
    int lfd = null_setup(argc, argv);
    struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL);
    ev_io listener;

    if (!loop) {
        fprintf(stderr, "%s: libev has no epoll here\n", argv[0]);
        return 1;
    }
    ev_io_init(&listener, on_connections, lfd, EV_READ);
    ev_io_start(loop, &listener);
    ev_run(loop, 0);
    return 0;
}
