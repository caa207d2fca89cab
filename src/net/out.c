/* SPDX-License-Identifier: MIT */
/*
 * out.c - see out.h; the hot parts are there.
 */
#include "config.h"

#include "out.h"

#include <errno.h>
#include <unistd.h>

static inline struct out_file *out_file(struct buf *b)
{
    return (struct out_file *)(void *)b->data;
}

static struct buf *out_append_block(struct out *o, struct bufpool *p)
{
    struct buf *b = bufpool_get(p);

    if (unlikely(!b))
        return NULL;
    if (o->tail) {
        b->next = o->tail->next;
        o->tail->next = b;
    } else {
        b->next = b;
    }
    o->tail = b;
    return b;
}

char *out_reserve_block(struct out *o, struct bufpool *p)
{
    /* What the tail has left stays unused: ranges are contiguous, and blocks never move. */
    assert(!o->tail || o->tail->is_file || o->tail->end > 0);
    struct buf *b = out_append_block(o, p);

    return b ? b->data : NULL;
}

int out_append(struct out *o, struct bufpool *p, const void *data, size_t len)
{
    const char *from = data;

    while (len > 0) {
        char *to = out_reserve(o, p, 1);
        if (unlikely(!to))
            return -ENOMEM;
        size_t n = MIN(len, out_room(o));
        memcpy(to, from, n);
        out_commit(o, n);
        from += n;
        len -= n;
    }
    return 0;
}

static void out_file_close(const struct out_file *f)
{
    if (f->shared)
        file_ref_put(f->shared);
    else
        close(f->fd);
}

static int out_append_range(struct out *o, struct bufpool *p, const struct out_file *f)
{
    struct buf *b = out_append_block(o, p);

    assert(f->len > 0);
    if (!b) {
        out_file_close(f);
        return -ENOMEM;
    }
    b->is_file = true;
    b->start = b->end = b->room;
    *out_file(b) = *f;
    return 0;
}

int out_append_file(struct out *o, struct bufpool *p, int fd, off_t offset, uint64_t len)
{
    return out_append_range(o, p, &(struct out_file){.fd = fd, .offset = offset, .len = len});
}

int out_append_shared_file(struct out *o, struct bufpool *p, struct file_ref *file, off_t offset,
                           uint64_t len)
{
    return out_append_range(
        o, p, &(struct out_file){.fd = file->fd, .shared = file, .offset = offset, .len = len});
}

void out_shrink(struct out *o, struct bufpool *small)
{
    struct buf *b = o->tail, *to;
    size_t len = b->end - b->start;

    if (!out_is_simple(o) || len > bufpool_capacity(small) || b->room <= bufpool_capacity(small) ||
        !(to = bufpool_get_instead(small)))
        return;
    memcpy(to->data, b->data + b->start, len);
    to->end = (uint32_t)len;
    o->tail = to->next = to;
    bufpool_put(b);
}

unsigned out_segments_slow(const struct out *o, struct backend_segment *segments, unsigned max)
{
    struct buf *b = o->tail;
    unsigned n = 0;

    do {
        b = b->next;
        if (b->is_file) {
            const struct out_file *f = out_file(b);
            segments[n++] = (struct backend_segment){
                .len = MIN(f->len, (uint64_t)INT32_MAX), .file = f->fd, .offset = f->offset};
            if (f->len > INT32_MAX) /* the rest of it comes first, next time */
                break;
        } else {
            segments[n].data = b->data + b->start;
            segments[n++].len = b->end - b->start;
        }
    } while (n < max && b != o->tail);
    return n;
}

/* The head is empty: give it back. */
static void out_drop_head(struct out *o)
{
    struct buf *b = o->tail->next;

    if (b == o->tail)
        o->tail = NULL;
    else
        o->tail->next = b->next;
    if (unlikely(b->is_file))
        out_file_close(out_file(b));
    bufpool_put(b);
}

/* Take at most n bytes off the head; how many. */
static size_t out_consume_head(struct out *o, size_t n)
{
    struct buf *b = o->tail->next;

    if (unlikely(b->is_file)) {
        struct out_file *f = out_file(b);
        n = (size_t)MIN((uint64_t)n, f->len);
        f->offset += (off_t)n;
        f->len -= n;
        if (f->len == 0)
            out_drop_head(o);
        return n;
    }
    n = MIN(n, (size_t)(b->end - b->start));
    b->start += (uint32_t)n;
    if (b->start == b->end)
        out_drop_head(o);
    return n;
}

void out_consume_slow(struct out *o, size_t n)
{
    while (n > 0) {
        assert(o->tail);
        n -= out_consume_head(o, n);
    }
}

uint64_t out_pending(const struct out *o)
{
    struct buf *b = o->tail;
    uint64_t n = 0;

    if (!b)
        return 0;
    do {
        b = b->next;
        n += b->is_file ? out_file(b)->len : b->end - b->start;
    } while (b != o->tail);
    return n;
}

size_t out_held(const struct out *o)
{
    struct buf *b = o->tail;
    size_t n = 0;

    if (!b)
        return 0;
    do {
        b = b->next;
        n += b->slab->pool->block_size;
    } while (b != o->tail);
    return n;
}

void out_clear(struct out *o)
{
    while (o->tail)
        out_drop_head(o);
}
