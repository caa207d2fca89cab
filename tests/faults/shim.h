/* SPDX-License-Identifier: MIT */
/*
 * shim.h - what shim.c (calls of the C library) and shim_uring.c (operations of an io_uring) share.
 */
#ifndef BIVALVE_TESTS_SHIM_H
#define BIVALVE_TESTS_SHIM_H

#include <dlfcn.h>
#include <errno.h>

enum { FAULT_SHORT = -1, FAULT_NONE = 0 }; /* besides positive errnos */

#define WAYS(...) ((const int[]){__VA_ARGS__, FAULT_NONE})

/*
 * The fault that this call meets: one of `ways`, which ends with FAULT_NONE, or FAULT_NONE. It has
 * been counted and logged.
 */
int fault_pick(const char *call, const int *ways);

/* The function that would have been called without the shim, as `real`. */
#define REAL(name)                 \
    static __typeof__(name) *real; \
    if (!real)                     \
    real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#endif
