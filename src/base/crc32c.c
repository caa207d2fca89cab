/* SPDX-License-Identifier: MIT */
/*
 * crc32c.c - see crc32c.h.
 */
#include "config.h"

#include "crc32c.h"

#include <stdbool.h>
#include <string.h>

#include "util.h"

#define CRC32C_POLYNOMIAL 0x82f63b78u /* its bits reversed, as the CRC's are */

uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t len)
{
    static uint32_t table[256];
    const unsigned char *p = data;

    for (uint32_t i = 0; unlikely(!table[255]) && i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (c & 1 ? CRC32C_POLYNOMIAL : 0);
        table[i] = c;
    }
    crc = ~crc;
    while (len--)
        crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
    return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc32c_by_sse(uint32_t crc, const void *data,
                                                                size_t len)
{
    const unsigned char *p = data;
    uint64_t c = ~crc, word;

    for (; len >= sizeof(word); len -= sizeof(word), p += sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        c = __builtin_ia32_crc32di(c, word);
    }
    while (len--)
        c = __builtin_ia32_crc32qi((uint32_t)c, *p++);
    return ~(uint32_t)c;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    return __builtin_cpu_supports("sse4.2") ? crc32c_by_sse(crc, data, len)
                                            : crc32c_by_table(crc, data, len);
}
#else
uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    return crc32c_by_table(crc, data, len);
}
#endif
