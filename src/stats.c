/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static const struct {
    const char *name;
    size_t offset;
} stats_fields[] = {
#define STATS_ENTRY_(name) {#name, offsetof(struct stats, name)},
    STATS_COUNTERS(STATS_ENTRY_) STATS_GAUGES(STATS_ENTRY_)
#undef STATS_ENTRY_
};

static uint64_t *stats_field(const struct stats *s, size_t i)
{
    return (uint64_t *)((char *)s + stats_fields[i].offset);
}

struct stats *stats_map(unsigned n)
{
    void *p = mmap(NULL, n * sizeof(struct stats), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void stats_unmap(struct stats *s, unsigned n)
{
    munmap(s, n * sizeof(struct stats));
}

void stats_add(struct stats *sum, const struct stats *s)
{
    for (size_t i = 0; i < ARRAY_LEN(stats_fields); i++)
        *stats_field(sum, i) += *stats_field(s, i);
}

size_t stats_format(char *out, size_t out_size, const struct stats *s, int zeros)
{
    size_t len = 0;

    if (out_size)
        out[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(stats_fields); i++) {
        uint64_t v = *stats_field(s, i);
        if (!v && !zeros)
            continue;
        int n = snprintf(len < out_size ? out + len : NULL, len < out_size ? out_size - len : 0, "%s%s=%" PRIu64,
                         len ? " " : "", stats_fields[i].name, v);
        len += (size_t)n;
    }
    return len;
}

uint64_t stats_get(const struct stats *s, const char *name, int *found)
{
    for (size_t i = 0; i < ARRAY_LEN(stats_fields); i++)
        if (!strcmp(stats_fields[i].name, name)) {
            *found = 1;
            return *stats_field(s, i);
        }
    *found = 0;
    return 0;
}
