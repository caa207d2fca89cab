/* SPDX-License-Identifier: MIT */
/*
 * dataset.c - the records that /json serves: read, checked in every respect with jansson, and laid
 * out for the writer (json_writer.c). The only file that knows jansson; nothing of it is left after
 * loading.
 *
 * Whatever is refused is named by file, record (counted from 1, with its id once that is known) and
 * field; text that is no JSON, where there are no records yet, by line and column.
 */
#include "config.h"

#include "dataset.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "integer.h"
#include "json_writer.h"
#include "log.h"
#include "util.h"

static_assert(sizeof(json_int_t) == sizeof(int64_t), "jansson was built without 64-bit integers");

#define DATASET_PATH_SHOWN  160   /* bytes of the path's end in a message */
#define DATASET_FIELD_SHOWN 64    /* bytes of a field's name */
#define DATASET_READ_MIN    65536 /* bytes: the buffer's first size */

/* A load in progress: for messages, what is being looked at. */
struct dataset_loader {
    struct dataset *d;
    const char *path;
    char *error;
    size_t record; /* index of the record, from 0 */
    bool has_id;
    int64_t id;
    /* free places in the dataset's memory */
    char *text_next, *text_end;
};

/* ---- messages ---- */

static const char *dataset_path_shown(const char *path, const char **ellipsis)
{
    size_t len = strlen(path);

    *ellipsis = len > DATASET_PATH_SHOWN ? "..." : "";
    return len > DATASET_PATH_SHOWN ? path + len - DATASET_PATH_SHOWN : path;
}

/* A message about the file as a whole. Returns -err. */
static int dataset_fail_file(struct dataset_loader *l, int err, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static int dataset_fail_file(struct dataset_loader *l, int err, const char *fmt, ...)
{
    char what[DATASET_ERROR_MAX];
    const char *ellipsis, *path = dataset_path_shown(l->path, &ellipsis);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    snprintf(l->error, DATASET_ERROR_MAX, "%s%s: %.300s", ellipsis, path, what);
    return -err;
}

/* A message about a field (NULL: about the record) of the record at hand. Returns -EINVAL. */
static int dataset_fail(struct dataset_loader *l, const char *field, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static int dataset_fail(struct dataset_loader *l, const char *field, const char *fmt, ...)
{
    char what[256], id[32] = "";
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    if (l->has_id)
        snprintf(id, sizeof(id), " (id %lld)", (long long)l->id);
    return dataset_fail_file(l, EINVAL, "record %zu%s: %s%s%s", l->record + 1, id,
                             field ? field : "", field ? ": " : "", what);
}

static const char *dataset_type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number with a fraction or an exponent";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    default: return "null";
    }
}

/* Text that is no JSON. */
static int dataset_fail_syntax(struct dataset_loader *l, const json_error_t *e)
{
    char why[JSON_ERROR_TEXT_LENGTH];

    if (json_error_code(e) == json_error_out_of_memory)
        return dataset_fail_file(l, ENOMEM, "no memory to parse it");
    return dataset_fail_file(l, EINVAL, "line %d, column %d, byte %d: %s", e->line, e->column,
                             e->position, log_escape(why, sizeof(why), e->text, strlen(e->text)));
}

/* ---- checks ---- */

/* Members of an object whose values are of some type: their names, and how to take them. */
struct dataset_field {
    const char *name;
    int (*take)(struct dataset_loader *l, struct dataset_record *r, const struct dataset_field *f,
                const json_t *v);
    size_t offset;     /* of the member of struct dataset_record, where one suffices */
    const char *label; /* in messages */
};

