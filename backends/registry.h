/* SPDX-License-Identifier: MIT */
/*
 * registry.h - the engines that are compiled in, and the choice among them.
 */
#ifndef BIVALVE_REGISTRY_H
#define BIVALVE_REGISTRY_H

#include <stddef.h>

#include "backend.h"

/* Engines compiled in, best first, NULL-terminated. */
const struct backend_ops *const *registry_list(void);

/* The engine called `name` (`name_len` bytes), or NULL. */
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

/* For `auto`, when a worker's engine fails to open: the best usable one after it, or NULL. */
const struct backend_ops *registry_fallback(const struct backend_ops *failed);

/* Print what `bivalve --probe` prints. Returns 0 when at least one engine runs, else 1. */
int registry_print_probe(void);

/* Print the engines compiled in with their libraries' versions, one a line. */
void registry_print_versions(void);

#endif
