/* SPDX-License-Identifier: MIT */
/*
 * option_table.h - all options, in one place: what is parsed, on the command line and in a file, and
 * what --help, bivalve(8), bivalve.conf(5) and the shells' completions say are made from it.
 *
 * To add an option: a field in struct options (or settings.h), its default there, and an entry in
 * option_table.c; then `make update-docs`, which rewrites the files that option_docs.h names. An
 * option that needs what was not compiled in is in the table all the same, and refused in words.
 */
#ifndef BIVALVE_OPTION_TABLE_H
#define BIVALVE_OPTION_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTION_SECONDS_MAX 1000000 /* in milliseconds it fits 32 bits */

enum option_kind {
    OPTION_SECONDS, /* seconds, perhaps with a fraction, into uint32_t milliseconds; 0: none */
    OPTION_SIZE32,  /* bytes with an optional k or m, into uint32_t */
    OPTION_SIZE64,
    OPTION_COUNT,   /* a plain number, into uint32_t */
    OPTION_TEXT,    /* anything but the empty string */
    OPTION_LISTEN,  /* one more in options.listen; .min 1: with TLS */
    OPTION_NET,     /* one more in options.proxy_from */
    OPTION_ADDRESS, /* into struct listener_addr */
    OPTION_WORKERS,
    OPTION_BACKEND,
    OPTION_LEVEL,
    OPTION_LOG_FORMAT, /* of the access log */
    OPTION_TLS_CERT,   /* one more in options.tls.pairs */
    OPTION_TLS_KEY,
    OPTION_TLS_OCSP,
    OPTION_TLS_VERSION, /* 1.2 or 1.3, into unsigned 12 or 13 */
    OPTION_TLS_KTLS,    /* off, auto or on, into enum tls_ktls_use */
    OPTION_MAKE_CERT,   /* a text, and an action */
    OPTION_TRUE,        /* no argument, into bool */
    OPTION_FALSE,
    OPTION_SANDBOX, /* no argument: .min is the value */
    OPTION_ACTION,  /* the same */
};

/* In the order of --help and of the man pages; option_sections[] has their titles. */
enum option_section {
    OPTION_LISTENING,
    OPTION_TLS,
    OPTION_BACKENDS,
    OPTION_CONTENT,
    OPTION_ACCESS_LOG,
    OPTION_VIEW,
    OPTION_TIME,
    OPTION_SIZES,
    OPTION_PRIVILEGES,
    OPTION_OTHER,
    OPTION_ACTIONS,
    OPTION_SECTIONS
};

struct option_spec {
    enum option_section section;
    const char *name;
    char letter;    /* 0: none */
    bool line_only; /* on the command line alone, not in a file */
    enum option_kind kind;
    size_t at;         /* where in struct options it goes */
    uint64_t min, max; /* of numbers */
    const char *arg;   /* name of the argument, as --help shows it; NULL: it takes none */
    /* The default of what is no number, for people; NULL: there is none to state. */
    const char *preset;
    /* What a shell offers as the argument: words, or @file, @dir, @user, @group. NULL: nothing. */
    const char *values;
    const char *help; /* half a line; NULL: it is in the man pages alone */
    /* mdoc(7), the default left out; NULL: the entry behind it speaks for both. */
    const char *man;
};

struct option_section_text {
    const char *title;
    const char *man; /* what is said before the first option, mdoc(7); may be empty */
};

extern const struct option_spec option_table[]; /* sorted by section */
extern const size_t option_table_len;
extern const struct option_section_text option_sections[OPTION_SECTIONS];

#define OPTION_TABLE_MAX 128 /* option_table_len is no more than this */

static inline bool option_takes_arg(const struct option_spec *spec)
{
    return spec->arg != NULL;
}

struct options;

/*
 * The default of a number, as it would be typed, or the preset, into `out`; empty where there is none
 * to state. `o` has the defaults. Returns out.
 */
const char *option_default(const struct options *o, const struct option_spec *spec, char *out,
                           size_t out_size);

#endif
