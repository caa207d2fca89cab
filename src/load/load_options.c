/* SPDX-License-Identifier: MIT */
/*
 * load_options.c - the command line, as one table: it is what is parsed and what --help prints.
 */
#include "config.h"

#include "load_options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <string.h>

#include "load_values.h"
#include "log.h"
#include "util.h"

enum load_option_kind {
    LOAD_OPTION_COUNT32,
    LOAD_OPTION_COUNT64,
    LOAD_OPTION_SIZE,
    LOAD_OPTION_PROCESSES,
    LOAD_OPTION_TIME,
    LOAD_OPTION_RATE,
    LOAD_OPTION_TEXT,
    LOAD_OPTION_METHOD,
    LOAD_OPTION_TRUE,
    LOAD_OPTION_HEADER,
    LOAD_OPTION_RAW,
    LOAD_OPTION_STATUS,
    LOAD_OPTION_ARRIVALS,
    LOAD_OPTION_TURNS,
    LOAD_OPTION_SLO,
    LOAD_OPTION_FRACTION,
    LOAD_OPTION_TLS_VERSION,
    LOAD_OPTION_ACTION,
};

struct load_option {
    const char *name;
    char letter; /* 0: none */
    enum load_option_kind kind;
    size_t at; /* where in struct load_options it goes */
    uint64_t min, max;
    const char *arg;
    const char *help;
};

#define AT(field)   offsetof(struct load_options, field)
#define SECOND_US   UINT64_C(1000000)
#define TIME_MAX_US (3600 * SECOND_US)
/* A request waits so long for a connection and again for its answer: histograms end at an hour, and
 * its times are kept in 32 bits. */
#define TIMEOUT_MAX_US  (1800 * SECOND_US)
#define CONNECTIONS_MAX 1000000
#define READ_RATE_MAX   (UINT64_C(1) << 40)

