/* SPDX-License-Identifier: MIT */
/*
 * static.c - GET /static/{path}: the files beneath a directory, looked up and read anew for every
 * request, so that nothing stale is ever sent; with --open-file-cache they stay open (file_cache.h).
 *
 * A small file is read here and sent with its head by one system call; of a larger one the backend
 * sends the range that its head has promised. Neither waits for a disk: what is not in memory is for
 * the backend to read (backend.h).
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "coding.h"
#include "conditional.h"
#include "handlers.h"
#include "http.h"
#include "log.h"
#include "static_dir.h"
#include "sys.h"

#define STATIC_PREFIX_LEN 8 /* "/static/" */
#define STATIC_FIELDS_MAX 7

/*
 * Up to so many bytes a file is copied: cheaper than to have it sent, and a client that does not
 * read holds no open file.
 */
#define STATIC_COPY_MAX 16384

/* What is about to be sent, with the texts of its fields. */
struct static_file {
    int fd;
    struct file_entry *entry; /* of --open-file-cache, whose fd it is; NULL: it is ours */
    struct stat st;
    enum coding coding;
    struct representation rep;
    char etag[2 + 16 + 1 + 16 + 1]; /* "SIZE-TIME" */
    char modified[CLOCK_DATE_LEN + 1];
};

/* Set by a handler's call, used by it alone: a process has one thread that handles requests. */
static char static_copy[STATIC_COPY_MAX];

static const char *const static_suffixes[CODINGS] = {
    [CODING_BR] = ".br", [CODING_ZSTD] = ".zst", [CODING_GZIP] = ".gz"};

static const struct handlers_context *static_context(const struct request *r)
{
    return request_context(r);
}

static int static_reply(struct request *r, int status, const char *line)
{
    return request_reply(r, status, RESPONSE_TEXT, line, strlen(line));
}

/* What cannot be opened, `err` a positive errno. */
static int static_refuse(struct request *r, int err)
{
    switch (err) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case EXDEV: return static_reply(r, 404, "no such file\n");
    case EACCES:
    case EPERM:
        log_limited(LOG_LEVEL_INFO, "a file below /static/ may not be read: %s", strerror(err));
        return static_reply(r, 403, "this file may not be read\n");
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
        r->http->loop.stats->limit_files++;
        log_limited(LOG_LEVEL_WARN, "cannot open a file: %s", strerror(err));
        return static_reply(r, 503, "too many files are open\n");
    default: return -err;
    }
}

/* ---- which file ---- */

/* 0 and .fd, .entry and .st, or -errno. */
static int static_open(const struct request *r, struct static_file *f, const char *path, size_t len)
{
    const struct handlers_context *context = static_context(r);
    struct loop *l = &r->http->loop;

    f->entry = NULL;
    if (!context->cache) {
        f->fd = static_dir_open(context->files, path, &f->st);
        return MIN(f->fd, 0);
    }
    int rc = file_cache_open(context->cache, context->files, path, len, l->clock.now_ms, l->stats,
                             &f->entry);
    if (rc < 0)
        return rc;
    f->fd = f->entry->ref.fd;
    f->st = f->entry->st;
    l->trim_pending = true; /* so that it is closed some time */
    return 0;
}

static void static_close(const struct static_file *f)
{
    if (f->entry)
        file_ref_put(&f->entry->ref);
    else
        close(f->fd);
}

/*
 * The file with the coding's suffix instead of *f, if there is one that is not older: then it was
 * made of another file.
 */
static bool static_try_sibling(const struct request *r, struct static_file *f, char *path,
                               size_t len, enum coding coding)
{
    struct static_file sibling = {.coding = coding};

    if (f->entry && (f->entry->lacks & CODING_BIT(coding)))
        return false;
    strcpy(path + len, static_suffixes[coding]);
    int rc = static_open(r, &sibling, path, len + strlen(static_suffixes[coding]));
    path[len] = '\0';
    if (rc < 0) {
        if (rc == -ENOENT && f->entry)
            f->entry->lacks |= (uint8_t)CODING_BIT(coding);
        return false;
    }
    if (sibling.st.st_mtime < f->st.st_mtime) {
        static_close(&sibling);
        return false;
    }
    static_close(f);
    *f = sibling;
    return true;
}

