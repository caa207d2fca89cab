/* SPDX-License-Identifier: MIT */
/*
 * fuzz_reply.c - the input is a stream of responses, once to other requests than HEAD and once to
 * HEAD. Whatever its split, the parser says the same (reply_trace.h checks its contract on the
 * way). It never reads beyond its input: each piece is an allocation of its own.
 *
 * Built with llhttp, every response that is taken is also read by llhttp, and both must see the
 * same status, body, end and persistence: see llhttp_oracle.h.
 */
#include "config.h"

#include "fuzz/fuzz.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "reply.h"
#include "reply_trace.h"

#ifdef WITH_LLHTTP
#include "llhttp_oracle.h"
#else
static void oracle_compare_replies(const struct trace *t, bool to_head, const char *s)
{
    (void)t;
    (void)to_head;
    (void)s;
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct trace whole, other;
    const char *s = (const char *)data;

    for (int to_head = 0; to_head < 2; to_head++) {
        reply_trace_heads heads = to_head ? UINT32_MAX : 0;
        reply_trace_run(&whole, &heads, s, size, trace_cut_whole, NULL);
        const char *how = trace_differs(reply_trace_run, &heads, s, size, &whole, &other, false);
        if (how) {
            fprintf(stderr, "a split changes the result\nwhole: %s\n%s: %s\n", whole.text, how,
                    other.text);
            abort();
        }
        oracle_compare_replies(&whole, to_head, s);
    }
    return 0;
}