/* clang-format off */
static const struct load_option load_option_table[] = {
    {"connections", 'c', LOAD_OPTION_COUNT32, AT(connections), 1, CONNECTIONS_MAX, "N",
     "connections, of all processes together [64]"},
    {"duration", 'd', LOAD_OPTION_TIME, AT(duration_us), 1000, TIME_MAX_US, "TIME",
     "measure for so long [10s]"},
    {"requests", 'n', LOAD_OPTION_COUNT64, AT(requests), 1, INT64_MAX, "N",
     "end after so many requests, instead of after a time"},
    {"processes", 't', LOAD_OPTION_PROCESSES, AT(processes), 1, LOAD_PROCESSES_MAX, "N|auto",
     "processes, each pinned to a CPU; auto: one for each CPU [1]"},
    {"pipeline", 'p', LOAD_OPTION_COUNT32, AT(pipeline), 1, LOAD_PIPELINE_MAX, "N",
     "requests in flight on a connection [1]"},
    {"requests-per-connection", 'k', LOAD_OPTION_COUNT32, AT(per_connection), 0, UINT32_MAX, "N",
     "then connect again; 0: no limit [0]"},
    {"idle", 0, LOAD_OPTION_COUNT32, AT(idle), 0, CONNECTIONS_MAX, "N",
     "so many further connections are kept open, each after one request [0]"},
    {"rate", 'R', LOAD_OPTION_RATE, 0, 0, 0, "RATE|A:B",
     "open loop: so many requests a second, or from A to B over the duration"},
    {"arrivals", 0, LOAD_OPTION_ARRIVALS, AT(uniform), 0, 0, "KIND",
     "of the open loop: poisson or uniform [poisson]"},
    {"seed", 0, LOAD_OPTION_COUNT64, AT(seed), 0, UINT64_MAX, "N",
     "of all that is random: the same seed sends the same [1]"},
    {"warmup", 0, LOAD_OPTION_TIME, AT(warmup_us), 0, TIME_MAX_US, "TIME",
     "load before the measuring begins [0]"},
    {"ramp", 0, LOAD_OPTION_TIME, AT(ramp_us), 0, TIME_MAX_US, "TIME",
     "open the connections over so long, not all at once [0]"},
    {"read-rate", 0, LOAD_OPTION_SIZE, AT(read_rate), 1, READ_RATE_MAX, "BYTES",
     "a connection reads so many bytes a second, no more"},
    {"turns", 0, LOAD_OPTION_TURNS, AT(turns), 0, 0, "TIME:I/N",
     "load in the I-th of each N turns of so long: N loads alternate"},
    {"timeout", 0, LOAD_OPTION_TIME, AT(timeout_us), 1000, TIMEOUT_MAX_US, "TIME",
     "a request without an answer is an error after this [10s]"},
    {"backend", 0, LOAD_OPTION_TEXT, AT(backend), 0, 0, "NAME",
     "auto, or one of those that bivalve --help lists [" BIVALVE_DEFAULT_BACKEND "]"},
    {"unix", 0, LOAD_OPTION_TEXT, AT(unix_path), 0, 0, "PATH",
     "connect to this unix socket, whatever the URL's host"},
    {"source", 0, LOAD_OPTION_TEXT, AT(source), 0, 0, "ADDR[,ADDR]",
     "connect from these addresses in turn"},

    {"cacert", 0, LOAD_OPTION_TEXT, AT(ca_file), 0, 0, "FILE",
     "trust the certificates in this file [those that the system trusts]"},
    {"insecure", 0, LOAD_OPTION_TRUE, AT(insecure), 0, 0, NULL, "take any certificate"},
    {"tls-resume", 0, LOAD_OPTION_TRUE, AT(tls_resume), 0, 0, NULL,
     "take up earlier sessions; otherwise each handshake is a full one"},
    {"tls-version", 0, LOAD_OPTION_TLS_VERSION, AT(tls_version), 0, 0, "VERSION",
     "1.2 or 1.3 alone [what the server prefers]"},

    {"method", 'X', LOAD_OPTION_METHOD, AT(method), 0, 0, "METHOD", "[GET, with a body POST]"},
    {"header", 'H', LOAD_OPTION_HEADER, 0, 0, 0, "NAME: VALUE", "a field of the head; repeatable"},
    {"body", 'b', LOAD_OPTION_TEXT, AT(body), 0, 0, "TEXT|@FILE|random:SIZE",
     "of each request"},
    {"chunked", 0, LOAD_OPTION_TRUE, AT(chunked), 0, 0, NULL, "send the body in chunks"},
    {"raw", 0, LOAD_OPTION_RAW, 0, 0, 0, "FILE",
     "requests as they go on the wire; repeatable: all are sent in turn"},
    {"random-query", 0, LOAD_OPTION_TRUE, AT(random_query), 0, 0, NULL,
     "{rand:A:B} in a request target is a new number from A to B each time"},

    {"expect-status", 0, LOAD_OPTION_STATUS, 0, 0, 0, "LIST",
     "right answers, such as 200,404 or 2xx [2xx,3xx]"},
    {"expect-body", 0, LOAD_OPTION_TEXT, AT(expect_body), 0, 0, "TEXT|@FILE",
     "the body of a right answer"},
    {"expect-echo", 0, LOAD_OPTION_TRUE, AT(expect_echo), 0, 0, NULL,
     "the body of a right answer is the one that was sent"},
    {"same-body", 0, LOAD_OPTION_TRUE, AT(same_body), 0, 0, NULL,
     "all right answers to a request have the same body"},
    {"slo-p99", 0, LOAD_OPTION_SLO, AT(slo_p99_us), 1, TIME_MAX_US, "TIME",
     "fail (exit status 3) if the 99th percentile is beyond this"},
    {"max-error-rate", 0, LOAD_OPTION_FRACTION, AT(max_error_rate), 0, 0, "FRACTION",
     "errors up to this part of all requests are no failure [0]"},
    {"find-max", 0, LOAD_OPTION_ACTION, 0, LOAD_FIND_MAX, 0, NULL,
     "search for the highest rate that holds --slo-p99 without errors"},

    {"json", 0, LOAD_OPTION_TEXT, AT(json), 0, 0, "FILE|-", "results as JSON"},
    {"hdr", 0, LOAD_OPTION_TEXT, AT(hdr), 0, 0, "FILE|-", "latencies in HdrHistogram's text format"},
    {"timeseries", 0, LOAD_OPTION_TEXT, AT(timeseries), 0, 0, "FILE|-",
     "a line of JSON for each second"},
    {"quiet", 'q', LOAD_OPTION_TRUE, AT(quiet), 0, 0, NULL, "no line a second"},
    {"version", 'V', LOAD_OPTION_ACTION, 0, LOAD_VERSION, 0, NULL, "version"},
    {"help", 'h', LOAD_OPTION_ACTION, 0, LOAD_HELP, 0, NULL, "this text"},
};
/* clang-format on */

