/* SPDX-License-Identifier: MIT */
/*
 * segment.h - a piece of output, as the core hands it to a backend.
 */
#ifndef BIVALVE_SEGMENT_H
#define BIVALVE_SEGMENT_H

#include <stddef.h>
#include <sys/types.h>

/* `len` (> 0) bytes of memory, of a regular file, or a record of TLS that the kernel encrypts. */
struct backend_segment {
    const char *data; /* NULL: from the file, or the record */
    size_t len;
    int file; /* open for reading; its position is neither used nor moved */
    /* Not 0: all of `text` is to be a record of this type, where others of the socket are application
     * data (TLS_SET_RECORD_TYPE, Documentation/networking/tls.rst). Alone in its send(). */
    unsigned char record;
    union {
        off_t offset;     /* where in the file */
        const char *text; /* of the record */
    };
};

/* Bytes of all segments. */
static inline size_t backend_segments_len(const struct backend_segment *segments, unsigned count)
{
    size_t len = 0;

    for (unsigned i = 0; i < count; i++)
        len += segments[i].len;
    return len;
}

#endif
