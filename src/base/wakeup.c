/* SPDX-License-Identifier: MIT */
/*
 * wakeup.c - see wakeup.h.
 */
#include "config.h"

#include "wakeup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#ifdef HAVE_EVENTFD
#include <sys/eventfd.h>
#endif

#include "sys.h"

/* Reads that a wakeup_clear() may take: a pipe holds 64 KiB, or what somebody has set. */
#define WAKEUP_READS_MAX 64

int wakeup_open(struct wakeup *w)
{
#ifdef HAVE_EVENTFD
    w->read_fd = w->write_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return w->read_fd < 0 ? -errno : 0;
#else
    int fds[2];

    *w = WAKEUP_NONE;
    if (sys_pipe(fds) < 0)
        return -errno;
    for (int i = 0; i < 2; i++)
        fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
    w->read_fd = fds[0];
    w->write_fd = fds[1];
    return 0;
#endif
}

void wakeup_close(struct wakeup *w)
{
    if (w->write_fd >= 0 && w->write_fd != w->read_fd)
        close(w->write_fd);
    if (w->read_fd >= 0)
        close(w->read_fd);
    *w = WAKEUP_NONE;
}

void wakeup_send(int write_fd)
{
    const uint64_t one = 1; /* as eventfd wants it */
    int err = errno;

    (void)!write(write_fd, &one,
                 sizeof(one)); /* fails only where it is full: then it wakes anyway */
    errno = err;
}

bool wakeup_clear(const struct wakeup *w)
{
    uint64_t sent[128];
    ssize_t n = 0;

    for (unsigned i = 0; i < WAKEUP_READS_MAX; i++) {
        n = read(w->read_fd, sent, sizeof(sent));
        if (n < (ssize_t)sizeof(sent))
            break;
    }
    return n >= 0 || errno == EAGAIN || errno == EINTR;
}
