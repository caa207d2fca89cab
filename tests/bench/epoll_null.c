/* SPDX-License-Identifier: MIT */
/*
 * epoll_null.c - the least that an epoll server can do: epoll_wait, one recv, count, one send. The
 * yardstick for the epoll backend. usage: epoll_null PORT [BODY-BYTES | =BODY]
 */
#include "config.h"

#include <errno.h>
#include <sys/epoll.h>

#include "null_common.h"

int main(int argc, char **argv)
{
    static char in[NULL_RECV_BYTES], out[NULL_BATCH_BYTES];
    int lfd = null_setup(argc, argv);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = lfd}, events[256];

    if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, lfd, &ev) < 0) {
        perror("epoll");
        return 1;
    }
    for (;;) {
        int n = epoll_wait(ep, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == lfd) {
                while ((fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                    ev = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
                    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
                }
                continue;
            }
            ssize_t got = recv(fd, in, sizeof(in), 0);
            if (got < 0 && errno == EAGAIN)
                continue;
            size_t len = got > 0 ? null_fill(out, null_count(in, (size_t)got)) : 0;
            if (got <= 0 || (len && send(fd, out, len, MSG_NOSIGNAL) < 0))
                close(fd);
        }
    }
}