/* Every field there, and none but them. */
static int dataset_take_object(struct dataset_loader *l, struct dataset_record *r, const json_t *v,
                               const char *label, const struct dataset_field *fields, size_t count)
{
    char name[DATASET_FIELD_SHOWN];

    if (!json_is_object(v))
        return dataset_fail(l, label, "must be an object, is %s", dataset_type_name(v));
    for (size_t i = 0; i < count; i++) {
        const json_t *member = json_object_get(v, fields[i].name);
        if (!member)
            return dataset_fail(l, fields[i].label, "is missing");
        int rc = fields[i].take(l, r, &fields[i], member);
        if (rc < 0)
            return rc;
    }
    if (json_object_size(v) == count)
        return 0;
    for (void *it = json_object_iter((json_t *)v); it;
         it = json_object_iter_next((json_t *)v, it)) {
        const char *key = json_object_iter_key(it);
        size_t i = 0;
        while (i < count && strcmp(key, fields[i].name))
            i++;
        if (i < count)
            continue;
        log_escape(name, sizeof(name), key, strlen(key));
        return dataset_fail(
            l, label,
            "unknown field \"%s\"; allowed are id, name, category, price, quantity, "
            "active, tags, rating.score, rating.count",
            name);
    }
    return 0;
}

static int dataset_take_integer(struct dataset_loader *l, struct dataset_record *r,
                                const struct dataset_field *f, const json_t *v)
{
    if (!json_is_integer(v))
        return dataset_fail(l, f->label, "must be an integer of 64 bits, is %s",
                            dataset_type_name(v));
    int64_t value = json_integer_value(v);
    memcpy((char *)r + f->offset, &value, sizeof(value));
    return 0;
}

static int dataset_take_id(struct dataset_loader *l, struct dataset_record *r,
                           const struct dataset_field *f, const json_t *v)
{
    int rc = dataset_take_integer(l, r, f, v);

    if (rc < 0)
        return rc;
    l->has_id = true;
    l->id = r->id;
    return 0;
}

static int dataset_take_bool(struct dataset_loader *l, struct dataset_record *r,
                             const struct dataset_field *f, const json_t *v)
{
    if (!json_is_boolean(v))
        return dataset_fail(l, f->label, "must be true or false, is %s", dataset_type_name(v));
    r->active = json_is_true(v);
    return 0;
}

/* Quoted, and escaped where RFC 8259 section 7 says that it must be; UTF-8 stays as it is. */
static void dataset_take_text(struct dataset_loader *l, struct dataset_text *t, const json_t *v)
{
    /* Never longer than it was in the file: see dataset_allocate(). */
    t->text = l->text_next;
    t->len = (uint32_t)json_dumpb(v, l->text_next, (size_t)(l->text_end - l->text_next),
                                  JSON_ENCODE_ANY);
    l->text_next += t->len;
    assert(l->text_next <= l->text_end);
}

static int dataset_take_string(struct dataset_loader *l, struct dataset_record *r,
                               const struct dataset_field *f, const json_t *v)
{
    if (!json_is_string(v))
        return dataset_fail(l, f->label, "must be a string, is %s", dataset_type_name(v));
    dataset_take_text(l, (struct dataset_text *)((char *)r + f->offset), v);
    return 0;
}

static int dataset_take_tags(struct dataset_loader *l, struct dataset_record *r,
                             const struct dataset_field *f, const json_t *v)
{
    if (!json_is_array(v))
        return dataset_fail(l, f->label, "must be an array of strings, is %s",
                            dataset_type_name(v));
    struct dataset_text text;
    r->tags.text = l->text_next;
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *tag = json_array_get(v, i);
        char label[32];
        if (!json_is_string(tag)) {
            snprintf(label, sizeof(label), "%s[%zu]", f->label, i);
            return dataset_fail(l, label, "must be a string, is %s", dataset_type_name(tag));
        }
        if (i > 0)
            *l->text_next++ = ',';
        dataset_take_text(l, &text, tag);
    }
    r->tags.len = (uint32_t)(l->text_next - r->tags.text);
    return 0;
}

#define DATASET_OFFSET(member) offsetof(struct dataset_record, member)

