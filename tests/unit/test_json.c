/* SPDX-License-Identifier: MIT */
/*
 * test_json.c - the writer against jansson: random records are dumped to a file, loaded, written,
 * and must be byte for byte what jansson writes compactly of the same tree with the totals put in.
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
#include <unistd.h>

#include <jansson.h>

#include "dataset.h"
#include "json_writer.h"
#include "util.h"

static struct bufpool_budget unlimited = {.max = SIZE_MAX};

static uint64_t seed = 3;

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

/* Of any number of bits up to `bits`, of either sign. */
static int64_t random_bits(unsigned bits)
{
    uint64_t v = random_next() >> (64 - 1 - random_next() % bits);

    return (int64_t)(random_next() & 1 ? v : 0 - v);
}

/* Everything that UTF-8 and JSON have to offer. */
static json_t *random_text(size_t max)
{
    static const char *const piece[] = {"a",
                                        "Zz",
                                        " ",
                                        "\"",
                                        "\\",
                                        "/",
                                        "\b",
                                        "\f",
                                        "\n",
                                        "\r",
                                        "\t",
                                        "\x01",
                                        "\x1f",
                                        "\x7f",
                                        "\xc2\x80",
                                        "\xc3\xa9",
                                        "\xe2\x80\xa8",
                                        "\xef\xbf\xbf",
                                        "\xf0\x9f\x98\x80",
                                        "\xf4\x8f\xbf\xbf",
                                        "</script>",
                                        "]},{\"id\":"};
    char text[512];
    size_t n = 0, len = random_next() % (max + 1);

    while (n < len) {
        const char *s = random_next() & 1 ? "plain" : piece[random_next() % ARRAY_LEN(piece)];
        n += (size_t)sprintf(text + n, "%s", s);
    }
    return random_next() % 16 ? json_stringn(text, n) : json_stringn("\0x\0", 3);
}

static json_t *random_record(int64_t id)
{
    json_t *tags = json_array();
    unsigned half = 1 + (unsigned)(random_next() % 31); /* price x quantity fits */

    for (uint64_t i = random_next() % 6; i; i--)
        json_array_append_new(tags, random_text(20));
    return json_pack("{sI so so sI sI sb so s{sI sI}}", "id", (json_int_t)id, "name",
                     random_text(60), "category", random_text(12), "price",
                     (json_int_t)random_bits(half), "quantity", (json_int_t)random_bits(31),
                     "active", (int)(random_next() & 1), "tags", tags, "rating", "score",
                     (json_int_t)random_bits(63), "count", (json_int_t)random_bits(7));
}

/* `count` records, as a tree and as loaded through a file. */
static json_t *random_dataset(struct dataset *d, unsigned count)
{
    char path[] = "/tmp/bivalve-json-XXXXXX", error[DATASET_ERROR_MAX];
    json_t *tree = json_array();
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(tree, random_record(i * (random_bits(20) | 1) * 64 + i));
    assert_int_equal(json_dumpfd(tree, fd, random_next() & 1 ? JSON_ENSURE_ASCII : JSON_INDENT(2)),
                     0);
    close(fd);
    int rc = dataset_load(d, path, error);
    unlink(path);
    if (rc < 0)
        fail_msg("%s", error);
    assert_int_equal(d->count, count);
    return tree;
}

/* What jansson writes of the first `count` records; NULL when a total does not fit, with the record
 * in *bad. */
static char *oracle(const json_t *tree, uint32_t count, int64_t m, uint32_t *bad)
{
    json_t *items = json_array();

    for (uint32_t i = 0; i < count; i++) {
        json_t *item = json_copy(json_array_get(tree, i));
        int64_t total = json_integer_value(json_object_get(item, "price"));
        int64_t quantity = json_integer_value(json_object_get(item, "quantity"));
        bool overflow = __builtin_mul_overflow(total, quantity, &total) ||
                        __builtin_mul_overflow(total, m, &total);
        json_object_set_new(item, "total", json_integer((json_int_t)total));
        json_array_append_new(items, item);
        if (overflow) {
            json_decref(items);
            *bad = i;
            return NULL;
        }
    }
    json_t *root = json_pack("{so sI}", "items", items, "count", (json_int_t)count);
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return text;
}

/* Everything pending, in memory of the caller's. */
static char *collect(struct out *o, size_t *len)
{
    size_t n = 0, part;
    char *text = malloc(out_pending(o) + 1);
    struct backend_segment from;

    while (out_segments(o, &from, 1)) {
        part = from.len;
        memcpy(text + n, from.data, part);
        n += part;
        out_consume(o, part);
    }
    *len = n;
    text[n] = '\0';
    return text;
}

/* Write with the high-water mark given; checks how far each call goes. The number of calls is
 * returned. */
static unsigned write_body(struct out *o, struct bufpool *p, const struct dataset *d,
                           uint32_t count, int64_t m, size_t high_water)
{
    uint32_t next = 0;
    unsigned calls = 0;

    assert_int_equal(json_write_open(o, p), 0);
    do {
        size_t before = out_pending(o);
        uint32_t from = next;
        assert_int_equal(json_write_records(o, p, d, &next, count, m, high_water), 0);
        size_t written = out_pending(o) - before;
        assert_true(next <= count);
        calls++;
        if (next == from) {
            assert_int_equal(count, 0);
        } else {
            char last[DATASET_RECORD_MAX];
            size_t last_len = json_write_record(last, &d->records[next - 1], m) + (next > 1);
            if (next < count)
                assert_true(written >= high_water); /* not stopped too early */
            if (next - from > 1)
                assert_true(written - last_len < high_water); /* nor too late */
        }
    } while (next < count);
    assert_int_equal(json_write_close(o, p, count), 0);
    return calls;
}

