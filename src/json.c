/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "json.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "integer.h"
#include "util.h"

static const char json_open[] = "{\"items\":[";

/* ],"count":N} around the digits */
#define JSON_CLOSE_FIXED (sizeof("],\"count\":}") - 1)

#define PUT(p, text)                                                                               \
    do {                                                                                           \
        memcpy(p, text, sizeof(text) - 1);                                                         \
        p += sizeof(text) - 1;                                                                     \
    } while (0)

static inline char *put_text(char *p, const struct dataset_text *t)
{
    memcpy(p, t->text, t->len);
    return p + t->len;
}

size_t json_write_record(char *out, const struct dataset_record *r, int64_t m)
{
    char *p = out;

    PUT(p, "{\"id\":");
    p += integer_format(p, r->id);
    PUT(p, ",\"name\":");
    p = put_text(p, &r->name);
    PUT(p, ",\"category\":");
    p = put_text(p, &r->category);
    PUT(p, ",\"price\":");
    p += integer_format(p, r->price);
    PUT(p, ",\"quantity\":");
    p += integer_format(p, r->quantity);
    if (r->active)
        PUT(p, ",\"active\":true,\"tags\":[");
    else
        PUT(p, ",\"active\":false,\"tags\":[");
    for (uint32_t i = 0; i < r->tag_count; i++) {
        if (i)
            *p++ = ',';
        p = put_text(p, &r->tags[i]);
    }
    PUT(p, "],\"rating\":{\"score\":");
    p += integer_format(p, r->rating_score);
    PUT(p, ",\"count\":");
    p += integer_format(p, r->rating_count);
    PUT(p, "},\"total\":");
    p += integer_format(p, r->value * m); /* json_body_length() has checked that it fits */
    *p++ = '}';
    return (size_t)(p - out);
}

int64_t json_body_length(const struct dataset *d, uint32_t count, int64_t m, uint32_t *bad)
{
    uint64_t len = sizeof(json_open) - 1 + JSON_CLOSE_FIXED + integer_text_len(count) + d->text_len[count];

    for (uint32_t i = 0; i < count; i++) {
        int64_t total;
        if (unlikely(__builtin_mul_overflow(d->records[i].value, m, &total))) {
            *bad = i;
            return -ERANGE;
        }
        len += integer_text_len(total);
    }
    return (int64_t)len;
}

int json_write_open(struct out *o, struct bufpool *p)
{
    return out_append(o, p, json_open, sizeof(json_open) - 1);
}

int json_write_close(struct out *o, struct bufpool *p, uint32_t count)
{
    char text[JSON_CLOSE_FIXED + INTEGER_TEXT_MAX], *end = text;

    PUT(end, "],\"count\":");
    end += integer_format(end, count);
    *end++ = '}';
    return out_append(o, p, text, (size_t)(end - text));
}

int json_write_records(struct out *o, struct bufpool *p, const struct dataset *d, uint32_t *next, uint32_t count,
                       int64_t m, size_t high_water)
{
    size_t written = 0;

    while (*next < count && written < high_water) {
        char *start = out_reserve(o, p, d->record_max + 1), *end = start;
        if (unlikely(!start))
            return -ENOMEM;
        if (*next > 0)
            *end++ = ',';
        end += json_write_record(end, &d->records[*next], m);
        out_commit(o, (size_t)(end - start));
        written += (size_t)(end - start);
        ++*next;
    }
    return 0;
}
