/* SPDX-License-Identifier: MIT */
/*
 * registry.h - the backends that are compiled in, and the choice among them.
 */
#ifndef BIVALVE_REGISTRY_H
#define BIVALVE_REGISTRY_H

#include <stddef.h>

#include "backend.h"

/* Backends compiled in, best first, NULL-terminated. */
const struct backend_ops *const *registry_list(void);

/*
 * Are the operation tables of all backends complete? For the start of a program. 0, or -EINVAL with
 * one line in `error` (BACKEND_TEXT_MAX bytes). The second is for a list of the caller's own,
 * NULL-terminated.
 */
int registry_check(char *error);
int registry_check_ops(const struct backend_ops *const *list, char *error);

/* The backend called `name` (`name_len` bytes), or NULL. */
const struct backend_ops *registry_find(const char *name, size_t name_len);

/* A choice: --backend's value resolved. */
struct registry_choice {
    const struct backend_ops *ops;
    const char *variant;            /* points into the spec, or NULL */
    bool automatic;                 /* chosen by `auto`: may fall back */
    char why[2 * BACKEND_TEXT_MAX]; /* one line for the log: which and why */
};

/*
 * Resolve `auto`, `NAME` or `NAME:VARIANT`. Probes in this process; the supervisor calls it in a
 * throw-away child. 0, -EINVAL (unknown or not compiled in; `why` lists what is), -ENOTSUP (known,
 * but does not run here: `why` has the cause and the way out).
 */
int registry_choose(const char *spec, struct registry_choice *choice);

/* For `auto`, when a worker's backend fails to open: the best usable one after it, or NULL. */
const struct backend_ops *registry_fallback(const struct backend_ops *failed);

/* Print what `bivalve --probe` prints. Returns 0 when at least one backend runs, else 1. */
int registry_print_probe(void);

/* Print the backends compiled in with their libraries' versions, one a line. */
void registry_print_versions(void);

#endif