static int dataset_take_rating(struct dataset_loader *l, struct dataset_record *r,
                               const struct dataset_field *f, const json_t *v)
{
    static const struct dataset_field fields[] = {
        {"score", dataset_take_integer, DATASET_OFFSET(rating_score), "rating.score"},
        {"count", dataset_take_integer, DATASET_OFFSET(rating_count), "rating.count"},
    };
    return dataset_take_object(l, r, v, f->label, fields, ARRAY_LEN(fields));
}

/* One record, but for what concerns it together with others. */
static int dataset_take_record(struct dataset_loader *l, struct dataset_record *r, const json_t *v)
{
    static const struct dataset_field fields[] = {
        {"id", dataset_take_id, DATASET_OFFSET(id), "id"},
        {"name", dataset_take_string, DATASET_OFFSET(name), "name"},
        {"category", dataset_take_string, DATASET_OFFSET(category), "category"},
        {"price", dataset_take_integer, DATASET_OFFSET(price), "price"},
        {"quantity", dataset_take_integer, DATASET_OFFSET(quantity), "quantity"},
        {"active", dataset_take_bool, 0, "active"},
        {"tags", dataset_take_tags, 0, "tags"},
        {"rating", dataset_take_rating, 0, "rating"},
    };
    l->has_id = false;
    int rc = dataset_take_object(l, r, v, NULL, fields, ARRAY_LEN(fields));
    if (rc < 0)
        return rc;
    if (__builtin_mul_overflow(r->price, r->quantity, &r->value))
        return dataset_fail(l, "price", "price x quantity does not fit 64 bits");
    return 0;
}

/* ---- the whole ---- */

/*
 * One piece of memory: records, lengths, texts. For the texts it is the size of the file, `len`: no
 * way of writing a string or a list of them is shorter than ours, with as few escapes as there can be. What
 * is not used of it is not touched.
 */
static int dataset_allocate(struct dataset_loader *l, const json_t *root, size_t len)
{
    struct dataset *d = l->d;
    size_t count = json_array_size(root);
    size_t records = count * sizeof(*d->records), lengths = (count + 1) * sizeof(*d->text_len);
    char *memory = calloc(1, records + lengths + len + DATASET_TEXT_PAD);
    if (!memory)
        return dataset_fail_file(l, ENOMEM, "no memory for %zu records", count);
    d->memory = memory;
    d->count = (uint32_t)count;
    d->records = (struct dataset_record *)memory;
    d->text_len = (uint64_t *)(memory + records);
    l->text_next = memory + records + lengths;
    l->text_end = l->text_next + len;
    return 0;
}

/* Check every record and write it to its place. */
static int dataset_take_records(struct dataset_loader *l, const json_t *root)
{
    struct dataset *d = l->d;

    for (l->record = 0; l->record < d->count; l->record++) {
        struct dataset_record *r = &d->records[l->record];
        int rc = dataset_take_record(l, r, json_array_get(root, l->record));
        if (rc < 0)
            return rc;
        size_t len = json_record_length(r);
        if (len + INTEGER_TEXT_MAX > DATASET_RECORD_MAX)
            return dataset_fail(l, NULL, "takes up to %zu bytes of JSON; the limit is %d",
                                len + INTEGER_TEXT_MAX, DATASET_RECORD_MAX);
        d->text_len[l->record + 1] = d->text_len[l->record] + len + (l->record > 0);
        d->record_max = MAX(d->record_max, (uint32_t)(len + INTEGER_TEXT_MAX));
    }
    return 0;
}

static int dataset_compare_id(const void *a, const void *b)
{
    const struct dataset_record *x = *(const struct dataset_record *const *)a;
    const struct dataset_record *y = *(const struct dataset_record *const *)b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x < y ? -1 : x > y; /* records are in one array: by index */
}

