/* SPDX-License-Identifier: MIT */
/*
 * text.c - see text.h.
 */
#include "config.h"

#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_FIRST 16384

/* Room for `len` bytes more and a NUL. */
static bool text_grow(struct text *t, size_t len)
{
    size_t room = MAX(t->room, TEXT_FIRST);

    while (room - t->len <= len)
        room *= 2;
    if (room == t->room)
        return true;
    char *data = realloc(t->data, room);
    if (!data) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->room = room;
    return true;
}

void text_printf(struct text *t, const char *fmt, ...)
{
    va_list ap;
    int n;

    for (int attempt = 0; attempt < 2 && !t->failed; attempt++) {
        size_t room = t->room - t->len;
        va_start(ap, fmt);
        n = vsnprintf(t->data ? t->data + t->len : NULL, room, fmt, ap);
        va_end(ap);
        if (n < 0) {
            t->failed = true;
        } else if ((size_t)n < room) {
            t->len += (size_t)n;
            return;
        } else {
            text_grow(t, (size_t)n);
        }
    }
}

void text_free(struct text *t)
{
    free(t->data);
    memset(t, 0, sizeof(*t));
}
