/* SPDX-License-Identifier: MIT */
/*
 * out.c - see out.h; the hot parts are there.
 */
#include "config.h"

#include "out.h"

#include <errno.h>

char *out_reserve_block(struct out *o, struct bufpool *p)
{
    struct buf *b = bufpool_get(p);

    if (unlikely(!b))
        return NULL;
    /* What the tail has left stays unused: ranges are contiguous, and blocks never move. */
    assert(!o->tail || o->tail->end > 0);
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
        if (unlikely(!to))
            return -ENOMEM;
        size_t n = MIN(len, bufpool_capacity(p) - o->tail->end);
        memcpy(to, from, n);
        out_commit(o, n);
        from += n;
        len -= n;
    }
    return 0;
}

void out_clear(struct out *o, struct bufpool *p)
{
    struct buf *b = o->head;

    while (b) {
        struct buf *next = b->next;
        bufpool_put(p, b);
        b = next;
    }
    o->head = o->tail = NULL;
}
