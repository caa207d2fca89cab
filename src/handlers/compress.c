/* SPDX-License-Identifier: MIT */
/*
 * compress.c - see compress.h.
 *
 * Windows are small: what is compressed here is some kilobytes, and memory has to be touched.
 */
#include "config.h"

#include "compress.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#if HAVE_ZLIB
#include <zlib.h>
#endif
#if HAVE_BROTLI
#include <brotli/encode.h>
#endif
#if HAVE_ZSTD
#include <zstd.h>
#endif

#define COMPRESS_WINDOW_LOG 17
#define COMPRESS_KEPT_MAX   1 /* of a coding, idle */

struct compressor {
    struct compressor *next; /* of those that are kept */
    enum coding coding;
    unsigned level;
#if HAVE_ZLIB
    z_stream gzip;
#endif
#if HAVE_BROTLI
    BrotliEncoderState *br;
#endif
#if HAVE_ZSTD
    ZSTD_CCtx *zstd;
#endif
};

static struct {
    struct compressor *kept[CODINGS];
    unsigned kept_count[CODINGS];
    unsigned used;
} compressors;

unsigned compress_available(void)
{
    unsigned set = CODING_BIT(CODING_IDENTITY);

#if HAVE_ZLIB
    set |= CODING_BIT(CODING_GZIP);
#endif
#if HAVE_BROTLI
    set |= CODING_BIT(CODING_BR);
#endif
#if HAVE_ZSTD
    set |= CODING_BIT(CODING_ZSTD);
#endif
    return set;
}

void compress_version(char *out, size_t out_size)
{
    char text[128] = "";
    size_t n = 0;

#if HAVE_ZLIB
    n += (size_t)snprintf(text + n, sizeof(text) - n, ", zlib %s", zlibVersion());
#endif
#if HAVE_BROTLI
    uint32_t v = BrotliEncoderVersion();
    n += (size_t)snprintf(text + n, sizeof(text) - n, ", brotli %u.%u.%u", v >> 24, v >> 12 & 0xfff,
                          v & 0xfff);
#endif
#if HAVE_ZSTD
    n += (size_t)snprintf(text + n, sizeof(text) - n, ", zstd %s", ZSTD_versionString());
#endif
    snprintf(out, out_size, "%s", n ? text + 2 : "none");
}

/* ---- zlib ---- */

#if HAVE_ZLIB

#define COMPRESS_GZIP_BITS 31 /* the largest window, and gzip's header: zlib.h */

static bool compress_gzip_new(struct compressor *c)
{
    return deflateInit2(&c->gzip, (int)c->level, Z_DEFLATED, COMPRESS_GZIP_BITS, 8,
                        Z_DEFAULT_STRATEGY) == Z_OK;
}

static bool compress_gzip_run(struct compressor *c, struct compress_io *io, bool last)
{
    z_stream *z = &c->gzip;

    z->next_in = (Bytef *)(uintptr_t)io->in;
    z->avail_in = (uInt)MIN(io->in_len, UINT_MAX);
    z->next_out = (Bytef *)io->out;
    z->avail_out = (uInt)MIN(io->out_len, UINT_MAX);
    size_t in = z->avail_in, out = z->avail_out;
    int rc = deflate(z, last && in == io->in_len ? Z_FINISH : Z_NO_FLUSH);
    io->in += in - z->avail_in;
    io->in_len -= in - z->avail_in;
    io->out += out - z->avail_out;
    io->out_len -= out - z->avail_out;
    return rc == Z_STREAM_END;
}

#endif

/* ---- brotli ---- */

#if HAVE_BROTLI

/* Its states cannot be used again: each is made anew. Its levels are 0 to 11, the last two slow. */
static bool compress_br_reset(struct compressor *c)
{
    c->br = BrotliEncoderCreateInstance(NULL, NULL, NULL);
    return c->br && BrotliEncoderSetParameter(c->br, BROTLI_PARAM_QUALITY, c->level) &&
           BrotliEncoderSetParameter(c->br, BROTLI_PARAM_LGWIN, COMPRESS_WINDOW_LOG);
}

