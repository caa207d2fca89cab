/* SPDX-License-Identifier: MIT */
/*
 * http_section.c - see http_section.h.
 */
#include "config.h"

#include "http_section.h"

/*
 * One of so many that are unlike the one that is kept takes its place: where clients of several kinds
 * take turns, it is not copied for each of them.
 */
#define HTTP_SECTION_TURN 8

void http_section_keep(struct http_section *c, const struct http_parser *p, const char *buf,
                       size_t len)
{
    size_t off = (size_t)p->target_off + p->target_len;

    if (c->other++ % HTTP_SECTION_TURN || len - off < HTTP_SECTION_MIN ||
        len - off > HTTP_SECTION_MAX)
        return;
    memcpy(c->text, buf + off, len - off);
    c->len = (uint16_t)(len - off);
    c->flags = p->flags & (uint16_t)~HTTP_SECTION_NOT;
    c->left = p->left;
}