/* ---- values ---- */

/* NAME: VALUE, without what would end the line. Its name's syntax is for the server to judge. */
static bool load_header(const char *text, struct load_options *o)
{
    const char *colon = strchr(text, ':');

    if (!colon || colon == text || strpbrk(text, "\r\n") || o->header_count == LOAD_HEADERS_MAX)
        return false;
    o->headers[o->header_count++] = text;
    return true;
}

static bool load_store(const struct load_option *spec, const char *value, struct load_options *o)
{
    void *at = (char *)o + spec->at;
    const char *end;
    uint64_t number;

    switch (spec->kind) {
    case LOAD_OPTION_COUNT32:
        if (!load_value_count(value, spec->min, spec->max, &number))
            return false;
        *(uint32_t *)at = (uint32_t)number;
        return true;
    case LOAD_OPTION_COUNT64: return load_value_count(value, spec->min, spec->max, at);
    case LOAD_OPTION_SIZE: return load_value_size(value, spec->max, at);
    case LOAD_OPTION_PROCESSES:
        number = LOAD_AUTO;
        if (strcmp(value, "auto") && !load_value_count(value, spec->min, spec->max, &number))
            return false;
        *(uint32_t *)at = (uint32_t)number;
        return true;
    case LOAD_OPTION_TIME: return load_value_time(value, spec->min, spec->max, at);
    case LOAD_OPTION_SLO:
        *(double *)at = load_value_time(value, spec->min, spec->max, &number) ? (double)number : 0;
        return *(double *)at > 0;
    case LOAD_OPTION_RATE: return load_value_rate(value, &o->rate_from, &o->rate_to);
    case LOAD_OPTION_TEXT: *(const char **)at = value; return *value;
    case LOAD_OPTION_METHOD: *(const char **)at = value; return load_value_method(value);
    case LOAD_OPTION_TRUE: *(bool *)at = true; return true;
    case LOAD_OPTION_HEADER: return load_header(value, o);
    case LOAD_OPTION_RAW:
        if (o->raw_count == LOAD_RAW_MAX || !*value)
            return false;
        o->raw[o->raw_count++] = value;
        return true;
    case LOAD_OPTION_STATUS: return load_value_statuses(value, o->expect_status);
    case LOAD_OPTION_ARRIVALS:
        *(bool *)at = !strcmp(value, "uniform");
        return *(bool *)at || !strcmp(value, "poisson");
    case LOAD_OPTION_TURNS: return load_turns_parse(value, at);
    case LOAD_OPTION_TLS_VERSION:
        *(unsigned *)at = strcmp(value, "1.3") ? 12 : 13;
        return !strcmp(value, "1.2") || !strcmp(value, "1.3");
    case LOAD_OPTION_FRACTION:
        return load_value_decimal(value, at, &end) && !*end && *(double *)at <= 1;
    default: o->action = (enum load_action)spec->min; return true;
    }
}

/* ---- the command line ---- */

