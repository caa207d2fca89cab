/* SPDX-License-Identifier: MIT */
/*
 * test_parser.c - the parser over the corpus in tests/corpus: every stream gives what `expected`
 * says, in one piece, byte by byte, cut once at every place, and cut at random; it is refused at
 * the very byte that is wrong. Then limits, each at its edge, and what streams cannot show.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_parser.h"
#include "http_section.h"
#include "parser_trace.h"
#include "settings.h"
#include "util.h"

#define CORPUS TEST_SRCDIR "/tests/corpus"

static struct settings defaults;
static struct trace whole, other;

static int setup(void **state)
{
    (void)state;
    settings_init(&defaults);
    return 0;
}

/* With the section of `first` kept, `second` gives what it gives by itself. How often it was known. */
static unsigned long check_section(const struct settings *set, const char *first, size_t first_len,
                                   const char *second, size_t second_len)
{
    static struct http_section section;

    memset(&section, 0, sizeof(section));
    trace_run(&whole, set, second, second_len, trace_cut_whole, NULL);
    trace_section = &section;
    trace_run(&other, set, first, first_len, trace_cut_whole, NULL);
    trace_known = 0;
    trace_run(&other, set, second, second_len, trace_cut_whole, NULL);
    trace_section = NULL;
    if (strcmp(whole.text, other.text) || whole.error != other.error)
        fail_msg("known: %s\nparsed: %s", other.text, whole.text);
    return trace_known;
}

/* The stream gives `expected`; a refusal comes with its `bytes`-th byte (0: it is not refused). */
static void check_stream(const char *name, const struct settings *set, const char *s, size_t len,
                         const char *expected, size_t bytes)
{
    trace_run(&whole, set, s, len, trace_cut_whole, NULL);
    if (strcmp(whole.text, expected))
        fail_msg("%s: %s\nexpected: %s", name, whole.text, expected);
    const char *how = trace_differs(trace_run, set, s, len, &whole, &other, true);
    if (how)
        fail_msg("%s, %s: %s\nwhole: %s", name, how, other.text, whole.text);
    check_section(set, s, len, s, len);
    trace_run(&whole, set, s, len, trace_cut_whole, NULL);
    trace_run(&other, set, s, len, trace_cut_bytes, NULL);
    if ((other.error != HTTP_ERROR_NONE) != (bytes != 0))
        fail_msg("%s: the table says %s", name, bytes ? "refused" : "not refused");
    if (bytes && other.fed != bytes)
        fail_msg("%s: refused at byte %zu, not %zu", name, other.fed, bytes);
}

static char *corpus_read(const char *name, size_t *len)
{
    char path[sizeof(CORPUS) + 4200];
    static char data[1 << 16];

    snprintf(path, sizeof(path), "%s/%s.req", CORPUS, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s is in the table, and not there", path);
    *len = fread(data, 1, sizeof(data), f);
    assert_true(feof(f));
    fclose(f);
    return data;
}

static size_t corpus_files(void)
{
    DIR *d = opendir(CORPUS);
    size_t count = 0;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        size_t len = strlen(e->d_name);
        count += len > 4 && !strcmp(e->d_name + len - 4, ".req");
    }
    closedir(d);
    return count;
}

static void test_corpus(void **state)
{
    char line[4096];
    size_t rows = 0;
    bool seen[256] = {false};

    (void)state;
    FILE *f = fopen(CORPUS "/expected", "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        if (*line == '#')
            continue;
        line[strcspn(line, "\n")] = '\0';
        char *name = line, *bytes = strchr(line, '\t');
        assert_non_null(bytes);
        *bytes++ = '\0';
        char *expected = strchr(bytes, '\t');
        assert_non_null(expected);
        *expected++ = '\0';
        size_t len;
        char *data = corpus_read(name, &len);
        check_stream(name, &defaults, data, len, expected, strtoul(bytes, NULL, 10));
        seen[whole.error] = true;
        rows++;
    }
    fclose(f);
    assert_int_equal(rows, corpus_files()); /* no stream without a verdict */

    /* Every error but the limits, which have tests of their own, occurs in the corpus. */
    static const enum http_error limits[] = {
        HTTP_ERROR_TARGET_TOO_LONG,
        HTTP_ERROR_HEADER_TOO_LARGE,
        HTTP_ERROR_HEADER_TOO_MANY,
        HTTP_ERROR_TRAILER_TOO_LARGE,
    };
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        seen[limits[i]] = true;
    for (int e = HTTP_ERROR_NONE; e <= HTTP_ERROR_TRAILER_TOO_LARGE; e++)
        if (!seen[e])
            fail_msg("no stream of the corpus gives %s", http_error_name((enum http_error)e));
}

