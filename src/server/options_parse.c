/* SPDX-License-Identifier: MIT */
/*
 * options_parse.c - the command line and the file, understood by the table of options, and --help.
 */
#include "config.h"

#include "options_parse.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "option_table.h"
#include "options_file.h"
#include "options_value.h"
#include "registry.h"
#include "util.h"

/* ---- the whole line ---- */

/*
 * The table in getopt_long(3)'s form; an option's value is its place in the table, behind all
 * letters.
 */
#define OPTIONS_CODE 256

static void options_compile(struct option *longs, char *shorts)
{
    char *s = shorts;

    *s++ = '-'; /* no permuting, and POSIXLY_CORRECT is not looked at */
    *s++ = ':'; /* tell a missing argument from an unknown option; print nothing */
    for (size_t i = 0; i < option_table_len; i++) {
        const struct option_spec *spec = &option_table[i];
        longs[i] = (struct option){
            .name = spec->name,
            .has_arg = option_takes_arg(spec) ? required_argument : no_argument,
            .val = OPTIONS_CODE + (int)i,
        };
        if (spec->letter) {
            *s++ = spec->letter;
            if (option_takes_arg(spec))
                *s++ = ':';
        }
    }
    longs[option_table_len] = (struct option){0};
    *s = '\0';
}

static const struct option_spec *options_find(int code)
{
    if (code >= OPTIONS_CODE && code < OPTIONS_CODE + (int)option_table_len)
        return &option_table[code - OPTIONS_CODE];
    for (size_t i = 0; i < option_table_len; i++)
        if (code > 0 && option_table[i].letter == code)
            return &option_table[i];
    return NULL;
}

/* getopt_long() said '?' or ':' about `word`. */
static int options_complain(char *error, int code, int about, const char *word)
{
    const struct option_spec *spec = options_find(about);
    char shown[160];

    if (code == ':' && spec) {
        snprintf(error, OPTIONS_ERROR_MAX, "option --%s needs %s; see bivalve --help", spec->name,
                 spec->arg);
        return -EINVAL;
    }
    if (spec && !option_takes_arg(spec)) {
        snprintf(error, OPTIONS_ERROR_MAX, "option --%s takes no value; see bivalve --help",
                 spec->name);
        return -EINVAL;
    }
    if (about > 0 && about < OPTIONS_CODE) {
        const char letter = (char)about;
        log_escape(shown, sizeof(shown), &letter, 1);
        snprintf(error, OPTIONS_ERROR_MAX, "unknown option -%s; see bivalve --help", shown);
        return -EINVAL;
    }
    log_escape(shown, sizeof(shown), word, strlen(word));
    snprintf(error, OPTIONS_ERROR_MAX, "unknown or ambiguous option %s; see bivalve --help", shown);
    return -EINVAL;
}

static int options_stray(char *error, const char *word)
{
    char shown[160];

    log_escape(shown, sizeof(shown), word, strlen(word));
    snprintf(error, OPTIONS_ERROR_MAX, "\"%s\" is no option; see bivalve --help", shown);
    return -EINVAL;
}

