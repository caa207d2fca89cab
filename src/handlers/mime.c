/* SPDX-License-Identifier: MIT */
/*
 * mime.c - see mime.h.
 */
#include "config.h"

#include "mime.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define MIME_EXTENSION_MAX 15  /* bytes; a longer one is passed over */
#define MIME_TYPE_MAX      127 /* RFC 6838 section 4.2 */
#define MIME_ENTRIES_MAX   16384
#define MIME_UNKNOWN       "application/octet-stream"

struct mime_entry {
    const char *type; /* NULL: free */
    char extension[MIME_EXTENSION_MAX + 1];
};

struct mime {
    struct mime_entry *entries; /* a hash table with linear probing */
    uint32_t mask;              /* its size less 1 */
    uint32_t used;
    char **types; /* texts that entries point to */
    size_t type_count;
};

/* For machines without a mime.types. */
static const char *const mime_builtin[] = {
    "text/html html htm",
    "text/css css",
    "text/javascript js mjs",
    "text/plain txt",
    "text/markdown md",
    "text/csv csv",
    "application/json json map",
    "application/xml xml",
    "application/pdf pdf",
    "application/wasm wasm",
    "application/manifest+json webmanifest",
    "application/gzip gz",
    "application/zip zip",
    "image/svg+xml svg",
    "image/png png",
    "image/jpeg jpg jpeg",
    "image/gif gif",
    "image/webp webp",
    "image/avif avif",
    "image/vnd.microsoft.icon ico",
    "font/woff woff",
    "font/woff2 woff2",
    "font/ttf ttf",
    "audio/mpeg mp3",
    "audio/ogg ogg",
    "video/mp4 mp4",
    "video/webm webm",
};

/* FNV-1a */
static uint32_t mime_hash(const char *s)
{
    uint32_t h = 2166136261u;

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return h;
}

/* The extension's entry, or the free one where it belongs. */
static struct mime_entry *mime_find(const struct mime *m, const char *extension)
{
    uint32_t i = mime_hash(extension) & m->mask;

    while (m->entries[i].type && strcmp(m->entries[i].extension, extension))
        i = (i + 1) & m->mask;
    return &m->entries[i];
}

/* Twice as many entries. False: no memory. */
static bool mime_grow(struct mime *m)
{
    struct mime_entry *old = m->entries;
    uint32_t count = old ? m->mask + 1 : 0, size = MAX(2 * count, 64);
    struct mime_entry *entries = calloc(size, sizeof(*entries));

    if (!entries)
        return false;
    m->entries = entries;
    m->mask = size - 1;
    for (uint32_t i = 0; i < count; i++)
        if (old[i].type)
            *mime_find(m, old[i].extension) = old[i];
    free(old);
    return true;
}

/* In lower case, without its end, into `out`. False: too long, or empty. */
static bool mime_lower(char out[MIME_EXTENSION_MAX + 1], const char *s, size_t len)
{
    if (len == 0 || len > MIME_EXTENSION_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        out[i] = (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] | 0x20 : s[i]);
    out[len] = '\0';
    return true;
}

/* type "/" subtype, of what may stand in a field. */
static bool mime_type_valid(const char *s)
{
    const char *slash = strchr(s, '/');

    if (!slash || slash == s || !slash[1] || strlen(s) > MIME_TYPE_MAX)
        return false;
    for (const char *p = s; *p; p++)
        if (p != slash && !isalnum((unsigned char)*p) && !strchr("!#$&-^_.+", *p))
            return false;
    return true;
}

/* A copy that lives as long as the table. */
static const char *mime_keep(struct mime *m, const char *type)
{
    char **types = realloc(m->types, (m->type_count + 1) * sizeof(*types));

    if (!types)
        return NULL;
    m->types = types;
    types[m->type_count] = strdup(type);
    return types[m->type_count] ? types[m->type_count++] : NULL;
}

/* "TYPE EXTENSION..."; `line` is cut up. False: no memory. */
static bool mime_add_line(struct mime *m, char *line)
{
    char *rest, *type = strtok_r(line, " \t\r\n", &rest), *word;
    char extension[MIME_EXTENSION_MAX + 1];
    const char *kept = NULL;

    if (!type || !mime_type_valid(type))
        return true;
    while ((word = strtok_r(NULL, " \t\r\n", &rest))) {
        if (!mime_lower(extension, word, strlen(word)) || m->used >= MIME_ENTRIES_MAX)
            continue;
        if (!kept && !(kept = mime_keep(m, type)))
            return false;
        if (2 * m->used >= m->mask && !mime_grow(m))
            return false;
        struct mime_entry *e = mime_find(m, extension);
        m->used += !e->type;
        e->type = kept;
        memcpy(e->extension, extension, sizeof(extension));
    }
    return true;
}

static bool mime_add_file(struct mime *m, const char *path)
{
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    bool good = true;

    if (!f)
        return true;
    while (good && getline(&line, &size, f) >= 0) {
        line[strcspn(line, "#")] = '\0';
        good = mime_add_line(m, line);
    }
    free(line);
    fclose(f);
    return good;
}

static bool mime_add_builtin(struct mime *m)
{
    for (size_t i = 0; i < ARRAY_LEN(mime_builtin); i++) {
        char line[128];
        snprintf(line, sizeof(line), "%s", mime_builtin[i]);
        if (!mime_add_line(m, line))
            return false;
    }
    return true;
}

struct mime *mime_load(const char *path)
{
    struct mime *m = calloc(1, sizeof(*m));

    if (m && mime_grow(m) && mime_add_builtin(m) && mime_add_file(m, path))
        return m;
    mime_free(m);
    return NULL;
}

void mime_free(struct mime *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->type_count; i++)
        free(m->types[i]);
    free(m->types);
    free(m->entries);
    free(m);
}

const char *mime_type(const struct mime *m, const char *path, size_t len)
{
    const char *slash = memrchr(path, '/', len), *name = slash ? slash + 1 : path;
    size_t name_len = len - (size_t)(name - path);
    const char *dot = memrchr(name, '.', name_len);
    char extension[MIME_EXTENSION_MAX + 1];

    /* ".profile" has a name and no extension */
    if (!dot || dot == name || !mime_lower(extension, dot + 1, name_len - (size_t)(dot + 1 - name)))
        return MIME_UNKNOWN;
    const char *type = mime_find(m, extension)->type;
    return type ? type : MIME_UNKNOWN;
}
