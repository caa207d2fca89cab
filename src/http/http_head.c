/* SPDX-License-Identifier: MIT */
/*
 * http_head.c - the head of a request; what its fields mean is http_field.c, the body http_body.c.
 *
 * One state machine over the bytes, with inner loops for the long runs. What a byte means depends
 * on the bytes before it alone, never on where a read happened to end; limits are positions in the
 * stream. That is why any split gives the same result. The few fields that matter are looked at
 * again as a whole when their line has ended, by http_field.c.
 */
#include "config.h"

#include "http_parser.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "http_internal.h"
#include "settings.h"
#include "util.h"

static_assert(sizeof(struct http_parser) == 32, "its share of the exchange");

#define HTTP_METHOD_MAX      32 /* bytes; a longer one is unknown before its end is seen */
#define HTTP_EMPTY_LINES_MAX 8  /* before a request line: some clients send one after a body */
#define HTTP_VERSION_LEN     8  /* "HTTP/1.1" */

enum {
    S_START, /* 0: http_parser_is_fresh() */
    S_START_LF,
    S_METHOD,
    S_TARGET_FIRST,
    S_TARGET,
    S_TARGET_HEX1,
    S_TARGET_HEX2,
    S_VERSION,
    S_LINE_LF,
    S_FIELD,
    S_NAME,
    S_VALUE_FIRST,
    S_VALUE,
    S_VALUE_LF,
    S_END_LF,
};

static const struct {
    int status;
    const char *text, *name;
} http_errors[] = {
#define HTTP_ERROR_ROW_(sym, status, text) {status, text, #sym},
    HTTP_ERRORS(HTTP_ERROR_ROW_)
#undef HTTP_ERROR_ROW_
};

static const char *const http_methods[HTTP_METHODS] = {
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};

int http_error_status(enum http_error e)
{
    return http_errors[e].status;
}

const char *http_error_text(enum http_error e)
{
    return http_errors[e].text;
}

const char *http_error_name(enum http_error e)
{
    return http_errors[e].name;
}

const char *http_method_name(enum http_method m)
{
    return http_methods[m];
}

/* ---- the request line ---- */

static int http_method_find(const char *s, size_t len)
{
    switch (len) {
    case 3: return !memcmp(s, "GET", 3) ? HTTP_GET : !memcmp(s, "PUT", 3) ? HTTP_PUT : -1;
    case 4: return !memcmp(s, "POST", 4) ? HTTP_POST : !memcmp(s, "HEAD", 4) ? HTTP_HEAD : -1;
    case 5: return !memcmp(s, "TRACE", 5) ? HTTP_TRACE : !memcmp(s, "PATCH", 5) ? HTTP_PATCH : -1;
    case 6: return !memcmp(s, "DELETE", 6) ? HTTP_DELETE : -1;
    case 7:
        return !memcmp(s, "OPTIONS", 7)   ? HTTP_OPTIONS
               : !memcmp(s, "CONNECT", 7) ? HTTP_CONNECT
                                          : -1;
    default: return -1;
    }
}

/* The target buf[off..off+len): which of the four forms (RFC 9112 section 3.2)? For this method? */
static enum http_error http_target_end(struct http_parser *p, const char *buf, uint32_t off,
                                       uint32_t len)
{
    const char *s = buf + off;

    p->target_off = off;
    p->target_len = len;
    if (unlikely(p->method == HTTP_CONNECT))
        return http_host_valid(s, len, true) ? HTTP_ERROR_NONE : HTTP_ERROR_TARGET_SYNTAX;
    if (likely(s[0] == '/'))
        return HTTP_ERROR_NONE;
    if (len == 1 && s[0] == '*')
        return p->method == HTTP_OPTIONS ? HTTP_ERROR_NONE : HTTP_ERROR_TARGET_SYNTAX;
    return http_target_absolute(p, s, len, off);
}

