/* SPDX-License-Identifier: MIT */
/*
 * stream_file.c - files among a stream's output: that nobody waits for the disk while they are sent.
 * Where the backend would, a reader (readers.h) reads first what is not in memory.
 */
#include "config.h"

#include <limits.h>

#include "page_cache.h"
#include "readers.h"
#include "stream.h"
#include "stream_internal.h"
#include "sys.h"
#include "util.h"

/* At most so much of a file is looked at, or read, before it is sent. */
#define STREAM_FILE_WINDOW (1u << 20)

/*
 * While much of a file is to be sent the kernel may hold more of it than --max-unsent-bytes: what it
 * holds are the file's own pages, and each time that it has room for a little more costs as much as
 * for a lot.
 */
static void stream_bound_file(struct loop *l, struct slot *s, size_t left)
{
    bool unbound = left > MAX(l->set->max_unsent_bytes, STREAM_FILE_WINDOW / 4);
    int bytes = unbound ? INT_MAX : (int)l->set->max_unsent_bytes;

    if (unbound == !!(s->flags & STREAM_UNBOUND) || (s->flags & STREAM_UNIX) ||
        !l->set->max_unsent_bytes)
        return;
    s->flags ^= STREAM_UNBOUND;
    sys_limit_unsent(stream_fd(l, s), bytes);
}

/* Called by a reader: end the wait. */
static void stream_reads_done(void *loop)
{
    struct loop *l = loop;

    atomic_store(&l->reads_done, true);
    l->be->ops->wake(l->be);
}

/* Have a range of a file read. False: nobody can. */
static bool stream_read_file(struct loop *l, struct slot *s, const struct backend_segment *file)
{
    if (!l->readers && l->set->file_readers)
        l->readers = readers_new(l->set->file_readers, stream_reads_done, l);
    return l->readers &&
           readers_ask(l->readers, stream_fd(l, s), s->gen, file->file, file->offset, file->len);
}

/*
 * What has been read just now (STREAM_READ) is not looked at again, so that there is progress also
 * where memory is so short that it has gone.
 */
int stream_send_file(struct loop *l, struct slot *s, struct backend_segment *file)
{
    stream_bound_file(l, s, file->len);
    file->len = MIN(file->len, STREAM_FILE_WINDOW);
    if (l->be->ops->waits_for_files && !(s->flags & STREAM_READ) && l->set->file_readers &&
        !page_cache_has(file->file, file->offset, file->len)) {
        l->stats->file_reads++;
        if (stream_read_file(l, s, file))
            return IO_PENDING;
        l->stats->file_waits++;
    }
    s->flags &= (uint16_t)~STREAM_READ;
    return backend_send(l->be, stream_fd(l, s), file, 1);
}

int stream_await_file(struct loop *l, struct slot *s, const struct backend_segment *file)
{
    l->stats->file_reads++;
    if (stream_read_file(l, s, file))
        return IO_PENDING;
    l->stats->file_waits++;
    s->flags |= STREAM_READ;
    return 0;
}

/* The same as if there were room again, if the connection still waits. */
static void stream_on_read(void *loop, int fd, uint32_t gen)
{
    struct loop *l = loop;
    struct slot *s = slot_get(&l->slots, fd);

    if (s->gen != gen || !(s->flags & STREAM_SENDING) || s->state == STREAM_DETACHING)
        return;
    s->flags |= STREAM_READ;
    stream_on_sent(l, fd, 0);
}

void stream_collect_reads(struct loop *l)
{
    atomic_store(&l->reads_done, false);
    readers_collect(l->readers, stream_on_read, l);
}
