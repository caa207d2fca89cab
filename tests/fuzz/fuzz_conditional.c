/* SPDX-License-Identifier: MIT */
/*
 * fuzz_conditional.c - the fields that say what a client has and wants. A range lies inside the
 * representation; a date that is read is read again from what we would write of it; which codings
 * are taken does not depend on how lines are joined, and no coding is taken twice.
 */
#include "config.h"

#include "fuzz/fuzz.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "coding.h"
#include "conditional.h"
#include "http_date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void try_range(const char *text, size_t len, uint64_t size)
{
    uint64_t first = 0, count = 0;

    if (range_parse(text, len, size, &first, &count) == RANGE_PART)
        require(count > 0 && first < size && count <= size - first);
    else
        require(count == 0);
}

static void try_date(const char *text, size_t len)
{
    char again[CLOCK_DATE_LEN + 1];
    time_t t, same;

    if (!http_date_parse(text, len, 1700000000, &t) || t < 0)
        return;
    const int64_t seconds = t;
    clock_format_date(again, t);
    require(seconds >= INT64_C(253402300800) ||
            (http_date_parse(again, CLOCK_DATE_LEN, 1700000000, &same) && same == t));
}

static void try_coding(const char *text, size_t len)
{
    const char *comma = len ? memchr(text, ',', len) : NULL;
    struct coding_accept whole, parts;
    uint8_t a[CODINGS], b[CODINGS];

    coding_accept_init(&whole);
    coding_accept_add(&whole, text, len);
    coding_accept_init(&parts);
    if (comma) {
        coding_accept_add(&parts, text, (size_t)(comma - text));
        coding_accept_add(&parts, comma + 1, len - 1 - (size_t)(comma - text));
    } else {
        coding_accept_add(&parts, text, len);
    }
    unsigned n = coding_order(&whole, (1u << CODINGS) - 1, a), seen = 0;
    require(n == coding_order(&parts, (1u << CODINGS) - 1, b) && !memcmp(a, b, n));
    for (unsigned i = 0; i < n; i++) {
        require(a[i] < CODINGS && !(seen & CODING_BIT(a[i])));
        seen |= CODING_BIT(a[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* exactly so long: reading beyond it is seen */
    static const char *const tags[] = {"\"a\"", "\"\"", "\"1f-9c\""};

    if (!text)
        return 0;
    memcpy(text, data, size);
    text = realloc(text, size ? size : 1);
    try_range(text, size, 0);
    try_range(text, size, 1);
    try_range(text, size, 1000);
    try_range(text, size, UINT64_MAX / 2);
    try_date(text, size);
    try_coding(text, size);
    for (size_t i = 0; i < 3; i++) /* what is in it strongly is so weakly */
        require(!etag_in_list(text, size, tags[i], false) ||
                etag_in_list(text, size, tags[i], true));
    free(text);
    return 0;
}