/* "HTTP/" DIGIT "." DIGIT, byte `i` of it. */
static bool http_version_byte(size_t i, char c)
{
    static const char form[] = "HTTP/0.0";

    return i == 5 || i == 7 ? c >= '0' && c <= '9' : c == form[i];
}

/* ---- header fields ---- */

static uint8_t http_field_find(const char *s, size_t len)
{
    switch (len) {
    case 4: return http_lower_equals(s, "host", 4) ? FIELD_HOST : FIELD_OTHER;
    case 6: return http_lower_equals(s, "expect", 6) ? FIELD_EXPECT : FIELD_OTHER;
    case 10: return http_lower_equals(s, "connection", 10) ? FIELD_CONNECTION : FIELD_OTHER;
    case 15: return http_lower_equals(s, "accept-encoding", 15) ? FIELD_ACCEPT : FIELD_OTHER;
    case 16: return http_lower_equals(s, "content-encoding", 16) ? FIELD_CONTENT : FIELD_OTHER;
    case 14: return http_lower_equals(s, "content-length", 14) ? FIELD_LENGTH : FIELD_OTHER;
    case 17: return http_lower_equals(s, "transfer-encoding", 17) ? FIELD_CODING : FIELD_OTHER;
    default: return FIELD_OTHER;
    }
}

/* The head is complete: does it make one message, and only one (RFC 9112 section 6.3)? */
static enum http_error http_head_end(struct http_parser *p, const struct settings *set)
{
    unsigned f = p->flags;

    if (unlikely(!(f & (HTTP_F_HOST | HTTP_F_HTTP10))))
        return HTTP_ERROR_HOST_MISSING;
    if (unlikely(f & HTTP_F_CODING)) {
        if (f & HTTP_F_LENGTH)
            return HTTP_ERROR_LENGTH_AND_CODING;
        if (f & HTTP_F_HTTP10)
            return HTTP_ERROR_CODING_IN_1_0;
        if (!(f & HTTP_F_CHUNKED))
            return HTTP_ERROR_CODING_NOT_FINAL;
        if (f & HTTP_F_UNKNOWN_CODING)
            return HTTP_ERROR_CODING_UNKNOWN;
        if (unlikely(f & HTTP_F_ENCODED))
            return HTTP_ERROR_CONTENT_CODING;
        p->flags |= HTTP_F_BODY;
        http_body_begin(p);
    } else if (p->left) {
        if (unlikely(f & HTTP_F_ENCODED))
            return HTTP_ERROR_CONTENT_CODING;
        if (set->max_body_bytes && p->left > set->max_body_bytes)
            return HTTP_ERROR_BODY_TOO_LARGE;
        p->flags |= HTTP_F_BODY;
        http_body_begin(p);
    }
    return HTTP_ERROR_NONE;
}

/* ---- the machine ---- */

static enum http_result http_head_more(struct http_parser *p, const char *buf, const char *s,
                                       uint8_t state)
{
    p->pos = (uint32_t)(s - buf);
    p->state = state;
    return HTTP_MORE;
}

static enum http_result http_head_fail(struct http_parser *p, enum http_error e)
{
    p->error = (uint8_t)e;
    return HTTP_FAIL;
}

#define FAIL(code) return http_head_fail(p, HTTP_ERROR_##code)
#define MORE(at)   return http_head_more(p, buf, s, at)

/*
 * The request line as almost every client sends it, at the beginning of `buf`, in one go: where the
 * next line starts. NULL: it is not all here, or not so plain; nothing has happened.
 */
