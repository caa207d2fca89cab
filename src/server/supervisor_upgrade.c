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
#include "supervisor_restart.h"

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
    char word;
    ssize_t n = read(u->word_fd, &word, 1);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    supervisor_close_word(s);
    if (n != 1) /* it ends without: SIGCHLD says so */
        return false;
    s->cfg->upgraded(s->cfg->arg, u->pid);
    u->pid = 0;
    u->deadline_ms = 0;
    return true;
}

void supervisor_upgrade_died(struct supervisor *s, int status)
{
    char how[128], why[sizeof(how) + 64];

    supervisor_ending(how, sizeof(how), status);
    snprintf(why, sizeof(why), "the new server [%d] %s before it served", (int)s->upgrade.pid, how);
    supervisor_close_word(s);
    s->upgrade.pid = 0;
    s->upgrade.deadline_ms = 0;
    supervisor_upgrade_failed(s, why);
}

void supervisor_upgrade_late(struct supervisor *s)
{
    s->upgrade.deadline_ms = 0;
    log_error("the new server [%d] does not serve within %d s: killed", (int)s->upgrade.pid,
              SUPERVISOR_UPGRADE_MS / 1000);
    kill(s->upgrade.pid, SIGKILL); /* SIGCHLD says the rest */
}
