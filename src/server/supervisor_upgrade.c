/* SPDX-License-Identifier: MIT */
/*
 * supervisor_upgrade.c - see supervisor_upgrade.h.
 */
#include "config.h"

#include "supervisor_upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

/* It loads its data, and its workers have SUPERVISOR_START_MS, for each backend that they try. */
#define SUPERVISOR_UPGRADE_MS (4 * SUPERVISOR_START_MS)

static void supervisor_close_word(struct supervisor *s)
{
    if (s->upgrade.word_fd >= 0)
        close(s->upgrade.word_fd);
    s->upgrade.word_fd = -1;
}

static void supervisor_upgrade_failed(struct supervisor *s, const char *why)
{
    s->cfg->board->upgrade_failures++;
    log_error("upgrade failed: %s; everything stays as it was", why);
}

void supervisor_try_upgrade(struct supervisor *s)
{
    struct supervisor_upgrade *u = &s->upgrade;

    if (!u->wanted || u->pid || s->next || s->drain_ms || s->state != SUPERVISOR_SERVING)
        return;
    u->wanted = false;
    if (getpid() == 1) {
        supervisor_upgrade_failed(s, "this is process 1, with whose end its container ends: start "
                                     "another container");
        return;
    }
    pid_t pid = s->cfg->upgrade(s->cfg->arg, s->mask, &u->word_fd);
    if (pid < 0) {
        u->word_fd = -1;
        supervisor_upgrade_failed(s, strerror(-pid));
        return;
    }
    u->pid = pid;
    u->deadline_ms = clock_monotonic_ms() + SUPERVISOR_UPGRADE_MS;
    log_notice("SIGUSR2: another server [%d] is to take over", (int)pid);
}

bool supervisor_on_word(struct supervisor *s)
{
    struct supervisor_upgrade *u = &s->upgrade;
    char word, why[80];
    ssize_t n = read(u->word_fd, &word, 1);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    supervisor_close_word(s);
    if (n == 1) {
        s->cfg->upgraded(s->cfg->arg, u->pid);
    } else {
        snprintf(why, sizeof(why), "the new server [%d] has ended before it served", (int)u->pid);
        supervisor_upgrade_failed(s, why);
    }
    u->pid = 0;
    u->deadline_ms = 0;
    return n == 1;
}

void supervisor_upgrade_late(struct supervisor *s)
{
    s->upgrade.deadline_ms = 0;
    log_error("the new server [%d] does not serve within %d s: killed", (int)s->upgrade.pid,
              SUPERVISOR_UPGRADE_MS / 1000);
    kill(s->upgrade.pid, SIGKILL); /* the end of its word_fd says the rest */
}
