/* SPDX-License-Identifier: MIT */
/*
 * reply_parse.c - see reply.h: the machine of the head. Fields are understood by reply_field.h, bodies
 * decoded by http_body.c.
 */
#include "config.h"

#include "reply.h"

#include <string.h>

#include "http_internal.h"
#include "reply_field.h"
#include "settings.h"
#include "util.h"

enum {
    S_VERSION, /* reply.seen bytes of "HTTP/1." so far */
    S_MINOR,
    S_VERSION_SPACE,
    S_STATUS, /* reply.seen digits so far */
    S_STATUS_SPACE,
    S_REASON,
    S_LINE_LF,
    S_FIELD, /* at the beginning of a line */
    S_NAME,
    S_VALUE_START,
    S_VALUE,
    S_VALUE_LF,
    S_END_LF,
    S_BODY,
};

void reply_init(struct reply *r, bool to_head)
{
    memset(r, 0, sizeof(*r));
    if (to_head)
        r->flags = R_TO_HEAD;
}

bool reply_has_head(const struct reply *r)
{
    return r->flags & R_HAS_HEAD;
}

static enum reply_result reply_fail(struct reply *r, enum reply_error error)
{
    r->error = (uint8_t)error;
    return REPLY_FAIL;
}

/* ---- the head ---- */

/* The head has ended: what follows it? */
static enum reply_error reply_head_end(struct reply *r)
{
    bool interim = r->status < 200, bodyless = interim || r->status == 204;
    uint64_t length = r->length;

    if (r->status == 101)
        return REPLY_ERROR_UPGRADE;
    if ((r->flags & R_LENGTH) && bodyless)
        return REPLY_ERROR_LENGTH_FORBIDDEN;
    if ((r->flags & R_CHUNKED) && (bodyless || (r->flags & R_HTTP10)))
        return REPLY_ERROR_CODING_FORBIDDEN;
    if ((r->flags & R_LENGTH) && (r->flags & R_CHUNKED))
        return REPLY_ERROR_LENGTH_AND_CODING;
    if (interim) {
        uint8_t count = (uint8_t)(r->interim + 1);
        if (count > REPLY_INTERIM_MAX)
            return REPLY_ERROR_INTERIM;
        reply_init(r, r->flags & R_TO_HEAD);
        r->interim = count;
        return REPLY_ERROR_NONE;
    }
    r->flags |= R_HAS_HEAD;
    r->state = S_BODY;
    if (bodyless || r->status == 304 || (r->flags & R_TO_HEAD) ||
        ((r->flags & R_LENGTH) && length == 0)) {
        r->flags |= R_NO_BODY;
    } else if (r->flags & (R_LENGTH | R_CHUNKED)) {
        http_parser_init(&r->body);
        r->body.flags = HTTP_F_BODY | (r->flags & R_CHUNKED ? HTTP_F_CHUNKED : 0);
        r->body.left = length;
        http_body_begin(&r->body);
    } else {
        r->flags |= R_UNTIL_END;
    }
    return REPLY_ERROR_NONE;
}

static enum reply_error reply_status_byte(struct reply *r, char c)
{
    static const char version[] = "HTTP/1.";

    switch (r->state) {
    case S_VERSION:
        if (c != version[r->seen++])
            return REPLY_ERROR_VERSION;
        if (r->seen == sizeof(version) - 1)
            r->state = S_MINOR;
        return REPLY_ERROR_NONE;
    case S_MINOR: /* a later one is read as 1.1 (RFC 9110 section 2.5) */
        if (c == '0')
            r->flags |= R_HTTP10;
        r->state = S_VERSION_SPACE;
        return http_is(c, HTTP_C_DIGIT) ? REPLY_ERROR_NONE : REPLY_ERROR_VERSION;
    case S_VERSION_SPACE:
        r->state = S_STATUS;
        r->seen = 0;
        return c == ' ' ? REPLY_ERROR_NONE : REPLY_ERROR_VERSION;
    case S_STATUS:
        if (!http_is(c, HTTP_C_DIGIT))
            return REPLY_ERROR_STATUS;
        r->status = (uint16_t)(r->status * 10 + (c - '0'));
        if (++r->seen == 3)
            r->state = S_STATUS_SPACE;
        return REPLY_ERROR_NONE;
    default: /* S_STATUS_SPACE: it is there even where no reason is (RFC 9112 section 4) */
        r->state = S_REASON;
        return c == ' ' && r->status >= 100 && r->status <= 599 ? REPLY_ERROR_NONE
                                                                : REPLY_ERROR_STATUS;
    }
}