/* Every id but once. The first record that repeats an earlier one is named. */
static int dataset_check_ids(struct dataset_loader *l)
{
    const struct dataset *d = l->d;
    const struct dataset_record **sorted = malloc((d->count + (size_t)1) * sizeof(*sorted));
    const struct dataset_record *again = NULL, *first = NULL;

    if (!sorted)
        return dataset_fail_file(l, ENOMEM, "no memory to compare %u ids", d->count);
    for (uint32_t i = 0; i < d->count; i++)
        sorted[i] = &d->records[i];
    qsort(sorted, d->count, sizeof(*sorted), dataset_compare_id);
    for (uint32_t i = 1; i < d->count; i++) {
        if (sorted[i]->id == sorted[i - 1]->id && (!again || sorted[i] < again)) {
            again = sorted[i];
            first = sorted[i - 1];
        }
    }
    free(sorted);
    if (!again)
        return 0;
    l->record = (size_t)(again - d->records);
    l->id = again->id;
    l->has_id = true;
    return dataset_fail(l, "id", "is the id of record %zu already",
                        (size_t)(first - d->records) + 1);
}

/* ---- the file ---- */

/* All of `fd`, also of a pipe, in memory that the caller frees. */
static int dataset_read_fd(struct dataset_loader *l, int fd, char **text, size_t *len)
{
    size_t size = DATASET_READ_MIN, n = 0;
    char *buf = malloc(size);

    while (buf) {
        ssize_t got = read(fd, buf + n, size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            int err = errno;
            free(buf);
            return dataset_fail_file(l, err, "cannot be read: %s", strerror(err));
        }
        n += (size_t)got;
        if (n > DATASET_FILE_MAX) {
            free(buf);
            return dataset_fail_file(l, EFBIG, "is larger than %u bytes, the limit",
                                     DATASET_FILE_MAX);
        }
        if (!got) {
            *text = buf;
            *len = n;
            return 0;
        }
        if (n < size)
            continue;
        char *more = realloc(buf, size *= 2);
        if (!more)
            free(buf);
        buf = more;
    }
    return dataset_fail_file(l, ENOMEM, "no memory to read it (%zu bytes so far)", n);
}

static int dataset_read(struct dataset_loader *l, char **text, size_t *len)
{
    int fd = open(l->path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        int err = errno;
        return dataset_fail_file(l, err, "cannot be opened: %s (--dataset names another file)",
                                 strerror(err));
    }
    int rc = dataset_read_fd(l, fd, text, len);
    close(fd);
    return rc;
}

static int dataset_load_tree(struct dataset_loader *l, const json_t *root, size_t len)
{
    if (!json_is_array(root))
        return dataset_fail_file(l, EINVAL, "must be an array of records, is %s",
                                 dataset_type_name(root));
    if (json_array_size(root) > DATASET_RECORDS_MAX)
        return dataset_fail_file(l, EINVAL, "has %zu records; the limit is %d",
                                 json_array_size(root), DATASET_RECORDS_MAX);
    int rc = dataset_allocate(l, root, len);
    if (rc == 0)
        rc = dataset_take_records(l, root);
    if (rc == 0)
        rc = dataset_check_ids(l);
    if (rc < 0)
        dataset_free(l->d);
    return rc;
}

int dataset_load(struct dataset *d, const char *path, char *error)
{
    struct dataset_loader l = {.d = d, .path = path, .error = error};
    json_error_t e;
    char *text = NULL;
    size_t len = 0;

    memset(d, 0, sizeof(*d));
    *error = '\0';
    int rc = dataset_read(&l, &text, &len);
    if (rc < 0)
        return rc;
    /* JSON_ALLOW_NUL: a string may hold one, and is served as it came */
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    rc = root ? dataset_load_tree(&l, root, len) : dataset_fail_syntax(&l, &e);
    json_decref(root);
    free(text);
    return rc;
}

void dataset_free(struct dataset *d)
{
    free(d->memory);
    memset(d, 0, sizeof(*d));
}
