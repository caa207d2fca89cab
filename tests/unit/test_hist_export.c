/* SPDX-License-Identifier: MIT */
/*
 * test_hist_export.c - what is exported, against what HdrHistogram wrote: `recorded_text` and
 * `recorded_base64` are what outputPercentileDistribution(out, 1000.0) and
 * encodeIntoCompressedByteBuffer() of HdrHistogram 2.2.2 (Java, as Histogram(1, 3600000000, 3))
 * gave for the values below. Decoding is by a decoder of the test's own, which reads the recorded
 * one like ours. By hand, Java's and HdrHistogram_c 0.11.10's decoders were given what
 * hist_encode() made of twelve histograms (empty, of one value, of 200,000, with every count in
 * use, with 2^52 values), and all of their 23552 counts were as recorded.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_ZLIB
#include <zlib.h>
#endif

#include "hist.h"
#include "hist_export.h"
#include "prng.h"
#include "util.h"

static struct hist h;

static int setup(void **state)
{
    (void)state;
    memset(&h, 0, sizeof(h));
    return 0;
}

static void record(uint64_t value, uint64_t times)
{
    while (times--)
        hist_record(&h, value);
}

static void record_all(void)
{
    record(0, 100); /* a tenth: a level is met exactly */
    record(3, 1);
    record(4, 2);
    record(7, 127);
    record(72, 64); /* 64 zeros before them */
    record(2047, 63);
    record(2048, 130);
    record(1000000, 512);
    record(3600000000, 1);
}

/* clang-format off */
static const char recorded_text[] =
    "       Value     Percentile TotalCount 1/(1-Percentile)\n"
    "\n"
    "       0.000 0.000000000000        100           1.00\n"
    "       0.000 0.100000000000        100           1.11\n"
    "       0.007 0.200000000000        230           1.25\n"
    "       2.047 0.300000000000        357           1.43\n"
    "       2.049 0.400000000000        487           1.67\n"
    "    1000.447 0.500000000000        999           2.00\n"
    "    1000.447 0.550000000000        999           2.22\n"
    "    1000.447 0.600000000000        999           2.50\n"
    "    1000.447 0.650000000000        999           2.86\n"
    "    1000.447 0.700000000000        999           3.33\n"
    "    1000.447 0.750000000000        999           4.00\n"
    "    1000.447 0.775000000000        999           4.44\n"
    "    1000.447 0.800000000000        999           5.00\n"
    "    1000.447 0.825000000000        999           5.71\n"
    "    1000.447 0.850000000000        999           6.67\n"
    "    1000.447 0.875000000000        999           8.00\n"
    "    1000.447 0.887500000000        999           8.89\n"
    "    1000.447 0.900000000000        999          10.00\n"
    "    1000.447 0.912500000000        999          11.43\n"
    "    1000.447 0.925000000000        999          13.33\n"
    "    1000.447 0.937500000000        999          16.00\n"
    "    1000.447 0.943750000000        999          17.78\n"
    "    1000.447 0.950000000000        999          20.00\n"
    "    1000.447 0.956250000000        999          22.86\n"
    "    1000.447 0.962500000000        999          26.67\n"
    "    1000.447 0.968750000000        999          32.00\n"
    "    1000.447 0.971875000000        999          35.56\n"
    "    1000.447 0.975000000000        999          40.00\n"
    "    1000.447 0.978125000000        999          45.71\n"
    "    1000.447 0.981250000000        999          53.33\n"
    "    1000.447 0.984375000000        999          64.00\n"
    "    1000.447 0.985937500000        999          71.11\n"
    "    1000.447 0.987500000000        999          80.00\n"
    "    1000.447 0.989062500000        999          91.43\n"
    "    1000.447 0.990625000000        999         106.67\n"
    "    1000.447 0.992187500000        999         128.00\n"
    "    1000.447 0.992968750000        999         142.22\n"
    "    1000.447 0.993750000000        999         160.00\n"
    "    1000.447 0.994531250000        999         182.86\n"
    "    1000.447 0.995312500000        999         213.33\n"
    "    1000.447 0.996093750000        999         256.00\n"
    "    1000.447 0.996484375000        999         284.44\n"
    "    1000.447 0.996875000000        999         320.00\n"
    "    1000.447 0.997265625000        999         365.71\n"
    "    1000.447 0.997656250000        999         426.67\n"
    "    1000.447 0.998046875000        999         512.00\n"
    "    1000.447 0.998242187500        999         568.89\n"
    "    1000.447 0.998437500000        999         640.00\n"
    "    1000.447 0.998632812500        999         731.43\n"
    "    1000.447 0.998828125000        999         853.33\n"
    " 3600809.983 0.999023437500       1000        1024.00\n"
    " 3600809.983 1.000000000000       1000\n"
    "#[Mean    =     4112.261, StdDeviation   =   113762.400]\n"
    "#[Max     =  3600809.983, Total count    =         1000]\n"
    "#[Buckets =           22, SubBuckets     =         2048]\n";

