/* SPDX-License-Identifier: MIT */
/*
 * text.h - a text that grows while it is written: for answers that are built rarely and whole.
 */
#ifndef BIVALVE_TEXT_H
#define BIVALVE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "util.h"

struct text {
    char *data; /* NUL-terminated once something has been written */
    size_t len, room;
    bool failed; /* there was no memory: what follows is dropped */
};

/* Append, printf-formatted. */
void text_printf(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

void text_free(struct text *t);

#endif
