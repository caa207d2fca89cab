/* SPDX-License-Identifier: MIT */
/*
 * cpus.c - see cpus.h.
 */
#include "config.h"

#include "cpus.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef HAVE_SCHED_GETAFFINITY

#define CPUS_MAX (1u << 16)

int *cpus_find(unsigned *count)
{
    int *cpus = NULL;

    *count = 0;
    for (unsigned max = 1024; max <= CPUS_MAX; max *= 2) {
        size_t size = CPU_ALLOC_SIZE(max);
        cpu_set_t *set = CPU_ALLOC(max);
        int rc = set ? sched_getaffinity(0, size, set) : -1;
        if (rc == 0) {
            cpus = calloc((size_t)CPU_COUNT_S(size, set), sizeof(*cpus));
            for (unsigned cpu = 0; cpus && cpu < max; cpu++)
                if (CPU_ISSET_S(cpu, size, set))
                    cpus[(*count)++] = (int)cpu;
        }
        bool again = set && rc < 0 && errno == EINVAL; /* the kernel's masks are longer */
        CPU_FREE(set);
        if (!again)
            break;
    }
    return cpus;
}

bool cpus_can_pin(void)
{
    return true;
}

int cpus_pin(int cpu)
{
    size_t size = CPU_ALLOC_SIZE(cpu + 1);
    cpu_set_t *set = CPU_ALLOC(cpu + 1);

    if (!set)
        return -ENOMEM;
    CPU_ZERO_S(size, set);
    CPU_SET_S(cpu, size, set);
    int rc = sched_setaffinity(0, size, set) < 0 ? -errno : 0;
    CPU_FREE(set);
    return rc;
}

#else

int *cpus_find(unsigned *count)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int *cpus = online > 0 ? calloc((size_t)online, sizeof(*cpus)) : NULL;

    *count = cpus ? (unsigned)online : 0;
    for (unsigned i = 0; i < *count; i++)
        cpus[i] = (int)i;
    return cpus;
}

bool cpus_can_pin(void)
{
    return false;
}

int cpus_pin(int cpu)
{
    (void)cpu;
    return -ENOSYS;
}

#endif
