/* SPDX-License-Identifier: MIT */
/*
 * load_options.h - bivalve-load's command line. Parsing is pure: nothing is printed, opened or
 * looked up.
 */
#ifndef BIVALVE_LOAD_OPTIONS_H
#define BIVALVE_LOAD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "load_target.h" /* LOAD_ERROR_MAX */
#include "load_turns.h"

#define LOAD_HEADERS_MAX   64
#define LOAD_RAW_MAX       256
#define LOAD_PROCESSES_MAX 256
#define LOAD_PIPELINE_MAX  1024
#define LOAD_AUTO          0 /* .processes: one for each CPU that this program may use */

enum load_action { LOAD_RUN, LOAD_FIND_MAX, LOAD_VERSION, LOAD_HELP };

struct load_options {
    enum load_action action;
    const char *url;
    const char *unix_path; /* this and the other texts point into argv, or are NULL */
    const char *backend;

    /* how much */
    uint32_t processes; /* or LOAD_AUTO */
    uint32_t connections;
    uint32_t pipeline;
    uint32_t per_connection; /* requests, then it is closed and opened again; 0: no limit */
    uint64_t requests;       /* in all; 0: as many as the time allows */
    uint64_t duration_us;
    uint32_t idle;      /* further connections, which are kept open */
    uint64_t read_rate; /* bytes a second that a connection reads; 0: all there are */
    uint64_t warmup_us, ramp_us, timeout_us;
    double rate_from, rate_to; /* requests a second; 0: closed loop */
    bool uniform;              /* arrivals */
    struct load_turns turns;
    uint64_t seed;
    const char *source;

    /* TLS */
    const char *ca_file;
    bool insecure, tls_resume;
    unsigned tls_version; /* 12, 13; 0: what the server likes better */

    /* what */
    const char *method;
    const char *headers[LOAD_HEADERS_MAX];
    unsigned header_count;
    const char *body; /* @FILE: what is in there, random:SIZE: so many made up */
    bool chunked;
    bool random_query;
    const char *raw[LOAD_RAW_MAX];
    unsigned raw_count;

    /* what is right */
    uint8_t expect_status[600]; /* 1: this status is */
    const char *expect_body;    /* @FILE: what is in there */
    bool expect_echo;           /* the body that was sent */
    bool same_body;             /* the one that the first answer to the request had */
    double slo_p99_us;          /* 0: not given */
    double max_error_rate;      /* of all requests; < 0: not given */

    /* what is printed and written */
    const char *json, *hdr, *timeseries;
    bool quiet;
};

/*
 * Fill `o` from the command line; all defaults are set first. 0, or -EINVAL with one printable line
 * in `error` (LOAD_ERROR_MAX bytes) that names the option and what it takes. Not thread-safe
 * (getopt).
 */
int load_options_parse(int argc, char **argv, struct load_options *o, char *error);

/* What --help prints. */
void load_options_print_help(FILE *out);

#endif