static inline const char *http_plain_line(struct http_parser *p, const struct settings *set,
                                          const char *buf, const char *end)
{
    enum http_method method = HTTP_GET;
    const char *target = buf + 4, *query = NULL;

    static_assert(HTTP_LINE_REST == 11, "\" HTTP/1.1\\r\\n\", as two moves that overlap");
    if (end - buf < HTTP_LINE_REST)
        return NULL;
    if (unlikely(memcmp(buf, "GET /", 5))) {
        if (memcmp(buf, "POST /", 6))
            return NULL;
        method = HTTP_POST;
        target++;
    }
    const char *s = http_target_run(target, end, &query);
    if (unlikely(end - s < HTTP_LINE_REST || memcmp(s, " HTTP/1.", 8) ||
                 memcmp(s + 7, ".1\r\n", 4) || s - target > (ptrdiff_t)set->max_uri_bytes))
        return NULL;
    p->method = (uint8_t)method;
    p->target_off = (uint32_t)(target - buf);
    p->target_len = (uint32_t)(s - target);
    if (query)
        p->flags |= HTTP_F_QUERY;
    return s + HTTP_LINE_REST;
}

/*
 * The request line, and the empty lines before it. The states follow each other in the order of
 * their bytes, so that a whole line falls through all of them; HTTP_READY when its LF has been
 * read, *at behind it.
 */
static enum http_result http_parse_line(struct http_parser *p, const struct settings *set,
                                        const char *buf, const char **at, const char *end)
{
    const char *s = *at, *longest, *query = NULL;
    enum http_error e;

    switch (p->state) {
    case S_START_LF:
    start_lf:
        if (s == end)
            MORE(S_START_LF);
        if (*s++ != '\n')
            FAIL(LINE_END);
        /* fall through */
    case S_START:
        if (unlikely(s == end))
            MORE(S_START);
        p->mark = (uint32_t)(s - buf);
        if (unlikely(*s == '\r' && s - buf < 2 * (HTTP_EMPTY_LINES_MAX - p->fields))) {
            s++;
            goto start_lf;
        }
        if (!http_is(*s, HTTP_C_TOKEN))
            FAIL(METHOD_SYNTAX);
        /* fall through */
    case S_METHOD: {
        s = http_run(s, end, HTTP_C_TOKEN);
        size_t n = (size_t)(s - buf) - p->mark;
        if (unlikely(n > HTTP_METHOD_MAX))
            FAIL(METHOD_UNKNOWN);
        if (unlikely(s == end))
            MORE(S_METHOD);
        if (unlikely(*s != ' '))
            FAIL(METHOD_SYNTAX);
        int m = http_method_find(buf + p->mark, n);
        if (unlikely(m < 0)) {
            /* "PRI" is not a method but the start of HTTP/2's preface (RFC 9113, section 3.4). */
            if (n == 3 && !memcmp(buf + p->mark, "PRI", 3))
                FAIL(VERSION_UNSUPPORTED);
            FAIL(METHOD_UNKNOWN);
        }
        p->method = (uint8_t)m;
        p->mark = (uint32_t)(++s - buf);
    }
        /* fall through */
    case S_TARGET_FIRST:
        if (unlikely(s == end))
            MORE(S_TARGET_FIRST);
        if (unlikely(*s != '/' && *s != '[' && !http_is(*s, HTTP_C_NAME)))
            FAIL(TARGET_SYNTAX);
        /* fall through */
    case S_TARGET:
    target:
        longest = buf + p->mark + set->max_uri_bytes;
        s = http_target_run(s, MIN(end, longest), &query);
        if (query)
            p->flags |= HTTP_F_QUERY;
        if (unlikely(s == end))
            MORE(S_TARGET);
        if (unlikely(*s != ' ')) {
            if (s >= longest)
                FAIL(TARGET_TOO_LONG);
            if (*s == '%') {
                p->flags |= HTTP_F_ESCAPED;
                s++;
                goto hex1;
            }
            /* An IPv6 address in an authority; http_target_absolute() sees where else they are. */
            if ((*s != '[' && *s != ']') || buf[p->mark] == '/')
                FAIL(TARGET_SYNTAX);
            s++;
            goto target;
        }
        e = http_target_end(p, buf, p->mark, (uint32_t)(s - buf) - p->mark);
        if (unlikely(e != HTTP_ERROR_NONE))
            return http_head_fail(p, e);
        p->mark = (uint32_t)(++s - buf);
        /* fall through */
    case S_VERSION:
        for (size_t i = (size_t)(s - buf) - p->mark; i < HTTP_VERSION_LEN && s < end; i++)
            if (!http_version_byte(i, *s++))
                FAIL(VERSION_SYNTAX);
        if (s == end)
            MORE(S_VERSION);
        if (*s != '\r')
            FAIL(VERSION_SYNTAX);
        if (s[-3] != '1')
            FAIL(VERSION_UNSUPPORTED);
        if (s[-1] == '0')
            p->flags |= HTTP_F_HTTP10;
        s++;
        /* fall through */
    case S_LINE_LF:
        if (s == end)
            MORE(S_LINE_LF);
        if (*s++ != '\n')
            FAIL(LINE_END);
        break;
    case S_TARGET_HEX1:
    hex1:
        if (s == end)
            MORE(S_TARGET_HEX1);
        if (s >= buf + p->mark + set->max_uri_bytes)
            FAIL(TARGET_TOO_LONG);
        if (!http_is(*s++, HTTP_C_HEX))
            FAIL(TARGET_ESCAPE);
        /* fall through */
    case S_TARGET_HEX2:
        if (s == end)
            MORE(S_TARGET_HEX2);
        if (s >= buf + p->mark + set->max_uri_bytes)
            FAIL(TARGET_TOO_LONG);
        if (!http_is(*s++, HTTP_C_HEX))
            FAIL(TARGET_ESCAPE);
        goto target;
    }
    *at = s;
    return HTTP_READY;
}
#undef MORE

