/* SPDX-License-Identifier: MIT */
/*
 * compress.h - compressing what is sent, piece by piece, by zlib, brotli and zstd, as far as they
 * were compiled in.
 *
 * A compressor costs up to a megabyte or two of memory while it is at work, so a process has at most
 * COMPRESS_MAX of them; one that was made is kept for the next.
 */
#ifndef BIVALVE_COMPRESS_H
#define BIVALVE_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "coding.h"

#define COMPRESS_MAX       32
#define COMPRESS_LEVEL_MAX 9

struct compressor;

/* What is given, and what is wanted: compress_run() moves both on. */
struct compress_io {
    const char *in;
    size_t in_len;
    char *out;
    size_t out_len;
};

/* The codings there are, identity among them: CODING_BIT(). */
unsigned compress_available(void);

/* The libraries and their versions, "zlib 1.2.13, brotli 1.0.9", or "none". */
void compress_version(char *out, size_t out_size);

/*
 * Begin to compress by `coding`, not identity, at level 1 (fast) to COMPRESS_LEVEL_MAX (small), which
 * is scaled to what the library has. NULL: no memory, or too many are at work.
 */
struct compressor *compress_open(enum coding coding, unsigned level);

/*
 * Compress until all input is taken (and with `last` all output given) or there is no room. True: it
 * was the last, and everything has been given.
 */
bool compress_run(struct compressor *c, struct compress_io *io, bool last);

/* At any time. NULL does nothing. */
void compress_close(struct compressor *c);

#endif