static const char recorded_base64[] =
    "HISTFAAAADp4nJNpmSzMwMAgyQABzFCaEURcm7yEwf4DROAEIzMTC/M/xvoGxtdydS1M+/sYGzgW72FkAgAs7wy5";
static const char recorded_empty[] = "HISTFAAAAB94nJNpmSzMwMDAyAABzFAazL82eQmD/QeoCABVgwSI";
/* clang-format on */

/* ---- the text ---- */

static char text[1 << 16];

static const char *write_text(double unit)
{
    FILE *out = fmemopen(text, sizeof(text), "w");

    assert_non_null(out);
    assert_int_equal(hist_write_text(&h, out, unit), 0);
    fclose(out);
    return text;
}

static void test_text_as_recorded(void **state)
{
    (void)state;
    record_all();
    assert_string_equal(write_text(1000), recorded_text);
}

static void test_text_of_nothing(void **state)
{
    (void)state;
    assert_string_equal(write_text(1),
                        "       Value     Percentile TotalCount 1/(1-Percentile)\n\n"
                        "#[Mean    =        0.000, StdDeviation   =        0.000]\n"
                        "#[Max     =        0.000, Total count    =            0]\n"
                        "#[Buckets =           22, SubBuckets     =         2048]\n");
}

/* However many there are: levels end where doubles do, and counts are not cut. */
static void test_text_of_very_many(void **state)
{
    size_t rows = 0;

    (void)state;
    record(1, 1);
    record(5000000, 1);
    h.count[1] += UINT64_C(1) << 60;
    h.total += UINT64_C(1) << 60;
    for (const char *c = write_text(1); *c; c++)
        rows += *c == '\n';
    assert_in_range(rows, 240, 300);
    assert_non_null(strstr(text, " 1152921504606846978\n"));
}

static void test_text_not_taken(void **state)
{
    (void)state;
    record_all();
    FILE *out = fopen("/dev/full", "w");
    assert_non_null(out);
    assert_int_equal(hist_write_text(&h, out, 1), -1);
    assert_int_equal(errno, ENOSPC);
    fclose(out);
}

/* ---- the compressed form ---- */

#ifdef HAVE_ZLIB

static uint64_t number(const unsigned char *p, unsigned bytes)
{
    uint64_t n = 0;

    while (bytes--)
        n = n << 8 | *p++;
    return n;
}

static size_t decode_base64(unsigned char *out, const char *s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = 0, quads = strlen(s) / 4;

    assert_int_equal(strlen(s) % 4, 0);
    for (size_t i = 0; i < quads; i++, s += 4) {
        size_t pad = i + 1 < quads ? 0 : (s[3] == '=') + (s[2] == '=');
        uint32_t bits = 0;
        for (size_t j = 0; j < 4; j++) {
            const char *digit = j < 4 - pad ? strchr(digits, s[j]) : digits;
            assert_true(digit && *digit);
            bits = bits << 6 | (uint32_t)(digit - digits);
        }
        for (size_t j = 0; j < 3 - pad; j++)
            out[len++] = (unsigned char)(bits >> (16 - 8 * j));
    }
    return len;
}

/* What is in the base64 form, before compression: its length, and it in *raw. */
static size_t unpack(unsigned char *raw, size_t size, const char *base64)
{
    static unsigned char packed[1 << 19];
    uLongf len = size;

    assert_true(strlen(base64) < sizeof(packed));
    size_t packed_len = decode_base64(packed, base64);
    assert_int_equal(number(packed, 4), 0x1c849314);
    assert_int_equal(number(packed + 4, 4), packed_len - 8);
    assert_int_equal(uncompress(raw, &len, packed + 8, packed_len - 8), Z_OK);
    return len;
}

