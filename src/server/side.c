/* SPDX-License-Identifier: MIT */
/*
 * side.c - see side.h.
 */
#include "config.h"

#include "side.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "sys.h"
#include "util.h"
#include "worker.h"

#define SIDE_BACKOFF_MS     100
#define SIDE_BACKOFF_MAX_MS 30000
#define SIDE_GROWN_UP_MS    10000 /* who has lived so long is restarted quickly again */

static void side_schedule(struct side *side)
{
    uint64_t now_ms = clock_monotonic_ms();

    if (!side->backoff_ms || now_ms - side->started_ms >= SIDE_GROWN_UP_MS)
        side->backoff_ms = SIDE_BACKOFF_MS;
    side->restart_ms = now_ms + side->backoff_ms;
    side->backoff_ms = MIN(2 * side->backoff_ms, SIDE_BACKOFF_MAX_MS);
}

int side_start(struct side *side, void (*leave)(void *arg), void *arg, const sigset_t *mask)
{
    pid_t parent = getpid();

    side->restart_ms = 0;
    side->started_ms = clock_monotonic_ms();
    side->pid = fork();
    if (side->pid < 0) {
        int err = errno;
        side->pid = 0;
        side_schedule(side);
        return -err;
    }
    if (side->pid > 0)
        return 0;
    leave(arg);
    sys_on_orphaned(WORKER_ORPHAN_SIGNAL);
    if (getppid() != parent)
        exit(1);
    sys_name_process(side->name);
    exit(side->run(side->arg, mask));
}

void side_died(struct side *side, int status)
{
    if (WIFSIGNALED(status))
        log_error("%s [%d] died: signal %d (%s)", side->name, (int)side->pid, WTERMSIG(status),
                  strsignal(WTERMSIG(status)));
    else
        log_error("%s [%d] ended: status %d", side->name, (int)side->pid, WEXITSTATUS(status));
    side->pid = 0;
    side_schedule(side);
}

void side_stop(struct side *side, unsigned patience_ms)
{
    const struct timespec step = {.tv_nsec = 2 * 1000 * 1000};
    uint64_t end_ms = clock_monotonic_ms() + patience_ms;
    bool killed = false;
    pid_t rc;

    side->restart_ms = 0;
    if (!side->pid)
        return;
    kill(side->pid, SIGTERM);
    while ((rc = waitpid(side->pid, NULL, WNOHANG)) == 0 || (rc < 0 && errno == EINTR)) {
        if (!killed && clock_monotonic_ms() >= end_ms) {
            killed = true;
            kill(side->pid, SIGKILL);
        }
        nanosleep(&step, NULL);
    }
    side->pid = 0;
}