static enum reply_error reply_field_byte(struct reply *r, char c)
{
    if (c == '\r') {
        r->state = S_END_LF;
        return REPLY_ERROR_NONE;
    }
    if (reply_is_space(c))
        return r->fields ? REPLY_ERROR_FIELD_FOLD : REPLY_ERROR_FIELD_NAME;
    if (!http_is(c, HTTP_C_TOKEN))
        return c == '\n' ? REPLY_ERROR_LINE_END : REPLY_ERROR_FIELD_NAME;
    if (++r->fields > REPLY_FIELDS_MAX)
        return REPLY_ERROR_TOO_MANY;
    r->seen = 0;
    r->state = S_NAME;
    reply_name_byte(r, c);
    return REPLY_ERROR_NONE;
}

/* A byte that ends a value or a reason, or must not be there. */
static enum reply_error reply_line_end(struct reply *r, char c, unsigned next,
                                       enum reply_error otherwise)
{
    if (c != '\r')
        return c == '\n' ? REPLY_ERROR_LINE_END : otherwise;
    r->state = (uint8_t)next;
    return REPLY_ERROR_NONE;
}

static enum reply_error reply_lf(struct reply *r, char c, unsigned next)
{
    r->state = (uint8_t)next;
    return c == '\n' ? REPLY_ERROR_NONE : REPLY_ERROR_LINE_END;
}

/* One byte of the head that is in no run (below). */
static enum reply_error reply_byte(struct reply *r, char c)
{
    switch (r->state) {
    case S_REASON: return reply_line_end(r, c, S_LINE_LF, REPLY_ERROR_REASON);
    case S_LINE_LF: return reply_lf(r, c, S_FIELD);
    case S_FIELD: return reply_field_byte(r, c);
    case S_NAME:
        if (c == ':') {
            r->state = S_VALUE_START;
            return reply_name_end(r);
        }
        reply_name_byte(r, c);
        return http_is(c, HTTP_C_TOKEN) ? REPLY_ERROR_NONE : REPLY_ERROR_FIELD_NAME;
    case S_VALUE_START:
    case S_VALUE: {
        enum reply_error error = reply_line_end(r, c, S_VALUE_LF, REPLY_ERROR_FIELD_VALUE);
        return error ? error : reply_value_end(r);
    }
    case S_VALUE_LF: return reply_lf(r, c, S_FIELD);
    case S_END_LF: return c == '\n' ? reply_head_end(r) : REPLY_ERROR_LINE_END;
    default: return reply_status_byte(r, c);
    }
}

/* Bytes at `data` that do not end the present part of the head: they are gone over in one go. */
static size_t reply_run(struct reply *r, const char *data, size_t len, enum reply_error *error)
{
    const char *end = data + len;
    size_t space = 0;

    if (r->state == S_REASON)
        return (size_t)(http_run(data, end, HTTP_C_VALUE) - data);
    if (r->state == S_VALUE_START) {
        while (space < len && reply_is_space(data[space]))
            space++;
        if (space == len)
            return len;
        r->state = S_VALUE;
        if (r->field == NAME_DATE)
            r->date_off = r->head_len + (uint32_t)space;
    }
    if (r->state != S_VALUE)
        return 0;
    size_t n = (size_t)(http_run(data + space, end, HTTP_C_VALUE) - data) - space;
    if (r->field != NAME_OTHER && r->field != NAME_DATE)
        *error = reply_value_bytes(r, data + space, n);
    return space + n;
}

