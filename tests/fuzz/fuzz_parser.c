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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same is said of a stream sent twice whether a section is kept from head to head or not. */
static void check_section(const struct settings *set, const char *s, size_t len)
{
    static struct trace parsed, known;
    static struct http_section section;
    char *twice = malloc(2 * len + 1);

    if (!twice)
        return;
    memcpy(twice, s, len);
    memcpy(twice + len, s, len);
    trace_run(&parsed, set, twice, 2 * len, trace_cut_whole, NULL);
    memset(&section, 0, sizeof(section));
    trace_section = &section;
    trace_run(&known, set, twice, 2 * len, trace_cut_whole, NULL);
    trace_section = NULL;
    free(twice);
    if (!strcmp(parsed.text, known.text) && parsed.error == known.error)
        return;
    fprintf(stderr, "a section kept changes the result\nparsed: %s\nknown: %s\n", parsed.text,
            known.text);
    abort();
}

/* All ways of cutting the stream give one result; the one for the whole is left in *whole. */
static void check(const struct settings *set, const char *s, size_t len, struct trace *whole)
{
    static struct trace other;

    check_section(set, s, len);
    trace_run(whole, set, s, len, trace_cut_whole, NULL);
    const char *how = trace_differs(trace_run, set, s, len, whole, &other, false);
    if (!how)
        return;
    fprintf(stderr, "a split changes the result\nwhole: %s\n%s: %s\n", whole->text, how,
            other.text);
    abort();
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