static void check_body(struct bufpool *p, const struct dataset *d, const json_t *tree,
                       uint32_t count, int64_t m, size_t high_water)
{
    struct out o = {0};
    uint32_t bad = UINT32_MAX, expected_bad = UINT32_MAX;
    char *expected = oracle(tree, count, m, &expected_bad);
    int64_t length = json_body_length(d, count, m, &bad);
    size_t len;

    if (!expected) {
        assert_int_equal(length, -ERANGE);
        assert_int_equal(bad, expected_bad);
        return;
    }
    assert_int_equal(length, strlen(expected));
    write_body(&o, p, d, count, m, high_water);
    char *text = collect(&o, &len);
    if (len != strlen(expected) || memcmp(text, expected, len))
        fail_msg("count %u, m %lld, high water %zu:\n%s\nexpected\n%s", count, (long long)m,
                 high_water, text, expected);
    free(text);
    free(expected);
    assert_true(out_empty(&o));
}

static void test_oracle(void **state)
{
    static const int64_t ms[] = {1, 0, -1, 2, 3, 7, 1000, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    struct bufpool p;

    (void)state;
    bufpool_init(&p, 16384, &unlimited);
    for (int round = 0; round < 30; round++) {
        unsigned records = round < 3 ? (unsigned)round : 1 + (unsigned)(random_next() % 60);
        struct dataset d;
        json_t *tree = random_dataset(&d, records);
        for (uint32_t count = 0; count <= records; count++) {
            for (size_t i = 0; i < ARRAY_LEN(ms); i++)
                check_body(&p, &d, tree, count, ms[i], SIZE_MAX);
            check_body(&p, &d, tree, count, random_bits(63), random_next() % 4096);
        }
        json_decref(tree);
        dataset_free(&d);
    }
    assert_int_equal(p.used, 0);
    bufpool_destroy(&p);
}

/* Every high-water mark, with blocks so small that one holds hardly more than a record. */
static void test_resume(void **state)
{
    struct dataset d;
    json_t *tree = random_dataset(&d, 12);
    uint32_t bad;
    size_t whole = (size_t)json_body_length(&d, 12, 1, &bad);

    (void)state;
    for (int small = 0; small < 2; small++) {
        struct bufpool p;
        bufpool_init(&p, small ? d.record_max + 1 : 16384, &unlimited);
        for (size_t high_water = 0; high_water <= whole + 1; high_water++)
            check_body(&p, &d, tree, 12, 1, high_water);
        struct out o = {0};
        assert_int_equal(write_body(&o, &p, &d, 12, 1, 0), 12);
        out_clear(&o);
        assert_int_equal(write_body(&o, &p, &d, 12, 1, whole), 1);
        out_clear(&o);
        assert_int_equal(p.used, 0);
        bufpool_destroy(&p);
    }
    json_decref(tree);
    dataset_free(&d);
}

/* What is pending already does not count, and is not disturbed. */
static void test_behind_other_output(void **state)
{
    struct dataset d;
    json_t *tree = random_dataset(&d, 8);
    struct bufpool p;
    uint32_t bad;
    char *expected = oracle(tree, 8, 5, &bad);

    (void)state;
    bufpool_init(&p, 4096, &unlimited);
    for (size_t before = 0; before < 4200; before += 7) {
        char *filler = malloc(before + 1);
        struct out o = {0};
        size_t len;
        memset(filler, '#', before + 1);
        assert_int_equal(out_append(&o, &p, filler, before), 0);
        write_body(&o, &p, &d, 8, 5, 900);
        char *text = collect(&o, &len);
        assert_int_equal(len, before + strlen(expected));
        assert_memory_equal(text, filler, before);
        assert_memory_equal(text + before, expected, strlen(expected));
        free(text);
        free(filler);
    }
    free(expected);
    bufpool_destroy(&p);
    json_decref(tree);
    dataset_free(&d);
}

/* json_write_record() touches nothing beyond the room: a sanitizer, or the canary, would see it. */
static void test_record_bounds(void **state)
{
    struct dataset d;
    json_t *tree = random_dataset(&d, 50);

    (void)state;
    for (uint32_t i = 0; i < d.count; i++) {
        char room[DATASET_RECORD_MAX];
        size_t len = json_write_record(room, &d.records[i], 1);
        assert_true(len <= d.record_max);
        char *exact = malloc(d.record_max + 1);
        exact[d.record_max] = '#';
        assert_int_equal(json_write_record(exact, &d.records[i], 1), len);
        assert_int_equal(exact[d.record_max], '#');
        assert_memory_equal(exact, room, len);
        char *tight = realloc(exact, d.record_max);
        assert_int_equal(json_write_record(tight, &d.records[i], 1), len);
        free(tight);
    }
    json_decref(tree);
    dataset_free(&d);
}

static void test_no_memory(void **state)
{
    struct dataset d;
    json_t *tree = random_dataset(&d, 50);
    struct bufpool p;
    struct out o = {0}, other = {0};
    uint32_t next = 0;

    (void)state;
    struct bufpool_budget two = {.max = 1};
    bufpool_init(&p, d.record_max + 1, &two);
    two.max = 2 * p.block_size;
    assert_int_equal(json_write_records(&o, &p, &d, &next, 50, 1, SIZE_MAX), -ENOMEM);
    assert_int_equal(json_write_open(&other, &p), -ENOMEM);
    assert_int_equal(json_write_close(&other, &p, 50), -ENOMEM);
    out_clear(&o);
    out_clear(&other);
    assert_int_equal(p.used, 0);
    bufpool_destroy(&p);
    json_decref(tree);
    dataset_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_behind_other_output),
        cmocka_unit_test(test_record_bounds),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
