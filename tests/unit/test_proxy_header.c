/* SPDX-License-Identifier: MIT */
/*
 * test_proxy_header.c - PROXY headers: what is one, in any pieces, what is none; whom they are
 * believed.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "proxy_header.h"
#include "util.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TEXT(s)   (s), sizeof(s) - 1

/* Parse exact bytes: a read beyond them is seen by the sanitizer. */
static enum proxy_result parse(const char *text, size_t len, struct proxy_header *h)
{
    char *copy = malloc(len ? len : 1);

    assert_non_null(copy);
    memcpy(copy, text, len);
    enum proxy_result r = proxy_header_parse(copy, len, h);
    free(copy);
    return r;
}

static void good(const char *text, size_t len, const char *client)
{
    struct proxy_header h;
    char more[PROXY_HEADER_MAX + 8];

    for (size_t n = 1; n < len; n++)
        if (parse(text, n, &h) != PROXY_MORE)
            fail_msg("%zu bytes of %s", n, text);
    assert_int_equal(parse(text, len, &h), PROXY_DONE);
    assert_int_equal(h.len, len);
    assert_string_equal(h.client, client);
    memcpy(more, text, len);
    memcpy(more + len, "GET / H", 7); /* what follows is not looked at */
    assert_int_equal(parse(more, len + 7, &h), PROXY_DONE);
    assert_int_equal(h.len, len);
}

/* No header, whatever follows. */
static void bad(const char *text, size_t len)
{
    struct proxy_header h;

    if (parse(text, len, &h) != PROXY_BAD)
        fail_msg("taken: %s", text);
}

