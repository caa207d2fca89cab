/* SPDX-License-Identifier: MIT */
/*
 * test_dataset.c - what dataset_load() takes, and that each kind of refusal names file, record and
 * field.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataset.h"
#include "json_writer.h"
#include "util.h"

static char path[] = "/tmp/bivalve-dataset-XXXXXX";

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

/* Load text as a file. `error` without the path and ": " that it begins with. */
static int load(struct dataset *d, const char *text, size_t len, char *error)
{
    char line[DATASET_ERROR_MAX];
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    int rc = dataset_load(d, path, line);
    if (rc == 0) {
        assert_string_equal(line, "");
        *error = '\0';
        return 0;
    }
    if (strncmp(line, path, strlen(path)) || strncmp(line + strlen(path), ": ", 2))
        fail_msg("the message does not begin with the file: %s", line);
    if (strchr(line, '\n'))
        fail_msg("more than one line: %s", line);
    assert_null(d->memory);
    assert_null(d->records);
    strcpy(error, line + strlen(path) + 2);
    return rc;
}

#define REST     "\"name\":\"n\",\"category\":\"c\",\"active\":true,\"tags\":[]"
#define RATING   "\"rating\":{\"score\":1,\"count\":2}"
#define NUMBERS  "\"price\":3,\"quantity\":4"
#define GOOD(id) "{\"id\":" id "," REST "," NUMBERS "," RATING "}"

struct refusal {
    const char *text;
    const char *message; /* whole, or (with a '*' at its end) its beginning */
    const char *contains;
};

