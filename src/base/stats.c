/* SPDX-License-Identifier: MIT */
/*
 * stats.c - see stats.h: everything follows from the two lists there.
 */
#include "config.h"

#include "stats.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static const struct {
    const char *name;
    size_t offset;
    bool gauge;
} stats_fields[] = {
#define STATS_COUNTER_(field) {#field, offsetof(struct stats, field), false},
#define STATS_GAUGE_(field)   {#field, offsetof(struct stats, field), true},
    STATS_COUNTERS(STATS_COUNTER_) STATS_GAUGES(STATS_GAUGE_)
#undef STATS_COUNTER_
#undef STATS_GAUGE_
};

/* "name=" (the NUL counts for '='), 20 digits, a space; and a NUL at the end. */
#define STATS_ROOM_(field) +sizeof(#field) + 20 + 1
static_assert(STATS_COUNTERS(STATS_ROOM_) STATS_GAUGES(STATS_ROOM_) +
                      STATS_BACKEND_MAX * (STATS_NAME_MAX + 1 + 20 + 1) + 1 <=
                  STATS_TEXT_MAX,
              "STATS_TEXT_MAX bytes hold every field");
#undef STATS_ROOM_

static uint64_t stats_value(const struct stats *s, size_t i)
{
    uint64_t v;

    memcpy(&v, (const char *)s + stats_fields[i].offset, sizeof(v));
    return v;
}

struct stats *stats_map(unsigned n)
{
    void *p = mmap(NULL, n * sizeof(struct stats), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

void stats_unmap(struct stats *s, unsigned n)
{
    if (s)
        munmap(s, n * sizeof(struct stats));
}

static void stats_add_histogram(struct stats_histogram *sum, const struct stats_histogram *h)
{
    for (size_t i = 0; i < STATS_BUCKETS; i++)
        sum->bucket[i] += h->bucket[i];
    sum->sum += h->sum;
}

void stats_add(struct stats *sum, const struct stats *s)
{
#define STATS_ADD_(name) sum->name += s->name;
    STATS_COUNTERS(STATS_ADD_)
    STATS_GAUGES(STATS_ADD_)
#undef STATS_ADD_
    for (size_t i = 0; i < STATS_BACKEND_MAX; i++)
        sum->backend[i] += s->backend[i];
    stats_add_histogram(&sum->duration_ns, &s->duration_ns);
    stats_add_histogram(&sum->response_bytes, &s->response_bytes);
}

/* Append "name=value" at *len, which goes on counting beyond the end. */
static void stats_print(char *out, size_t out_size, size_t *len, const char *name, uint64_t v)
{
    size_t at = MIN(*len, out_size);

    *len += (size_t)snprintf(out + at, out_size - at, "%s%s=%llu", *len ? " " : "", name,
                             (unsigned long long)v);
}

size_t stats_format(char *out, size_t out_size, const struct stats *s, const char *const *names,
                    int zeros)
{
    size_t len = 0;

    if (out_size > 0)
        out[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(stats_fields); i++)
        if (stats_value(s, i) || zeros)
            stats_print(out, out_size, &len, stats_fields[i].name, stats_value(s, i));
    for (size_t i = 0; names && names[i]; i++)
        if (s->backend[i] || zeros)
            stats_print(out, out_size, &len, names[i], s->backend[i]);
    return len;
}

struct stats_field stats_field(const struct stats *s, size_t i)
{
    if (i >= ARRAY_LEN(stats_fields))
        return (struct stats_field){.name = NULL};
    return (struct stats_field){
        .name = stats_fields[i].name, .value = stats_value(s, i), .gauge = stats_fields[i].gauge};
}

uint64_t stats_get(const struct stats *s, const char *name, int *found)
{
    for (size_t i = 0; i < ARRAY_LEN(stats_fields); i++) {
        if (strcmp(name, stats_fields[i].name) == 0) {
            *found = 1;
            return stats_value(s, i);
        }
    }
    *found = 0;
    return 0;
}
