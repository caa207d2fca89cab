/* SPDX-License-Identifier: MIT */
/*
 * hist_export.c - see hist_export.h. What is written was compared, to the byte, with what
 * HdrHistogram 2.2.2 (Java) writes of the same values. Of the text only what lies in the middle
 * between two decimals differs by its last digit: Java rounds it up, printf() to the even one.
 */
#include "config.h"

#include "hist_export.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#ifdef HAVE_ZLIB
#include <zlib.h>
#endif

#include "util.h"

#define HIST_DIGITS 3 /* significant ones, as the files say */

/* ---- the text ---- */

#define TEXT_STEPS 5

/*
 * The level behind `level`, in percent: what is left to 100 is halved again and again, each half in
 * TEXT_STEPS steps. Which half it is in comes from log(), whose rounding is part of the format.
 * 100: a step has become smaller than a double can tell.
 */
static double text_next_level(double level)
{
    int half = (int)(log(100 / (100 - level)) / log(2)) + 1;
    double next = level + 100 / ldexp(TEXT_STEPS, half);

    return next > level && next < 100 ? next : 100;
}

static int text_row(FILE *out, double value, double level, uint64_t seen)
{
    if (level == 100)
        return fprintf(out, "%12.3f %2.12f %10" PRIu64 "\n", value, level / 100, seen);
    return fprintf(out, "%12.3f %2.12f %10" PRIu64 " %14.2f\n", value, level / 100, seen,
                   1 / (1 - level / 100));
}

/* A row for each level below 100 that a count reaches; of the last count, for one, and for 100. */
static int text_rows(const struct hist *h, FILE *out, double unit)
{
    uint64_t seen = 0;
    double level = 0;

    for (uint32_t i = 0; i < HIST_COUNTS && seen < h->total; i++) {
        double value = (double)hist_highest(i) / unit, reached;
        if (!h->count[i])
            continue;
        seen += h->count[i];
        reached = 100 * (double)seen / (double)h->total;
        while (level <= reached && level < 100) {
            if (text_row(out, value, level, seen) < 0)
                return -1;
            level = seen < h->total ? text_next_level(level) : 100;
        }
        if (seen >= h->total && text_row(out, value, 100, seen) < 0)
            return -1;
    }
    return 0;
}

int hist_write_text(const struct hist *h, FILE *out, double unit)
{
    double max = (double)hist_highest(hist_index(h->max));

    if (fprintf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
                "1/(1-Percentile)") < 0 ||
        text_rows(h, out, unit) < 0)
        return -1;
    if (fprintf(out,
                "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n"
                "#[Max     = %12.3f, Total count    = %12" PRIu64 "]\n"
                "#[Buckets = %12u, SubBuckets     = %12u]\n",
                hist_counted_mean(h) / unit, hist_stddev(h) / unit, max / unit, h->total,
                (unsigned)HIST_BUCKETS, HIST_SUB) < 0)
        return -1;
    return fflush(out) ? -1 : 0;
}

/* ---- the compressed form ---- */

#ifdef HAVE_ZLIB

#define V2_COOKIE            0x1c849313u /* the words are counts in LEB128 */
#define V2_COMPRESSED_COOKIE 0x1c849314u
#define V2_HEADER            40
#define V2_COMPRESSED_HEADER 8
#define V2_COUNT_MAX         9 /* bytes of a count */

/* The lower `bytes` bytes of a number, the highest first. */
static unsigned char *put_number(unsigned char *p, uint64_t number, unsigned bytes)
{
    while (bytes--)
        *p++ = (unsigned char)(number >> 8 * bytes);
    return p;
}

/* LEB128 of a number in zigzag; of a ninth byte all eight bits are the number's. */
static unsigned char *put_count(unsigned char *p, int64_t count)
{
    uint64_t left = (uint64_t)count << 1 ^ (count < 0 ? UINT64_MAX : 0);

    for (int i = 1; left > 0x7f && i < V2_COUNT_MAX; i++, left >>= 7)
        *p++ = (unsigned char)(left | 0x80);
    *p++ = (unsigned char)left;
    return p;
}

/* The counts up to the last that is not 0, but one at least; n zeros in a row are -n. */
static unsigned char *put_counts(unsigned char *p, const struct hist *h)
{
    uint32_t end = HIST_COUNTS;

    while (end > 1 && !h->count[end - 1])
        end--;
    for (uint32_t i = 0; i < end;) {
        uint32_t zeros = i;
        while (zeros < end && !h->count[zeros])
            zeros++;
        if (zeros - i > 1) {
            p = put_count(p, -(int64_t)(zeros - i));
            i = zeros;
        } else {
            p = put_count(p, (int64_t)h->count[i++]);
        }
    }
    return p;
}

/* The form before compression, at `p`; its end. */
static unsigned char *put_v2(unsigned char *p, const struct hist *h)
{
    unsigned char *end = put_counts(p + V2_HEADER, h);

    p = put_number(p, V2_COOKIE, 4);
    p = put_number(p, (uint64_t)(end - p) + 4 - V2_HEADER, 4);
    p = put_number(p, 0, 4); /* its first count is that of 0 */
    p = put_number(p, HIST_DIGITS, 4);
    p = put_number(p, 1, 8); /* the least value that is to be told from 0 */
    p = put_number(p, HIST_MAX, 8);
    put_number(p, UINT64_C(0x3ff0000000000000), 8); /* the double 1.0: what a value is worth */
    return end;
}

/* RFC 4648 section 4. */
static void put_base64(char *out, const unsigned char *s, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (; len; s += 3, len -= MIN(len, 3)) {
        uint32_t bits =
            (uint32_t)s[0] << 16 | (uint32_t)(len > 1 ? s[1] : 0) << 8 | (len > 2 ? s[2] : 0u);
        *out++ = digits[bits >> 18];
        *out++ = digits[bits >> 12 & 63];
        *out++ = len > 1 ? digits[bits >> 6 & 63] : '=';
        *out++ = len > 2 ? digits[bits & 63] : '=';
    }
    *out = '\0';
}

/* `raw` compressed and in base64. */
static char *export_compress(const unsigned char *raw, size_t raw_len)
{
    uLongf len = compressBound(raw_len);
    unsigned char *packed = malloc(V2_COMPRESSED_HEADER + len);
    char *text = NULL;

    if (packed && compress(packed + V2_COMPRESSED_HEADER, &len, raw, raw_len) == Z_OK) {
        put_number(put_number(packed, V2_COMPRESSED_COOKIE, 4), len, 4);
        len += V2_COMPRESSED_HEADER;
        text = malloc((len + 2) / 3 * 4 + 1);
        if (text)
            put_base64(text, packed, len);
    }
    free(packed);
    return text;
}

char *hist_encode(const struct hist *h)
{
    unsigned char *raw = malloc(V2_HEADER + (size_t)V2_COUNT_MAX * HIST_COUNTS);
    char *text = raw ? export_compress(raw, (size_t)(put_v2(raw, h) - raw)) : NULL;

    free(raw);
    if (!text)
        errno = ENOMEM;
    return text;
}

#else

char *hist_encode(const struct hist *h UNUSED)
{
    errno = ENOTSUP;
    return NULL;
}

#endif
