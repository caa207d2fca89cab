/* SPDX-License-Identifier: MIT */
/*
 * settings.c - the defaults. The man page states the same; tests/unit/test_options.c compares them.
 */
#include "config.h"

#include "settings.h"

#include <string.h>

void settings_init(struct settings *s)
{
    memset(s, 0, sizeof(*s));
    s->header_timeout_ms = 10000;
    s->body_timeout_ms = 30000;
    s->idle_timeout_ms = 60000;
    s->write_timeout_ms = 30000;
    s->drain_timeout_ms = 30000;
    s->linger_timeout_ms = 5000;

    s->max_uri_bytes = 8192;
    s->max_header_bytes = 16384;
    s->max_header_fields = 100;
    s->max_body_bytes = 8 << 20;
    s->max_chunk_ext_bytes = 256;
    s->max_pipeline = 256;
    s->min_body_rate = 100;
    s->max_output_bytes = 65536;
    s->max_linger_bytes = 65536;
    s->recv_buffer_bytes = 16384;
}
