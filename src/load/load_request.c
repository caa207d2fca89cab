/* SPDX-License-Identifier: MIT */
/*
 * load_request.c - see load_request.h.
 */
#include "config.h"

#include "load_request.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http_parser.h"
#include "integer.h"
#include "load_values.h"
#include "log.h"
#include "settings.h"
#include "util.h"

#define REQUEST_DIGITS_MAX 20 /* of a random number */
#define REQUEST_CHUNK      16384

/* ---- files ---- */

/* All of `path` into *data (malloc'd, a NUL behind it). 0 or -errno with the reason in `error`. */
static int request_read(const char *path, char **data, size_t *len, char *error)
{
    FILE *f = fopen(path, "re");
    size_t room = 0, n = 0;
    char *all = NULL;
    int err = f ? 0 : errno;

    while (!err) {
        if (n + 1 >= room) {
            room = room ? room * 2 : 65536;
            char *more = room > 2 * LOAD_FILE_MAX ? NULL : realloc(all, room);
            if (!more) {
                err = room > 2 * LOAD_FILE_MAX ? EFBIG : ENOMEM;
                break;
            }
            all = more;
        }
        size_t got = fread(all + n, 1, room - n - 1, f);
        n += got;
        if (got == 0) {
            err = ferror(f) ? (errno ? errno : EIO) : 0;
            break;
        }
    }
    if (f)
        fclose(f);
    if (err) {
        free(all);
        snprintf(error, LOAD_ERROR_MAX, "cannot read %s: %s", path, strerror(err));
        return -err;
    }
    all[n] = '\0';
    *data = all;
    *len = n;
    return 0;
}

/* TEXT or @FILE, as --body takes it. */
static int request_text(const char *text, char **data, size_t *len, char *error)
{
    if (*text == '@')
        return request_read(text + 1, data, len, error);
    *len = strlen(text);
    *data = strdup(text);
    if (*data)
        return 0;
    snprintf(error, LOAD_ERROR_MAX, "out of memory");
    return -ENOMEM;
}

#define REQUEST_RANDOM "random:"

/* The same bytes whenever the seed is the same. 0 or -errno. */
static int request_random_body(const char *size, uint64_t seed, char **data, size_t *len,
                               char *error)
{
    struct prng prng = {.state = seed};
    uint64_t bytes, word = 0;

    if (!load_value_size(size, LOAD_FILE_MAX, &bytes)) {
        snprintf(error, LOAD_ERROR_MAX,
                 "--body random:SIZE takes bytes, such as 1500, 64k or 1m (of 1024), at most 1g");
        return -EINVAL;
    }
    *len = (size_t)bytes;
    *data = malloc(*len);
    if (!*data) {
        snprintf(error, LOAD_ERROR_MAX, "out of memory");
        return -ENOMEM;
    }
    for (size_t i = 0; i < *len; i++, word >>= 8) {
        if (i % sizeof(word) == 0)
            word = prng_next(&prng);
        (*data)[i] = (char)word;
    }
    return 0;
}

static int request_body(const struct load_options *o, char **data, size_t *len, char *error)
{
    if (!strncmp(o->body, REQUEST_RANDOM, sizeof(REQUEST_RANDOM) - 1))
        return request_random_body(o->body + sizeof(REQUEST_RANDOM) - 1, o->seed, data, len, error);
    return request_text(o->body, data, len, error);
}

/* ---- random numbers in the target ---- */

static int request_random_error(char *error, const char *at, size_t len)
{
    char shown[80];

    log_escape(shown, sizeof(shown), at, MIN(len, 40));
    snprintf(
        error, LOAD_ERROR_MAX,
        "--random-query: \"%s\" is no {rand:A:B} with whole numbers A <= B, or the %dth one of "
        "a request ({{ is a brace)",
        shown, LOAD_RANDOM_MAX + 1);
    return -EINVAL;
}

/* "A:B}" */
static bool request_range(const char *text, const char *end, struct load_random *r,
                          const char **rest)
{
    char *stop;
    uint64_t to;

    errno = 0;
    if (text >= end || *text < '0' || *text > '9')
        return false;
    r->from = strtoull(text, &stop, 10);
    if (errno || *stop != ':' || stop[1] < '0' || stop[1] > '9')
        return false;
    to = strtoull(stop + 1, &stop, 10);
    if (errno || stop >= end || *stop != '}' || to < r->from)
        return false;
    r->count = to - r->from + 1;
    *rest = stop + 1;
    return true;
}

