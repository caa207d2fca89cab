/* SPDX-License-Identifier: MIT */
/*
 * test_response.c - heads byte for byte, for every combination of what they may say.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "response.h"
#include "util.h"

#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"

static struct bufpool_budget unlimited = {.max = SIZE_MAX};

static const struct clock_cache at = {.date = DATE};

static const struct {
    int code;
    const char *reason;
} statuses[] = {
    {100, "Continue"},
    {200, "OK"},
    {204, "No Content"},
    {400, "Bad Request"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {417, "Expectation Failed"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
    {299, "Unknown"},
};

static size_t take(struct out *o, char *text, size_t size)
{
    struct backend_segment from;
    size_t n = 0, part;

    while (out_segments(o, &from, 1)) {
        part = from.len;
        assert_true(n + part < size);
        memcpy(text + n, from.data, part);
        n += part;
        out_consume(o, part);
    }
    text[n] = '\0';
    return n;
}

/* The head, composed the slow way. */
static void expect_head(char *text, const char *reason, const struct response_head *h)
{
    text += sprintf(text, "HTTP/1.1 %d %s\r\nDate: " DATE "\r\n", h->status, reason);
    if (h->type != RESPONSE_NONE)
        text += sprintf(text, "Content-Type: %s\r\n",
                        h->type == RESPONSE_TEXT ? "text/plain" : "application/json");
    if (h->has_length)
        text += sprintf(text, "Content-Length: %" PRIu64 "\r\n", h->length);
    if (h->allow)
        text += sprintf(text, "Allow: %s\r\n", h->allow);
    if (h->close)
        text += sprintf(text, "Connection: close\r\n");
    else if (h->keep_alive)
        text += sprintf(text, "Connection: keep-alive\r\n");
    sprintf(text, "\r\n");
}

static void check(struct bufpool *p, const char *reason, const struct response_head *h)
{
    char expected[2 * RESPONSE_HEAD_MAX + 8], got[2 * RESPONSE_HEAD_MAX + 8];
    struct out o = {0};

    expect_head(expected, reason, h);
    assert_true(strlen(expected) <= RESPONSE_HEAD_MAX);
    assert_int_equal(response_head(&o, p, &at, h), 0);
    take(&o, got, sizeof(got));
    assert_string_equal(got, expected);
    /* the same with a body, and without it for HEAD */
    assert_int_equal(response_small(&o, p, &at, h, "ok", 2, true), 0);
    take(&o, got, sizeof(got));
    assert_string_equal(got, expected);
    assert_int_equal(response_small(&o, p, &at, h, "ok", 2, false), 0);
    take(&o, got, sizeof(got));
    strcat(expected, "ok");
    assert_string_equal(got, expected);
    assert_true(out_empty(&o));
}

static void test_every_head(void **state)
{
    static const uint64_t lengths[] = {0, 2, 10, 99, 100, 999, 1000, 8401, 4294967296, INT64_MAX};
    static const char *const allows[] = {
        NULL, "GET", "GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH"};
    struct bufpool p;

    (void)state;
    bufpool_init(&p, 4096, &unlimited);
    for (size_t s = 0; s < ARRAY_LEN(statuses); s++) {
        assert_string_equal(response_reason(statuses[s].code), statuses[s].reason);
        for (unsigned bits = 0; bits < 3 * 2 * 2 * 2 * 3; bits++) {
            unsigned b = bits;
            struct response_head h = {.status = statuses[s].code};
            h.type = (enum response_type)(b % 3), b /= 3;
            h.has_length = b % 2, b /= 2;
            h.close = b % 2, b /= 2;
            h.keep_alive = b % 2, b /= 2;
            h.allow = allows[b % 3];
            for (size_t l = 0; l < (h.has_length ? ARRAY_LEN(lengths) : 1); l++) {
                h.length = lengths[l];
                check(&p, statuses[s].reason, &h);
            }
        }
    }
    assert_int_equal(p.used, 0);
    bufpool_destroy(&p);
}

