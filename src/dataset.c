/* SPDX-License-Identifier: MIT */
/*
 * dataset.c - from a file to records, with every doubt an error that names file, record and field.
 *
 * The JSON library reads and checks; what it built is thrown away once the records are filled, so that the workers share
 * nothing but one block of texts and one array.
 */
#include "config.h"

#include "dataset.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "integer.h"
#include "json.h"
#include "util.h"

/* What a load is busy with, for its error messages. */
struct loader {
    struct dataset *d;
    const char *path;
    char *error;
    size_t record;       /* from 1; 0: not in a record */
    char *text;          /* next free byte of the texts */
    struct dataset_text *tag;
};

static int fail(const struct loader *l, const char *fmt, ...) PRINTF_LIKE(2, 3);

static int fail(const struct loader *l, const char *fmt, ...)
{
    char what[DATASET_ERROR_MAX / 2];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    if (l->record)
        snprintf(l->error, DATASET_ERROR_MAX, "%s: record %zu: %s", l->path, l->record, what);
    else
        snprintf(l->error, DATASET_ERROR_MAX, "%s: %s", l->path, what);
    return -EINVAL;
}

static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number with a fraction or an exponent";
    case JSON_NULL:
        return "null";
    default:
        return "a boolean";
    }
}

/* Bytes that `s` takes escaped and in quotes, RFC 8259 section 7; written to `out` unless that is NULL. */
static size_t escape(char *out, const char *s, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
#define EMIT(c) ((void)(out ? out[n] = (c) : 0), n++)

    EMIT('"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        const char *two = c == '"' ? "\\\"" : c == '\\' ? "\\\\" : c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : NULL;
        if (two) {
            EMIT(two[0]);
            EMIT(two[1]);
        } else if (c < 0x20) {
            EMIT('\\');
            EMIT('u');
            EMIT('0');
            EMIT('0');
            EMIT(hex[c >> 4]);
            EMIT(hex[c & 15]);
        } else {
            EMIT((char)c);
        }
    }
    EMIT('"');
#undef EMIT
    return n;
}

static void take_text(struct loader *l, const json_t *v, struct dataset_text *t)
{
    t->text = l->text;
    t->len = (uint32_t)escape(l->text, json_string_value(v), json_string_length(v));
    l->text += t->len;
}

static int take_string(struct loader *l, const json_t *v, const char *field, struct dataset_text *t)
{
    if (!json_is_string(v))
        return fail(l, "field \"%s\" is %s, not a string", field, type_name(v));
    take_text(l, v, t);
    return 0;
}

static int take_integer(const struct loader *l, const json_t *v, const char *field, int64_t *out)
{
    if (!json_is_integer(v))
        return fail(l, "field \"%s\" is %s, not an integer", field, type_name(v));
    *out = json_integer_value(v);
    return 0;
}

static int take_tags(struct loader *l, const json_t *v, struct dataset_record *r)
{
    size_t i;
    json_t *tag;

    if (!json_is_array(v))
        return fail(l, "field \"tags\" is %s, not an array of strings", type_name(v));
    r->tags = l->tag;
    r->tag_count = (uint32_t)json_array_size(v);
    json_array_foreach (v, i, tag) {
        if (!json_is_string(tag))
            return fail(l, "field \"tags\": element %zu is %s, not a string", i + 1, type_name(tag));
        take_text(l, tag, l->tag++);
    }
    return 0;
}

/* `v` has all of `fields` and no other; `inside` is the object's name for messages, "" for a record. */
static int check_fields(const struct loader *l, json_t *v, const char *inside, const char *const *fields)
{
    const char *key;
    json_t *value;

    for (const char *const *f = fields; *f; f++)
        if (!json_object_get(v, *f))
            return fail(l, "field \"%s%s\" is missing", inside, *f);
    json_object_foreach (v, key, value) {
        const char *const *f = fields;
        while (*f && strcmp(*f, key))
            f++;
        if (!*f)
            return fail(l, "field \"%s%.64s\" is unknown", inside, key);
    }
    return 0;
}

static int take_rating(struct loader *l, json_t *v, struct dataset_record *r)
{
    static const char *const fields[] = {"score", "count", NULL};

    if (!json_is_object(v))
        return fail(l, "field \"rating\" is %s, not an object", type_name(v));
    int rc = check_fields(l, v, "rating.", fields);
    if (!rc)
        rc = take_integer(l, json_object_get(v, "score"), "rating.score", &r->rating_score);
    if (!rc)
        rc = take_integer(l, json_object_get(v, "count"), "rating.count", &r->rating_count);
    return rc;
}

static int take_record(struct loader *l, json_t *v, struct dataset_record *r)
{
    static const char *const fields[] = {"id",     "name", "category", "price", "quantity",
                                         "active", "tags", "rating",   NULL};
    int rc;

    if (!json_is_object(v))
        return fail(l, "is %s, not an object", type_name(v));
    if ((rc = check_fields(l, v, "", fields)) || (rc = take_integer(l, json_object_get(v, "id"), "id", &r->id)) ||
        (rc = take_string(l, json_object_get(v, "name"), "name", &r->name)) ||
        (rc = take_string(l, json_object_get(v, "category"), "category", &r->category)) ||
        (rc = take_integer(l, json_object_get(v, "price"), "price", &r->price)) ||
        (rc = take_integer(l, json_object_get(v, "quantity"), "quantity", &r->quantity)))
        return rc;
    json_t *active = json_object_get(v, "active");
    if (!json_is_boolean(active))
        return fail(l, "field \"active\" is %s, not a boolean", type_name(active));
    r->active = json_is_true(active);
    if ((rc = take_tags(l, json_object_get(v, "tags"), r)) || (rc = take_rating(l, json_object_get(v, "rating"), r)))
        return rc;
    if (__builtin_mul_overflow(r->price, r->quantity, &r->value))
        return fail(l, "field \"price\" times field \"quantity\" does not fit 64 bits");
    return 0;
}