/* The request line, its end not included; empty lines before it are allowed (RFC 9112 section 2.2). */
static void request_line(const char *bytes, size_t len, size_t *from, size_t *to)
{
    *from = 0;
    while (*from < len && (bytes[*from] == '\r' || bytes[*from] == '\n'))
        ++*from;
    *to = *from;
    while (*to < len && bytes[*to] != '\r' && bytes[*to] != '\n')
        ++*to;
}

/* Take the templates out of the request line, and note where they were. */
static int request_find_random(struct load_request *q, char *error)
{
    size_t from, to;

    request_line(q->bytes, q->len, &from, &to);
    const char *in = q->bytes + from, *end = q->bytes + to;
    char *out = q->bytes + from;
    while (in < end) {
        if (*in != '{') {
            *out++ = *in++;
        } else if (in + 1 < end && in[1] == '{') {
            *out++ = '{';
            in += 2;
        } else {
            struct load_random *r = &q->random[q->random_count];
            if (q->random_count == LOAD_RANDOM_MAX || end - in < 6 || memcmp(in, "{rand:", 6) ||
                !request_range(in + 6, end, r, &in))
                return request_random_error(error, in, (size_t)(end - in));
            r->at = (size_t)(out - q->bytes);
            q->random_count++;
        }
    }
    size_t rest = q->len - (size_t)(end - q->bytes);
    memmove(out, end, rest);
    q->len = (size_t)(out - q->bytes) + rest;
    return 0;
}

size_t load_request_write(const struct load_request *q, struct prng *prng, char *out)
{
    size_t at = 0;
    char *p = out;

    for (unsigned i = 0; i < q->random_count; i++) {
        const struct load_random *r = &q->random[i];
        uint64_t n = r->from + (r->count ? prng_below(prng, r->count) : prng_next(prng));
        char digits[REQUEST_DIGITS_MAX];
        size_t len = 0;

        memcpy(p, q->bytes + at, r->at - at);
        p += r->at - at;
        at = r->at;
        do
            digits[len++] = (char)('0' + n % 10);
        while (n /= 10);
        while (len)
            *p++ = digits[--len];
    }
    memcpy(p, q->bytes + at, q->len - at);
    return (size_t)(p - out) + q->len - at;
}

/* ---- the list ---- */

/* Another request, whose bytes become the list's. 0 or -errno. */
static int requests_add(struct load_requests *r, char *bytes, size_t len, bool to_head, bool random,
                        char *error)
{
    struct load_request *list = NULL;

    if (bytes && r->count < LOAD_REQUESTS_MAX)
        list = realloc(r->list, (r->count + 1) * sizeof(*list));
    if (!list) {
        free(bytes);
        snprintf(error, LOAD_ERROR_MAX,
                 r->count == LOAD_REQUESTS_MAX ? "more than 65535 different requests"
                                               : "out of memory");
        return r->count == LOAD_REQUESTS_MAX ? -E2BIG : -ENOMEM;
    }
    r->list = list;
    struct load_request *q = &list[r->count++];
    *q = (struct load_request){.bytes = bytes, .len = len, .to_head = to_head};
    int rc = random ? request_find_random(q, error) : 0;
    r->longest = MAX(r->longest, q->len + q->random_count * REQUEST_DIGITS_MAX);
    return rc;
}

/* ---- one request from the command line ---- */

static bool requests_has_header(const struct load_options *o, const char *name)
{
    size_t len = strlen(name);

    for (unsigned i = 0; i < o->header_count; i++)
        if (!strncasecmp(o->headers[i], name, len) && o->headers[i][len] == ':')
            return true;
    return false;
}

static void requests_put_chunked(FILE *out, const char *body, size_t len)
{
    for (size_t at = 0; at < len; at += REQUEST_CHUNK) {
        size_t n = MIN(len - at, REQUEST_CHUNK);
        fprintf(out, "%zx\r\n", n);
        fwrite(body + at, 1, n, out);
        fputs("\r\n", out);
    }
    fputs("0\r\n\r\n", out);
}

static int requests_make_one(struct load_requests *r, const struct load_options *o,
                             const struct load_target *t, char *error)
{
    const char *method = o->method ? o->method : o->body ? "POST" : "GET";
    char *body = NULL, *bytes = NULL;
    size_t body_len = 0, len = 0;

    if (o->body) {
        int rc = request_body(o, &body, &body_len, error);
        if (rc < 0)
            return rc;
    }
    FILE *out = open_memstream(&bytes, &len);
    if (out) {
        fprintf(out, "%s %.*s HTTP/1.1\r\n", method, (int)t->uri_len, t->uri);
        if (!requests_has_header(o, "host"))
            fprintf(out, "Host: %s\r\n", t->authority);
        for (unsigned i = 0; i < o->header_count; i++)
            fprintf(out, "%s\r\n", o->headers[i]);
        if (o->chunked)
            fputs("Transfer-Encoding: chunked\r\n", out);
        else if (o->body && !requests_has_header(o, "content-length"))
            fprintf(out, "Content-Length: %zu\r\n", body_len);
        fputs("\r\n", out);
        if (o->chunked)
            requests_put_chunked(out, body, body_len);
        else if (body_len)
            fwrite(body, 1, body_len, out);
        if (fclose(out) != 0) {
            free(bytes);
            bytes = NULL;
        }
    }
    if (o->expect_echo) {
        r->body = body;
        r->body_len = body_len;
    } else {
        free(body);
    }
    return requests_add(r, bytes, len, !strcmp(method, "HEAD"), o->random_query, error);
}