static bool compress_br_run(struct compressor *c, struct compress_io *io, bool last)
{
    BrotliEncoderCompressStream(c->br, last ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_PROCESS,
                                &io->in_len, (const uint8_t **)&io->in, &io->out_len,
                                (uint8_t **)&io->out, NULL);
    return BrotliEncoderIsFinished(c->br);
}

#endif

/* ---- zstd ---- */

#if HAVE_ZSTD

static bool compress_zstd_reset(struct compressor *c)
{
    if (!c->zstd)
        c->zstd = ZSTD_createCCtx();
    return c->zstd && !ZSTD_isError(ZSTD_CCtx_reset(c->zstd, ZSTD_reset_session_and_parameters)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, (int)c->level)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_windowLog, COMPRESS_WINDOW_LOG));
}

static bool compress_zstd_run(struct compressor *c, struct compress_io *io, bool last)
{
    ZSTD_inBuffer in = {io->in, io->in_len, 0};
    ZSTD_outBuffer out = {io->out, io->out_len, 0};
    size_t left = ZSTD_compressStream2(c->zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);

    io->in += in.pos;
    io->in_len -= in.pos;
    io->out += out.pos;
    io->out_len -= out.pos;
    return last && left == 0;
}

#endif

/* ---- all of them ---- */

/* Ready for a new beginning. False: no memory. */
static bool compress_reset(struct compressor *c, bool fresh)
{
    (void)fresh;
    switch (c->coding) {
#if HAVE_ZLIB
    case CODING_GZIP:
        return fresh ? compress_gzip_new(c)
                     : deflateReset(&c->gzip) == Z_OK &&
                           deflateParams(&c->gzip, (int)c->level, Z_DEFAULT_STRATEGY) == Z_OK;
#endif
#if HAVE_BROTLI
    case CODING_BR: return compress_br_reset(c);
#endif
#if HAVE_ZSTD
    case CODING_ZSTD: return compress_zstd_reset(c);
#endif
    default: return false;
    }
}

static void compress_destroy(struct compressor *c)
{
#if HAVE_ZLIB
    if (c->coding == CODING_GZIP)
        deflateEnd(&c->gzip);
#endif
#if HAVE_BROTLI
    if (c->br)
        BrotliEncoderDestroyInstance(c->br);
#endif
#if HAVE_ZSTD
    ZSTD_freeCCtx(c->zstd);
#endif
    free(c);
}

struct compressor *compress_open(enum coding coding, unsigned level)
{
    struct compressor *c = compressors.kept[coding];
    bool fresh = !c;

    if (compressors.used == COMPRESS_MAX)
        return NULL;
    if (c) {
        compressors.kept[coding] = c->next;
        compressors.kept_count[coding]--;
    } else {
        c = calloc(1, sizeof(*c));
        if (!c)
            return NULL;
        c->coding = coding;
    }
    c->level = level;
    if (!compress_reset(c, fresh)) {
        compress_destroy(c);
        return NULL;
    }
    compressors.used++;
    return c;
}

bool compress_run(struct compressor *c, struct compress_io *io, bool last)
{
    (void)io, (void)last;
    switch (c->coding) {
#if HAVE_ZLIB
    case CODING_GZIP: return compress_gzip_run(c, io, last);
#endif
#if HAVE_BROTLI
    case CODING_BR: return compress_br_run(c, io, last);
#endif
#if HAVE_ZSTD
    case CODING_ZSTD: return compress_zstd_run(c, io, last);
#endif
    default: return false;
    }
}

void compress_close(struct compressor *c)
{
    if (!c)
        return;
    compressors.used--;
#if HAVE_BROTLI
    if (c->br)
        BrotliEncoderDestroyInstance(c->br);
    c->br = NULL;
#endif
    if (compressors.kept_count[c->coding] == COMPRESS_KEPT_MAX) {
        compress_destroy(c);
        return;
    }
    c->next = compressors.kept[c->coding];
    compressors.kept[c->coding] = c;
    compressors.kept_count[c->coding]++;
}
