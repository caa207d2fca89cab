/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - what libFuzzer, or replay.c in its place, calls.
 */
#ifndef BIVALVE_TESTS_FUZZ_H
#define BIVALVE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#endif