static const struct refusal refusals[] = {
    /* the whole */
    {"{}", "must be an array of records, is an object", NULL},
    {"", "line 1, column 0, byte 0: *", NULL},
    {"12", "line 1, *", NULL},
    {"[" GOOD("1") "] x", "line 1, *", "'x'"},
    {"[" GOOD("1") ",]", "line 1, column *", "']'"},
    {"[" GOOD("1"), "line 1, column *", "end of file"},
    {"\xef\xbb\xbf[]", "line 1, *", "\\xef\\xbb\\xbf"},

    /* a record's type */
    {"[5]", "record 1: must be an object, is an integer", NULL},
    {"[" GOOD("1") ",null]", "record 2: must be an object, is null", NULL},
    {"[" GOOD("1") ",[]]", "record 2: must be an object, is an array", NULL},

    /* missing */
    {"[{}]", "record 1: id: is missing", NULL},
    {"[" GOOD("1") ",{\"id\":9," NUMBERS "," RATING "}]", "record 2 (id 9): name: is missing",
     NULL},
    {"[{\"id\":9,\"name\":\"n\"}]", "record 1 (id 9): category: is missing", NULL},
    {"[{\"id\":9," REST ",\"quantity\":4," RATING "}]", "record 1 (id 9): price: is missing", NULL},
    {"[{\"id\":9," REST ",\"price\":4," RATING "}]", "record 1 (id 9): quantity: is missing", NULL},
    {"[{\"id\":9," NUMBERS ",\"name\":\"n\",\"category\":\"c\",\"tags\":[]," RATING "}]",
     "record 1 (id 9): active: is missing", NULL},
    {"[{\"id\":9," NUMBERS ",\"name\":\"n\",\"category\":\"c\",\"active\":true," RATING "}]",
     "record 1 (id 9): tags: is missing", NULL},
    {"[{\"id\":9," REST "," NUMBERS "}]", "record 1 (id 9): rating: is missing", NULL},
    {"[{\"id\":9," REST "," NUMBERS ",\"rating\":{\"score\":1}}]",
     "record 1 (id 9): rating.count: is missing", NULL},
    {"[{\"id\":9," REST "," NUMBERS ",\"rating\":{\"count\":1}}]",
     "record 1 (id 9): rating.score: is missing", NULL},

    /* of the wrong type */
    {"[{\"id\":\"1\"," REST "," NUMBERS "," RATING "}]",
     "record 1: id: must be an integer of 64 bits, is a string", NULL},
    {"[{\"id\":1,\"name\":5}]", "record 1 (id 1): name: must be a string, is an integer", NULL},
    {"[{\"id\":1,\"name\":\"\",\"category\":null}]",
     "record 1 (id 1): category: must be a string, is null", NULL},
    {"[{\"id\":1," REST ",\"price\":1.0,\"quantity\":4," RATING "}]",
     "record 1 (id 1): price: must be an integer of 64 bits, is a number with a fraction or an "
     "exponent",
     NULL},
    {"[{\"id\":1," REST ",\"price\":1e2,\"quantity\":4," RATING "}]",
     "record 1 (id 1): price: must be *", NULL},
    {"[{\"id\":1," REST ",\"price\":1,\"quantity\":true," RATING "}]",
     "record 1 (id 1): quantity: must be an integer of 64 bits, is a boolean", NULL},
    {"[{\"id\":1,\"name\":\"\",\"category\":\"\",\"active\":1," NUMBERS ",\"tags\":[]," RATING "}]",
     "record 1 (id 1): active: must be true or false, is an integer", NULL},
    {"[{\"id\":1,\"name\":\"\",\"category\":\"\",\"active\":false," NUMBERS
     ",\"tags\":\"a\"," RATING "}]",
     "record 1 (id 1): tags: must be an array of strings, is a string", NULL},
    {"[{\"id\":1,\"name\":\"\",\"category\":\"\",\"active\":false," NUMBERS
     ",\"tags\":[\"a\",7]," RATING "}]",
     "record 1 (id 1): tags[1]: must be a string, is an integer", NULL},
    {"[{\"id\":1," REST "," NUMBERS ",\"rating\":[1,2]}]",
     "record 1 (id 1): rating: must be an object, is an array", NULL},
    {"[{\"id\":1," REST "," NUMBERS ",\"rating\":{\"score\":\"1\",\"count\":2}}]",
     "record 1 (id 1): rating.score: must be an integer of 64 bits, is a string", NULL},
    {"[{\"id\":1," REST "," NUMBERS ",\"rating\":{\"score\":1,\"count\":{}}}]",
     "record 1 (id 1): rating.count: must be an integer of 64 bits, is an object", NULL},

    /* unknown */
    {"[{\"id\":1," REST "," NUMBERS "," RATING ",\"colour\":1}]",
     "record 1 (id 1): unknown field \"colour\"; allowed are id, *", NULL},
    {"[{\"id\":1," REST "," NUMBERS "," RATING ",\"Price\":1}]",
     "record 1 (id 1): unknown field \"Price\"*", NULL},
    {"[{\"id\":1," REST "," NUMBERS "," RATING ",\"a\\nb\":1}]",
     "record 1 (id 1): unknown field \"a\\x0ab\"*", NULL},
    {"[{\"id\":1," REST "," NUMBERS ",\"rating\":{\"score\":1,\"count\":2,\"mean\":3}}]",
     "record 1 (id 1): rating: unknown field \"mean\"*", NULL},

    /* twice */
    {"[" GOOD("1") ",{\"id\":2,\"id\":3}]", "line 1, column *", "\"id\""},
    {"[{\"id\":1," REST "," NUMBERS ",\"rating\":{\"score\":1,\"score\":2}}]", "line 1, column *",
     "\"score\""},
    {"[" GOOD("7") "," GOOD("8") "," GOOD("7") "]",
     "record 3 (id 7): id: is the id of record 1 already", NULL},
    {"[" GOOD("9") "," GOOD("7") "," GOOD("7") "," GOOD("9") "," GOOD("7") "]",
     "record 3 (id 7): id: is the id of record 2 already", NULL},
    {"[" GOOD("9") "," GOOD("9") "," GOOD("7") "," GOOD("7") "]",
     "record 2 (id 9): id: is the id of record 1 already", NULL},
    {"[" GOOD("0") "," GOOD("-0") "]", "record 2 (id 0): id: is the id of record 1 already", NULL},

    /* UTF-8 and escapes */
    {"[" GOOD("1") ",{\"id\":2,\"name\":\"a\xff\"}]", "line 1, column *", "0xff"},
    {"[{\"id\":2,\"name\":\"\xc3(\"}]", "line 1, column *", "0xc3"},
    {"[{\"id\":2,\"name\":\"\xc0\xaf\"}]", "line 1, column *", "0xc0"},
    {"[{\"id\":2,\"name\":\"\xed\xa0\x80\"}]", "line 1, column *", "0xed"},
    {"[{\"id\":2,\"name\":\"\xf4\x90\x80\x80\"}]", "line 1, column *", "0xf4"},
    {"[{\"id\":2,\"tags\":[\"x,]}:\",\"\\\"\xe2\x82\"]}]", "line 1, column *", "0xe2"},
    {"[{\"id\":2,\"name\":\"\\ud800\"}]", "line 1, column *", "invalid Unicode"},
    {"[{\"id\":2,\"name\":\"a\nb\"}]", "line 1, column *", "newline"},
    {"[{\"id\":2,\"name\":\"a\x01\"}]", "line 1, column *", "control character"},
    {"[{\"id\":2,\n\"rating\":{\"score\":1,\"count\":}}]", "line 2, column *", "'}'"},
    {"[{\"id\":2," RATING ",\"name\":\"\xff\"}]", "line 1, column *", "0xff"},
    {"[{\"id\":2,\"name\":\"\\\"[{\",\"price\":x}]", "line 1, column *", "'x'"},
    {"[{\"id\":2,\"price\":5,\"name\"}]", "line 1, column *", "'}'"},

    /* range */
    {"[{\"id\":9223372036854775808}]", "line 1, column *", "too big"},
    {"[{\"id\":1,\"rating\":{\"score\":-9223372036854775809}}]", "line 1, column *", "too big"},
    {"[{\"id\":1," REST ",\"price\":3037000500,\"quantity\":3037000500," RATING "}]",
     "record 1 (id 1): price: price x quantity does not fit 64 bits", NULL},
    {"[{\"id\":1," REST ",\"price\":-9223372036854775808,\"quantity\":-1," RATING "}]",
     "record 1 (id 1): price: price x quantity does not fit 64 bits", NULL},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        const struct refusal *r = &refusals[i];
        char error[DATASET_ERROR_MAX];
        struct dataset d;
        int rc = load(&d, r->text, strlen(r->text), error);
        size_t len = strlen(r->message);
        int differs = len && r->message[len - 1] == '*' ? strncmp(error, r->message, len - 1)
                                                        : strcmp(error, r->message);
        if (rc != -EINVAL || differs || (r->contains && !strstr(error, r->contains)))
            fail_msg("%s\n  expected: %s %s\n  got (%d): %s", r->text, r->message,
                     r->contains ? r->contains : "", rc, error);
    }
}