/* REPLY_DONE: the head is complete. */
static enum reply_result reply_parse_head(struct reply *r, const char *data, size_t len,
                                          size_t *consumed)
{
    enum reply_error error = REPLY_ERROR_NONE;
    size_t at = 0;

    while (at < len && r->state != S_BODY) {
        uint32_t room = REPLY_HEAD_MAX - r->head_len;
        if (room == 0)
            return reply_fail(r, REPLY_ERROR_TOO_LARGE);
        size_t n = reply_run(r, data + at, MIN(len - at, room), &error);
        if (error)
            return reply_fail(r, error);
        at += n;
        r->head_len += (uint32_t)n;
        if (n == 0) {
            r->head_len++;
            error = reply_byte(r, data[at++]);
            if (error)
                return reply_fail(r, error);
        }
    }
    *consumed = at;
    return r->state == S_BODY ? REPLY_DONE : REPLY_MORE;
}

/* ---- the body ---- */

/* What chunked bodies may contain; of their size there is no limit. */
static const struct settings reply_limits = {.max_body_bytes = INT64_MAX,
                                             .max_chunk_ext_bytes = 4096,
                                             .max_header_bytes = REPLY_HEAD_MAX,
                                             .max_header_fields = REPLY_FIELDS_MAX};

static enum reply_result reply_parse_body(struct reply *r, const char *data, size_t len,
                                          size_t *consumed, const char **body, size_t *body_len)
{
    *consumed = 0;
    if (r->flags & R_NO_BODY)
        return REPLY_DONE;
    if (r->flags & R_UNTIL_END) {
        *consumed = *body_len = len;
        *body = data;
        return len ? REPLY_BODY : REPLY_MORE;
    }
    switch (http_parse_body(&r->body, &reply_limits, data, len, consumed, body, body_len)) {
    case HTTP_MORE: return REPLY_MORE;
    case HTTP_READY: return REPLY_BODY;
    case HTTP_DONE: return REPLY_DONE;
    default: return reply_fail(r, REPLY_ERROR_BODY);
    }
}

enum reply_result reply_parse(struct reply *r, const char *data, size_t len, size_t *consumed,
                              const char **body, size_t *body_len)
{
    size_t head = 0;

    *consumed = 0;
    if (r->state != S_BODY) {
        enum reply_result result = reply_parse_head(r, data, len, &head);
        if (result != REPLY_DONE) {
            *consumed = head;
            return result;
        }
    }
    enum reply_result result =
        reply_parse_body(r, data + head, len - head, consumed, body, body_len);
    *consumed += head;
    return result;
}

enum reply_result reply_end(const struct reply *r)
{
    return r->state == S_BODY && (r->flags & R_UNTIL_END) ? REPLY_DONE : REPLY_FAIL;
}

bool reply_persists(const struct reply *r)
{
    if (r->flags & (R_CLOSE | R_UNTIL_END))
        return false;
    return !(r->flags & R_HTTP10) || (r->flags & R_KEEP_ALIVE);
}

const char *reply_error_text(const struct reply *r)
{
    static const char *const texts[] = {
#define REPLY_TEXT_(sym, text) text,
        REPLY_ERRORS(REPLY_TEXT_)
#undef REPLY_TEXT_
    };

    return r->error == REPLY_ERROR_BODY ? http_error_text(r->body.error) : texts[r->error];
}

const char *reply_error_name(const struct reply *r)
{
    static const char *const names[] = {
#define REPLY_NAME_(sym, text) #sym,
        REPLY_ERRORS(REPLY_NAME_)
#undef REPLY_NAME_
    };

    return r->error == REPLY_ERROR_BODY ? http_error_name(r->body.error) : names[r->error];
}
