/* SPDX-License-Identifier: MIT */
/*
 * coding.c - see coding.h.
 */
#include "config.h"

#include "coding.h"

#include <string.h>
#include <strings.h>

#include "http_internal.h"
#include "util.h"

static const char *const coding_names[CODINGS] = {[CODING_BR] = "br",
                                                  [CODING_ZSTD] = "zstd",
                                                  [CODING_GZIP] = "gzip",
                                                  [CODING_IDENTITY] = "identity"};

const char *coding_name(enum coding coding)
{
    return coding_names[coding];
}

void coding_accept_init(struct coding_accept *a)
{
    for (size_t i = 0; i < CODINGS; i++)
        a->q[i] = -1;
    a->others = -1;
}

static const char *coding_space(const char *s, const char *end)
{
    while (s < end && (*s == ' ' || *s == '\t'))
        s++;
    return s;
}

/*
 * qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] ), RFC 9110 section 12.4.2, all of
 * s..end. Thousandths, or -1.
 */
static int coding_qvalue(const char *s, const char *end)
{
    int q = 0, digits = 0;

    if (s == end || (*s != '0' && *s != '1'))
        return -1;
    q = (*s++ - '0') * 1000;
    if (s < end && *s++ != '.')
        return -1;
    for (int unit = 100; s < end; s++, unit /= 10) {
        if (*s < '0' || *s > '9' || ++digits > 3)
            return -1;
        q += (*s - '0') * unit;
    }
    return q <= 1000 ? q : -1;
}

/* [ OWS ";" OWS "q=" qvalue ] OWS, all of s..end. Thousandths, or -1. */
static int coding_weight(const char *s, const char *end)
{
    while (end > s && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    s = coding_space(s, end);
    if (s == end)
        return 1000;
    if (*s != ';')
        return -1;
    s = coding_space(s + 1, end);
    if (end - s < 3 || (*s | 0x20) != 'q' || s[1] != '=')
        return -1;
    return coding_qvalue(s + 2, end);
}

/* The weight that `name` sets; NULL: nothing that is known here. */
static int16_t *coding_place(struct coding_accept *a, const char *name, size_t len)
{
    if (len == 1 && *name == '*')
        return &a->others;
    if (len == 6 && !strncasecmp(name, "x-gzip", 6)) /* RFC 9110 section 8.4.1.3 */
        return &a->q[CODING_GZIP];
    for (size_t i = 0; i < CODINGS; i++)
        if (strlen(coding_names[i]) == len && !strncasecmp(name, coding_names[i], len))
            return &a->q[i];
    return NULL;
}

void coding_accept_add(struct coding_accept *a, const char *value, size_t len)
{
    const char *s = value, *last = value + len;

    while (s < last) {
        const char *comma = memchr(s, ',', (size_t)(last - s)), *end = comma ? comma : last;
        s = coding_space(s, end);
        const char *name_end = http_run(s, end, HTTP_C_TOKEN);
        int16_t *place = coding_place(a, s, (size_t)(name_end - s));
        int q = coding_weight(name_end, end);
        if (place && q >= 0)
            *place = (int16_t)q;
        s = comma ? comma + 1 : last;
    }
}

/*
 * What a coding is worth: the weight, and then what comes first of equal ones. 0: it is not
 * acceptable.
 */
static unsigned coding_worth(const struct coding_accept *a, enum coding coding)
{
    int named = a->q[coding], q = named >= 0 ? named : a->others;
    unsigned rank = named >= 0 ? CODINGS - coding : 0;

    if (coding == CODING_IDENTITY) {
        rank = 1;
        if (q < 0)
            return 1; /* acceptable, but the last */
    }
    return q > 0 ? (unsigned)q * 8 + rank + 1 : 0;
}

unsigned coding_order(const struct coding_accept *a, unsigned available, uint8_t order[CODINGS])
{
    unsigned worth[CODINGS] = {0}, n = 0;

    for (unsigned i = 0; i < CODINGS; i++) {
        unsigned w = available & CODING_BIT(i) ? coding_worth(a, i) : 0, at = n;
        if (w == 0)
            continue;
        for (; at > 0 && worth[at - 1] < w; at--) {
            worth[at] = worth[at - 1];
            order[at] = order[at - 1];
        }
        worth[at] = w;
        order[at] = (uint8_t)i;
        n++;
    }
    return n;
}
