/* SPDX-License-Identifier: MIT */
/*
 * fuzz_scan.c - all implementations of http_scan.h that are compiled find the same ends of runs as
 * the table of classes, from any place of the input, wherever it lies; and the same halves equal.
 */
#include "config.h"

#include "fuzz/fuzz.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scan_check.h"

#define FROM_MAX 64 /* places that are tried: more would only be slow */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    /* The first byte says at which address; the end is the allocation's, for AddressSanitizer. */
    size_t shift = data[0] % 64, len = size - 1;
    char *text = malloc(shift + len + 1), *buf = text + shift;
    const char *who;

    memcpy(buf, data + 1, len);
    buf[len] = 'a';
    for (size_t cut = 0; cut <= 1;
         cut++) { /* at the end of the input, and before a byte that goes on */
        for (size_t from = 0; from <= len; from += 1 + len / FROM_MAX) {
            const char *what = scan_check(buf, buf + from, buf + len + 1 - cut, &who);
            if (what) {
                fprintf(stderr, "%s of %s\n", what, who);
                abort();
            }
        }
    }
    if (len / 2 >= HTTP_SCAN_SAME_MIN && !scan_check_same(buf, buf + len / 2, len / 2))
        abort();
    free(text);
    return 0;
}
