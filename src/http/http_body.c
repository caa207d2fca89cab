/* SPDX-License-Identifier: MIT */
/*
 * http_body.c - bodies as streams: by Content-Length, or the chunked decoder (RFC 9112
 * section 7.1).
 *
 * Nothing is kept but where the machine stands. In the chunked decoder parser.pos counts what the
 * present part may have at most: digits of a size, bytes of a chunk's extensions, bytes of the
 * trailer section; parser.mark counts the bytes of all extensions of the message, then those of a
 * trailer field's name; parser.header is the set of names it may still become.
 */
#include "config.h"

#include "http_internal.h"
#include "settings.h"
#include "util.h"

#define CHUNK_DIGITS_MAX 16 /* of a chunk size, leading zeros included */
#define CHUNK_EXT_MESSAGE \
    16 /* a message may have so many times --max-chunk-ext-bytes of extensions in all */

enum {
    B_LENGTH,
    B_CHUNKED, /* not a byte of it yet: the target is still there, where body_room will be */
    C_SIZE_FIRST,
    C_SIZE,
    C_EXT_SEMICOLON, /* or white space before it */
    C_EXT_NAME_FIRST,
    C_EXT_NAME,
    C_EXT_EQUALS, /* or white space before it, or the next extension */
    C_EXT_VALUE_FIRST,
    C_EXT_VALUE,
    C_EXT_QUOTED,
    C_EXT_QUOTED_PAIR,
    C_EXT_QUOTED_END,
    C_SIZE_LF,
    C_DATA,
    C_DATA_CR,
    C_DATA_LF,
    T_FIELD,
    T_NAME,
    T_VALUE,
    T_VALUE_LF,
    T_END_LF,
};

void http_body_begin(struct http_parser *p)
{
    p->state = p->flags & HTTP_F_CHUNKED ? B_CHUNKED : B_LENGTH;
    p->fields = 0;
}

/* The first chunk comes; the target is not needed any more. */
static void chunked_begin(struct http_parser *p, uint64_t max)
{
    p->pos = p->mark = 0;
    p->body_room = max ? max : INT64_MAX;
    p->state = C_SIZE_FIRST;
}

bool http_limit_body(struct http_parser *p, uint64_t max)
{
    if (p->state == B_CHUNKED)
        chunked_begin(p, max);
    else if (p->left > max)
        p->error = HTTP_ERROR_BODY_TOO_LARGE;
    return p->error == HTTP_ERROR_NONE;
}

