/* SPDX-License-Identifier: MIT */
/*
 * upgrade.c - see upgrade.h.
 */
#include "config.h"

#include "upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inherit.h"
#include "log.h"
#include "notify.h"
#include "signals.h"
#include "sys.h"

#define UPGRADE_FIRST 3 /* SD_LISTEN_FDS_START */

void upgrade_find(const char *argv0, char *out)
{
    size_t len = strlen(argv0);

    if (strchr(argv0, '/') && len < PATH_MAX) {
        memcpy(out, argv0, len + 1);
        return;
    }
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    out[n < 0 ? 0 : n] = '\0';
}

static unsigned upgrade_count(const struct upgrade *u)
{
    unsigned count = 0;

    for (unsigned i = 0; i < u->count; i++)
        for (unsigned k = 0; k < u->listeners[i]->count; k++)
            count += listener_fd(u->listeners[i], k) >= 0;
    return count;
}

/* `fd` at its place `want`, which nobody else has, open over execve(2). */
static bool upgrade_place(int fd, int want)
{
    return dup2(fd, want) == want; /* the copy is not close-on-exec */
}

/*
 * The sockets as descriptors from 3 on, behind them `word_fd`, and the environment that says so. First
 * all of them out of the way of each other. False: errno.
 */
static bool upgrade_hand_down(const struct upgrade *u, unsigned count, int word_fd)
{
    char *names = calloc(count + 1, LISTENER_NAME_MAX + 1), name[LISTENER_NAME_MAX], number[16];
    int *fds = calloc(count + 1, sizeof(*fds));
    unsigned n = 0;
    size_t len = 0;
    bool ok = names && fds;

    for (unsigned i = 0; ok && i < u->count; i++)
        for (unsigned k = 0; ok && k < u->listeners[i]->count; k++) {
            int fd = listener_fd(u->listeners[i], k);
            if (fd < 0)
                continue;
            fds[n] = fcntl(fd, F_DUPFD_CLOEXEC, UPGRADE_FIRST + (int)count + 1);
            ok = fds[n] >= 0;
            len += (size_t)sprintf(names + len, "%s%s", n++ ? ":" : "",
                                   inherit_name(u->listeners[i], name));
        }
    int word = ok ? fcntl(word_fd, F_DUPFD_CLOEXEC, UPGRADE_FIRST + (int)count + 1) : -1;
    ok = ok && word >= 0;
    for (unsigned i = 0; ok && i < n; i++)
        ok = upgrade_place(fds[i], UPGRADE_FIRST + (int)i);
    ok = ok && upgrade_place(word, UPGRADE_FIRST + (int)n);
    if (ok) {
        setenv("LISTEN_FDNAMES", names, 1);
        snprintf(number, sizeof(number), "%u", n);
        setenv("LISTEN_FDS", number, 1);
        snprintf(number, sizeof(number), "%d", (int)getpid());
        setenv("LISTEN_PID", number, 1);
        snprintf(number, sizeof(number), "%u", UPGRADE_FIRST + n);
        setenv(INHERIT_UPGRADE, number, 1);
        notify_export();
    }
    free(names);
    free(fds);
    return ok;
}

/* In the new process; does not return. */
static void upgrade_exec(const struct upgrade *u, unsigned count, int word_fd)
{
    if (!upgrade_hand_down(u, count, word_fd)) {
        log_error("the sockets cannot be handed down: %s", strerror(errno));
        _exit(1);
    }
    signals_release();
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, u->mask, NULL);
    execv(u->path, u->argv);
    log_error("%s cannot be executed: %s", u->path, strerror(errno));
    _exit(1);
}

/*
 * Start it as an orphan: its parent, which does nothing else, tells by `told_fd` what it is called, or
 * -errno. Were it a child of this process, the service manager would hear of a main process that is not
 * its own child yet, and never wait for its end: systemd kills at once what such a one leaves behind.
 */
static void upgrade_bear(const struct upgrade *u, unsigned count, int word_fd, int told_fd)
{
    pid_t pid = fork();

    if (pid == 0)
        upgrade_exec(u, count, word_fd);
    if (pid < 0)
        pid = -errno;
    _exit(write(told_fd, &pid, sizeof(pid)) != sizeof(pid));
}

/* Its number, or -errno. */
static pid_t upgrade_orphan(const struct upgrade *u, unsigned count, int word_fd)
{
    int told[2];
    pid_t pid;
    ssize_t n;

    if (sys_pipe(told) < 0)
        return -errno;
    pid_t parent = fork();
    if (parent == 0)
        upgrade_bear(u, count, word_fd, told[1]);
    int err = errno;
    close(told[1]);
    if (parent < 0) {
        close(told[0]);
        return -err;
    }
    do
        n = read(told[0], &pid, sizeof(pid));
    while (n < 0 && errno == EINTR);
    close(told[0]);
    while (waitpid(parent, NULL, 0) < 0 && errno == EINTR)
        ;
    return n == sizeof(pid) ? pid : -ECHILD;
}

pid_t upgrade_start(const struct upgrade *u, int *word_fd)
{
    unsigned count = upgrade_count(u);
    int fds[2];

    if (!u->path[0])
        return -ENOENT;
    if (count > INHERIT_MAX)
        return -E2BIG;
    if (sys_pipe(fds) < 0)
        return -errno;
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    pid_t pid = upgrade_orphan(u, count, fds[1]);
    close(fds[1]);
    if (pid < 0)
        close(fds[0]);
    else
        *word_fd = fds[0];
    return pid;
}