/* What a byte that is no token may be at the start of a field line: nothing good. */
static enum http_error http_field_error(char c)
{
    if (c == ' ' || c == '\t')
        return HTTP_ERROR_HEADER_FOLD;
    return c == '\n' ? HTTP_ERROR_LINE_END : HTTP_ERROR_HEADER_NAME;
}

/* The input ends, or the section's limit is reached and there are bytes behind it. */
static enum http_result http_fields_pause(struct http_parser *p, const char *buf, const char *s,
                                          const char *end, uint8_t state)
{
    return s < end ? http_head_fail(p, HTTP_ERROR_HEADER_TOO_LARGE)
                   : http_head_more(p, buf, s, state);
}

/*
 * A line "Host: name:port" as almost every client sends it, where it sends it, in one go: where the
 * next line starts. `s`: it is not all here, or not so plain; nothing has happened.
 */
static inline const char *http_plain_host(struct http_parser *p, const struct settings *set,
                                          const char *s, const char *stop)
{
    if (unlikely(stop - s < 8 || !http_lower_equals(s, "host", 4) || memcmp(s + 4, ": ", 2) ||
                 (p->flags & HTTP_F_HOST) || p->fields == set->max_header_fields))
        return s;
    const char *name = s + 6, *port = http_name_run(name, stop), *last = port;

    if (port < stop && *port == ':')
        last = http_run(port + 1, stop, HTTP_C_DIGIT);
    if (unlikely(port == name || stop - last < 2 || memcmp(last, "\r\n", 2)))
        return s;
    p->flags |= HTTP_F_HOST;
    p->fields++;
    return last + 2;
}

#define PAUSE(at) return http_fields_pause(p, buf, s, end, at)