/* ---- limits ---- */

static char stream[1 << 16];
static size_t stream_len;

__attribute__((format(printf, 1, 2))) static void stream_add(const char *form, ...)
{
    va_list ap;

    va_start(ap, form);
    int n = vsnprintf(stream + stream_len, sizeof(stream) - stream_len, form, ap);
    va_end(ap);
    assert_true(n >= 0 && stream_len + (size_t)n < sizeof(stream));
    stream_len += (size_t)n;
}

static void stream_repeat(char c, size_t count)
{
    while (count--)
        stream_add("%c", c);
}

static void check_limit(const struct settings *set, const char *expected, size_t bytes)
{
    check_stream(expected, set, stream, stream_len, expected, bytes);
}

/*
 * A target of exactly max_uri_bytes is taken; the byte that makes it longer is refused, whatever it
 * is.
 */
static void test_limit_target(void **state)
{
    struct settings set = defaults;
    char expected[128];

    (void)state;
    for (uint32_t max = 16; max < 52; max++) {
        set.max_uri_bytes = max;
        stream_len = 0;
        stream_add("GET /");
        stream_repeat('t', max - 1);
        size_t edge = stream_len;
        stream_add(" HTTP/1.1\r\nHost: a\r\n\r\n");
        snprintf(expected, sizeof(expected), "GET %.*s keep", (int)max, stream + 4);
        check_limit(&set, expected, 0);
        for (const char *c = "t%#\r\x80"; *c; c++) {
            stream_len = edge;
            stream_add("%c HTTP/1.1\r\n", *c);
            check_limit(&set, "error TARGET_TOO_LONG", edge + 1);
        }
        for (size_t cut = 1; cut < 3; cut++) { /* inside an escape */
            stream_len = edge - cut;
            stream_add("%%41 HTTP/1.1\r\n");
            check_limit(&set, "error TARGET_TOO_LONG", edge + 1);
        }
        stream_len = edge - 3;
        stream_add("%%41 HTTP/1.1\r\nHost: a\r\n\r\n");
        snprintf(expected, sizeof(expected), "GET %.*s keep", (int)max, stream + 4);
        check_limit(&set, expected, 0);
    }
}

/* The section may have max_header_bytes, its empty line included; the next byte is refused. */
static void test_limit_header_bytes(void **state)
{
    struct settings set = defaults;
    static const char *const lines[] = {"GET / HTTP/1.1\r\n", "\r\nGET /a?b HTTP/1.1\r\n",
                                        "GET http://b/ HTTP/1.1\r\n"};
    static const char *const expected[] = {"GET / keep", "GET /a?b keep", "GET / keep absolute"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        for (uint32_t max = 64; max < 84; max++) {
            set.max_header_bytes = max;
            for (int over = 0; over < 2; over++) {
                stream_len = 0;
                stream_add("%s", lines[i]);
                size_t start = stream_len;
                stream_add("Host: a\r\nX: ");
                stream_repeat('v', max - (stream_len - start) - 4 + (over ? 1 : 0));
                stream_add("\r\n\r\n");
                if (over)
                    check_limit(&set, "error HEADER_TOO_LARGE", start + max + 1);
                else
                    check_limit(&set, expected[i], 0);
            }
            stream_len = 0; /* an endless name, value, and white space */
            stream_add("%s", lines[i]);
            size_t start = stream_len;
            stream_repeat('n', max + 20);
            check_limit(&set, "error HEADER_TOO_LARGE", start + max + 1);
            stream_len = start;
            stream_add("X:");
            stream_repeat(' ', max + 20);
            check_limit(&set, "error HEADER_TOO_LARGE", start + max + 1);
            stream_len = start;
            stream_add("Host: ");
            stream_repeat('h', max + 20);
            check_limit(&set, "error HEADER_TOO_LARGE", start + max + 1);
            stream_len = start + max; /* not a byte too early */
            check_limit(&set, "more head", 0);
        }
    }
}