/* The best that the client takes of the file and those beside it. False: nothing (406). */
static bool static_choose(const struct request *r, const struct request_head *head,
                          struct static_file *f, char *path, size_t len)
{
    uint8_t order[CODINGS];

    unsigned n = request_codings(r, head, (1u << CODINGS) - 1, order);
    for (unsigned i = 0; i < n; i++)
        if (order[i] == CODING_IDENTITY || static_try_sibling(r, f, path, len, order[i]))
            return true;
    return false;
}

/* Hexadecimal without leading zeros; the end. By printf(3) two of them took a sixth of a request. */
static char *static_put_hex(char *p, uint64_t n)
{
    unsigned digits = (67u - (unsigned)__builtin_clzll(n | 1)) / 4;

    for (unsigned i = digits; i-- > 0; n >>= 4)
        p[i] = "0123456789abcdef"[n & 15];
    return p + digits;
}

/*
 * A strong validator (RFC 9110 section 8.8.1): ctime changes with every write and rename, whatever
 * mtime is made to say; of files that are made reproducibly all have the same.
 */
static void static_describe(struct static_file *f, time_t now)
{
    uint64_t ctime_ns =
        (uint64_t)f->st.st_ctim.tv_sec * 1000000000 + (uint64_t)f->st.st_ctim.tv_nsec;

    char *p = f->etag;
    *p++ = '"';
    p = static_put_hex(p, (uint64_t)f->st.st_size);
    *p++ = '-';
    p = static_put_hex(p, ctime_ns);
    memcpy(p, "\"", 2);
    /* not later than this answer, RFC 9110 section 8.8.2.1 */
    f->rep = (struct representation){
        .size = (uint64_t)f->st.st_size, .etag = f->etag, .modified = MIN(f->st.st_mtime, now)};
}

/* ---- the answer ---- */

/* 304, 412, 416: what the client has is still good, or what it wants is not there. */
static int static_without(struct request *r, const struct static_file *f, int status)
{
    static const char line[] = "there is no such range in this file\n";
    char range[48];
    struct response_field fields[] = {{"ETag", f->etag}, {"Vary", "Accept-Encoding"}};

    if (status == 412)
        return static_reply(r, 412, "a precondition is not met\n");
    if (status == 304) {
        int rc = request_respond(r, &(struct request_response){.status = 304,
                                                               .fields = fields,
                                                               .field_count = ARRAY_LEN(fields)});
        return rc < 0 ? rc : HANDLER_DONE;
    }
    snprintf(range, sizeof(range), "bytes */%" PRIu64, f->rep.size);
    fields[0] = (struct response_field){"Content-Range", range};
    int rc = request_respond(r, &(struct request_response){.status = 416,
                                                           .type = RESPONSE_TEXT,
                                                           .has_length = true,
                                                           .length = sizeof(line) - 1,
                                                           .fields = fields,
                                                           .field_count = ARRAY_LEN(fields)});
    if (rc == 0)
        rc = request_write(r, line, sizeof(line) - 1);
    return rc < 0 ? rc : HANDLER_DONE;
}