/* ---- files of requests ---- */

static const struct settings request_limits = {.max_uri_bytes = 1 << 20,
                                               .max_header_bytes = 1 << 20,
                                               .max_header_fields = 1000,
                                               .max_body_bytes = INT64_MAX,
                                               .max_chunk_ext_bytes = 1 << 20};

static int request_file_error(char *error, const char *path, size_t at, const char *what)
{
    snprintf(error, LOAD_ERROR_MAX, "%s: the request at byte %zu is not sent: %s", path, at, what);
    return -EINVAL;
}

/* Bytes of the request at data[0..len), or 0 with the parser's error, or none where it is cut. */
static size_t request_measure(struct http_parser *p, const char *data, size_t len)
{
    size_t at, used, body_len;
    const char *body;

    http_parser_init(p);
    if (http_parse_head(p, &request_limits, data, len, &at) != HTTP_READY)
        return 0;
    if (!(p->flags & HTTP_F_BODY))
        return at;
    for (;;) {
        switch (http_parse_body(p, &request_limits, data + at, len - at, &used, &body, &body_len)) {
        case HTTP_DONE: return at + used;
        case HTTP_READY: at += used; continue;
        default: return 0;
        }
    }
}

/* Templates are no part of a request as the parser takes it: it gets them without their braces. */
static void request_hide_random(char *data, size_t len)
{
    size_t from, to;

    request_line(data, len, &from, &to);
    for (; from < to; from++)
        if (data[from] == '{' || data[from] == '}')
            data[from] = '_';
}

/* Each request of data[0..len), measured in `shown`, which is as long. */
static int requests_take(struct load_requests *r, const struct load_options *o, const char *path,
                         const char *data, char *shown, size_t len, char *error)
{
    size_t at = 0;
    int rc = 0;

    while (rc == 0 && at < len) {
        struct http_parser p;
        if (o->random_query)
            request_hide_random(shown + at, len - at);
        size_t n = request_measure(&p, shown + at, len - at);
        if (n == 0)
            return request_file_error(error, path, at,
                                      p.error ? http_error_text(p.error) : "it is cut off");
        char *bytes = malloc(n);
        if (bytes)
            memcpy(bytes, data + at, n);
        rc = requests_add(r, bytes, n, p.method == HTTP_HEAD, o->random_query, error);
        at += n;
    }
    return len ? rc : request_file_error(error, path, 0, "the file is empty");
}

static int requests_take_file(struct load_requests *r, const struct load_options *o,
                              const char *path, char *error)
{
    char *data, *shown;
    size_t len;
    int rc = request_read(path, &data, &len, error);

    if (rc < 0)
        return rc;
    shown = o->random_query ? malloc(len + 1) : data;
    if (shown) {
        if (shown != data)
            memcpy(shown, data, len + 1);
        rc = requests_take(r, o, path, data, shown, len, error);
    } else {
        snprintf(error, LOAD_ERROR_MAX, "out of memory");
        rc = -ENOMEM;
    }
    if (shown != data)
        free(shown);
    free(data);
    return rc;
}

int load_requests_make(struct load_requests *r, const struct load_options *o,
                       const struct load_target *t, char *error)
{
    int rc = 0;

    memset(r, 0, sizeof(*r));
    for (unsigned i = 0; i < o->raw_count && rc == 0; i++)
        rc = requests_take_file(r, o, o->raw[i], error);
    if (rc == 0 && !o->raw_count)
        rc = requests_make_one(r, o, t, error);
    if (rc == 0 && o->expect_body)
        rc = request_text(o->expect_body, &r->body, &r->body_len, error);
    if (rc < 0)
        load_requests_free(r);
    return rc;
}

void load_requests_free(struct load_requests *r)
{
    for (unsigned i = 0; i < r->count; i++)
        free(r->list[i].bytes);
    free(r->list);
    free(r->body);
    memset(r, 0, sizeof(*r));
}
