/* SPDX-License-Identifier: MIT */
/*
 * settings.c - the defaults. The man page states the same values.
 */
#include "config.h"

#include "settings.h"

#include <string.h>

void settings_init(struct settings *s)
{
    memset(s, 0, sizeof(*s));

    s->header_timeout_ms = 10 * 1000;
    s->body_timeout_ms = 30 * 1000;
    s->idle_timeout_ms = 60 * 1000;
    s->write_timeout_ms = 30 * 1000;
    s->drain_timeout_ms = 30 * 1000;
    s->worker_timeout_ms = 30 * 1000;
    s->linger_timeout_ms = 5 * 1000;

    s->max_uri_bytes = 8192;
    s->max_header_bytes = 16384;
    s->max_header_fields = 100;
    s->max_body_bytes = SETTINGS_BODY_BYTES;
    s->max_chunk_ext_bytes = 256; /* nobody sends any but to see what happens */
    s->max_requests = 0;
    s->max_connections = 0;
    s->max_pipeline = 256; /* some 50 microseconds of small answers, or a few large ones */
    s->min_body_rate =
        100; /* slower than any modem; a body that trickles at a byte a second is not */
    s->max_output_bytes = 65536;
    s->max_buffer_bytes = 64u << 20;
    s->max_unsent_bytes = 128u << 10;
    s->max_linger_bytes = 65536;
    s->file_readers = 4;
    s->open_file_cache = 0;
    s->open_file_cache_valid_ms = 5 * 1000;
    s->recv_buffer_bytes = 16384;
    s->burn_ns = 0;
}
