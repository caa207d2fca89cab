/* SPDX-License-Identifier: MIT */
/*
 * fuzz_parser.c - the input is a stream of requests. Whatever its split, the parser says the same
 * (parser_trace.h checks its contract on the way), with the limits at their defaults and with
 * limits so small that they matter. It never reads beyond its input: each piece is an allocation of
 * its own.
 *
 * Built with llhttp, every message that is taken is also read by llhttp, and both must
 * see the same method, target, body, end and persistence: see llhttp_oracle.h.
 */
#include "config.h"

#include "fuzz/fuzz.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_parser.h"
#include "parser_trace.h"
#include "settings.h"

#ifdef WITH_LLHTTP
#include "llhttp_oracle.h"
#else
static void oracle_compare(const struct trace *t, const char *s, size_t len)
{
    (void)t;
    (void)s;
    (void)len;
}
#endif

#define RANDOM_SPLITS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_same(const struct trace *a, const struct trace *b, const char *how)
{
    if (!strcmp(a->text, b->text) && a->error == b->error && a->messages == b->messages)
        return;
    fprintf(stderr, "a split changes the result\nwhole: %s\n%s: %s\n", a->text, how, b->text);
    abort();
}

/* All ways of cutting the stream give one result; the one for the whole is left in *whole. */
static void check(const struct settings *set, const char *s, size_t len, struct trace *whole)
{
    static struct trace other, again;
    uint64_t seed = 14695981039346656037u;

    for (size_t i = 0; i < len; i++)
        seed = (seed ^ (unsigned char)s[i]) * 1099511628211u;
    seed |= 1;
    trace_run(whole, set, s, len, trace_cut_whole, NULL);
    trace_run(&other, set, s, len, trace_cut_bytes, NULL);
    require_same(whole, &other, "byte by byte");
    if (other.error != HTTP_ERROR_NONE) {
        /* refused at byte `fed`: with it, and not before */
        trace_run(&again, set, s, other.fed, trace_cut_whole, NULL);
        require_same(whole, &again, "cut behind the wrong byte");
        trace_run(&again, set, s, other.fed - 1, trace_cut_whole, NULL);
        if (again.error != HTTP_ERROR_NONE)
            require_same(&again, whole, "cut before the wrong byte"), abort();
    }
    for (int i = 0; i < RANDOM_SPLITS; i++) {
        trace_run(&other, set, s, len, trace_cut_random, &seed);
        require_same(whole, &other, "at random");
    }
    if (len > 1) {
        size_t at = 1 + (size_t)(seed >> 32) % (len - 1);
        trace_run(&other, set, s, len, trace_cut_once, &at);
        require_same(whole, &other, "cut once");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct trace whole;
    const char *s = (const char *)data;
    struct settings set;

    settings_init(&set);
    check(&set, s, size, &whole);
    oracle_compare(&whole, s, size);
    set.max_uri_bytes = 24;
    set.max_header_bytes = 96;
    set.max_header_fields = 4;
    set.max_body_bytes = 20;
    set.max_chunk_ext_bytes = 6;
    check(&set, s, size, &whole);
    return 0;
}
