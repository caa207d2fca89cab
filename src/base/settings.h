/* SPDX-License-Identifier: MIT */
/*
 * settings.h - what the command line decided and every worker obeys. Filled once by options.c (or a
 * test) before the fork, read-only afterwards. Zero means "no limit" only where that is said.
 */
#ifndef BIVALVE_SETTINGS_H
#define BIVALVE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

/* --max-body-bytes, and with 0 still that of handlers that do not stream. */
#define SETTINGS_BODY_BYTES ((uint64_t)8 << 20)

struct settings {
    /* time limits, milliseconds; 0: none */
    uint32_t header_timeout_ms; /* from a request's first byte to the end of its head */
    uint32_t body_timeout_ms;   /* a body's allowance of time; min_body_rate renews it */
    uint32_t idle_timeout_ms;   /* between two requests, and before the first */
    uint32_t write_timeout_ms;  /* since the kernel last accepted a byte of pending output */
    uint32_t drain_timeout_ms;  /* from SIGTERM to the worker's end */
    uint32_t drain_delay_ms;    /* from SIGTERM to the beginning of that; 0: at once */
    uint32_t worker_timeout_ms; /* a worker that makes no progress for so long is killed */
    uint32_t linger_timeout_ms; /* draining a half-closed connection */

    /* size limits, bytes or counts */
    uint32_t max_uri_bytes;       /* request target: 414 */
    uint32_t max_header_bytes;    /* header section, each line of it, and trailer section: 431 */
    uint32_t max_header_fields;   /* 431 */
    uint64_t max_body_bytes;      /* 413; 0: no limit where a handler streams (request.h) */
    uint32_t max_chunk_ext_bytes; /* extensions of one chunk: 400 */
    uint32_t max_requests;        /* a connection is closed after so many; 0: no limit */
    uint32_t max_connections;     /* per worker, then accepts pause; 0: fd limit less a reserve */
    uint32_t max_pipeline;        /* requests of a connection answered in one iteration */
    uint32_t min_body_rate;       /* bytes that renew a second of body time; 0: any renews all */
    uint32_t max_output_bytes;    /* high-water mark: output pending before parsing stops */
    uint64_t max_buffer_bytes;    /* blocks that all connections of a worker hold together */
    uint32_t max_unsent_bytes;    /* that the kernel holds for a connection; 0: what it likes */
    uint32_t max_linger_bytes;    /* discarded on a half-closed connection before it is closed */
    uint32_t file_readers;    /* threads that read files for a backend that would wait; 0: none */
    uint32_t open_file_cache; /* files that stay open: --open-file-cache; 0: none */
    uint32_t open_file_cache_valid_ms; /* their names are looked up anew after that */
    bool serves_files;                 /* a connection may have a file open besides its own fd */
    uint32_t recv_buffer_bytes;        /* the most that one receive may carry */

    /* for the benchmark's self-test: spin so long for each request, nanoseconds; 0: not at all */
    uint32_t burn_ns;
};

/* The defaults, as the man page states them. */
void settings_init(struct settings *s);

#endif
