/* SPDX-License-Identifier: MIT */
/*
 * supervisor_upgrade.h - SIGUSR2: another server, of a new binary as a rule, takes over the sockets of
 * this one. Until it has said that it serves nothing changes here.
 */
#ifndef BIVALVE_SUPERVISOR_UPGRADE_H
#define BIVALVE_SUPERVISOR_UPGRADE_H

#include "supervisor_state.h"

/* Start it, if that is wanted and nothing else is under way. */
void supervisor_try_upgrade(struct supervisor *s);

/* Something has come of it by word_fd, or word_fd has come to its end: true when it serves. */
bool supervisor_on_word(struct supervisor *s);

/* It has had its time: kill it. */
void supervisor_upgrade_late(struct supervisor *s);

#endif