/* The head of 200, or of 206 where it is a part. */
static int static_head(struct request *r, struct static_file *f, const char *type, bool part,
                       uint64_t first, uint64_t count)
{
    char range[80];
    struct response_field fields[STATIC_FIELDS_MAX] = {
        {"Content-Type", type},     {"Last-Modified", f->modified}, {"ETag", f->etag},
        {"Accept-Ranges", "bytes"}, {"Vary", "Accept-Encoding"},
    };
    unsigned n = 5;

    clock_format_date(f->modified, f->rep.modified);
    if (f->coding != CODING_IDENTITY)
        fields[n++] = (struct response_field){"Content-Encoding", coding_name(f->coding)};
    if (part) {
        snprintf(range, sizeof(range), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first,
                 first + count - 1, f->rep.size);
        fields[n++] = (struct response_field){"Content-Range", range};
    }
    return request_respond(r, &(struct request_response){.status = part ? 206 : 200,
                                                         .has_length = true,
                                                         .length = count,
                                                         .fields = fields,
                                                         .field_count = n});
}

/* Read a small range if all of it is in memory. */
static bool static_read(const struct static_file *f, uint64_t first, uint64_t count)
{
    return count > 0 && count <= sizeof(static_copy) &&
           sys_read_cached(f->fd, static_copy, (size_t)count, (off_t)first) == (ssize_t)count;
}

/* The file is let go of. */
static int static_send(struct request *r, struct static_file *f, const char *type, bool part,
                       uint64_t first, uint64_t count)
{
    bool wanted = r->method == HTTP_GET && count > 0,
         copied = wanted && static_read(f, first, count);
    int rc = static_head(r, f, type, part, first, count);

    if (rc == 0 && wanted && !copied) {
        rc = f->entry ? request_write_shared_file(r, &f->entry->ref, (off_t)first, count)
                      : request_write_file(r, f->fd, (off_t)first, count);
        return rc < 0 ? rc : HANDLER_DONE;
    }
    static_close(f);
    if (rc == 0 && copied)
        rc = request_write(r, static_copy, (size_t)count);
    return rc < 0 ? rc : HANDLER_DONE;
}

static int static_answer(struct request *r, const struct request_head *head, struct static_file *f,
                         const char *type)
{
    time_t now = r->http->loop.clock.date_s;
    uint64_t first = 0, count;
    int status = 0;

    static_describe(f, now);
    count = f->rep.size;
    enum conditional condition = conditional_check(head, &f->rep, now);
    enum range range = RANGE_WHOLE;
    if (condition != CONDITIONAL_PROCEED)
        status = condition == CONDITIONAL_FAILED ? 412 : 304;
    else if (r->method == HTTP_GET) /* of no other, RFC 9110 section 14.2 */
        range = conditional_range(head, &f->rep, now, &first, &count);
    if (range == RANGE_UNSATISFIABLE)
        status = 416;
    if (status == 0)
        return static_send(r, f, type, range == RANGE_PART, first, count);
    static_close(f);
    return static_without(r, f, status);
}

static int static_begin(struct request *r, const struct request_head *head)
{
    struct static_file f = {.coding = CODING_IDENTITY};
    size_t len = head->path_len - STATIC_PREFIX_LEN;
    char path[STATIC_PATH_MAX + 8];

    if (!static_path_valid(head->path + STATIC_PREFIX_LEN, len))
        return static_refuse(r, ENOENT);
    memcpy(path, head->path + STATIC_PREFIX_LEN, len);
    path[len] = '\0';
    int rc = static_open(r, &f, path, len);
    if (rc < 0)
        return static_refuse(r, -rc);
    if (!static_choose(r, head, &f, path, len)) {
        static_close(&f);
        return static_reply(r, 406, "there is no such file in a coding that you accept\n");
    }
    return static_answer(r, head, &f, mime_type(static_context(r)->files->types, path, len));
}

/* All is done at the end of the head: a body would be dropped. */
static int static_finish(struct request *r)
{
    (void)r;
    return -EPROTO;
}

const struct handler static_handler = {
    .allow = "GET, HEAD, OPTIONS",
    .methods = HANDLER_METHOD(GET) | HANDLER_METHOD(HEAD) | HANDLER_METHOD(OPTIONS),
    .begin = static_begin,
    .finish = static_finish,
};
