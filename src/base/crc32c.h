/* SPDX-License-Identifier: MIT */
/*
 * crc32c.h - CRC-32C (Castagnoli; RFC 3720 appendix B.4): a checksum of what is too long to be kept,
 * by the processor's own instruction where it has one.
 */
#ifndef BIVALVE_CRC32C_H
#define BIVALVE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Go on with `len` bytes from `crc`, which is 0 at the beginning. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* The same by a table, which is what there is where the processor has none. */
uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t len);

#endif
