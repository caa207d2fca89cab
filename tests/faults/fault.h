/* SPDX-License-Identifier: MIT */
/*
 * fault.h - which call fails, and how: what the libraries of tests/faults share. Each that includes
 * it counts for itself.
 *
 *   BIVALVE_FAULT_AT=N      exactly the N-th call that can fail does (from 1), counted over the
 *                           whole process
 *   BIVALVE_FAULT_RATE=R    of a thousand calls R fail, drawn from BIVALVE_FAULT_SEED
 *   BIVALVE_FAULT_KIND=K    which of the call's ways to fail (0, 1, ...; taken modulo their
 *                           number); RATE draws it
 *   BIVALVE_FAULT_CALLS=a,b only these calls; default all
 *   BIVALVE_FAULT_FIRST=1   only in the process that was started, not in those forked from it
 *   BIVALVE_FAULT_LOG=FILE  a line for each fault is appended there: pid, count, call, what
 *
 * Counting starts anew in a forked child.
 */
#ifndef BIVALVE_FAULT_H
#define BIVALVE_FAULT_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Besides positive errnos. Once: an operation that would go on ends after its first success. */
enum { FAULT_SHORT = -1, FAULT_ONCE = -2, FAULT_NONE = 0 };

static struct {
    bool ready, first_only;
    long at, rate, kind;
    uint64_t seed;
    const char *calls;
    int log_fd;
    pid_t first, pid;
    unsigned long count;
} fault;

static long fault_env(const char *name)
{
    const char *s = getenv(name);
    return s ? strtol(s, NULL, 10) : 0;
}

static void fault_write(const char *line, size_t len)
{
    if (fault.log_fd >= 0 && write(fault.log_fd, line, len) < 0)
        return;
}

static void fault_say(const char *call, int what)
{
    char line[128];
    int n = snprintf(line, sizeof(line), "%d %lu %s %s\n", (int)getpid(), fault.count, call,
                     what == FAULT_SHORT  ? "short"
                     : what == FAULT_ONCE ? "once"
                                          : strerrorname_np(what));

    fault_write(line, (size_t)n);
}

static void fault_init(void)
{
    if (fault.ready && fault.pid == getpid())
        return;
    if (!environ)
        return; /* a sanitizer's start, before there is an environment to ask */
    if (!fault.ready) {
        fault.at = fault_env("BIVALVE_FAULT_AT");
        fault.rate = fault_env("BIVALVE_FAULT_RATE");
        fault.kind = fault_env("BIVALVE_FAULT_KIND");
        fault.first_only = fault_env("BIVALVE_FAULT_FIRST") != 0;
        fault.calls = getenv("BIVALVE_FAULT_CALLS");
        const char *log = getenv("BIVALVE_FAULT_LOG");
        fault.log_fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
        fault.ready = true;
    }
    fault.pid = getpid();
    fault.count = 0;
    fault.seed =
        (uint64_t)fault_env("BIVALVE_FAULT_SEED") * 2654435761u; /* a seed can be run again */
}

/* Not at the first call, which may be a child's. */
__attribute__((constructor)) static void fault_loaded(void)
{
    fault.first = getpid();
}

static uint32_t fault_roll(void)
{
    fault.seed = fault.seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(fault.seed >> 33);
}

static bool fault_concerns(const char *call)
{
    size_t n = strlen(call);

    if (!fault.calls || !*fault.calls)
        return true;
    for (const char *p = strstr(fault.calls, call); p; p = strstr(p + 1, call))
        if ((p == fault.calls || p[-1] == ',') && (p[n] == ',' || !p[n]))
            return true;
    return false;
}

/* The fault this call meets: one of `ways`, which ends with FAULT_NONE, or FAULT_NONE. */
static int fault_pick(const char *call, const int *ways)
{
    int n = 0;

    fault_init();
    if (!fault_concerns(call) || (fault.first_only && fault.pid != fault.first))
        return FAULT_NONE;
    fault.count++;
    while (ways[n] != FAULT_NONE)
        n++;
    int way;
    if (fault.at)
        way = fault.count == (unsigned long)fault.at ? (int)(fault.kind % n) : -1;
    else
        way = fault.rate && fault_roll() % 1000 < (uint32_t)fault.rate
                  ? (int)(fault_roll() % (uint32_t)n)
                  : -1;
    if (way < 0)
        return FAULT_NONE;
    fault_say(call, ways[way]);
    return ways[way];
}

#define WAYS(...) ((const int[]){__VA_ARGS__, FAULT_NONE})
#define REAL(name)                 \
    static __typeof__(name) *real; \
    if (!real)                     \
    real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#endif
