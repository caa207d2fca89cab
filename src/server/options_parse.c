/* SPDX-License-Identifier: MIT */
/*
 * options_parse.c - the command line, understood by the table of options, and --help.
 */
#include "config.h"

#include "options_parse.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "access_log.h"
#include "log.h"
#include "option_table.h"
#include "options_file.h"
#include "registry.h"
#include "sandbox.h"
#include "util.h"

/* ---- values ---- */

/* Digits only, no more than `max`. True and *end behind them. */
static bool options_digits(const char *text, uint64_t max, uint64_t *value, const char **end)
{
    uint64_t v = 0;

    if (*text < '0' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        unsigned digit = (unsigned)(*text - '0');
        if (v > (max - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *value = v;
    *end = text;
    return v <= max;
}

static bool options_number(const char *text, uint64_t min, uint64_t max, bool units,
                           uint64_t *value)
{
    const char *end;
    unsigned shift = 0;

    if (!options_digits(text, MAX(max, 9), value, &end))
        return false;
    if (units && (*end == 'k' || *end == 'K'))
        shift = 10;
    else if (units && (*end == 'm' || *end == 'M'))
        shift = 20;
    if (*value > max >> shift)
        return false;
    *value <<= shift;
    return end[shift > 0] == '\0' && *value >= min && *value <= max;
}

/* Seconds with up to nine decimals, rounded up to a millisecond, so that only 0 is 0. */
static bool options_seconds(const char *text, uint32_t *ms)
{
    uint64_t whole, fraction = 0, unit = 1000000000;
    const char *end;

    if (!options_digits(text, OPTION_SECONDS_MAX, &whole, &end))
        return false;
    if (*end == '.') {
        if (!*++end)
            return false;
        for (; *end >= '0' && *end <= '9' && unit > 1; end++) {
            unit /= 10;
            fraction += unit * (unsigned)(*end - '0');
        }
    }
    if (*end)
        return false;
    *ms = (uint32_t)(whole * 1000 + (fraction + 999999) / 1000000);
    return *ms <= OPTION_SECONDS_MAX * 1000u;
}

/* ---- errors ---- */

static int options_error(char *error, const struct option_spec *spec, const char *value,
                         const char *what)
{
    char shown[160];

    log_escape(shown, sizeof(shown), value, strlen(value));
    snprintf(error, OPTIONS_ERROR_MAX, "option --%s: \"%s\" %s; see bivalve --help", spec->name,
             shown, what);
    return -EINVAL;
}

static int options_error_range(char *error, const struct option_spec *spec, const char *value)
{
    char what[160];

    switch (spec->kind) {
    case OPTION_SECONDS:
        snprintf(what, sizeof(what),
                 "is not a number of seconds from 0 to %d (0: no limit; a fraction is fine)",
                 OPTION_SECONDS_MAX);
        break;
    case OPTION_SIZE32:
    case OPTION_SIZE64:
        snprintf(what, sizeof(what),
                 "is not a number of bytes from %" PRIu64 " to %" PRIu64
                 " (k and m are 1024 and 1024 x 1024)",
                 spec->min, spec->max);
        break;
    default:
        snprintf(what, sizeof(what), "is not a number from %" PRIu64 " to %" PRIu64 "%s", spec->min,
                 spec->max, spec->kind == OPTION_WORKERS ? " or auto" : "");
    }
    return options_error(error, spec, value, what);
}

/*
 * Is it `auto`, or a backend compiled in, perhaps with a variant that it has? Whether it runs here
 * is found out at start.
 */
static int options_check_backend(char *error, const struct option_spec *spec, const char *value)
{
    const char *colon = strchr(value, ':');
    const struct backend_ops *ops =
        registry_find(value, colon ? (size_t)(colon - value) : strlen(value));
    char what[BACKEND_TEXT_MAX] = "is no backend of this build; there are auto";

    if (!ops && !strcmp(value, "auto"))
        return 0;
    if (ops && (!colon || ops->check_variant(colon + 1, what) == 0))
        return 0;
    if (ops) { /* in the backend's words, which repeat the user's */
        char escaped[BACKEND_TEXT_MAX];
        return options_error(error, spec, value,
                             log_escape(escaped, sizeof(escaped), what, strlen(what)));
    }
    for (const struct backend_ops *const *b = registry_list(); *b; b++) {
        size_t len = strlen(what);
        snprintf(what + len, sizeof(what) - len, ", %s", (*b)->name);
    }
    return options_error(error, spec, value, what);
}

/* ---- one option ---- */

/* "ADDR,tls" is an address with TLS, "ADDR,proxy" one that proxies connect to. */
static bool options_cut(char *addr, const char *mark)
{
    size_t len = strlen(addr), mark_len = strlen(mark);

    if (len <= mark_len || strcmp(addr + len - mark_len, mark))
        return false;
    addr[len - mark_len] = '\0';
    return true;
}

static int options_listen(struct options *o, const struct option_spec *spec, const char *value,
                          char *error)
{
    char why[LISTENER_ERROR_MAX], addr[2 * LISTENER_TEXT_MAX];
    bool tls = spec->min, proxy = false, more = true;

    if (strlen(value) >= sizeof(addr))
        return options_error(error, spec, value, "is longer than any address");
    strcpy(addr, value);
    while (more) {
        more = options_cut(addr, ",tls");
        tls = tls || more;
        if (options_cut(addr, ",proxy"))
            proxy = more = true;
    }
    if (o->listen_count == ARRAY_LEN(o->listen)) {
        snprintf(why, sizeof(why), "is one address too many: %zu is the most",
                 ARRAY_LEN(o->listen));
        return options_error(error, spec, value, why);
    }
    if (listener_parse(addr, &o->listen[o->listen_count], why) < 0)
        return options_error(error, spec, value, why);
    o->listen[o->listen_count].proxy = proxy;
    o->listen[o->listen_count++].tls = tls;
    return 0;
}

static bool options_log_format(int *format, const char *value)
{
    static const char *const names[] = {
        [ACCESS_LOG_COMBINED] = "combined",
        [ACCESS_LOG_COMBINED_TLS] = "combined-tls",
        [ACCESS_LOG_JSON] = "json",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!strcmp(value, names[i])) {
            *format = (int)i;
            return true;
        }
    return false;
}

static int options_tls_file(struct options *o, const struct option_spec *spec, const char *value,
                            char *error)
{
    unsigned *count = spec->kind == OPTION_TLS_CERT  ? &o->tls.pair_count
                      : spec->kind == OPTION_TLS_KEY ? &o->tls_key_count
                                                     : &o->tls_ocsp_count;

    if (!*value)
        return options_error(error, spec, value, "is empty");
    if (*count == TLS_PAIRS_MAX)
        return options_error(error, spec, value, "is one too many: 64 are the most");
    struct tls_pair *pair = &o->tls.pairs[(*count)++];
    *(spec->kind == OPTION_TLS_CERT  ? &pair->cert
      : spec->kind == OPTION_TLS_KEY ? &pair->key
                                     : &pair->ocsp) = value;
    return 0;
}

static int options_tls_version(const struct option_spec *spec, const char *value, unsigned *version,
                               char *error)
{
    if (strcmp(value, "1.2") && strcmp(value, "1.3"))
        return options_error(error, spec, value, "is not 1.2 or 1.3");
    *version = value[2] == '2' ? 12 : 13;
    return 0;
}

static int options_tls_ktls(const struct option_spec *spec, const char *value, int *use,
                            char *error)
{
    static const char *const words[] = {
        [TLS_KTLS_OFF] = "off", [TLS_KTLS_AUTO] = "auto", [TLS_KTLS_ON] = "on"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!strcmp(value, words[i])) {
            *use = (int)i;
            return 0;
        }
    }
    return options_error(error, spec, value, "is not off, auto or on");
}

static int options_set(struct options *o, const struct option_spec *spec, const char *value,
                       char *error)
{
    void *at = (char *)o + spec->at;
    char why[LISTENER_ERROR_MAX];
    uint64_t n;

    switch (spec->kind) {
    case OPTION_SECONDS:
        return options_seconds(value, at) ? 0 : options_error_range(error, spec, value);
    case OPTION_SIZE32:
    case OPTION_COUNT:
        if (!options_number(value, spec->min, spec->max, spec->kind == OPTION_SIZE32, &n))
            return options_error_range(error, spec, value);
        *(uint32_t *)at = (uint32_t)n;
        return 0;
    case OPTION_SIZE64:
        return options_number(value, spec->min, spec->max, true, at)
                   ? 0
                   : options_error_range(error, spec, value);
    case OPTION_WORKERS:
        if (strcmp(value, "auto") && !options_number(value, spec->min, spec->max, false, &n))
            return options_error_range(error, spec, value);
        *(int *)at = strcmp(value, "auto") ? (int)n : OPTIONS_AUTO;
        return 0;
    case OPTION_TEXT:
        if (!*value)
            return options_error(error, spec, value, "is empty");
        *(const char **)at = value;
        return 0;
    case OPTION_BACKEND:
        *(const char **)at = value;
        return options_check_backend(error, spec, value);
    case OPTION_LEVEL:
        *(int *)at = log_level_parse(value);
        return *(int *)at >= 0
                   ? 0
                   : options_error(error, spec, value, "is not error, warn, notice, info or debug");
    case OPTION_LOG_FORMAT:
        return options_log_format(at, value)
                   ? 0
                   : options_error(error, spec, value, "is not combined, combined-tls or json");
    case OPTION_LISTEN: return options_listen(o, spec, value, error);
    case OPTION_NET:
        return proxy_trust_add(&o->proxy_from, value, why) < 0
                   ? options_error(error, spec, value, why)
                   : 0;
    case OPTION_ADDRESS:
        memset(at, 0, sizeof(struct listener_addr));
        return listener_parse(value, at, why) < 0 ? options_error(error, spec, value, why) : 0;
    case OPTION_TLS_CERT:
    case OPTION_TLS_KEY:
    case OPTION_TLS_OCSP: return options_tls_file(o, spec, value, error);
    case OPTION_TLS_VERSION: return options_tls_version(spec, value, at, error);
    case OPTION_TLS_KTLS: return options_tls_ktls(spec, value, at, error);
    case OPTION_MAKE_CERT:
        o->action = MAX(o->action, OPTIONS_MAKE_CERT);
        *(const char **)at = value;
        return *value ? 0 : options_error(error, spec, value, "is empty");
    case OPTION_TRUE:
    case OPTION_FALSE: *(bool *)at = spec->kind == OPTION_TRUE; return 0;
    case OPTION_SANDBOX:
        if (spec->min == OPTIONS_SANDBOX_ON && !sandbox_available()) {
            snprintf(error, OPTIONS_ERROR_MAX,
                     "option --seccomp: this bivalve was built without libseccomp; leave the "
                     "option out");
            return -EINVAL;
        }
        *(enum options_sandbox *)at = (enum options_sandbox)spec->min;
        return 0;
    case OPTION_ACTION: /* of several the last of the enumeration: what prints and exits */
        o->action = MAX(o->action, (enum options_action)spec->min);
        return 0;
    }
    return -EINVAL;
}

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
    if (o->listen_default && options_listen(o, &option_table[0], option_table[0].preset, error) < 0)
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
