/* SPDX-License-Identifier: MIT */
/*
 * stream_internal.h - what stream.c (beginning, end, input, deadlines), stream_output.c (what is sent)
 * and stream_file.c (files among it) share.
 */
#ifndef BIVALVE_STREAM_INTERNAL_H
#define BIVALVE_STREAM_INTERNAL_H

#include "loop_types.h"

/* ---- stream.c ---- */

/* The first upcall of a wait; apart, so that the others need no room for what it needs. */
void stream_read_clock(struct loop *l);

/* What an upcall begins with. */
static inline struct slot *stream_of(struct loop *l, int fd)
{
    if (unlikely(l->clock_stale))
        stream_read_clock(l);
    return l->current = slot_get(&l->slots, fd);
}

/* stream_close() because of `err`, a positive errno. False. */
bool stream_fail(struct loop *l, struct slot *s, int err);

/* All output is sent, and no more will come. */
bool stream_finish(struct loop *l, struct slot *s);

/* ---- stream_file.c ---- */

/*
 * A file comes first: as backend_send(). It is sent only when it is in memory, if the backend would
 * wait for the disk. May shorten `file` to what is sent now.
 */
int stream_send_file(struct loop *l, struct slot *s, struct backend_segment *file);

/* A layer wants a range of a file in memory. IO_PENDING, or 0: it has to wait for the disk itself. */
int stream_await_file(struct loop *l, struct slot *s, const struct backend_segment *file);

#endif
