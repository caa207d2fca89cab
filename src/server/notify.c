/* SPDX-License-Identifier: MIT */
/*
 * notify.c - sd_notify(3) by hand.
 */
#include "config.h"

#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

static struct sockaddr_un notify_addr = {.sun_family = AF_UNIX};
static socklen_t notify_addr_len;
static int notify_fd = -1; /* open from the start: later the system call filter allows no new
                              sockets. -1: nobody to tell */

void notify_init(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t len = path ? strlen(path) : 0;

    if ((len > 1 && len < sizeof(notify_addr.sun_path)) && (path[0] == '/' || path[0] == '@')) {
        memcpy(notify_addr.sun_path, path, len);
        if (path[0] == '@') /* the abstract name space */
            notify_addr.sun_path[0] = '\0';
        notify_addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
        notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    }
    unsetenv("NOTIFY_SOCKET");
}

void notify_send(const char *state)
{
    if (notify_fd < 0)
        return;
    if (sendto(notify_fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
               (struct sockaddr *)&notify_addr, notify_addr_len) < 0)
        log_debug("cannot notify the service manager: %s", strerror(errno));
}

void notify_close(void)
{
    if (notify_fd >= 0)
        close(notify_fd);
    notify_fd = -1;
}