/* What an option of this kind takes, to follow "takes ". */
static void load_describe(const struct load_option *spec, char *out, size_t size)
{
    switch (spec->kind) {
    case LOAD_OPTION_COUNT32:
    case LOAD_OPTION_COUNT64:
    case LOAD_OPTION_PROCESSES:
        snprintf(out, size, "%sa whole number from %llu to %llu, perhaps with k, m or g",
                 spec->kind == LOAD_OPTION_PROCESSES ? "auto, or " : "",
                 (unsigned long long)spec->min, (unsigned long long)spec->max);
        break;
    case LOAD_OPTION_SIZE: snprintf(out, size, "bytes, such as 1500, 64k or 1m (of 1024)"); break;
    case LOAD_OPTION_TIME:
    case LOAD_OPTION_SLO:
        snprintf(out, size, "a time such as 500us, 20ms, 10s or 2m, %sup to %s",
                 spec->min >= 1000 ? "from 1ms " : "",
                 spec->max == TIME_MAX_US ? "an hour" : "half an hour");
        break;
    case LOAD_OPTION_RATE:
        snprintf(out, size, "requests a second, such as 10000, 10k or 1k:50k, up to 100m");
        break;
    case LOAD_OPTION_METHOD: snprintf(out, size, "a method, such as PUT"); break;
    case LOAD_OPTION_HEADER:
        snprintf(out, size, "NAME: VALUE in one line, at most %d times", LOAD_HEADERS_MAX);
        break;
    case LOAD_OPTION_RAW:
        snprintf(out, size, "the name of a file, at most %d times", LOAD_RAW_MAX);
        break;
    case LOAD_OPTION_STATUS: snprintf(out, size, "a list such as 200,404 or 2xx,304"); break;
    case LOAD_OPTION_ARRIVALS: snprintf(out, size, "poisson or uniform"); break;
    case LOAD_OPTION_TURNS:
        snprintf(out, size, "a time from 1ms to 10s and which of how many, such as 25ms:1/2");
        break;
    case LOAD_OPTION_TLS_VERSION: snprintf(out, size, "1.2 or 1.3"); break;
    case LOAD_OPTION_FRACTION: snprintf(out, size, "a fraction from 0 to 1, such as 0.001"); break;
    default: snprintf(out, size, "some text"); break;
    }
}

static int load_bad_value(char *error, const struct load_option *spec, const char *value)
{
    char shown[160], takes[160];

    log_escape(shown, sizeof(shown), value, strlen(value));
    load_describe(spec, takes, sizeof(takes));
    snprintf(error, LOAD_ERROR_MAX, "option --%s: \"%s\": it takes %s; see bivalve-load --help",
             spec->name, shown, takes);
    return -EINVAL;
}

/* What getopt_long() needs, made of the table. */
static void load_getopt(struct option *longs, char *letters)
{
    *letters++ = ':';
    for (unsigned i = 0; i < ARRAY_LEN(load_option_table); i++) {
        const struct load_option *spec = &load_option_table[i];
        longs[i] = (struct option){.name = spec->name,
                                   .has_arg = spec->arg ? required_argument : no_argument,
                                   .val = 256 + (int)i};
        if (spec->letter) {
            *letters++ = spec->letter;
            if (spec->arg)
                *letters++ = ':';
        }
    }
    longs[ARRAY_LEN(load_option_table)] = (struct option){0};
    *letters = '\0';
}

static const struct load_option *load_option_of(int code)
{
    if (code >= 256)
        return &load_option_table[code - 256];
    for (unsigned i = 0; i < ARRAY_LEN(load_option_table); i++)
        if (load_option_table[i].letter == code)
            return &load_option_table[i];
    return NULL;
}

static int load_bad_option(char *error, int code, char **argv)
{
    const char *text = argv[optind - 1];
    char shown[160];

    log_escape(shown, sizeof(shown), text, strlen(text));
    if (code == ':') {
        const struct load_option *spec = load_option_of(optopt);
        snprintf(error, LOAD_ERROR_MAX, "option --%s takes a value: %s; see bivalve-load --help",
                 spec ? spec->name : shown, spec ? spec->arg : "");
    } else {
        snprintf(error, LOAD_ERROR_MAX, "\"%s\" is no option; see bivalve-load --help", shown);
    }
    return -EINVAL;
}

static int load_conflict(char *error, const char *what)
{
    snprintf(error, LOAD_ERROR_MAX, "%s; see bivalve-load --help", what);
    return -EINVAL;
}

