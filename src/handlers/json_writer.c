/* SPDX-License-Identifier: MIT */
/*
 * json_writer.c - the writer of /json bodies.
 *
 * Made to cost little: names of members and texts are copied by moves of 16 bytes, of which what
 * comes next overwrites what is too much, and room is asked for once for as many records as fit.
 */
#include "config.h"

#include "json_writer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "integer.h"
#include "util.h"

#define JSON_OPEN  "{\"items\":["
#define JSON_CLOSE "],\"count\":"

/* The members in the order of the dataset, the total last. */
#define JSON_ID           "{\"id\":"
#define JSON_NAME         ",\"name\":"
#define JSON_CATEGORY     ",\"category\":"
#define JSON_PRICE        ",\"price\":"
#define JSON_QUANTITY     ",\"quantity\":"
#define JSON_ACTIVE       ",\"active\":"
#define JSON_TAGS         ",\"tags\":["
#define JSON_RATING       "],\"rating\":{\"score\":"
#define JSON_RATING_COUNT ",\"count\":"
#define JSON_TOTAL        "},\"total\":"

#define JSON_LEN(literal) (sizeof(literal) - 1)

#define JSON_MOVE     16
#define JSON_MOVE_PAD "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" /* and the NUL: 16 */

/* Append a string literal at p, in whole moves: the bytes behind it are for what comes next. */
#define JSON_PUT(p, literal)                                                 \
    do {                                                                     \
        memcpy((p), literal JSON_MOVE_PAD,                                   \
               (JSON_LEN(literal) + JSON_MOVE - 1) / JSON_MOVE * JSON_MOVE); \
        (p) += JSON_LEN(literal);                                            \
    } while (0)

/* The same for a text, which has DATASET_TEXT_PAD readable bytes behind it. */
static inline char *json_put_text(char *p, const struct dataset_text *t)
{
    const char *text = t->text;
    size_t len = t->len;

    static_assert(DATASET_TEXT_PAD == JSON_MOVE, "the last move reads beyond the text");
    memcpy(p, text, JSON_MOVE);
    for (size_t i = JSON_MOVE; unlikely(i < len); i += JSON_MOVE)
        memcpy(p + i, text + i, JSON_MOVE);
    return p + len;
}

/* A word is copied whole; the next member overwrites what is too much. */
static inline char *json_put_bool(char *p, bool value)
{
    static const char words[2][8] = {"false", "true"};

    memcpy(p, words[value], sizeof(words[0]));
    return p + 5 - value;
}

static inline char *json_put_record(char *p, const struct dataset_record *r, int64_t m)
{
    JSON_PUT(p, JSON_ID);
    p = integer_put(p, r->id);
    JSON_PUT(p, JSON_NAME);
    p = json_put_text(p, &r->name);
    JSON_PUT(p, JSON_CATEGORY);
    p = json_put_text(p, &r->category);
    JSON_PUT(p, JSON_PRICE);
    p = integer_put(p, r->price);
    JSON_PUT(p, JSON_QUANTITY);
    p = integer_put(p, r->quantity);
    JSON_PUT(p, JSON_ACTIVE);
    p = json_put_bool(p, r->active);
    JSON_PUT(p, JSON_TAGS);
    p = json_put_text(p, &r->tags);
    JSON_PUT(p, JSON_RATING);
    p = integer_put(p, r->rating_score);
    JSON_PUT(p, JSON_RATING_COUNT);
    p = integer_put(p, r->rating_count);
    JSON_PUT(p, JSON_TOTAL);
    p = integer_put(p, r->value * m);
    *p++ = '}';
    return p;
}

size_t json_write_record(char *out, const struct dataset_record *r, int64_t m)
{
    return (size_t)(json_put_record(out, r, m) - out);
}

size_t json_record_length(const struct dataset_record *r)
{
    size_t len = JSON_LEN(JSON_ID JSON_NAME JSON_CATEGORY JSON_PRICE JSON_QUANTITY JSON_ACTIVE
                              JSON_TAGS JSON_RATING JSON_RATING_COUNT JSON_TOTAL "}");

    len += integer_text_len(r->id) + integer_text_len(r->price) + integer_text_len(r->quantity) +
           integer_text_len(r->rating_score) + integer_text_len(r->rating_count);
    return len + r->name.len + r->category.len + r->tags.len + (r->active ? 4 : 5);
}

int64_t json_body_length(const struct dataset *d, uint32_t count, int64_t m, uint32_t *bad)
{
    size_t len = JSON_LEN(JSON_OPEN JSON_CLOSE "}") + integer_text_len(count) + d->text_len[count];

    assert(count <= d->count);
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
    return out_append(o, p, JSON_OPEN, JSON_LEN(JSON_OPEN));
}

int json_write_close(struct out *o, struct bufpool *p, uint32_t count)
{
    char *start = out_reserve(o, p, JSON_MOVE + INTEGER_TEXT_MAX + 1);

    if (unlikely(!start))
        return -ENOMEM;
    char *end = start;
    JSON_PUT(end, JSON_CLOSE);
    end = integer_put(end, count);
    *end++ = '}';
    out_commit(o, (size_t)(end - start));
    return 0;
}

int json_write_records(struct out *o, struct bufpool *p, const struct dataset *d, uint32_t *next,
                       uint32_t count, int64_t m, size_t high_water)
{
    const size_t need = d->record_max + 1; /* a record and its comma */
    uint32_t i = *next;
    size_t written = 0;

    while (i < count) {
        char *start = out_reserve(o, p, need), *at = start;
        if (unlikely(!start))
            return -ENOMEM;
        /* Another record is begun as far as here. */
        const char *last = start + out_room(o) - need;
        if (high_water - written < (size_t)(last - start))
            last = start + (high_water - written) - 1;
        do {
            if (likely(i > 0))
                *at++ = ',';
            at = json_put_record(at, &d->records[i++], m);
        } while (i < count && at <= last);
        out_commit(o, (size_t)(at - start));
        written += (size_t)(at - start);
        if (written >= high_water)
            break;
    }
    *next = i;
    return 0;
}
