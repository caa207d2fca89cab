/* SPDX-License-Identifier: MIT */
/*
 * tls_memory.h - OpenSSL's memory, in tests: counted, and failing on demand.
 */
#ifndef BIVALVE_TESTS_TLS_MEMORY_H
#define BIVALVE_TESTS_TLS_MEMORY_H

#include <stddef.h>

extern long memory_fail_at; /* the allocation that fails, and all after it; 0: none does */
extern long memory_calls;   /* that there have been; set to 0 by the test */
extern size_t memory_held;  /* bytes, with what malloc(3) needs for itself */

/* Before OpenSSL has allocated anything. */
void memory_init(void);

#endif