/* The header section, to the LF of the empty line that ends it. */
static enum http_result http_parse_fields(struct http_parser *p, const struct settings *set,
                                          const char *buf, const char **at, const char *end)
{
    /* the section begins where the request line ends; nothing is looked at beyond `stop` */
    size_t limit = http_fields_offset(p) + set->max_header_bytes;
    const char *s = *at, *stop = (size_t)(end - buf) > limit ? buf + limit : end;

    switch (p->state) {
    case S_FIELD:
        s = http_plain_host(p, set, s, stop);
    field:
        if (unlikely(s == stop))
            PAUSE(S_FIELD);
        if (*s == '\r') {
            s++;
            goto end_lf;
        }
        if (unlikely(!http_is(*s, HTTP_C_TOKEN)))
            return http_head_fail(p, http_field_error(*s));
        if (unlikely(p->fields == set->max_header_fields))
            FAIL(HEADER_TOO_MANY);
        p->fields++;
        p->mark = (uint32_t)(s - buf);
        /* fall through */
    case S_NAME:
        s = http_token_run(s, stop);
        if (unlikely(s == stop))
            PAUSE(S_NAME);
        if (unlikely(*s != ':'))
            FAIL(HEADER_NAME);
        p->header = http_field_find(buf + p->mark, (size_t)(s - buf) - p->mark);
        s++;
        /* fall through */
    case S_VALUE_FIRST:
        while (s < stop && (*s == ' ' || *s == '\t'))
            s++;
        if (unlikely(s == stop))
            PAUSE(S_VALUE_FIRST);
        p->mark = (uint32_t)(s - buf);
        /* fall through */
    case S_VALUE:
        s = http_value_run(buf, s, stop);
        if (unlikely(s == stop))
            PAUSE(S_VALUE);
        if (unlikely(*s != '\r'))
            return http_head_fail(p, *s == '\n' ? HTTP_ERROR_LINE_END : HTTP_ERROR_HEADER_VALUE);
        s++;
        /* fall through */
    case S_VALUE_LF:
        if (unlikely(s == stop))
            PAUSE(S_VALUE_LF);
        if (unlikely(*s++ != '\n'))
            FAIL(LINE_END);
        if (p->header != FIELD_OTHER) {
            enum http_error e = http_field_end(p, buf + p->mark, (size_t)(s - buf) - 2 - p->mark);
            if (unlikely(e != HTTP_ERROR_NONE))
                return http_head_fail(p, e);
        }
        goto field;
    case S_END_LF:
    end_lf:
        if (unlikely(s == stop))
            PAUSE(S_END_LF);
        if (unlikely(*s++ != '\n'))
            FAIL(LINE_END);
        break;
    }
    *at = s;
    return HTTP_READY;
}
#undef PAUSE
#undef FAIL

enum http_result http_parse_head(struct http_parser *p, const struct settings *set, const char *buf,
                                 size_t len, size_t *consumed)
{
    const char *s = buf + p->pos, *const end = buf + len;
    enum http_result r;

    *consumed = 0;
    const char *fields = likely(p->state == S_START) ? http_plain_line(p, set, buf, end) : NULL;
    if (likely(fields != NULL)) {
        s = fields;
        p->fields = 0;
        p->state = S_FIELD;
    } else if (p->state < S_FIELD) {
        r = http_parse_line(p, set, buf, &s, end);
        if (unlikely(r != HTTP_READY)) {
            /* empty lines alone: only their number is kept */
            if (r == HTTP_MORE && p->state == S_START) {
                *consumed = p->pos;
                p->fields = (uint16_t)(p->fields + p->pos / 2);
                p->pos = 0;
            }
            return r;
        }
        p->fields = 0;
        p->state = S_FIELD;
    }
    r = http_parse_fields(p, set, buf, &s, end);
    if (unlikely(r != HTTP_READY))
        return r;
    *consumed = (size_t)(s - buf);
    if (p->flags & HTTP_F_QUERY) {
        const char *target = buf + p->target_off, *mark = memchr(target, '?', p->target_len);
        assert(mark); /* in an authority it is refused */
        p->path_len = (uint32_t)(mark - target);
    }
    enum http_error e = http_head_end(p, set);
    return likely(e == HTTP_ERROR_NONE) ? HTTP_READY : http_head_fail(p, e);
}
