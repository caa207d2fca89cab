/* SPDX-License-Identifier: MIT */
/*
 * wakeup.h - ends the wait of another thread or process, or of a signal's own: eventfd(2), where
 * there is one, otherwise a pipe.
 */
#ifndef BIVALVE_WAKEUP_H
#define BIVALVE_WAKEUP_H

struct wakeup {
    int read_fd;  /* readable once somebody has sent; non-blocking */
    int write_fd; /* the same number, where it is an eventfd */
};

#define WAKEUP_NONE                   \
    (struct wakeup)                   \
    {                                 \
        .read_fd = -1, .write_fd = -1 \
    }

/* 0 or -errno: no more descriptors. Both are closed on exec. */
int wakeup_open(struct wakeup *w);

/* WAKEUP_NONE, too. */
void wakeup_close(struct wakeup *w);

/* May be called by a signal handler; errno is as it was. Many before a wakeup_clear() are one. */
void wakeup_send(int write_fd);

/* Readable only when somebody sends again. False, and errno: it cannot be read. */
_Bool wakeup_clear(const struct wakeup *w);

#endif