static void test_no_file(void **state)
{
    char error[DATASET_ERROR_MAX], *long_path;
    struct dataset d;

    (void)state;
    assert_int_equal(dataset_load(&d, "/nonexistent/records.json", error), -ENOENT);
    assert_string_equal(error, "/nonexistent/records.json: cannot be opened: No such file or "
                               "directory (--dataset names another file)");
    assert_int_equal(dataset_load(&d, "/", error), -EISDIR);
    assert_string_equal(error, "/: cannot be read: Is a directory");
    /* a path longer than the message keeps its end, and the cause */
    long_path = malloc(4000);
    memset(long_path, 'd', 3999);
    strcpy(long_path + 3980, "/records.json");
    assert_int_equal(dataset_load(&d, long_path, error), -ENAMETOOLONG);
    assert_non_null(strstr(error, "d/records.json: cannot be opened: File name too long"));
    assert_memory_equal(error, "...ddd", 6);
    free(long_path);
}

static void test_pipe(void **state)
{
    static const char text[] = "[" GOOD("5") "]";
    char error[DATASET_ERROR_MAX], name[64];
    struct dataset d;
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], text, sizeof(text) - 1), sizeof(text) - 1);
    close(fds[1]);
    snprintf(name, sizeof(name), "/dev/fd/%d", fds[0]);
    int rc = dataset_load(&d, name, error);
    close(fds[0]);
    if (rc < 0)
        fail_msg("%s", error);
    assert_int_equal(d.count, 1);
    assert_int_equal(d.records[0].id, 5);
    dataset_free(&d);
}

static void check_text(const struct dataset_text *t, const char *expected)
{
    if (t->len != strlen(expected) || memcmp(t->text, expected, t->len))
        fail_msg("expected %s, got %.*s", expected, (int)t->len, t->text);
}

static void test_values(void **state)
{
    static const char text[] =
        " [ {\"rating\": {\"count\": -9223372036854775808, \"score\": 9223372036854775807},\r\n"
        "\"tags\": [\"\\u0000\", \"\\u001f\\u007f\", \"\"], \"active\": false, \"quantity\": "
        "-3,\t\"price\": 4,"
        "\"category\": \"a\\\"b\\\\c\\/d\\b\\f\\n\\r\\t\", \"name\": "
        "\"\\u00e9\\ud83d\\ude00\xc3\xa9\", \"id\": -1}," GOOD("2") "] \n";
    char error[DATASET_ERROR_MAX];
    struct dataset d;

    (void)state;
    if (load(&d, text, sizeof(text) - 1, error) < 0)
        fail_msg("%s", error);
    assert_int_equal(d.count, 2);
    const struct dataset_record *r = &d.records[0];
    assert_int_equal(r->id, -1);
    assert_int_equal(r->price, 4);
    assert_int_equal(r->quantity, -3);
    assert_int_equal(r->value, -12);
    assert_false(r->active);
    assert_true(r->rating_score == INT64_MAX && r->rating_count == INT64_MIN);
    check_text(&r->name, "\"\xc3\xa9\xf0\x9f\x98\x80\xc3\xa9\"");
    check_text(&r->category, "\"a\\\"b\\\\c/d\\b\\f\\n\\r\\t\"");
    check_text(&r->tags, "\"\\u0000\",\"\\u001F\x7f\",\"\"");
    assert_true(d.records[1].active);
    assert_int_equal(d.records[1].tags.len, 0);
    dataset_free(&d);
    assert_null(d.memory);
    assert_int_equal(d.count, 0);
}