static void test_version_1(void **state)
{
    (void)state;
    good(TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 1 65535\r\n"), "192.0.2.1");
    good(TEXT("PROXY TCP4 255.255.255.255 255.255.255.255 0 0\r\n"), "255.255.255.255");
    good(TEXT("PROXY TCP6 2001:DB8:0::1 ::1 80 443\r\n"), "2001:db8::1");
    good(TEXT("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
              "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    good(TEXT("PROXY UNKNOWN\r\n"), "");
    good(TEXT("PROXY UNKNOWN ffff::1 whatever \"there\" is\r\n"), "");

    bad(TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n"));
    bad(TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n"));
    bad(TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n"));
    bad(TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n"));
    bad(TEXT("PROXY TCP4 192.0.2.1 198.51.100.2  1 2\r\n"));
    bad(TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n"));
    bad(TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 1 -2\r\n"));
    bad(TEXT("PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n"));
    bad(TEXT("PROXY TCP4 ::1 198.51.100.2 1 2\r\n"));
    bad(TEXT("PROXY TCP6 192.0.2.1 ::1 1 2\r\n"));
    bad(TEXT("PROXY TCP4 192.0.2.1\0 198.51.100.2 1 2\r\n"));
    bad(TEXT("PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n"));
    bad(TEXT("PROXY UNKNOWNX\r\n"));
    bad(TEXT("PROXY \r\n"));
    bad(TEXT("PROXY\r\n"));
    bad(TEXT("proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n"));
    bad(TEXT("GET / HTTP/1.1\r\n"));
    bad(TEXT("P "));
    char longest[] = "PROXY UNKNOWN                                                              "
                     "                                    ";
    memset(longest + 13, ' ', sizeof(longest) - 14);
    bad(longest, 107); /* no end in sight */
}

static void test_version_2(void **state)
{
    struct proxy_header h;
    char text[PROXY_HEADER_MAX + 1] = SIGNATURE;

    (void)state;
    good(TEXT(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\2\0\1\0\2"), "192.0.2.1");
    good(TEXT(SIGNATURE "\x21\x11\0\x0f\xc0\0\2\1\xc6\x33\x64\2\0\1\0\2\4\0\0"), "192.0.2.1");
    good(TEXT(SIGNATURE
              "\x21\x21\0\x24 \1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\1 \1\r\xb8\0\0\0\0\0\0\0\0\0\0\0"
              "\2\0\1\0\2"),
         "2001:db8::1");
    good(TEXT(SIGNATURE "\x20\0\0\0"), "");     /* LOCAL */
    good(TEXT(SIGNATURE "\x20\x11\0\2xx"), ""); /* ... whatever it says */
    good(TEXT(SIGNATURE "\x21\0\0\0"), "");     /* UNSPEC */
    good(TEXT(SIGNATURE "\x21\0\0\3abc"), "");

    bad(TEXT(SIGNATURE "\x11\x11\0\x0c"));
    bad(TEXT(SIGNATURE "\x22\x11\0\x0c"));
    bad(TEXT(SIGNATURE "\x21\x12\0\x0c")); /* UDP */
    bad(TEXT(SIGNATURE "\x21\x41\0\x0c"));
    bad(TEXT(SIGNATURE "\x21\x11\0\x0b"));
    bad(TEXT(SIGNATURE "\x21\x21\0\x23"));
    bad(TEXT(SIGNATURE "\x21\x31\0\xd7"));
    bad(TEXT(SIGNATURE "\x21\x11\x03\xf1")); /* longer than is taken */
    bad(TEXT("\r\n\r\n\0\r\nQUIt\n\x21\x11\0\x0c"));
    bad(TEXT("\r\n\r\nGET"));

    memcpy(text + 12, "\x21\x31\0\xd8", 4); /* a unix socket: two names of 108 bytes */
    good(text, 16 + 216, "unix:");
    memcpy(text + 12, "\x21\x11\x03\xf0", 4); /* as long as is taken */
    assert_int_equal(parse(text, PROXY_HEADER_MAX - 1, &h), PROXY_MORE);
    assert_int_equal(parse(text, PROXY_HEADER_MAX, &h), PROXY_DONE);
}

static bool trusts(const struct proxy_trust *t, const char *addr)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, addr, &in4.sin_addr) == 1)
        return proxy_trusts(t, (struct sockaddr *)&in4);
    assert_int_equal(inet_pton(AF_INET6, addr, &in6.sin6_addr), 1);
    return proxy_trusts(t, (struct sockaddr *)&in6);
}

static void test_trust(void **state)
{
    static const char *const none[] = {"",         "x",      "192.0.2",  "192.0.2.1/33", "::1/129",
                                       "::1/",     "::1/-1", "::1/1x",   "::1/+1",       "/8",
                                       "1.2.3.4 ", "::1/ 8", "::1%lo/8", "localhost"};
    struct proxy_trust t = {.count = 0};
    struct sockaddr strange = {.sa_family = AF_UNSPEC}, local = {.sa_family = AF_UNIX};
    char error[PROXY_ERROR_MAX];

    (void)state;
    assert_false(trusts(&t, "127.0.0.1"));
    assert_true(proxy_trusts(&t, &local));
    assert_false(proxy_trusts(&t, &strange));
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_int_equal(proxy_trust_add(&t, none[i], error), -EINVAL);
    assert_int_equal(t.count, 0);

    assert_int_equal(proxy_trust_add(&t, "192.0.2.128/25", error), 0);
    assert_int_equal(proxy_trust_add(&t, "198.51.100.7", error), 0);
    assert_int_equal(proxy_trust_add(&t, "2001:db8::/33", error), 0);
    assert_true(trusts(&t, "192.0.2.128") && trusts(&t, "192.0.2.255"));
    assert_true(trusts(&t, "::ffff:192.0.2.130")); /* on a socket that takes both */
    assert_false(trusts(&t, "192.0.2.127") || trusts(&t, "192.0.3.128"));
    assert_true(trusts(&t, "198.51.100.7") && !trusts(&t, "198.51.100.6"));
    assert_true(trusts(&t, "2001:db8:7fff::1") && !trusts(&t, "2001:db8:8000::1"));
    assert_false(trusts(&t, "::1") || trusts(&t, "0.0.0.0"));
    assert_int_equal(proxy_trust_add(&t, "0.0.0.0/0", error), 0);
    assert_true(trusts(&t, "203.0.113.9") && !trusts(&t, "::1"));
    assert_int_equal(proxy_trust_add(&t, "::/0", error), 0);
    assert_true(trusts(&t, "::1"));
    while (t.count < PROXY_NETS_MAX)
        assert_int_equal(proxy_trust_add(&t, "::1", error), 0);
    assert_int_equal(proxy_trust_add(&t, "::1", error), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_version_2),
        cmocka_unit_test(test_trust),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
