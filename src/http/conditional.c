/* SPDX-License-Identifier: MIT */
/*
 * conditional.c - see conditional.h.
 */
#include "config.h"

#include "conditional.h"

#include <string.h>
#include <strings.h>

#include "http_date.h"
#include "util.h"

/* ---- entity tags ---- */

/* OWS, and commas where elements are empty (RFC 9110 section 5.6.1). */
static const char *etag_skip(const char *s, const char *end)
{
    while (s < end && (*s == ' ' || *s == '\t' || *s == ','))
        s++;
    return s;
}

bool etag_in_list(const char *value, size_t len, const char *etag, bool weak)
{
    const char *s = value, *end = value + len;
    size_t want = strlen(etag);

    while ((s = etag_skip(s, end)) < end) {
        bool is_weak = end - s >= 2 && s[0] == 'W' && s[1] == '/';
        const char *tag = s + 2 * is_weak;
        if (tag == end || *tag != '"')
            return false;
        const char *close = memchr(tag + 1, '"', (size_t)(end - tag - 1));
        if (!close)
            return false;
        if ((weak || !is_weak) && (size_t)(close + 1 - tag) == want && !memcmp(tag, etag, want))
            return true;
        s = close + 1;
        while (s < end && (*s == ' ' || *s == '\t'))
            s++;
        if (s < end && *s != ',')
            return false;
    }
    return false;
}

/* ---- conditions ---- */

/* Does one of the lines called `name` say "*", or has it the tag? *there: there is such a line. */
static bool conditional_match(const struct request_head *head, const char *name, const char *etag,
                              bool weak, bool *there)
{
    const char *at = NULL, *value;
    bool match = false;
    size_t len;

    *there = false;
    while (request_head_field(head, name, &at, &value, &len)) {
        *there = true;
        match |= (len == 1 && *value == '*') || etag_in_list(value, len, etag, weak);
    }
    return match;
}

/* The date of the only line called `name`; false: there is none such. */
static bool conditional_date(const struct request_head *head, const char *name, time_t now,
                             time_t *t)
{
    const char *at = NULL, *value, *other;
    size_t len, other_len;

    return request_head_field(head, name, &at, &value, &len) &&
           http_date_parse(value, len, now, t) &&
           !request_head_field(head, name, &at, &other, &other_len);
}

enum conditional conditional_check(const struct request_head *head,
                                   const struct representation *rep, time_t now)
{
    bool there;
    time_t t;

    if (!conditional_match(head, "if-match", rep->etag, false, &there) && there)
        return CONDITIONAL_FAILED;
    if (!there && conditional_date(head, "if-unmodified-since", now, &t) && rep->modified > t)
        return CONDITIONAL_FAILED;
    if (conditional_match(head, "if-none-match", rep->etag, true, &there))
        return CONDITIONAL_NOT_MODIFIED;
    if (!there && conditional_date(head, "if-modified-since", now, &t) && rep->modified <= t)
        return CONDITIONAL_NOT_MODIFIED;
    return CONDITIONAL_PROCEED;
}

/* ---- ranges ---- */

/* Digits at *s into *v, which stops at the largest number there is. False: there is none. */
static bool range_digits(const char **s, const char *end, uint64_t *v)
{
    const char *p = *s;

    for (*v = 0; p < end && *p >= '0' && *p <= '9'; p++) {
        unsigned digit = (unsigned)(*p - '0');
        *v = *v > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *v * 10 + digit;
    }
    bool some = p > *s;
    *s = p;
    return some;
}

enum range range_parse(const char *value, size_t len, uint64_t size, uint64_t *first,
                       uint64_t *count)
{
    static const char unit[] = "bytes=";
    const char *s = value + sizeof(unit) - 1, *end = value + len;
    uint64_t from, to = UINT64_MAX;

    if (len < sizeof(unit) || strncasecmp(value, unit, sizeof(unit) - 1))
        return RANGE_WHOLE;
    while (s < end && (*s == ' ' || *s == '\t'))
        s++;
    bool has_from = range_digits(&s, end, &from);
    if (s == end || *s++ != '-')
        return RANGE_WHOLE;
    bool has_to = range_digits(&s, end, &to);
    if (s != end || !(has_from || has_to) || (has_from && has_to && to < from))
        return RANGE_WHOLE; /* several, or malformed */
    if (!has_from) {        /* the last `to` bytes */
        if (to == 0)
            return RANGE_UNSATISFIABLE;
        if (size == 0) /* all of nothing: Content-Range could not say it */
            return RANGE_WHOLE;
        *count = MIN(to, size);
        *first = size - *count;
        return RANGE_PART;
    }
    if (from >= size)
        return RANGE_UNSATISFIABLE;
    if (!has_to || to >= size)
        to = size - 1;
    *first = from;
    *count = to - from + 1;
    return RANGE_PART;
}

/*
 * May the range be served? Only if the client's validator is strong and the same (RFC 9110 section
 * 13.1.5): a time is, where the second that it names was over when we said it (section 8.8.2.2).
 */
static bool conditional_if_range(const struct request_head *head, const struct representation *rep,
                                 time_t now)
{
    const char *at = NULL, *value;
    size_t len;
    time_t t;

    if (!request_head_field(head, "if-range", &at, &value, &len))
        return true;
    if (len > 0 && (*value == '"' || *value == 'W'))
        return len == strlen(rep->etag) && !memcmp(value, rep->etag, len);
    return http_date_parse(value, len, now, &t) && t == rep->modified && now > rep->modified;
}

enum range conditional_range(const struct request_head *head, const struct representation *rep,
                             time_t now, uint64_t *first, uint64_t *count)
{
    const char *at = NULL, *value, *other;
    size_t len, other_len;

    if (!request_head_field(head, "range", &at, &value, &len) ||
        request_head_field(head, "range", &at, &other, &other_len) ||
        !conditional_if_range(head, rep, now))
        return RANGE_WHOLE;
    return range_parse(value, len, rep->size, first, count);
}
