/* SPDX-License-Identifier: MIT */
/*
 * http_field.c - what the fields of a head mean that the server itself has to understand: Host,
 * Connection, Content-Length, Transfer-Encoding and Expect; and the authority of a target, which
 * has Host's syntax.
 */
#include "config.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

#include "http_internal.h"
#include "util.h"

bool http_host_valid(const char *s, size_t len, bool port)
{
    size_t i = 0;

    if (len && s[0] == '[') {
        const char *end = memchr(s, ']', len);
        char text[INET6_ADDRSTRLEN];
        struct in6_addr a;
        if (!end || (size_t)(end - s) > sizeof(text))
            return false;
        size_t n = (size_t)(end - s) - 1;
        memcpy(text, s + 1, n);
        text[n] = '\0';
        if (inet_pton(AF_INET6, text, &a) != 1)
            return false;
        i = n + 2;
    } else {
        i = (size_t)(http_run(s, s + len, HTTP_C_NAME) - s);
        for (; i < len && s[i] != ':'; i++) {
            if (s[i] == '%') {
                if (len - i < 3 || !http_is(s[i + 1], HTTP_C_HEX) || !http_is(s[i + 2], HTTP_C_HEX))
                    return false;
                i += 2;
            } else if (!http_is(s[i], HTTP_C_NAME)) {
                return false;
            }
        }
        if (i == 0)
            return false;
    }
    if (i == len)
        return !port;
    if (s[i++] != ':' || (port && i == len))
        return false;
    return http_run(s + i, s + len, HTTP_C_DIGIT) == s + len;
}

enum http_error http_target_absolute(struct http_parser *p, const char *s, size_t len, uint32_t off)
{
    size_t i;

    if (len > 7 && http_lower_equals(s, "http", 4) && !memcmp(s + 4, "://", 3))
        i = 7;
    else if (len > 8 && http_lower_equals(s, "https", 5) && !memcmp(s + 5, "://", 3))
        i = 8;
    else
        return HTTP_ERROR_TARGET_SYNTAX;
    size_t start = i;
    while (i < len && s[i] != '/' && s[i] != '?')
        i++;
    if (!http_host_valid(s + start, i - start, false))
        return HTTP_ERROR_TARGET_SYNTAX;
    if (memchr(s + i, '[', len - i) || memchr(s + i, ']', len - i))
        return HTTP_ERROR_TARGET_SYNTAX; /* the machine let them pass for the authority's sake */
    if (start == 8)
        return HTTP_ERROR_TARGET_SCHEME;
    p->flags |= HTTP_F_ABSOLUTE;
    p->target_off = off + (uint32_t)i;
    p->target_len = (uint32_t)(len - i);
    return HTTP_ERROR_NONE;
}

static enum http_error http_take_length(struct http_parser *p, const char *s, size_t len)
{
    uint64_t n = 0;

    if (p->flags & HTTP_F_LENGTH)
        return HTTP_ERROR_LENGTH_REPEATED;
    p->flags |= HTTP_F_LENGTH;
    if (!len)
        return HTTP_ERROR_LENGTH_SYNTAX;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return HTTP_ERROR_LENGTH_SYNTAX;
        unsigned digit = (unsigned)(s[i] - '0');
        if (n > ((uint64_t)INT64_MAX - digit) / 10)
            return HTTP_ERROR_LENGTH_SYNTAX;
        n = n * 10 + digit;
    }
    p->left = n;
    return HTTP_ERROR_NONE;
}

/* Next element of a comma-separated list, trimmed; false at its end. An empty one has *len 0. */
static bool http_list_next(const char **s, const char *end, const char **item, size_t *len)
{
    if (*s > end)
        return false;
    const char *p = *s;
    while (p < end && *p != ',')
        p++;
    const char *from = *s, *to = p;
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    *item = from;
    *len = (size_t)(to - from);
    *s = p + 1;
    return true;
}

/*
 * Transfer-Encoding, RFC 9112 section 6.1, over one or more fields. Empty elements and parameters
 * of chunked are legal to some readers and not to others: refused.
 */
static enum http_error http_take_coding(struct http_parser *p, const char *s, size_t len)
{
    const char *end = s + len, *item;
    size_t n;

    if (likely(len == 7 && !(p->flags & HTTP_F_CODING) && http_lower_equals(s, "chunked", 7))) {
        p->flags |= HTTP_F_CODING | HTTP_F_CHUNKED;
        return HTTP_ERROR_NONE;
    }
    p->flags |= HTTP_F_CODING;
    while (http_list_next(&s, end, &item, &n)) {
        size_t name = 0;
        while (name < n && http_is(item[name], HTTP_C_TOKEN))
            name++;
        if (!name || (name < n && item[name] != ';' && item[name] != ' ' && item[name] != '\t'))
            return HTTP_ERROR_CODING_SYNTAX;
        if (p->flags & HTTP_F_CHUNKED)
            return HTTP_ERROR_CODING_NOT_FINAL;
        if (name == 7 && http_lower_equals(item, "chunked", 7)) {
            if (name != n)
                return HTTP_ERROR_CODING_SYNTAX;
            p->flags |= HTTP_F_CHUNKED;
        } else {
            p->flags |= HTTP_F_UNKNOWN_CODING;
        }
    }
    return HTTP_ERROR_NONE;
}

static void http_take_connection(struct http_parser *p, const char *s, size_t len)
{
    const char *end = s + len, *item;
    size_t n;

    while (http_list_next(&s, end, &item, &n)) {
        if (n == 5 && http_lower_equals(item, "close", 5))
            p->flags |= HTTP_F_CLOSE;
        else if (n == 10 && http_lower_equals(item, "keep-alive", 10))
            p->flags |= HTTP_F_KEEP_ALIVE;
    }
}

static enum http_error http_take_expect(struct http_parser *p, const char *s, size_t len)
{
    if (p->flags & HTTP_F_HTTP10) /* RFC 9110 section 10.1.1: ignored */
        return HTTP_ERROR_NONE;
    if (len != 12 || memcmp(s, "100-", 4) || !http_lower_equals(s + 4, "continue", 8))
        return HTTP_ERROR_EXPECT_UNKNOWN;
    p->flags |= HTTP_F_EXPECT;
    return HTTP_ERROR_NONE;
}

enum http_error http_field_end(struct http_parser *p, const char *s, size_t len)
{
    while (len && (s[len - 1] == ' ' || s[len - 1] == '\t'))
        len--;
    switch (p->header) {
    case FIELD_HOST:
        if (p->flags & HTTP_F_HOST)
            return HTTP_ERROR_HOST_REPEATED;
        p->flags |= HTTP_F_HOST;
        return http_host_valid(s, len, false) ? HTTP_ERROR_NONE : HTTP_ERROR_HOST_SYNTAX;
    case FIELD_CONNECTION: http_take_connection(p, s, len); return HTTP_ERROR_NONE;
    case FIELD_LENGTH: return http_take_length(p, s, len);
    case FIELD_CODING: return http_take_coding(p, s, len);
    case FIELD_EXPECT: return http_take_expect(p, s, len);
    case FIELD_ACCEPT: p->flags |= HTTP_F_ACCEPT; return HTTP_ERROR_NONE;
    case FIELD_CONTENT:
        if (len && !(len == 8 && http_lower_equals(s, "identity", 8)))
            p->flags |= HTTP_F_ENCODED;
        return HTTP_ERROR_NONE;
    default: return HTTP_ERROR_NONE;
    }
}
