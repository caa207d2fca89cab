/* SPDX-License-Identifier: MIT */
/*
 * usage.h - what a process of ours uses, as the kernel counts it.
 */
#ifndef BIVALVE_USAGE_H
#define BIVALVE_USAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct usage {
    double cpu_s;            /* user and system time */
    uint64_t resident_bytes; /* shared pages included */
};

/* From proc_pid_stat(5). False: the process is gone, or /proc is not to be read. */
bool usage_read(pid_t pid, struct usage *u);

#endif