/* What does not go together. */
static int load_check(const struct load_options *o, bool timed, char *error)
{
    if (!o->url)
        return load_conflict(error, "a URL is missing");
    if (o->requests && timed)
        return load_conflict(error, "--requests and --duration: either says when the end is");
    if (o->requests && (o->rate_from != o->rate_to || o->action == LOAD_FIND_MAX))
        return load_conflict(error, "a changing --rate and --find-max end with a --duration, not "
                                    "after --requests");
    if (o->action == LOAD_FIND_MAX && o->slo_p99_us == 0)
        return load_conflict(error, "--find-max needs --slo-p99, the limit that it searches for");
    if (o->action == LOAD_FIND_MAX && o->rate_from != 0)
        return load_conflict(error, "--find-max chooses the --rate itself");
    if (load_turns_some(&o->turns) &&
        (o->rate_from != o->rate_to || o->action == LOAD_FIND_MAX || o->ramp_us))
        return load_conflict(error,
                             "--turns: a changing --rate, --find-max and --ramp need all the "
                             "time");
    if (load_turns_some(&o->turns) && o->turns.length_us * o->turns.count >= o->timeout_us)
        return load_conflict(error,
                             "--turns: a round of all turns has to be shorter than --timeout");
    if (o->raw_count && (o->method || o->body || o->header_count || o->chunked || o->expect_echo))
        return load_conflict(error, "--raw files are whole requests: --method, --header, --body, "
                                    "--chunked and --expect-echo say nothing of them");
    if (o->expect_echo && (!o->body || o->expect_body))
        return load_conflict(error, "--expect-echo is about a --body, instead of --expect-body");
    if (o->insecure && o->ca_file)
        return load_conflict(error, "--insecure and --cacert: either any certificate will do, or "
                                    "those that the file vouches for");
    if (o->chunked && !o->body)
        return load_conflict(error, "--chunked is about a --body");
    return 0;
}

static void load_defaults(struct load_options *o)
{
    memset(o, 0, sizeof(*o));
    o->backend = BIVALVE_DEFAULT_BACKEND;
    o->processes = 1;
    o->connections = 64;
    o->pipeline = 1;
    o->duration_us = 10 * SECOND_US;
    o->timeout_us = 10 * SECOND_US;
    o->seed = 1;
    o->max_error_rate = -1;
    load_value_statuses("2xx,3xx", o->expect_status);
}

int load_options_parse(int argc, char **argv, struct load_options *o, char *error)
{
    struct option longs[ARRAY_LEN(load_option_table) + 1];
    char letters[2 * ARRAY_LEN(load_option_table) + 2];
    bool timed = false;
    int code;

    load_defaults(o);
    load_getopt(longs, letters);
    optind = 0; /* GNU's: forget what was parsed before */
    opterr = 0;
    while ((code = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        const struct load_option *spec = code == '?' || code == ':' ? NULL : load_option_of(code);
        if (!spec)
            return load_bad_option(error, code, argv);
        if (!load_store(spec, optarg, o))
            return load_bad_value(error, spec, optarg);
        timed |= spec->at == AT(duration_us) && spec->kind == LOAD_OPTION_TIME;
        if (o->action == LOAD_HELP || o->action == LOAD_VERSION)
            return 0;
    }
    if (optind < argc)
        o->url = argv[optind++];
    if (optind < argc) {
        char shown[160];
        log_escape(shown, sizeof(shown), argv[optind], strlen(argv[optind]));
        snprintf(error, LOAD_ERROR_MAX, "\"%s\": one URL is enough; see bivalve-load --help",
                 shown);
        return -EINVAL;
    }
    return load_check(o, timed, error);
}

void load_options_print_help(FILE *out)
{
    fputs("Usage: bivalve-load [OPTION]... URL\n"
          "Load for an HTTP/1.1 server, and what it makes of it.\n\n"
          "URL is http[s]://HOST[:PORT][/PATH] or unix:PATH[:/URI]. TIME is 500us, 20ms, 10s or "
          "2m.\n\n",
          out);
    for (unsigned i = 0; i < ARRAY_LEN(load_option_table); i++) {
        const struct load_option *spec = &load_option_table[i];
        char left[64], letter[8] = "   ";
        if (spec->letter)
            snprintf(letter, sizeof(letter), "-%c,", spec->letter);
        snprintf(left, sizeof(left), "%s --%s%s%s", letter, spec->name, spec->arg ? " " : "",
                 spec->arg ? spec->arg : "");
        fprintf(out, "  %-38s %s\n", left, spec->help);
    }
    fputs("\nExit status: 0 when every answer was right, 1 after errors, 2 when the command line "
          "or the\nenvironment was wrong, 3 when --slo-p99 was missed.\n",
          out);
}
