/* SPDX-License-Identifier: MIT */
/*
 * notify.c - sd_notify(3) by hand.
 */
#include "config.h"

#include "notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "sys.h"
#include "util.h"

static struct sockaddr_un notify_addr = {.sun_family = AF_UNIX};
static socklen_t notify_addr_len;
static uint64_t notify_watchdog_us;
static int notify_fd = -1; /* open from the start: later the system call filter allows no new
                              sockets. -1: nobody to tell */

static void notify_init_watchdog(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

    if (us && (!pid || strtol(pid, NULL, 10) == (long)getpid()))
        notify_watchdog_us = strtoull(us, NULL, 10);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_init(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t len = path ? strlen(path) : 0;

    if ((len > 1 && len < sizeof(notify_addr.sun_path)) && (path[0] == '/' || path[0] == '@')) {
        memcpy(notify_addr.sun_path, path, len);
        if (path[0] == '@') /* the abstract name space */
            notify_addr.sun_path[0] = '\0';
        notify_addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
        notify_fd = sys_socket(AF_UNIX, SOCK_DGRAM, false);
    }
    unsetenv("NOTIFY_SOCKET");
    notify_init_watchdog();
}

uint32_t notify_watchdog_ms(void)
{
    return notify_fd >= 0 ? (uint32_t)MIN(notify_watchdog_us / 1000, UINT32_MAX) : 0;
}

void notify_export(void)
{
    char path[sizeof(notify_addr.sun_path) + 1], text[24];
    size_t len = notify_addr_len - MIN(notify_addr_len, offsetof(struct sockaddr_un, sun_path));

    if (notify_fd < 0)
        return;
    memcpy(path, notify_addr.sun_path, len);
    path[len] = '\0';
    if (!path[0])
        path[0] = '@';
    setenv("NOTIFY_SOCKET", path, 1);
    if (!notify_watchdog_us)
        return;
    snprintf(text, sizeof(text), "%" PRIu64, notify_watchdog_us);
    setenv("WATCHDOG_USEC", text, 1);
    snprintf(text, sizeof(text), "%d", (int)getpid());
    setenv("WATCHDOG_PID", text, 1);
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
