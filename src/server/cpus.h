/* SPDX-License-Identifier: MIT */
/*
 * cpus.h - the CPUs there are for this process.
 */
#ifndef BIVALVE_CPUS_H
#define BIVALVE_CPUS_H

/*
 * The CPUs that this process may run on, sched_getaffinity(2), in ascending order: *count of them, to
 * be freed. NULL and 0 when that cannot be found out.
 */
int *cpus_find(unsigned *count);

#endif