/* In the words of the wire, so that this file and the code cannot both be wrong in the same way. */
static void test_literally(void **state)
{
    struct bufpool p;
    struct out o = {0};
    char got[1024];

    (void)state;
    bufpool_init(&p, 4096, &unlimited);
    struct response_head ok = {
        .status = 200, .type = RESPONSE_TEXT, .has_length = true, .length = 2};
    assert_int_equal(response_small(&o, &p, &at, &ok, "ok", 2, false), 0);
    struct response_head none = {.status = 204, .allow = "GET, HEAD, OPTIONS", .keep_alive = true};
    assert_int_equal(response_small(&o, &p, &at, &none, "", 0, false), 0);
    assert_int_equal(response_continue(&o, &p), 0);
    struct response_head json = {
        .status = 200, .type = RESPONSE_JSON, .has_length = true, .length = 8401, .close = true};
    assert_int_equal(response_head(&o, &p, &at, &json), 0);
    take(&o, got, sizeof(got));
    assert_string_equal(got, "HTTP/1.1 200 OK\r\n"
                             "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                             "Content-Type: text/plain\r\n"
                             "Content-Length: 2\r\n"
                             "\r\n"
                             "ok"
                             "HTTP/1.1 204 No Content\r\n"
                             "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                             "Allow: GET, HEAD, OPTIONS\r\n"
                             "Connection: keep-alive\r\n"
                             "\r\n"
                             "HTTP/1.1 100 Continue\r\n"
                             "\r\n"
                             "HTTP/1.1 200 OK\r\n"
                             "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                             "Content-Type: application/json\r\n"
                             "Content-Length: 8401\r\n"
                             "Connection: close\r\n"
                             "\r\n");
    bufpool_destroy(&p);
}

/* Many in a row, over block after block, with the largest body; none is torn or lost. */
static void test_in_a_row(void **state)
{
    static char body[RESPONSE_BODY_MAX];
    struct bufpool p;
    struct out o = {0};
    char head[RESPONSE_HEAD_MAX];
    const size_t rounds = 2 * RESPONSE_BODY_MAX;

    (void)state;
    bufpool_init(&p, 2048, &unlimited);
    memset(body, 'b', sizeof(body));
    struct response_head h = {.status = 400, .type = RESPONSE_TEXT, .has_length = true};
    for (size_t i = 0; i < rounds; i++) {
        h.length = i % (RESPONSE_BODY_MAX + 1);
        assert_int_equal(response_small(&o, &p, &at, &h, body, h.length, false), 0);
    }
    size_t size = out_pending(&o) + 1;
    char *all = malloc(size), *next = all;
    assert_int_equal(take(&o, all, size), size - 1);
    for (size_t i = 0; i < rounds; i++) {
        h.length = i % (RESPONSE_BODY_MAX + 1);
        expect_head(head, "Bad Request", &h);
        assert_memory_equal(next, head, strlen(head));
        next += strlen(head);
        assert_memory_equal(next, body, h.length);
        next += h.length;
    }
    assert_ptr_equal(next, all + size - 1);
    free(all);
    assert_int_equal(p.used, 0);
    bufpool_destroy(&p);
}

/* A body is read as far as it reaches and no further: a sanitizer would see it. */
static void test_body_bounds(void **state)
{
    struct bufpool p;
    struct out o = {0};
    char got[1024], head[RESPONSE_HEAD_MAX];

    (void)state;
    bufpool_init(&p, 2048, &unlimited);
    for (size_t len = 0; len < 64; len++) {
        struct response_head h = {
            .status = 200, .type = RESPONSE_TEXT, .has_length = true, .length = len};
        char *body = malloc(len ? len : 1);
        for (size_t i = 0; i < len; i++)
            body[i] = (char)('A' + i);
        assert_int_equal(response_small(&o, &p, &at, &h, body, len, false), 0);
        size_t n = take(&o, got, sizeof(got));
        expect_head(head, "OK", &h);
        assert_int_equal(n, strlen(head) + len);
        assert_memory_equal(got, head, strlen(head));
        assert_memory_equal(got + strlen(head), body, len);
        free(body);
    }
    bufpool_destroy(&p);
}

static void test_no_memory(void **state)
{
    struct bufpool p;
    struct out o = {0}, hog = {0};
    struct response_head h = {
        .status = 200, .type = RESPONSE_TEXT, .has_length = true, .length = 2};

    (void)state;
    struct bufpool_budget one = {.max = 1};
    bufpool_init(&p, 2048, &one);
    assert_int_equal(response_continue(&hog, &p), 0);
    assert_int_equal(response_head(&o, &p, &at, &h), -ENOMEM);
    assert_int_equal(response_small(&o, &p, &at, &h, "ok", 2, false), -ENOMEM);
    assert_int_equal(response_continue(&o, &p), -ENOMEM);
    assert_true(out_empty(&o));
    out_clear(&hog);
    bufpool_destroy(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_head), cmocka_unit_test(test_literally),
        cmocka_unit_test(test_in_a_row),   cmocka_unit_test(test_body_bounds),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
