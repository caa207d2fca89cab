/* SPDX-License-Identifier: MIT */
/*
 * sandbox.h - the seccomp filter of a worker that is up: it may go on doing what it does, and
 * nothing else.
 */
#ifndef BIVALVE_SANDBOX_H
#define BIVALVE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#define SANDBOX_ERROR_MAX 256

/* Was it compiled in (libseccomp)? */
bool sandbox_available(void);

/* "libseccomp 2.5.4", or that there is none, into out. */
void sandbox_version(char *out, size_t out_size);

/*
 * From now on this process can make only the system calls that a worker makes, with those that its
 * backend needs besides (`syscalls`, terminated by -1: backend_ops.syscalls); with `reads_files` it
 * may also open files, to read them; for good. Others fail with EPERM, those that only an intruder
 * would try kill the process. Needs no_new_privs (set here as well). 0, or -errno with one line in
 * `error` (SANDBOX_ERROR_MAX bytes).
 */
int sandbox_enter(const int *syscalls, bool reads_files, char *error);

#endif
