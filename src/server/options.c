/* SPDX-License-Identifier: MIT */
/*
 * options.c - the command line, as one table: it is what is parsed and what --help prints.
 */
#include "config.h"

#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "log.h"
#include "registry.h"
#include "sandbox.h"
#include "util.h"

#define OPTIONS_SECONDS_MAX 1000000 /* in milliseconds it fits 32 bits */

enum option_kind {
    OPTION_SECONDS, /* seconds, perhaps with a fraction, into uint32_t milliseconds; 0: none */
    OPTION_SIZE32,  /* bytes with an optional k or m, into uint32_t */
    OPTION_SIZE64,
    OPTION_COUNT, /* a plain number, into uint32_t */
    OPTION_TEXT,  /* anything but the empty string */
    OPTION_LISTEN,
    OPTION_ADDRESS, /* into struct listener_addr */
    OPTION_WORKERS,
    OPTION_BACKEND,
    OPTION_LEVEL,
    OPTION_TRUE, /* no argument, into bool */
    OPTION_FALSE,
    OPTION_SANDBOX, /* no argument: .min is the value */
    OPTION_ACTION,
};

struct option_spec {
    const char *name;
    char letter; /* 0: none */
    enum option_kind kind;
    size_t at; /* where in struct options it goes */
    uint64_t min, max;
    const char *arg;  /* name of the argument, for --help */
    const char *help; /* NULL: not shown */
};

#define AT(field) offsetof(struct options, field)
#define MIB       (1024u * 1024)
#define GIB       (1024u * 1024 * 1024)

/* clang-format off */
#define SECONDS(name, field, help) \
    {name, 0, OPTION_SECONDS, AT(set.field), 0, OPTIONS_SECONDS_MAX, "S", help}
#define SIZE(name, field, min, max, help) \
    {name, 0, OPTION_SIZE32, AT(set.field), min, max, "N", help}
#define COUNT(name, field, min, max, help) \
    {name, 0, OPTION_COUNT, AT(set.field), min, max, "N", help}
#define ACTION(name, letter, action, help) \
    {name, letter, OPTION_ACTION, 0, action, 0, NULL, help}

static const struct option_spec option_table[] = {
    {"listen", 'l', OPTION_LISTEN, 0, 0, 0, "ADDR:PORT",
     "IPV4:PORT, [IPV6]:PORT, unix:PATH or unix:@NAME; repeatable [127.0.0.1:8080]"},
    {"workers", 'w', OPTION_WORKERS, AT(workers), 0, OPTIONS_WORKERS_MAX, "N|auto",
     "worker processes; 0: serve in this process [auto: one per CPU]"},
    {"backend", 'b', OPTION_BACKEND, AT(backend), 0, 0, "NAME",
     "auto: the best that runs here, or one of those below [" BIVALVE_DEFAULT_BACKEND "]"},
    {"dataset", 'd', OPTION_TEXT, AT(dataset), 0, 0, "FILE",
     "records that /json serves [the shipped ones]"},
    {"pin", 0, OPTION_TRUE, AT(pin), 0, 0, NULL, "pin each worker to a CPU [yes]"},
    {"no-pin", 0, OPTION_FALSE, AT(pin), 0, 0, NULL, "leave that to the scheduler"},
    {"log-level", 0, OPTION_LEVEL, AT(log_level), 0, 0, "LEVEL",
     "error, warn, notice, info or debug [notice]"},

    {"admin", 0, OPTION_ADDRESS, AT(admin), 0, 0, "ADDR:PORT",
     "serve /metrics, /healthz and /status there: a loopback address or unix:PATH"},
    {"admin-remote", 0, OPTION_TRUE, AT(admin_remote), 0, 0, NULL,
     "let that be an address that others reach: they see all of it"},

    SECONDS("header-timeout", header_timeout_ms,
            "a request's first byte to the end of its head: 408"),
    SECONDS("body-timeout", body_timeout_ms, "without progress in a body: 408"),
    SECONDS("idle-timeout", idle_timeout_ms, "between requests, and before the first"),
    SECONDS("write-timeout", write_timeout_ms, "since the client last took a byte of an answer"),
    SECONDS("linger-timeout", linger_timeout_ms, "for the client to close after our last byte"),
    SECONDS("drain-timeout", drain_timeout_ms, "from SIGTERM to the end"),

    SIZE("max-uri-bytes", max_uri_bytes, 16, MIB, "request target: 414"),
    SIZE("max-header-bytes", max_header_bytes, 64, MIB, "header section, and any line of it: 431"),
    COUNT("max-header-fields", max_header_fields, 1, 65535, "fields of a header section: 431"),
    {"max-body-bytes", 0, OPTION_SIZE64, AT(set.max_body_bytes), 0, INT64_MAX, "N",
     "request body: 413"},
    SIZE("max-chunk-ext-bytes", max_chunk_ext_bytes, 0, MIB, "extensions of one chunk: 400"),
    SIZE("min-body-rate", min_body_rate, 0, GIB,
         "bytes a second that renew --body-timeout; 0: any byte does"),
    COUNT("max-requests", max_requests, 0, UINT32_MAX, "requests of a connection; 0: no limit"),
    COUNT("max-connections", max_connections, 0, SLOT_TABLE_MAX,
          "per worker; 0: the fd limit less 64"),
    COUNT("max-pipeline", max_pipeline, 1, 65535,
          "requests of a connection answered before others have their share"),
    SIZE("max-output-bytes", max_output_bytes, 1, GIB,
         "output pending on a connection before its input waits"),
    {"max-buffer-bytes", 0, OPTION_SIZE64, AT(set.max_buffer_bytes), MIB, INT64_MAX, "N",
     "what all connections of a worker hold; then those without progress are closed"},
    SIZE("max-unsent-bytes", max_unsent_bytes, 0, GIB,
         "unsent output of a connection that the kernel holds; 0: what it likes"),
    SIZE("max-linger-bytes", max_linger_bytes, 0, GIB, "input discarded after our last byte"),
    SIZE("recv-buffer", recv_buffer_bytes, 16, MIB, "bytes of one receive"),

    {"user", 0, OPTION_TEXT, AT(user), 0, 0, "NAME",
     "become this user once the listeners are open (root only)"},
    {"group", 0, OPTION_TEXT, AT(group), 0, 0, "NAME", "and this group [the user's own]"},
    {"allow-root", 0, OPTION_TRUE, AT(allow_root), 0, 0, NULL,
     "serve as root, which is refused otherwise"},
    {"seccomp", 0, OPTION_SANDBOX, AT(sandbox), OPTIONS_SANDBOX_ON, 0, NULL,
     "system call filter on the workers, or no start [where it works]"},
    {"no-seccomp", 0, OPTION_SANDBOX, AT(sandbox), OPTIONS_SANDBOX_OFF, 0, NULL, "no filter"},
    COUNT("burn-ns", burn_ns, 0, 1000000000, NULL),

    ACTION("test", 't', OPTIONS_TEST, "check options and dataset, and exit"),
    ACTION("status", 0, OPTIONS_STATUS,
           "show what a running server says of itself, at --admin [" OPTIONS_ADMIN_DEFAULT "]"),
    {"watch", 0, OPTION_TRUE, AT(watch), 0, 0, NULL, "with --status: again every second"},
    ACTION("probe", 0, OPTIONS_PROBE, "say which backends work on this machine, and if not, why"),
    ACTION("version", 'V', OPTIONS_VERSION, "version and backends compiled in"),
    ACTION("help", 'h', OPTIONS_HELP, "this text"),
};
/* clang-format on */

