/* SPDX-License-Identifier: MIT */
/*
 * http_class.c - see http_class.h.
 */
#include "config.h"

#include "http_class.h"

#define T HTTP_C_TOKEN
#define G HTTP_C_TARGET
#define N HTTP_C_NAME
#define H HTTP_C_HEX
#define V HTTP_C_VALUE
/*
 * token: RFC 9110 5.6.2; target: RFC 3986 pchar / "/" / "?"; name: reg-name but for '%' and ',';
 * value: field-content, SP, HTAB
 */
const uint8_t http_class[256] = {
    ['\t'] = V,
    [' '] = V,
    ['!'] = T | G | N | V,
    ['"'] = V,
    ['#'] = T | V,
    ['$'] = T | G | N | V,
    ['%'] = T | V,
    ['&'] = T | G | N | V,
    ['\''] = T | G | N | V,
    ['('] = G | N | V,
    [')'] = G | N | V,
    ['*'] = T | G | N | V,
    ['+'] = T | G | N | V,
    [','] = G | V,
    ['-'] = T | G | N | V,
    ['.'] = T | G | N | V,
    ['/'] = G | V,
    ['0' ... '9'] = T | G | N | H | V | HTTP_C_DIGIT,
    [':'] = G | V,
    [';'] = G | N | V,
    ['<'] = V,
    ['='] = G | N | V,
    ['>'] = V,
    ['?'] = G | V,
    ['@'] = G | V,
    ['A' ... 'F'] = T | G | N | H | V,
    ['G' ... 'Z'] = T | G | N | V,
    ['['] = V,
    ['\\'] = V,
    [']'] = V,
    ['^'] = T | V,
    ['_'] = T | G | N | V,
    ['`'] = T | V,
    ['a' ... 'f'] = T | G | N | H | V,
    ['g' ... 'z'] = T | G | N | V,
    ['{'] = V,
    ['|'] = T | V,
    ['}'] = V,
    ['~'] = T | G | N | V,
    [0x80 ... 0xff] = V,
};
#undef T
#undef G
#undef N
#undef H
#undef V
