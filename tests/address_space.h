/* SPDX-License-Identifier: MIT */
/*
 * address_space.h - a child that has little memory: what tests of its end begin with.
 */
#ifndef BIVALVE_ADDRESS_SPACE_H
#define BIVALVE_ADDRESS_SPACE_H

#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define ADDRESS_SPACE_UNLIMITED \
    77 /* exit status: there is no such limit here; the test is skipped */

/* Bytes that this process has mapped, resident or not. */
static inline size_t address_space(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (!f || fscanf(f, "%lu", &pages) != 1)
        _exit(9);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/*
 * From now on there is room for `more` bytes. Where that is accepted and not heeded, as by qemu-user,
 * the process ends.
 */
static inline void address_space_limit(size_t more)
{
    const rlim_t top = address_space() + more;
    const struct rlimit limit = {.rlim_cur = top, .rlim_max = top};

    if (setrlimit(RLIMIT_AS, &limit) < 0)
        _exit(10);
    if (mmap(NULL, more + (1 << 20), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        _exit(ADDRESS_SPACE_UNLIMITED);
}

#endif