static bool option_takes_arg(const struct option_spec *spec)
{
    return spec->arg != NULL;
}

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

    if (!options_digits(text, OPTIONS_SECONDS_MAX, &whole, &end))
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
    return *ms <= OPTIONS_SECONDS_MAX * 1000u;
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
                 OPTIONS_SECONDS_MAX);
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

static int options_listen(struct options *o, const struct option_spec *spec, const char *value,
                          char *error)
{
    char why[LISTENER_ERROR_MAX];

    if (o->listen_count == ARRAY_LEN(o->listen)) {
        snprintf(why, sizeof(why), "is one address too many: %zu is the most",
                 ARRAY_LEN(o->listen));
        return options_error(error, spec, value, why);
    }
    if (listener_parse(value, &o->listen[o->listen_count], why) < 0)
        return options_error(error, spec, value, why);
    o->listen_count++;
    return 0;
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
    case OPTION_LISTEN: return options_listen(o, spec, value, error);
    case OPTION_ADDRESS:
        memset(at, 0, sizeof(struct listener_addr));
        return listener_parse(value, at, why) < 0 ? options_error(error, spec, value, why) : 0;
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

static void options_defaults(struct options *o)
{
    memset(o, 0, sizeof(*o));
    settings_init(&o->set);
    o->workers = OPTIONS_AUTO;
    o->backend = BIVALVE_DEFAULT_BACKEND;
    o->dataset = BIVALVE_DATADIR "/dataset.json";
    o->pin = true;
    o->log_level = LOG_LEVEL_NOTICE;
}

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
    for (size_t i = 0; i < ARRAY_LEN(option_table); i++) {
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
    longs[ARRAY_LEN(option_table)] = (struct option){0};
    *s = '\0';
}

static const struct option_spec *options_find(int code)
{
    if (code >= OPTIONS_CODE && code < OPTIONS_CODE + (int)ARRAY_LEN(option_table))
        return &option_table[code - OPTIONS_CODE];
    for (size_t i = 0; i < ARRAY_LEN(option_table); i++)
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

int options_parse(int argc, char **argv, struct options *o, char *error)
{
    struct option longs[ARRAY_LEN(option_table) + 1];
    char shorts[2 * ARRAY_LEN(option_table) + 3];
    int code;

    options_defaults(o);
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
            rc = options_set(o, options_find(code), optarg, error);
        }
        if (rc < 0)
            return rc;
    }
    if (optind < argc)
        return options_stray(error, argv[optind]);
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
    if (o->listen_count == 0)
        return options_listen(o, &option_table[0], "127.0.0.1:8080", error);
    return 0;
}

/* ---- help ---- */

/* " [default]" of the options that are numbers; the others' stand in their text. */
static void options_print_default(FILE *out, const struct options *o,
                                  const struct option_spec *spec)
{
    const void *at = (const char *)o + spec->at;
    uint32_t n = 0;

    switch (spec->kind) {
    case OPTION_SECONDS:
        n = *(const uint32_t *)at;
        if (n % 1000)
            fprintf(out, " [%g]", n / 1000.);
        else
            fprintf(out, " [%u]", n / 1000);
        break;
    case OPTION_COUNT:
    case OPTION_SIZE32: fprintf(out, " [%u]", *(const uint32_t *)at); break;
    case OPTION_SIZE64: fprintf(out, " [%" PRIu64 "]", *(const uint64_t *)at); break;
    default: break;
    }
}

void options_print_help(FILE *out)
{
    struct options o;

    options_defaults(&o);
    fputs("usage: bivalve [OPTION]...\n\n"
          "An HTTP/1.1 server over interchangeable I/O backends. S is seconds (0.5 is fine, 0 is "
          "no limit); "
          "sizes take k and m.\n\n",
          out);
    for (size_t i = 0; i < ARRAY_LEN(option_table); i++) {
        const struct option_spec *spec = &option_table[i];
        char name[64];
        if (!spec->help)
            continue;
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
