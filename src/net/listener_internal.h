/* SPDX-License-Identifier: MIT */
/*
 * listener_internal.h - what listener.c and listener_unix.c share. Errors are as in listener.h: -errno,
 * and a line in `error`.
 */
#ifndef BIVALVE_LISTENER_INTERNAL_H
#define BIVALVE_LISTENER_INTERNAL_H

struct listener;
struct listener_addr;

#define LISTENER_BACKLOG 4096 /* the kernel lowers it to net.core.somaxconn */

/* ---- listener.c ---- */

/* What went wrong with `call` on the address, and what to do about it. Returns -err. */
int listener_error(char *error, const struct listener_addr *addr, const char *call, int err);

/* ---- listener_unix.c ---- */

/* Is there a directory for the path? */
int listener_check_unix(const struct listener_addr *addr, char *error);

/* Open the one socket of an address of that kind. */
int listener_open_unix(struct listener *l, char *error);

/* The file at its path is ours: listener_unlink(). */
void listener_note_path(struct listener *l);

#endif
