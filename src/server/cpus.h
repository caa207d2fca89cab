/* SPDX-License-Identifier: MIT */
/*
 * cpus.h - the CPUs there are for this process.
 */
#ifndef BIVALVE_CPUS_H
#define BIVALVE_CPUS_H

#include <stdbool.h>

/*
 * The CPUs that this process may run on, sched_getaffinity(2), in ascending order: *count of them, to
 * be freed. Without that call, all that are online. NULL and 0 when that cannot be found out.
 */
int *cpus_find(unsigned *count);

/* Is there a call for that? */
bool cpus_can_pin(void);

/* From now on this process runs on `cpu` alone, sched_setaffinity(2). 0 or -errno. */
int cpus_pin(int cpu);

#define CPUS_MILLI 1000

/*
 * The CPU time that this process's control groups allow, in thousandths of a CPU: the least of its own
 * quota and those of the groups around it, by cgroup v2's cpu.max or v1's cpu.cfs_quota_us
 * (https://docs.kernel.org/admin-guide/cgroup-v2.html). 0: no limit, or none that can be seen. `root`
 * stands before all paths, for tests; "" else.
 */
unsigned long cpus_quota(const char *root);

#endif