/* The command line, over what `o` has; given[] says which entries of the table it has. */
static int options_line(int argc, char **argv, struct options *o, bool *given, char *error)
{
    struct option longs[OPTION_TABLE_MAX + 1];
    char shorts[2 * OPTION_TABLE_MAX + 3];
    int code;

    options_compile(longs, shorts);
    opterr = 0;
    optind = 0; /* start anew, glibc's and musl's way */
    while ((code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        int rc;
        if (code == '?' || code == ':') {
            rc = options_complain(error, code, optopt, argv[MAX(MIN(optind, argc) - 1, 0)]);
        } else if (code == 1) {
            rc = options_stray(error, optarg);
        } else {
            const struct option_spec *spec = options_find(code);
            given[spec - option_table] = true;
            rc = options_set(o, spec, optarg, error);
        }
        if (rc < 0)
            return rc;
    }
    return optind < argc ? options_stray(error, argv[optind]) : 0;
}

/* Do the options of TLS fit together? */
static int options_check_tls(const struct options *o, char *error)
{
    const char *what = NULL;
    bool wanted = false;

    for (unsigned i = 0; i < o->listen_count; i++)
        wanted |= o->listen[i].tls;
    if ((wanted || o->tls.pair_count || o->tls_key_count) && !tls_available())
        what = "option --tls-listen: this bivalve was built without OpenSSL; build it with "
               "--with-openssl";
    else if (wanted && !o->tls.pair_count)
        what = "option --tls-listen: --tls-cert and --tls-key are needed, too (for a trial, "
               "bivalve --make-test-cert DIR makes them)";
    else if (!wanted && (o->tls.pair_count || o->tls_key_count))
        what = "option --tls-cert: no address has TLS; add --tls-listen ADDRESS";
    else if (o->tls_key_count && o->tls_key_count != o->tls.pair_count)
        what = "option --tls-key: each --tls-cert needs its --tls-key, in the same order (or none "
               "has one: then the key is read from the certificate's file)";
    else if (o->tls_ocsp_count > o->tls.pair_count)
        what = "option --tls-ocsp: there are more of them than of --tls-cert";
    if (!what)
        return 0;
    snprintf(error, OPTIONS_ERROR_MAX, "%s; see bivalve --help", what);
    return -EINVAL;
}

/* Whom are proxies' listeners to believe, and do they find their places (stream_proxy.h)? */
static int options_check_proxies(struct options *o, char *error)
{
    static const char *const local[] = {"127.0.0.0/8", "::1"};
    unsigned places = o->listen_count;

    for (unsigned i = 0; i < o->listen_count; i++)
        places += o->listen[i].proxy;
    if (places > BACKEND_LISTENERS_MAX) {
        snprintf(error, OPTIONS_ERROR_MAX,
                 "option --listen: too many addresses: %d is the most, and one with ,proxy counts "
                 "twice; see bivalve --help",
                 BACKEND_LISTENERS_MAX);
        return -EINVAL;
    }
    if (o->proxy_from.count == 0)
        for (size_t i = 0; i < ARRAY_LEN(local); i++)
            proxy_trust_add(&o->proxy_from, local[i], error);
    return 0;
}

/* What one option says alone is right: do they fit together? And what none of them has said. */
static int options_finish(struct options *o, char *error)
{
    o->set.serves_files = o->static_dir != NULL;
    if (o->action == OPTIONS_STATUS && !o->admin.len)
        listener_parse(OPTIONS_ADMIN_DEFAULT, &o->admin, error);
    if (o->admin.len && o->action != OPTIONS_STATUS && !o->admin_remote &&
        !listener_is_local(&o->admin)) {
        snprintf(error, OPTIONS_ERROR_MAX,
                 "option --admin: %s is no loopback address, and whoever reaches it sees all of "
                 "the server; --admin-remote insists",
                 o->admin.text);
        return -EINVAL;
    }
    o->listen_default = o->listen_count == 0;
    if (o->listen_default && options_set(o, &option_table[0], option_table[0].preset, error) < 0)
        return -EINVAL;
    if (options_check_proxies(o, error) < 0)
        return -EINVAL;
    return o->action <= OPTIONS_TEST ? options_check_tls(o, error) : 0;
}

int options_parse(int argc, char **argv, struct options *o, char *error)
{
    bool given[OPTION_TABLE_MAX] = {false};

    options_init(o);
    int rc = options_line(argc, argv, o, given, error);
    return rc < 0 ? rc : options_finish(o, error);
}

/* ---- a file ---- */

static int options_file_error(char *error, const char *file, unsigned line, unsigned column,
                              const char *what)
{
    char shown[256];

    log_escape(shown, sizeof(shown), file, strlen(file));
    snprintf(error, OPTIONS_ERROR_MAX, "%s:%u:%u: %s", shown, line, column, what);
    return -EINVAL;
}

/* One line of it. -EINVAL with *column and what is wrong in `what`. */
static int options_file_set(struct options *o, const struct option_spec *spec,
                            const struct options_file_line *line, unsigned *column, char *what)
{
    char shown[80];

    *column = line->name_column;
    if (!spec) {
        log_escape(shown, sizeof(shown), line->name, strlen(line->name));
        snprintf(what, OPTIONS_ERROR_MAX,
                 "there is no option %s; see bivalve.conf(5) or bivalve --help", shown);
        return -EINVAL;
    }
    if (spec->line_only) {
        snprintf(what, OPTIONS_ERROR_MAX, "%s is for the command line, not for a file", spec->name);
        return -EINVAL;
    }
    if (line->value)
        *column = line->value_column;
    if (!line->value == option_takes_arg(spec)) {
        snprintf(what, OPTIONS_ERROR_MAX, "option %s %s%s; see bivalve.conf(5)", spec->name,
                 line->value ? "takes no value" : "needs ", line->value ? "" : spec->arg);
        return -EINVAL;
    }
    return options_set(o, spec, line->value, what);
}

static int options_file_apply(struct options *o, const bool *given, const char *file, char *text,
                              size_t len, char *error)
{
    static struct options checked_only;
    struct options_file lines;
    struct options_file_line line;
    char what[OPTIONS_ERROR_MAX - 300];
    const char *why = NULL;
    unsigned column;
    int rc;

    options_init(&checked_only);
    options_file_init(&lines, text, len);
    while ((rc = options_file_next(&lines, &line, &why)) > 0) {
        const struct option_spec *spec = NULL;
        for (size_t i = 0; i < option_table_len && !spec; i++)
            if (!strcmp(option_table[i].name, line.name))
                spec = &option_table[i];
        bool overruled = spec && given[spec - option_table];
        if (options_file_set(overruled ? &checked_only : o, spec, &line, &column, error) < 0) {
            snprintf(what, sizeof(what), "%s", error);
            return options_file_error(error, file, line.line, column, what);
        }
    }
    return rc < 0 ? options_file_error(error, file, line.line, line.name_column, why) : 0;
}

int options_parse_with(int argc, char **argv, const char *file, char *text, size_t len,
                       struct options *o, char *error)
{
    bool given[OPTION_TABLE_MAX] = {false};

    options_init(o);
    int rc = options_line(argc, argv, o, given, error);
    if (rc < 0)
        return rc;
    options_init(o); /* once more, now that it is known what the file has no say in */
    rc = options_file_apply(o, given, file, text, len, error);
    if (rc == 0)
        rc = options_line(argc, argv, o, given, error);
    return rc < 0 ? rc : options_finish(o, error);
}

/* All of a file. 0, or -errno with `error`. */
static int options_read(const char *file, char **text, size_t *len, char *error)
{
    char shown[256];
    int err = 0;
    FILE *f = fopen(file, "re");

    *text = f ? malloc(OPTIONS_FILE_MAX + 2) : NULL;
    if (*text)
        *len = fread(*text, 1, OPTIONS_FILE_MAX + 1, f);
    if (!*text || ferror(f))
        err = errno ? errno : EIO;
    if (f)
        fclose(f);
    if (!err && *len > OPTIONS_FILE_MAX)
        err = EFBIG;
    if (!err) {
        (*text)[*len] = '\0';
        return 0;
    }
    free(*text);
    *text = NULL;
    log_escape(shown, sizeof(shown), file, strlen(file));
    snprintf(error, OPTIONS_ERROR_MAX,
             "option --config: cannot read %s: %s; make it, let this user read it, or leave the "
             "option out",
             shown, strerror(err));
    return -err;
}

int options_load(int argc, char **argv, struct options *o, char *error)
{
    char *text;
    size_t len = 0;
    int rc = options_parse(argc, argv, o, error);

    if (rc < 0 || !o->config || o->action > OPTIONS_STATUS)
        return rc;
    rc = options_read(o->config, &text, &len, error);
    if (rc < 0)
        return rc;
    rc = options_parse_with(argc, argv, o->config, text, len, o, error);
    o->text = text;
    if (rc < 0)
        options_free(o);
    return rc;
}

/* ---- help ---- */

/* What is compiled in may differ from what the man page states of the backend. */
static void options_print_default(FILE *out, const struct options *o,
                                  const struct option_spec *spec)
{
    char text[80];

    option_default(o, spec, text, sizeof(text));
    if (spec->kind == OPTION_BACKEND)
        fprintf(out, " [%s]", o->backend);
    else if (text[0])
        fprintf(out, " [%s]", text);
}

void options_print_help(FILE *out)
{
    const char *titled = NULL;
    struct options o;

    options_init(&o);
    fputs("usage: bivalve [OPTION]...\n\n"
          "An HTTP/1.1 server over interchangeable I/O backends. S is seconds (0.5 is fine, 0 is "
          "no limit); "
          "sizes take k and m.\n\n",
          out);
    for (size_t i = 0; i < option_table_len; i++) {
        const struct option_spec *spec = &option_table[i];
        char name[64];
        if (!spec->help)
            continue;
        if (!titled || titled != option_sections[spec->section].title)
            fprintf(out, "%s%s:\n", titled ? "\n" : "", option_sections[spec->section].title);
        titled = option_sections[spec->section].title;
        snprintf(name, sizeof(name), "%c%c%s--%s%s%s", spec->letter ? '-' : ' ',
                 spec->letter ? spec->letter : ' ', spec->letter ? ", " : "  ", spec->name,
                 spec->arg ? " " : "", spec->arg ? spec->arg : "");
        fprintf(out, "  %-27s %s", name, spec->help);
        options_print_default(out, &o, spec);
        fputc('\n', out);
    }
    fputs("\nBackends, each as NAME or NAME:VARIANT:\n", out);
    for (const struct backend_ops *const *b = registry_list(); *b; b++)
        fprintf(out, "  %s\n", (*b)->help);
    fputs("\nSignals: TERM or INT drains and ends (a second one ends at once); USR1 logs the "
          "counters.\n"
          "Exit status: 0 fine, 1 the start failed, 2 wrong options. All of it: man 8 bivalve\n",
          out);
}