static uint64_t decode_count(const unsigned char **p)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < 9; i++) {
        unsigned char byte = *(*p)++;
        n |= (uint64_t)(i < 8 ? byte & 0x7f : byte) << 7 * i;
        if (i < 8 && byte < 0x80)
            break;
    }
    return n >> 1 ^ (n & 1 ? UINT64_MAX : 0);
}

static void assert_decodes(const char *base64)
{
    static unsigned char raw[1 << 19];
    static uint64_t count[HIST_COUNTS];
    size_t len = unpack(raw, sizeof(raw), base64);
    const unsigned char *p = raw + 40;

    assert_int_equal(strncmp(base64, "HISTF", 5), 0);
    assert_int_equal(number(raw, 4), 0x1c849313);
    assert_int_equal(number(raw + 4, 4), len - 40);
    assert_int_equal(number(raw + 8, 4), 0);
    assert_int_equal(number(raw + 12, 4), 3);
    assert_int_equal(number(raw + 16, 8), 1);
    assert_int_equal(number(raw + 24, 8), 3600000000);
    assert_int_equal(number(raw + 32, 8), 0x3ff0000000000000);
    memset(count, 0, sizeof(count));
    for (size_t i = 0; p < raw + len;) {
        uint64_t n = decode_count(&p);
        assert_true(i < HIST_COUNTS);
        if ((int64_t)n < 0)
            i += -n;
        else
            count[i++] = n;
    }
    assert_true(p == raw + len);
    assert_memory_equal(count, h.count, sizeof(count));
}

static void check_encoding(void)
{
    char *base64 = hist_encode(&h);

    assert_non_null(base64);
    assert_decodes(base64);
    free(base64);
}

/* Before compression it is the same to the byte; how well zlib compresses is its own business. */
static void check_recorded(const char *recorded)
{
    unsigned char theirs[4096], ours[4096];
    char *base64 = hist_encode(&h);
    size_t len = unpack(theirs, sizeof(theirs), recorded);

    assert_decodes(recorded);
    assert_non_null(base64);
    assert_int_equal(unpack(ours, sizeof(ours), base64), len);
    assert_memory_equal(ours, theirs, len);
    free(base64);
}

static void test_encoded_as_recorded(void **state)
{
    (void)state;
    check_recorded(recorded_empty);
    record_all();
    check_recorded(recorded_base64);
}

static void test_encoded_few(void **state)
{
    (void)state;
    check_encoding();                  /* nothing */
    for (uint64_t i = 0; i < 8; i++) { /* zeros, one and more, between counts and in front */
        setup(NULL);
        for (uint64_t bit = 0; bit < 3; bit++)
            if (i & 1u << bit)
                record(10 + 2 * bit, bit + 1);
        check_encoding();
        record(0, 1);
        check_encoding();
    }
}

/* Counts of every length. */
static void test_encoded_large_counts(void **state)
{
    (void)state;
    for (uint32_t bit = 0; bit < 63; bit++) {
        h.count[4 * bit] = UINT64_C(1) << bit;
        h.count[4 * bit + 1] = (UINT64_C(1) << bit) - 1;
        check_encoding();
    }
    h.count[HIST_COUNTS - 1] = INT64_MAX;
    check_encoding();
}

static void test_encoded_many(void **state)
{
    struct prng rng = {1};

    (void)state;
    for (int i = 0; i < 50000; i++)
        hist_record(&h, prng_next(&rng) >> (33 + i % 30));
    check_encoding();
    for (uint32_t i = 0; i < HIST_COUNTS; i++)
        h.count[i] = prng_next(&rng) >> (1 + i % 63); /* hardly to be compressed */
    check_encoding();
}

#else

static void test_encoded_without_zlib(void **state)
{
    (void)state;
    record_all();
    errno = 0;
    assert_null(hist_encode(&h));
    assert_int_equal(errno, ENOTSUP);
    (void)recorded_base64;
    (void)recorded_empty;
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_text_as_recorded, setup),
        cmocka_unit_test_setup(test_text_of_nothing, setup),
        cmocka_unit_test_setup(test_text_of_very_many, setup),
        cmocka_unit_test_setup(test_text_not_taken, setup),
#ifdef HAVE_ZLIB
        cmocka_unit_test_setup(test_encoded_as_recorded, setup),
        cmocka_unit_test_setup(test_encoded_few, setup),
        cmocka_unit_test_setup(test_encoded_large_counts, setup),
        cmocka_unit_test_setup(test_encoded_many, setup),
#else
        cmocka_unit_test_setup(test_encoded_without_zlib, setup),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