static void test_empty(void **state)
{
    char error[DATASET_ERROR_MAX];
    struct dataset d;

    (void)state;
    assert_int_equal(load(&d, "[]", 2, error), 0);
    assert_int_equal(d.count, 0);
    assert_int_equal(d.text_len[0], 0);
    dataset_free(&d);
}

/* Records up to DATASET_RECORD_MAX, with room for the longest total, are taken; one byte more is
 * not. */
static void test_record_limit(void **state)
{
    char *text = malloc(40000), *name = malloc(20000), error[DATASET_ERROR_MAX];
    struct dataset d;

    (void)state;
    int len = sprintf(text, "[" GOOD("1") "]");
    assert_int_equal(load(&d, text, (size_t)len, error), 0);
    size_t room = DATASET_RECORD_MAX - d.record_max; /* what the name may grow by */
    dataset_free(&d);
    for (int tags = 0; tags < 2; tags++) {
        for (size_t more = 0; more < 2; more++) {
            memset(name, 'x', room + 1 + more);
            name[room + 1 + more] = '\0';
            if (tags) { /* two tags, a comma, their quotes: 5 bytes beside the text */
                name[room - 5 + more] = '\0';
                len = sprintf(text,
                              "[{\"id\":1,\"name\":\"n\",\"category\":\"c\",\"active\":true,"
                              "\"tags\":[\"%s\",\"\"]," NUMBERS "," RATING "}]",
                              name);
            } else {
                len = sprintf(text,
                              "[{\"id\":1,\"name\":\"%s\",\"category\":\"c\",\"active\":true,"
                              "\"tags\":[]," NUMBERS "," RATING "}]",
                              name);
            }
            int rc = load(&d, text, (size_t)len, error);
            if (more) {
                assert_int_equal(rc, -EINVAL);
                assert_string_equal(
                    error, "record 1 (id 1): takes up to 8193 bytes of JSON; the limit is 8192");
            } else {
                if (rc < 0)
                    fail_msg("%s", error);
                assert_int_equal(d.record_max, DATASET_RECORD_MAX);
                dataset_free(&d);
            }
        }
    }
    free(text);
    free(name);
}

static void test_many_tags(void **state)
{
    char *text = malloc(100000), error[DATASET_ERROR_MAX];
    struct dataset d;

    (void)state;
    char *p =
        text + sprintf(text, "[{\"id\":1,\"name\":\"n\",\"category\":\"c\",\"active\":true," NUMBERS
                             "," RATING ",\"tags\":[");
    for (int i = 0; i < 3000; i++)
        p += sprintf(p, "%s\"\"", i ? "," : "");
    p += sprintf(p, "]}]");
    assert_int_equal(load(&d, text, (size_t)(p - text), error), -EINVAL);
    assert_string_equal(error,
                        "record 1 (id 1): takes up to 9140 bytes of JSON; the limit is 8192");
    free(text);
}

/* Deep nesting ends in an error, not in a crash. */
static void test_deep(void **state)
{
    char *text = malloc(200000), error[DATASET_ERROR_MAX];
    struct dataset d;

    (void)state;
    memset(text, '[', 200000);
    assert_int_equal(load(&d, text, 200000, error), -EINVAL);
    assert_non_null(strstr(error, "depth"));
    free(text);
}

/* The lengths that the writer relies on. */
static void test_lengths(void **state)
{
    char error[DATASET_ERROR_MAX], out[DATASET_RECORD_MAX];
    struct dataset d;
    uint64_t sum = 0;

    (void)state;
    int rc = dataset_load(&d, TEST_SRCDIR "/data/dataset.json", error);
    if (rc < 0)
        fail_msg("%s", error);
    assert_int_equal(d.count, 50);
    size_t longest = 0;
    for (uint32_t i = 0; i < d.count; i++) {
        assert_int_equal(d.text_len[i], sum);
        size_t len = json_write_record(out, &d.records[i], 0); /* a total of one digit */
        assert_int_equal(json_record_length(&d.records[i]), len - 1);
        sum += len - 1 + (i > 0);
        longest = MAX(longest, len - 1);
    }
    assert_int_equal(d.text_len[d.count], sum);
    assert_int_equal(d.record_max, longest + 20);
    dataset_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),  cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_pipe),      cmocka_unit_test(test_values),
        cmocka_unit_test(test_empty),     cmocka_unit_test(test_record_limit),
        cmocka_unit_test(test_many_tags), cmocka_unit_test(test_deep),
        cmocka_unit_test(test_lengths),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