static unsigned hex_value(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/* One more byte of extensions; their CRLF is not counted. */
static bool chunk_ext_count(struct http_parser *p, const struct settings *set)
{
    return ++p->pos <= set->max_chunk_ext_bytes &&
           ++p->mark <= CHUNK_EXT_MESSAGE * set->max_chunk_ext_bytes;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* What may follow a size or a complete extension: another extension, or the end of the line. */
static bool chunk_ext_next(struct http_parser *p, char c)
{
    if (c == ';')
        p->state = C_EXT_NAME_FIRST;
    else if (c == '\r')
        p->state = C_SIZE_LF;
    else if (is_space(c))
        p->state = C_EXT_SEMICOLON;
    else
        return false;
    return true;
}

static enum http_error chunk_size_byte(struct http_parser *p, const struct settings *set, char c)
{
    if (p->state == C_SIZE_FIRST) {
        p->left = 0;
        p->pos = 0;
    }
    if (http_is(c, HTTP_C_HEX)) {
        if (++p->pos > CHUNK_DIGITS_MAX || p->left >> 59)
            return HTTP_ERROR_CHUNK_SIZE;
        p->left = p->left << 4 | hex_value(c);
        p->state = C_SIZE;
        return HTTP_ERROR_NONE;
    }
    if (p->state == C_SIZE_FIRST || (c != '\r' && c != ';' && !is_space(c)))
        return HTTP_ERROR_CHUNK_SIZE;
    p->pos = 0;
    chunk_ext_next(p, c);
    if (c != '\r' && !chunk_ext_count(p, set))
        return HTTP_ERROR_CHUNK_EXTENSION_TOO_LONG;
    return HTTP_ERROR_NONE;
}

/*
 * chunk-ext: BWS ";" BWS name [BWS "=" BWS (token or quoted-string)]. The white space is bad, and
 * must be taken (RFC 9110 section 5.6.3), but only there: a size or an extension that ends in it
 * has no ";" behind it and is refused.
 */
static enum http_error chunk_ext_byte(struct http_parser *p, const struct settings *set, char c)
{
    bool token = http_is(c, HTTP_C_TOKEN), space = is_space(c), ok = true;

    if (c != '\r' && !chunk_ext_count(p, set))
        return HTTP_ERROR_CHUNK_EXTENSION_TOO_LONG;
    switch (p->state) {
    case C_EXT_SEMICOLON: ok = space || (c == ';' && chunk_ext_next(p, c)); break;
    case C_EXT_NAME_FIRST:
        ok = token || space;
        if (token)
            p->state = C_EXT_NAME;
        break;
    case C_EXT_NAME:
        if (c == '=')
            p->state = C_EXT_VALUE_FIRST;
        else if (space)
            p->state = C_EXT_EQUALS;
        else
            ok = token || chunk_ext_next(p, c);
        break;
    case C_EXT_EQUALS:
        if (c == '=')
            p->state = C_EXT_VALUE_FIRST;
        else
            ok = space || (c == ';' && chunk_ext_next(p, c));
        break;
    case C_EXT_VALUE_FIRST:
        ok = token || space || c == '"';
        if (!space)
            p->state = c == '"' ? C_EXT_QUOTED : C_EXT_VALUE;
        break;
    case C_EXT_VALUE: ok = token || chunk_ext_next(p, c); break;
    case C_EXT_QUOTED:
        if (c == '"')
            p->state = C_EXT_QUOTED_END;
        else if (c == '\\')
            p->state = C_EXT_QUOTED_PAIR;
        else
            ok = http_is(c, HTTP_C_VALUE);
        break;
    case C_EXT_QUOTED_PAIR:
        ok = http_is(c, HTTP_C_VALUE);
        p->state = C_EXT_QUOTED;
        break;
    default: /* C_EXT_QUOTED_END */ ok = chunk_ext_next(p, c); break;
    }
    return ok ? HTTP_ERROR_NONE : HTTP_ERROR_CHUNK_EXTENSION;
}

/* The line of a chunk's size has ended. */
static enum http_error chunk_begin(struct http_parser *p, char c)
{
    if (c != '\n')
        return HTTP_ERROR_LINE_END;
    p->pos = 0;
    if (p->left == 0) {
        p->state = T_FIELD;
        return HTTP_ERROR_NONE;
    }
    if (p->left > p->body_room)
        return HTTP_ERROR_BODY_TOO_LARGE;
    p->body_room -= p->left;
    p->state = C_DATA;
    return HTTP_ERROR_NONE;
}

/*
 * Fields that say where a message ends or whose it is must not come after it (RFC 9110
 * section 6.5.1). Ignoring them would do for this server, but somebody in front of it may have
 * merged them into the head: refused.
 */
static const char *const trailer_forbidden[] = {"host", "content-length", "transfer-encoding"};

/* Byte p->mark of a trailer field's name: which of the forbidden ones can it still be? */
static void trailer_name_byte(struct http_parser *p, char c)
{
    for (unsigned i = 0; i < ARRAY_LEN(trailer_forbidden); i++) {
        const char *name = trailer_forbidden[i];
        if ((p->header & 1u << i) && (c | 0x20) != name[p->mark])
            p->header &= (uint8_t) ~(1u << i);
    }
    p->mark++;
}

/* A trailer field's name is complete. */
static bool trailer_name_forbidden(const struct http_parser *p)
{
    for (unsigned i = 0; i < ARRAY_LEN(trailer_forbidden); i++)
        if ((p->header & 1u << i) && p->mark == strlen(trailer_forbidden[i]))
            return true;
    return false;
}

/*
 * A trailer section is checked like a header section and then forgotten: no field of it means
 * anything here.
 */
static enum http_error trailer_byte(struct http_parser *p, const struct settings *set, char c)
{
    if (++p->pos > set->max_header_bytes)
        return HTTP_ERROR_TRAILER_TOO_LARGE;
    switch (p->state) {
    case T_FIELD:
        if (c == '\r') {
            p->state = T_END_LF;
            return HTTP_ERROR_NONE;
        }
        if (!http_is(c, HTTP_C_TOKEN))
            return HTTP_ERROR_TRAILER_SYNTAX;
        if (p->fields == set->max_header_fields)
            return HTTP_ERROR_TRAILER_TOO_LARGE;
        p->fields++;
        p->header = (1u << ARRAY_LEN(trailer_forbidden)) - 1;
        p->mark = 0;
        trailer_name_byte(p, c);
        p->state = T_NAME;
        return HTTP_ERROR_NONE;
    case T_NAME:
        if (c == ':') {
            p->state = T_VALUE;
            return trailer_name_forbidden(p) ? HTTP_ERROR_TRAILER_FORBIDDEN : HTTP_ERROR_NONE;
        }
        trailer_name_byte(p, c);
        return http_is(c, HTTP_C_TOKEN) ? HTTP_ERROR_NONE : HTTP_ERROR_TRAILER_SYNTAX;
    case T_VALUE:
        if (c == '\r')
            p->state = T_VALUE_LF;
        else if (!http_is(c, HTTP_C_VALUE))
            return HTTP_ERROR_TRAILER_SYNTAX;
        return HTTP_ERROR_NONE;
    default: /* T_VALUE_LF */
        p->state = T_FIELD;
        return c == '\n' ? HTTP_ERROR_NONE : HTTP_ERROR_LINE_END;
    }
}

/* Chunk data or a body of known length: as much of it as is here, from buf + i on. */
static inline enum http_result body_piece(struct http_parser *p, const char *buf, size_t i,
                                          size_t len, size_t *consumed, const char **body,
                                          size_t *body_len)
{
    size_t have = len - i, n = p->left < have ? (size_t)p->left : have;

    p->left -= n;
    if (!p->left && p->state == C_DATA)
        p->state = C_DATA_CR;
    *body = buf + i;
    *body_len = n;
    *consumed = i + n;
    return HTTP_READY;
}

#define CHUNK_PLAIN_DIGITS 8

/*
 * What stands before a chunk's data as almost every sender writes it, in one go: the CRLF of the
 * chunk before, the size, CRLF. How many bytes that is; 0: it is not all here, or not so plain, or
 * wrong, and nothing has happened.
 */
static size_t chunk_plain(struct http_parser *p, const char *s, size_t len)
{
    const char *at = s, *end = s + len;
    uint64_t size = 0;

    if (p->state == C_DATA_CR) {
        if (len < 2 || memcmp(at, "\r\n", 2))
            return 0;
        at += 2;
    }
    const char *digits = at, *stop = end - at > CHUNK_PLAIN_DIGITS ? at + CHUNK_PLAIN_DIGITS : end;
    for (; at < stop && http_is(*at, HTTP_C_HEX); at++)
        size = size << 4 | hex_value(*at);
    if (at == digits || end - at < 2 || memcmp(at, "\r\n", 2) || size > p->body_room)
        return 0;
    p->left = size;
    p->body_room -= size;
    p->pos = 0;
    p->state = size ? C_DATA : T_FIELD;
    return (size_t)(at + 2 - s);
}

enum http_result http_parse_body(struct http_parser *p, const struct settings *set, const char *buf,
                                 size_t len, size_t *consumed, const char **body, size_t *body_len)
{
    size_t i = 0;

    if (p->state == B_LENGTH && !p->left) {
        *consumed = 0;
        return HTTP_DONE;
    }
    if (p->state == B_CHUNKED)
        chunked_begin(p, set->max_body_bytes);
    if (p->state == C_SIZE_FIRST || p->state == C_DATA_CR)
        i = chunk_plain(p, buf, len);
    if (p->state == C_DATA && i < len)
        return body_piece(p, buf, i, len, consumed, body, body_len);
    if (p->state == T_FIELD && len - i >= 2 && !memcmp(buf + i, "\r\n", 2) &&
        p->pos + 2 <= set->max_header_bytes) { /* the trailer section ends, mostly at once */
        *consumed = i + 2;
        return HTTP_DONE;
    }
    while (i < len) {
        enum http_error e = HTTP_ERROR_NONE;
        char c = buf[i];

        switch (p->state) {
        case B_LENGTH:
        case C_DATA: return body_piece(p, buf, i, len, consumed, body, body_len);
        case C_SIZE_FIRST:
        case C_SIZE: e = chunk_size_byte(p, set, c); break;
        case C_SIZE_LF: e = chunk_begin(p, c); break;
        case C_DATA_CR:
            e = c == '\r' ? HTTP_ERROR_NONE : HTTP_ERROR_CHUNK_END;
            p->state = C_DATA_LF;
            break;
        case C_DATA_LF:
            e = c == '\n' ? HTTP_ERROR_NONE : HTTP_ERROR_CHUNK_END;
            p->state = C_SIZE_FIRST;
            break;
        case T_FIELD:
        case T_NAME:
        case T_VALUE:
        case T_VALUE_LF: e = trailer_byte(p, set, c); break;
        case T_END_LF:
            *consumed = i + 1;
            if (++p->pos > set->max_header_bytes)
                e = HTTP_ERROR_TRAILER_TOO_LARGE;
            else if (c == '\n')
                return HTTP_DONE;
            else
                e = HTTP_ERROR_LINE_END;
            break;
        default: e = chunk_ext_byte(p, set, c); break;
        }
        if (unlikely(e != HTTP_ERROR_NONE)) {
            p->error = (uint8_t)e;
            *consumed = i;
            return HTTP_FAIL;
        }
        i++;
    }
    *consumed = len;
    return HTTP_MORE;
}
