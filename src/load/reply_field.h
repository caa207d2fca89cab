/* SPDX-License-Identifier: MIT */
/*
 * reply_field.h - the fields of a response's head that matter, for reply_parse.c: their names and
 * values are compared as they come, since a head may be cut anywhere. Inline, as they would be a call
 * a byte.
 */
#ifndef BIVALVE_REPLY_FIELD_H
#define BIVALVE_REPLY_FIELD_H

#include "reply.h"
#include "util.h"

/* reply.flags */
enum {
    R_TO_HEAD = 1 << 0,
    R_HTTP10 = 1 << 1,
    R_LENGTH = 1 << 2,
    R_CHUNKED = 1 << 3,
    R_CLOSE = 1 << 4,
    R_KEEP_ALIVE = 1 << 5,
    R_DATE = 1 << 6,      /* one was seen */
    R_HAS_HEAD = 1 << 7,  /* the final head is complete */
    R_UNTIL_END = 1 << 8, /* the body ends with the connection */
    R_NO_BODY = 1 << 9,
};

enum { NAME_OTHER, NAME_CONNECTION, NAME_LENGTH, NAME_CODING, NAME_DATE, NAMES };

static const struct {
    const char *text;
    uint8_t len;
} reply_names[NAMES] = {
    [NAME_OTHER] = {"", 0},
    [NAME_CONNECTION] = {"connection", 10},
    [NAME_LENGTH] = {"content-length", 14},
    [NAME_CODING] = {"transfer-encoding", 17},
    [NAME_DATE] = {"date", 4},
};

/* reply.value: of lists and numbers */
enum {
    V_START,  /* nothing but white space yet */
    V_WORD,   /* in the word that is wanted, reply.value_seen bytes of it */
    V_WORD_2, /* the same, of keep-alive */
    V_OTHER,  /* in an element that is none of ours */
    V_AFTER,  /* white space behind it, or behind the number */
    V_AFTER_2,
};

static inline char reply_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static inline bool reply_is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* ---- names ---- */

/* The next byte of a name, the first when reply.seen is 0. */
static inline void reply_name_byte(struct reply *r, char c)
{
    c = reply_lower(c);
    if (r->seen == 0) {
        r->field = c == 'c'   ? NAME_CONNECTION
                   : c == 't' ? NAME_CODING
                   : c == 'd' ? NAME_DATE
                              : NAME_OTHER;
    } else if (r->field == NAME_CONNECTION && r->seen == 3 && c == 't') {
        r->field = NAME_LENGTH; /* as long as it was "con", it was both */
    } else if (r->field != NAME_OTHER &&
               (r->seen >= reply_names[r->field].len || c != reply_names[r->field].text[r->seen])) {
        r->field = NAME_OTHER;
    }
    if (r->seen < UINT8_MAX)
        r->seen++;
}

/* The colon: which field is it? */
static inline enum reply_error reply_name_end(struct reply *r)
{
    if (r->seen != reply_names[r->field].len)
        r->field = NAME_OTHER;
    r->value = V_START;
    r->value_seen = 0;
    switch (r->field) {
    case NAME_LENGTH:
        if (r->flags & R_LENGTH)
            return REPLY_ERROR_LENGTH_REPEATED;
        r->flags |= R_LENGTH;
        break;
    case NAME_CODING:
        if (r->flags & R_CHUNKED)
            return REPLY_ERROR_CODING_REPEATED;
        r->flags |= R_CHUNKED;
        break;
    case NAME_DATE:
        r->date_off = 0;
        if (r->flags & R_DATE) /* of two, none is to be passed over in comparing */
            r->field = NAME_OTHER;
        r->flags |= R_DATE;
        break;
    default: break;
    }
    return REPLY_ERROR_NONE;
}

/* ---- values ---- */

static inline enum reply_error reply_length_byte(struct reply *r, char c)
{
    if (reply_is_space(c)) {
        if (r->value == V_WORD)
            r->value = V_AFTER;
        return REPLY_ERROR_NONE;
    }
    unsigned digit = (unsigned)(c - '0');
    if (r->value == V_AFTER || digit > 9 || r->length > ((uint64_t)INT64_MAX - digit) / 10)
        return REPLY_ERROR_LENGTH;
    r->length = r->length * 10 + digit;
    r->value = V_WORD;
    return REPLY_ERROR_NONE;
}

static inline enum reply_error reply_coding_byte(struct reply *r, char c)
{
    static const char chunked[] = "chunked";

    if (reply_is_space(c)) {
        if (r->value == V_WORD)
            r->value = V_AFTER;
        return REPLY_ERROR_NONE;
    }
    if (r->value == V_AFTER || reply_lower(c) != chunked[r->value_seen] ||
        r->value_seen >= sizeof(chunked) - 1)
        return REPLY_ERROR_CODING;
    r->value_seen++;
    r->value = V_WORD;
    return REPLY_ERROR_NONE;
}

static const char reply_close[] = "close", reply_keep_alive[] = "keep-alive";

/* An element of Connection has ended. */
static inline void reply_connection_end(struct reply *r)
{
    if ((r->value == V_WORD || r->value == V_AFTER) && r->value_seen == sizeof(reply_close) - 1)
        r->flags |= R_CLOSE;
    if ((r->value == V_WORD_2 || r->value == V_AFTER_2) &&
        r->value_seen == sizeof(reply_keep_alive) - 1)
        r->flags |= R_KEEP_ALIVE;
    r->value = V_START;
    r->value_seen = 0;
}

static inline void reply_connection_byte(struct reply *r, char c)
{
    c = reply_lower(c);
    if (c == ',') {
        reply_connection_end(r);
    } else if (reply_is_space(c)) {
        if (r->value == V_WORD)
            r->value = V_AFTER;
        else if (r->value == V_WORD_2)
            r->value = V_AFTER_2;
    } else {
        if (r->value == V_START)
            r->value = c == 'k' ? V_WORD_2 : V_WORD;
        const char *word = r->value == V_WORD_2 ? reply_keep_alive : reply_close;
        /* At the word's end its NUL is what c is not. */
        if ((r->value == V_WORD || r->value == V_WORD_2) && c == word[r->value_seen])
            r->value_seen++;
        else
            r->value = V_OTHER;
    }
}

/* The pieces of a value, `len` bytes that are allowed in one. */
static inline enum reply_error reply_value_bytes(struct reply *r, const char *data, size_t len)
{
    enum reply_error error = REPLY_ERROR_NONE;

    for (size_t i = 0; i < len && !error; i++) {
        if (r->field == NAME_LENGTH)
            error = reply_length_byte(r, data[i]);
        else if (r->field == NAME_CODING)
            error = reply_coding_byte(r, data[i]);
        else
            reply_connection_byte(r, data[i]);
    }
    return error;
}

/* The value is complete: can it be one? */
static inline enum reply_error reply_value_end(struct reply *r)
{
    switch (r->field) {
    case NAME_LENGTH: return r->value == V_START ? REPLY_ERROR_LENGTH : REPLY_ERROR_NONE;
    case NAME_CODING: return r->value_seen != 7 ? REPLY_ERROR_CODING : REPLY_ERROR_NONE;
    case NAME_CONNECTION: reply_connection_end(r); return REPLY_ERROR_NONE;
    case NAME_DATE:
        if (r->head_len - 1 - r->date_off != REPLY_DATE_LEN) /* the CR is counted already */
            r->date_off = 0;
        return REPLY_ERROR_NONE;
    default: return REPLY_ERROR_NONE;
    }
}

#endif
