/* SPDX-License-Identifier: MIT */
/*
 * options_value.c - see options_value.h.
 */
#include "config.h"

#include "options_value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "access_log.h"
#include "log.h"
#include "option_table.h"
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

/* A number, perhaps with a unit. */
static int options_set_number(const struct option_spec *spec, const char *value, void *at,
                              char *error)
{
    bool units = spec->kind == OPTION_SIZE32 || spec->kind == OPTION_SIZE64;
    uint64_t n = 0;

    if (spec->kind == OPTION_SECONDS)
        return options_seconds(value, at) ? 0 : options_error_range(error, spec, value);
    bool automatic = spec->kind == OPTION_WORKERS && !strcmp(value, "auto");
    if (!automatic && !options_number(value, spec->min, spec->max, units, &n))
        return options_error_range(error, spec, value);
    if (spec->kind == OPTION_WORKERS)
        *(int *)at = automatic ? OPTIONS_AUTO : (int)n;
    else if (spec->kind == OPTION_SIZE64)
        *(uint64_t *)at = n;
    else
        *(uint32_t *)at = (uint32_t)n;
    return 0;
}

static int options_set_sandbox(const struct option_spec *spec, enum options_sandbox *sandbox,
                               char *error)
{
    if (spec->min == OPTIONS_SANDBOX_ON && !sandbox_available()) {
        snprintf(error, OPTIONS_ERROR_MAX,
                 "option --seccomp: this bivalve was built without libseccomp; leave the "
                 "option out");
        return -EINVAL;
    }
    *sandbox = (enum options_sandbox)spec->min;
    return 0;
}

int options_set(struct options *o, const struct option_spec *spec, const char *value, char *error)
{
    void *at = (char *)o + spec->at;
    char why[LISTENER_ERROR_MAX];

    switch (spec->kind) {
    case OPTION_SECONDS:
    case OPTION_SIZE32:
    case OPTION_SIZE64:
    case OPTION_COUNT:
    case OPTION_WORKERS: return options_set_number(spec, value, at, error);
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
    case OPTION_SANDBOX: return options_set_sandbox(spec, at, error);
    case OPTION_ACTION: /* of several the last of the enumeration: what prints and exits */
        o->action = MAX(o->action, (enum options_action)spec->min);
        return 0;
    }
    return -EINVAL;
}