static void test_limit_header_fields(void **state)
{
    struct settings set = defaults;

    (void)state;
    for (uint32_t max = 1; max < 6; max++) {
        set.max_header_fields = max;
        stream_len = 0;
        stream_add("GET / HTTP/1.1\r\nHost: a\r\n");
        for (uint32_t i = 1; i < max; i++)
            stream_add("X: y\r\n");
        size_t edge = stream_len;
        stream_add("\r\n");
        check_limit(&set, "GET / keep", 0);
        for (const char *const *line = (const char *const[]){"X: y\r\n", "Host: a\r\n", NULL};
             *line; line++) {
            stream_len = edge;
            stream_add("%s\r\n", *line);
            check_limit(&set, "error HEADER_TOO_MANY", edge + 1);
        }
    }
    set.max_header_fields = 65535; /* the option's upper end: the counter holds it */
    set.max_header_bytes = 1 << 20;
    size_t len = 16;
    char *many = malloc(len + 65536 * 4);
    assert_non_null(many);
    memcpy(many, "GET / HTTP/1.0\r\n", len);
    for (int i = 0; i < 65536; i++, len += 4)
        memcpy(many + len, "X:\r\n", 4);
    trace_run(&whole, &set, many, len, trace_cut_whole, NULL);
    assert_string_equal(whole.text, "error HEADER_TOO_MANY");
    memcpy(many + len - 4, "\r\n", 2); /* one less */
    trace_run(&whole, &set, many, len - 2, trace_cut_whole, NULL);
    assert_string_equal(whole.text, "GET / close 1.0");
    free(many);
}

