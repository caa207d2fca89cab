/* SPDX-License-Identifier: MIT */
/*
 * load_match.c - see load_match.h.
 */
#include "config.h"

#include "load_match.h"

#include <stdlib.h>

bool load_match_date(struct load_match *m, const char *data)
{
    const char *date = data + m->date;

    for (unsigned i = 0; i < REPLY_DATE_LEN; i++)
        if (date[i] < ' ' || date[i] > '~') /* what a field's value may have, and less */
            return false;
    memcpy(m->bytes + m->date, date, REPLY_DATE_LEN);
    return true;
}

void load_match_learn(struct load_match *m, const char *data, size_t len, uint32_t date)
{
    if (len > LOAD_MATCH_MAX || m->misses > LOAD_MATCH_MISSES)
        return;
    if (m->len && ++m->misses > LOAD_MATCH_MISSES) {
        m->len = 0;
        return;
    }
    if (m->len < len) {
        char *bytes = realloc(m->bytes, len);
        if (!bytes)
            return;
        m->bytes = bytes;
    }
    memcpy(m->bytes, data, len);
    m->len = (uint32_t)len;
    m->date = date;
}

void load_match_free(struct load_match *m)
{
    free(m->bytes);
    memset(m, 0, sizeof(*m));
}
