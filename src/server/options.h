/* SPDX-License-Identifier: MIT */
/*
 * options.h - what the options are. How they are read is in options_parse.h, which of them there are
 * in option_table.h.
 */
#ifndef BIVALVE_OPTIONS_H
#define BIVALVE_OPTIONS_H

#include <stdbool.h>

#include "backend.h"
#include "listener.h"
#include "proxy_header.h"
#include "settings.h"
#include "tls.h"

#define OPTIONS_ERROR_MAX   1024
#define OPTIONS_WORKERS_MAX 1024
#define OPTIONS_AUTO        -1 /* .workers: one for each CPU */

enum options_action {
    OPTIONS_SERVE,
    OPTIONS_TEST,
    OPTIONS_STATUS,
    OPTIONS_MAKE_CERT,
    OPTIONS_PROBE,
    OPTIONS_VERSION,
    OPTIONS_HELP
};

/* Where --status looks for a server when there is no --admin; the unit file puts it there. */
#define OPTIONS_ADMIN_DEFAULT "unix:/run/bivalve/admin"

enum options_sandbox { OPTIONS_SANDBOX_TRY, OPTIONS_SANDBOX_ON, OPTIONS_SANDBOX_OFF };

struct options {
    enum options_action action;
    struct settings set;
    struct listener_addr listen[BACKEND_LISTENERS_MAX];
    unsigned listen_count;
    bool listen_default; /* none was given: it is the preset */
    struct proxy_trust proxy_from;
    struct listener_addr admin; /* .len 0: not given */
    bool watch;                 /* --status: again and again */
    bool admin_remote;          /* it may be an address that others reach */
    int workers;                /* 0..OPTIONS_WORKERS_MAX or OPTIONS_AUTO */
    const char *config;         /* NULL: no file */
    const char *backend; /* this and other texts point into argv or .text, or are constants */
    const char *dataset;
    uint32_t compress_level; /* of /json; 0: never */
    const char *static_dir;  /* NULL: no files are served */
    const char *user;        /* NULL: not given */
    const char *group;
    bool pin;
    bool allow_root;
    enum options_sandbox sandbox;
    int log_level;          /* enum log_level */
    const char *access_log; /* a path, "-" or "syslog"; NULL: none */
    int access_log_format;  /* enum access_log_format */

    struct tls_config tls;  /* pair_count 0: no address has TLS */
    unsigned tls_key_count; /* of the pairs that have one */
    unsigned tls_ocsp_count;
    const char *make_cert; /* directory of --make-test-cert */

    char *text; /* what the file said: options_load() */
};

/* All defaults. No address to listen on: that is only filled in when none is given. */
void options_init(struct options *o);

/* What options_load() allocated. */
void options_free(struct options *o);

#endif
