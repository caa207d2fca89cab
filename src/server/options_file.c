/* SPDX-License-Identifier: MIT */
/*
 * options_file.c - see options_file.h.
 */
#include "config.h"

#include "options_file.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static bool options_file_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static char *options_file_skip(char *p)
{
    while (options_file_is_blank(*p))
        p++;
    return p;
}

/* Nothing more on this line, but perhaps a comment. */
static bool options_file_is_over(const char *p)
{
    return !*p || *p == '#';
}

void options_file_init(struct options_file *f, char *text, size_t len)
{
    f->next = text;
    f->end = text + len;
    f->line = 0;
}

/*
 * Between quotes, in place: `p` is behind the first. Behind the last one, or NULL with *why and *at,
 * where it is wrong.
 */
static char *options_file_unquote(char *p, const char **why, char **at)
{
    char *to = p;

    for (; *p && *p != '"'; *to++ = *p++) {
        if (*p != '\\')
            continue;
        if (p[1] != '"' && p[1] != '\\') {
            *at = p;
            *why = "a backslash between quotes stands before a quote or a backslash";
            return NULL;
        }
        p++;
    }
    if (!*p) {
        *at = p;
        *why = "the quote is not closed on this line";
        return NULL;
    }
    *to = '\0';
    return p + 1;
}

/* The value at `p`, which is not at the end of the line. The same. */
static char *options_file_value(char *p, const char **value, const char **why, char **at)
{
    if (*p == '"') {
        *value = p + 1;
        return options_file_unquote(p + 1, why, at);
    }
    *value = p;
    for (; *p && !options_file_is_blank(*p); p++)
        if (*p == '"') {
            *at = p;
            *why = "a quote inside a value: put all of it between quotes, and \\ before this one";
            return NULL;
        }
    return p;
}

/* The name at `p`. */
static char *options_file_name(char *p, const char **why, char **at)
{
    char *start = p;

    while ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || (*p == '-' && p > start))
        p++;
    *at = p;
    if (p == start)
        *why = *p == '-' ? "options are written without the dashes before them"
                         : "here the long name of an option is expected";
    else if (*p == '=')
        *why = "blanks, and no =, stand between the name of an option and its value";
    else if (*p && !options_file_is_blank(*p))
        *why = "the name of an option has lower-case letters, digits and dashes";
    else
        return p;
    return NULL;
}

/* What stands on the line at `p`, which is NUL-terminated. As options_file_next(). */
static int options_file_read(char *p, struct options_file_line *out, const char **why)
{
    char *line = p, *at;

    p = options_file_skip(p);
    if (options_file_is_over(p))
        return 0;
    out->name = p;
    out->value = NULL;
    out->name_column = (unsigned)(p - line) + 1;
    char *name_end = options_file_name(p, why, &at);
    if (!name_end)
        goto wrong;
    p = options_file_skip(name_end);
    *name_end = '\0';
    out->value_column = (unsigned)(p - line) + 1;
    if (p == name_end || options_file_is_over(p))
        return 1;
    char *value_end = options_file_value(p, &out->value, why, &at);
    if (!value_end)
        goto wrong;
    at = options_file_skip(value_end);
    bool over = options_file_is_over(at) && (at > value_end || !*at);
    if (over) {
        *value_end = '\0';
        return 1;
    }
    *why = "one value is enough for an option: put blanks between quotes";
wrong:
    out->name_column = (unsigned)(at - line) + 1;
    return -EINVAL;
}

int options_file_next(struct options_file *f, struct options_file_line *out, const char **why)
{
    int rc = 0;

    while (rc == 0 && f->next < f->end) {
        char *line = f->next, *end = memchr(line, '\n', (size_t)(f->end - line));
        f->next = end ? end + 1 : f->end;
        if (!end)
            end = f->end;
        *end = '\0';
        out->line = ++f->line;
        char *nul = memchr(line, '\0', (size_t)(end - line));
        if (nul || end - line > OPTIONS_FILE_LINE_MAX) {
            out->name_column = nul ? (unsigned)(nul - line) + 1 : OPTIONS_FILE_LINE_MAX + 1;
            *why = nul ? "a NUL byte: this is no text" : "the line is too long";
            return -EINVAL;
        }
        rc = options_file_read(line, out, why);
    }
    return rc;
}
