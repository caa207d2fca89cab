/* SPDX-License-Identifier: MIT */
/*
 * test_crc32c.c - the values of RFC 3720 appendix B.4, both ways to compute them, and in pieces.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crc32c.h"
#include "util.h"

static void test_known(void **state)
{
    unsigned char data[32];

    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    memset(data, 0, sizeof(data));
    assert_int_equal(crc32c(0, data, sizeof(data)), 0x8a9136aa);
    memset(data, 0xff, sizeof(data));
    assert_int_equal(crc32c(0, data, sizeof(data)), 0x62a8ab43);
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)i;
    assert_int_equal(crc32c(0, data, sizeof(data)), 0x46dd794e);
    assert_int_equal(crc32c(0, "", 0), 0);
}

static void test_pieces_and_both_ways(void **state)
{
    unsigned char data[100];

    (void)state;
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)(i * 37 + 11);
    for (size_t len = 0; len <= sizeof(data); len++) {
        uint32_t whole = crc32c_by_table(0, data, len);
        assert_int_equal(crc32c(0, data, len), whole);
        for (size_t cut = 0; cut <= len; cut++)
            assert_int_equal(crc32c(crc32c(0, data, cut), data + cut, len - cut), whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_pieces_and_both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