static void test_limit_body(void **state)
{
    struct settings set = defaults;

    (void)state;
    set.max_body_bytes = 10;
    stream_len = 0;
    stream_add("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789");
    check_limit(&set, "POST / keep body 10 \"0123456789\"", 0);
    stream_len = 0;
    stream_add("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
    check_limit(&set, "error BODY_TOO_LARGE", stream_len);
    stream_len = 0;
    stream_add("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n");
    size_t edge = stream_len;
    stream_add("4\r\n6789\r\n0\r\n\r\n");
    check_limit(&set, "POST / keep body 10 \"0123456789\"", 0);
    stream_len = edge;
    stream_add("5\r\n67890\r\n0\r\n\r\n"); /* refused when announced */
    check_limit(&set, "POST / keep; error BODY_TOO_LARGE", edge + 3);
    set.max_body_bytes = 0; /* no limit, but for what the machine can count */
    stream_len = 0;
    stream_add("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\nx");
    check_limit(&set, "POST / keep; more body", 0);
    stream_len = 0;
    stream_add("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    size_t first = stream_len;
    stream_add("7fffffffffffffff\r\n");
    check_limit(&set, "POST / keep; error BODY_TOO_LARGE", stream_len);
    stream_len = first;
    stream_add("7ffffffffffffffe\r\nx");
    check_limit(&set, "POST / keep; more body", 0);
    stream_len = 0;
    stream_add("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    check_limit(&set, "POST / keep body 0 \"\"", 0);
    set.max_body_bytes = INT64_MAX; /* the option's upper end: sums do not wrap */
    stream_len = 0;
    stream_add("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    edge = stream_len;
    stream_add("7fffffffffffffff\r\n");
    check_limit(&set, "POST / keep; error BODY_TOO_LARGE", stream_len);
    stream_len = edge;
    stream_add("7ffffffffffffffe\r\nx");
    check_limit(&set, "POST / keep; more body", 0);
}

static void test_limit_extensions(void **state)
{
    struct settings set = defaults;

    (void)state;
    for (uint32_t max = 0; max < 5; max++) {
        set.max_chunk_ext_bytes = max;
        for (uint32_t len = 0; len < max + 2; len++) {
            if (len == 1)
                continue; /* ';' alone is malformed */
            stream_len = 0;
            stream_add("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0");
            size_t start = stream_len;
            if (len)
                stream_add(";");
            stream_repeat('a', len ? len - 1 : 0);
            stream_add("\r\n\r\n");
            if (len > max)
                check_limit(&set, "POST / keep; error CHUNK_EXTENSION_TOO_LONG", start + max + 1);
            else
                check_limit(&set, "POST / keep body 0 \"\"", 0);
        }
    }
}

static void test_limit_trailers(void **state)
{
    struct settings set = defaults;
    static const char head[] =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";

    (void)state;
    set.max_header_bytes = 64;
    stream_len = 0;
    stream_add("%sX: ", head);
    stream_repeat('v', 64 - 7);
    size_t edge = stream_len;
    stream_add("\r\n\r\n");
    check_limit(&set, "POST / keep body 0 \"\"", 0);
    stream_len = edge;
    stream_add("v\r\n\r\n");
    check_limit(&set, "POST / keep; error TRAILER_TOO_LARGE", stream_len);
    stream_len = 0; /* extensions of the last chunk are not counted with them */
    stream_add("%.*s;abc=def\r\nX: ", (int)(strlen(head) - 2), head);
    stream_repeat('v', 64 - 7);
    stream_add("\r\n\r\n");
    check_limit(&set, "POST / keep body 0 \"\"", 0);
    set = defaults;
    set.max_header_fields = 3;
    stream_len = 0;
    stream_add("%sA: b\r\nC: d\r\nE: f\r\n", head);
    edge = stream_len;
    stream_add("\r\n");
    check_limit(&set, "POST / keep body 0 \"\"", 0);
    stream_len = edge;
    stream_add("G: h\r\n\r\n");
    check_limit(&set, "POST / keep; error TRAILER_TOO_LARGE", edge + 1);
}

/* ---- bytes, one by one, against the grammar written down once more ---- */

static bool is_one_of(unsigned char c, const char *set)
{
    return c && strchr(set, c);
}

static bool is_alnum(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Every byte value at every offset of a long run: the wide and the narrow way of looking agree. */
static void check_byte(const char *before, const char *after, unsigned char c, bool good,
                       const char *ok)
{
    for (size_t run = 0; run < 34; run += 3) {
        stream_len = 0;
        stream_add("%s", before);
        stream_repeat('z', run);
        stream[stream_len++] = (char)c;
        stream_repeat('z', 20);
        stream_add("%s", after);
        trace_run(&whole, &defaults, stream, stream_len, trace_cut_whole, NULL);
        trace_run(&other, &defaults, stream, stream_len, trace_cut_bytes, NULL);
        if (strcmp(whole.text, other.text))
            fail_msg("byte 0x%02x behind %zu: %s, or %s", c, run, whole.text, other.text);
        if ((whole.messages == 1 && !strncmp(whole.text, ok, strlen(ok))) != good)
            fail_msg("byte 0x%02x behind \"%s\" and %zu: %s", c, before, run, whole.text);
    }
}

static void test_every_byte(void **state)
{
    static const char rest[] = " HTTP/1.1\r\nHost: a\r\n\r\n";

    (void)state;
    for (int i = 0; i < 256; i++) {
        unsigned char c = (unsigned char)i;
        bool pchar = is_alnum(c) || is_one_of(c, "-._~!$&'()*+,;=:@/?");
        bool token = is_alnum(c) || is_one_of(c, "!#$%&'*+-.^_`|~");
        if (c != ' ') /* which ends the target */
            check_byte("GET /", rest, c, pchar, "GET /");
        if (c != ':') /* which ends the name */
            check_byte("GET / HTTP/1.1\r\nHost: a\r\nN", ": v\r\n\r\n", c, token, "GET / keep");
        check_byte("GET / HTTP/1.1\r\nHost: a\r\nN: ", "\r\n\r\n", c,
                   c == '\t' || (c >= 0x20 && c != 0x7f), "GET / keep");
        if (c != '%' && c != ':') /* escape, port */
            check_byte("GET / HTTP/1.1\r\nHost: z", "\r\n\r\n", c,
                       is_alnum(c) || is_one_of(c, "-._~!$&'()*+;="), "GET / keep");
    }
}

#define SECTION_HEAD                                                                       \
    "POST /a?b=1 HTTP/1.1\r\nHost: a.example\r\nConnection: close, keep-alive\r\nExpect: " \
    "100-continue\r\nContent-Length: 3\r\n\r\n"
#define SECTION_BODY "x=1"

/* Any byte of a head that was known can be another, be missing, or come twice. */
static void test_section(void **state)
{
    static const char first[] = SECTION_HEAD SECTION_BODY;
    static const char others[] = "\r\n \t:,\0\x7f\xff"
                                 "3A?%";
    const size_t len = sizeof(first) - 1;
    char text[sizeof(first) + 1];

    (void)state;
    assert_int_equal(check_section(&defaults, first, len, first, len), 1);
    for (size_t at = 0; at < len; at++) {
        for (size_t i = 0; i < sizeof(others) - 1; i++) {
            memcpy(text, first, len);
            text[at] = others[i];
            check_section(&defaults, first, len, text, len);
        }
        memcpy(text, first, at);
        memcpy(text + at, first + at + 1, len - at - 1);
        check_section(&defaults, first, len, text, len - 1);
        memcpy(text + at + 1, first + at, len - at);
        text[at] = first[at];
        check_section(&defaults, first, len, text, len + 1);
    }
}

/* What is kept has been parsed with the same target, or with another one, in any form. */
static void test_section_target(void **state)
{
    static const char *const lines[] = {
        "GET /",
        "GET /a?b",
        "GET /%41?%42",
        "POST /a",
        "HEAD /a",
        "GET http://h/a",
        "GET http://h",
        "GET /a",
        "OPTIONS *",
        "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?b",
        "CONNECT h:1",
        "GET a",
        "GET /a[",
        "GET /aaaaaaaaaaaaaaa",
        "GET /aaaaaaaaaaaaaa?",
        "GET  /",
        "GET /\x80",
    };
    static const char *const rests[] = {
        " HTTP/1.1\r\nHost: h\r\n\r\n",
        " HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        " HTTP/1.2\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    };
    char first[256], second[256];

    (void)state;
    for (size_t r = 0; r < ARRAY_LEN(rests); r++)
        for (size_t i = 0; i < ARRAY_LEN(lines); i++)
            for (size_t j = 0; j < ARRAY_LEN(lines); j++) {
                snprintf(first, sizeof(first), "%s%s", lines[i], rests[r]);
                snprintf(second, sizeof(second), "%s%s", lines[j], rests[r]);
                check_section(&defaults, first, strlen(first), second, strlen(second));
            }
}

/* The limit of the target holds where the section is known; a section that is too long is not kept. */
static void test_section_limits(void **state)
{
    static char first[HTTP_SECTION_MAX + 64];
    struct settings set = defaults;
    char second[64];

    (void)state;
    set.max_uri_bytes = 4;
    snprintf(second, sizeof(second), "GET /aaa HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(check_section(&set, second, strlen(second), second, strlen(second)), 1);
    snprintf(first, sizeof(first), "GET /aaaa HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(check_section(&set, second, strlen(second), first, strlen(first)), 0);
    assert_int_equal(other.error, HTTP_ERROR_TARGET_TOO_LONG);
    for (int more = 0; more <= 1; more++) {
        int n = HTTP_SECTION_MAX + more - (int)strlen(" HTTP/1.1\r\nHost: h\r\nA:\r\n\r\n");
        snprintf(first, sizeof(first), "GET / HTTP/1.1\r\nHost: h\r\nA:%0*d\r\n\r\n", n, 0);
        assert_int_equal(check_section(&defaults, first, strlen(first), first, strlen(first)),
                         !more);
    }
}

static void test_texts(void **state)
{
    (void)state;
    for (int e = HTTP_ERROR_METHOD_SYNTAX; e <= HTTP_ERROR_TRAILER_TOO_LARGE; e++) {
        int status = http_error_status((enum http_error)e);
        assert_true(status >= 400 && status <= 505);
        assert_true(strlen(http_error_text((enum http_error)e)) > 5);
        assert_null(strpbrk(http_error_text((enum http_error)e), "\r\n"));
        assert_true(strlen(http_error_name((enum http_error)e)) > 5);
    }
    assert_string_equal(http_error_name(HTTP_ERROR_HOST_MISSING), "HOST_MISSING");
    assert_string_equal(http_method_name(HTTP_GET), "GET");
    assert_string_equal(http_method_name(HTTP_PATCH), "PATCH");
    assert_int_equal(sizeof(struct http_parser), 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_limit_target),
        cmocka_unit_test(test_limit_header_bytes),
        cmocka_unit_test(test_limit_header_fields),
        cmocka_unit_test(test_limit_body),
        cmocka_unit_test(test_limit_extensions),
        cmocka_unit_test(test_limit_trailers),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_section),
        cmocka_unit_test(test_section_target),
        cmocka_unit_test(test_section_limits),
        cmocka_unit_test(test_texts),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