/* Room that all strings below `v` take when escaped, and how many elements its arrays of strings have: an upper bound. */
static void measure(const json_t *v, size_t *bytes, size_t *strings)
{
    const char *key;
    json_t *child;
    size_t i;

    if (json_is_string(v)) {
        *bytes += escape(NULL, json_string_value(v), json_string_length(v));
        ++*strings;
    } else if (json_is_array(v)) {
        json_array_foreach (v, i, child)
            measure(child, bytes, strings);
    } else if (json_is_object(v)) {
        json_object_foreach ((json_t *)(uintptr_t)v, key, child)
            measure(child, bytes, strings);
    }
}

static int compare_ids(const void *a, const void *b)
{
    const struct dataset_record *x = *(const struct dataset_record *const *)a;
    const struct dataset_record *y = *(const struct dataset_record *const *)b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int check_ids(struct loader *l)
{
    struct dataset *d = l->d;
    const struct dataset_record **by_id = malloc(MAX(d->count, 1) * sizeof(*by_id));
    int rc = 0;

    if (!by_id)
        return fail(l, "no memory to check %u records", d->count);
    for (uint32_t i = 0; i < d->count; i++)
        by_id[i] = &d->records[i];
    qsort(by_id, d->count, sizeof(*by_id), compare_ids);
    for (uint32_t i = 1; i < d->count && !rc; i++) {
        if (by_id[i]->id == by_id[i - 1]->id) {
            l->record = (size_t)(by_id[i] - d->records) + 1;
            rc = fail(l, "field \"id\": %" PRId64 " is also the id of record %zu", by_id[i]->id,
                      (size_t)(by_id[i - 1] - d->records) + 1);
        }
    }
    free(by_id);
    return rc;
}

/* The longest text a record can have, whatever its total. */
static size_t record_bound(const struct dataset_record *r)
{
    size_t n = 256 + 6 * INTEGER_TEXT_MAX + r->name.len + r->category.len;

    for (uint32_t i = 0; i < r->tag_count; i++)
        n += r->tags[i].len + 1;
    return n;
}

static int check_lengths(struct loader *l)
{
    static char text[DATASET_RECORD_MAX + 512];
    struct dataset *d = l->d;

    d->text_len = calloc(d->count + 1, sizeof(*d->text_len));
    if (!d->text_len)
        return fail(l, "no memory for %u records", d->count);
    for (uint32_t i = 0; i < d->count; i++) {
        const struct dataset_record *r = &d->records[i];
        l->record = i + 1;
        if (record_bound(r) > DATASET_RECORD_MAX)
            return fail(l, "its texts are too long: a record may have %d bytes of JSON", DATASET_RECORD_MAX);
        size_t len = json_write_record(text, r, 1);
        assert(len <= record_bound(r));
        d->record_max = MAX(d->record_max, (uint32_t)record_bound(r));
        d->text_len[i + 1] = d->text_len[i] + len - integer_text_len(r->value) + (i > 0);
    }
    l->record = 0;
    return 0;
}

static int take_all(struct loader *l, json_t *root)
{
    struct dataset *d = l->d;
    size_t bytes = 0, strings = 0, i;
    json_t *v;
    int rc;

    if (!json_is_array(root))
        return fail(l, "holds %s, not an array of records", type_name(root));
    if (json_array_size(root) > DATASET_RECORDS_MAX)
        return fail(l, "has %zu records, more than %d", json_array_size(root), DATASET_RECORDS_MAX);
    d->count = (uint32_t)json_array_size(root);
    measure(root, &bytes, &strings);
    d->records = calloc(MAX(d->count, 1), sizeof(*d->records));
    d->memory = malloc(strings * sizeof(struct dataset_text) + bytes + 1);
    if (!d->records || !d->memory)
        return fail(l, "no memory for %u records", d->count);
    l->tag = d->memory;
    l->text = (char *)d->memory + strings * sizeof(struct dataset_text);
    json_array_foreach (root, i, v) {
        l->record = i + 1;
        if ((rc = take_record(l, v, &d->records[i])))
            return rc;
    }
    l->record = 0;
    rc = check_ids(l);
    return rc ? rc : check_lengths(l);
}

int dataset_load(struct dataset *d, const char *path, char *error)
{
    struct loader l = {.d = d, .path = path, .error = error};
    json_error_t where;
    struct stat st;

    memset(d, 0, sizeof(*d));
    FILE *f = fopen(path, "re");
    if (!f || fstat(fileno(f), &st) < 0) {
        int err = errno;
        fail(&l, "%s (name another file with --dataset)", strerror(err));
        if (f)
            fclose(f);
        return -err;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)DATASET_FILE_MAX) {
        fail(&l, S_ISREG(st.st_mode) ? "is larger than %u bytes" : "is no regular file%.0u", DATASET_FILE_MAX);
        fclose(f);
        return -EINVAL;
    }
    json_t *root = json_loadf(f, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
    fclose(f);
    if (!root) {
        fail(&l, "line %d, column %d: %s", where.line, where.column, where.text);
        return -EINVAL;
    }
    int rc = take_all(&l, root);
    json_decref(root);
    if (rc < 0)
        dataset_free(d);
    return rc;
}

void dataset_free(struct dataset *d)
{
    free(d->records);
    free(d->memory);
    free(d->text_len);
    memset(d, 0, sizeof(*d));
}
