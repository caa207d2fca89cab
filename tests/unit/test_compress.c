/* SPDX-License-Identifier: MIT */
/*
 * test_compress.c - compressors: any pieces of input and room give a whole stream; there are only so
 * many; one that was used is as good as new.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "compress.h"
#include "util.h"

#if HAVE_ZLIB
#include <zlib.h>
#endif

enum { PLAIN = 20000, CODED = 2 * PLAIN + 1000 };

static char plain[PLAIN], coded[CODED];

static bool has(enum coding coding)
{
    return compress_available() & CODING_BIT(coding);
}

/* Text that can be compressed, but not to nothing. */
static void fill(void)
{
    uint32_t x = 1;

    for (size_t i = 0; i < PLAIN; i++) {
        x = x * 1664525 + 1013904223;
        plain[i] = (char)('a' + (x >> 24) % 12);
    }
}

/* Compress `len` bytes, at most `in` at a time into at most `out`; the length of what comes out. */
static size_t run(enum coding coding, unsigned level, size_t len, size_t in, size_t out)
{
    struct compressor *c = compress_open(coding, level);
    size_t taken = 0, given = 0;
    bool finished = false;

    assert_non_null(c);
    for (unsigned steps = 0; !finished; steps++) {
        struct compress_io io = {.in = plain + taken,
                                 .in_len = MIN(in, len - taken),
                                 .out = coded + given,
                                 .out_len = MIN(out, CODED - given)};
        assert_true(steps < 4 * CODED && io.out_len > 0);
        size_t offered = io.in_len, room = io.out_len;
        finished = compress_run(c, &io, taken + offered == len);
        assert_ptr_equal(io.in, plain + taken + (offered - io.in_len));
        assert_ptr_equal(io.out, coded + given + (room - io.out_len));
        taken += offered - io.in_len;
        given += room - io.out_len;
    }
    assert_int_equal(taken, len);
    compress_close(c);
    return given;
}

#if HAVE_ZLIB
static void check_gzip(size_t len, size_t given)
{
    static char again[PLAIN + 1];
    z_stream z = {0};

    assert_int_equal(inflateInit2(&z, 31), Z_OK);
    z.next_in = (Bytef *)coded;
    z.avail_in = (uInt)given;
    z.next_out = (Bytef *)again;
    z.avail_out = sizeof(again);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, len);
    assert_int_equal(z.avail_in, 0);
    assert_memory_equal(again, plain, len);
    inflateEnd(&z);
}
#else
static void check_gzip(size_t len, size_t given)
{
    (void)len, (void)given;
}
#endif

static void test_pieces(void **state)
{
    static const size_t lens[] = {0, 1, 100, PLAIN}, pieces[] = {1, 7, 1000, CODED};

    (void)state;
    fill();
    for (enum coding coding = 0; coding < CODING_IDENTITY; coding++)
        for (size_t l = 0; has(coding) && l < ARRAY_LEN(lens); l++)
            for (size_t i = 0; i < ARRAY_LEN(pieces); i++)
                for (size_t o = 0; o < ARRAY_LEN(pieces); o++) {
                    size_t given = run(coding, 4, lens[l], pieces[i], pieces[o]);
                    assert_true(given < lens[l] * 3 / 4 + 40);
                    if (coding == CODING_GZIP)
                        check_gzip(lens[l], given);
                }
}

/* Each level works, and the first as before when one is used again. */
static void test_levels(void **state)
{
    (void)state;
    fill();
    for (enum coding coding = 0; coding < CODING_IDENTITY; coding++) {
        size_t first = 0, last = 0;
        for (unsigned level = 1; has(coding) && level <= COMPRESS_LEVEL_MAX; level++) {
            last = run(coding, level, PLAIN, PLAIN, CODED);
            first = first ? first : last;
        }
        assert_true(last < PLAIN * 3 / 4);
        if (has(coding))
            assert_int_equal(run(coding, 1, PLAIN, PLAIN, CODED), first);
    }
}

static void test_limit(void **state)
{
    struct compressor *c[COMPRESS_MAX];

    (void)state;
    assert_null(compress_open(CODING_IDENTITY, 1));
    for (enum coding coding = 0; coding < CODING_IDENTITY; coding++) {
        if (!has(coding))
            assert_null(compress_open(coding, 1));
        for (int round = 0; has(coding) && round < 2; round++) {
            for (size_t i = 0; i < COMPRESS_MAX; i++)
                assert_non_null(c[i] = compress_open(coding, 1));
            assert_null(compress_open(coding, 1));
            for (size_t i = 0; i < COMPRESS_MAX; i++)
                compress_close(c[i]);
        }
    }
    compress_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
