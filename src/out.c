/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "out.h"

#include <errno.h>

#include "util.h"

char *out_reserve(struct out *o, struct bufpool *p, size_t need)
{
    struct buf *b = o->tail;

    if (b && bufpool_capacity(p) - b->end >= need)
        return b->data + b->end;
    b = bufpool_get(p);
    if (!b)
        return NULL;
    if (o->tail)
        o->tail->next = b;
    else
        o->head = b;
    o->tail = b;
    return b->data;
}

int out_append(struct out *o, struct bufpool *p, const void *data, size_t len)
{
    const char *from = data;

    while (len > 0) {
        char *to = out_reserve(o, p, 1);
        if (!to)
            return -ENOMEM;
        size_t n = MIN(len, bufpool_capacity(p) - o->tail->end);
        memcpy(to, from, n);
        out_commit(o, n);
        from += n;
        len -= n;
    }
    return 0;
}

void out_consume(struct out *o, struct bufpool *p, size_t n)
{
    struct buf *b = o->head;

    b->start += (uint32_t)n;
    if (b->start < b->end)
        return;
    o->head = b->next;
    if (!o->head)
        o->tail = NULL;
    bufpool_put(p, b);
}

size_t out_pending(const struct out *o)
{
    size_t n = 0;

    for (const struct buf *b = o->head; b; b = b->next)
        n += b->end - b->start;
    return n;
}

void out_clear(struct out *o, struct bufpool *p)
{
    while (o->head) {
        struct buf *next = o->head->next;
        bufpool_put(p, o->head);
        o->head = next;
    }
    o->tail = NULL;
}
