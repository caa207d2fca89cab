/* SPDX-License-Identifier: MIT */
/*
 * registry.c - see registry.h. The only place that knows which engines there are.
 */
#include "config.h"

#include "registry.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engines.h"
#include "util.h"

/* Best first: the order of `auto`. */
static const struct backend_ops *const registry_engines[] = {
#ifdef HAVE_LIBURING
    &uring_backend_ops,
#endif
#ifdef HAVE_LIBEV
    &libev_backend_ops,
#endif
    NULL,
};

/* Every engine that can be compiled in, to tell a missing one from a misspelt one. */
static const char *const registry_known[] = {"io_uring", "libev"};

const struct backend_ops *const *registry_list(void)
{
    return registry_engines;
}

const struct backend_ops *registry_find(const char *name, size_t name_len)
{
    for (const struct backend_ops *const *e = registry_engines; *e; e++)
        if (strlen((*e)->name) == name_len && memcmp((*e)->name, name, name_len) == 0)
            return *e;
    return NULL;
}

/* Append to the text in out; what does not fit is cut. */
static void registry_say(char *out, size_t out_size, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void registry_say(char *out, size_t out_size, const char *fmt, ...)
{
    size_t len = strlen(out);
    va_list args;

    va_start(args, fmt);
    vsnprintf(out + len, out_size - len, fmt, args);
    va_end(args);
}

static void registry_say_engines(char *out, size_t out_size)
{
    registry_say(out, out_size, "compiled in:");
    for (const struct backend_ops *const *e = registry_engines; *e; e++)
        registry_say(out, out_size, " %s", (*e)->name);
}

static void registry_say_refusal(char *out, size_t out_size, const char *name,
                                 const struct backend_probe *probe)
{
    registry_say(out, out_size, "%s does not run here: %s", name, probe->reason);
    if (probe->hint[0])
        registry_say(out, out_size, " (%s)", probe->hint);
}

static void registry_probe(const struct backend_ops *ops, const char *variant,
                           struct backend_probe *probe)
{
    memset(probe, 0, sizeof(*probe));
    ops->probe(variant, probe);
}

static int registry_choose_auto(struct registry_choice *choice)
{
    struct backend_probe probe;
    char refused[sizeof(choice->why)] = "";

    choice->automatic = true;
    for (const struct backend_ops *const *e = registry_engines; *e; e++) {
        registry_probe(*e, NULL, &probe);
        if (probe.usable) {
            choice->ops = *e;
            registry_say(choice->why, sizeof(choice->why), "auto chose %s", (*e)->name);
            if (refused[0])
                registry_say(choice->why, sizeof(choice->why), ": %s", refused);
            return 0;
        }
        if (refused[0])
            registry_say(refused, sizeof(refused), "; ");
        registry_say_refusal(refused, sizeof(refused), (*e)->name, &probe);
    }
    registry_say(choice->why, sizeof(choice->why), "no engine runs here: %s", refused);
    return -ENOTSUP;
}

static int registry_unknown(const char *name, size_t name_len, struct registry_choice *choice)
{
    const char *what = "is no engine";

    for (size_t i = 0; i < ARRAY_LEN(registry_known); i++)
        if (strlen(registry_known[i]) == name_len && memcmp(registry_known[i], name, name_len) == 0)
            what = "was left out of this build";
    registry_say(choice->why, sizeof(choice->why), "%.*s %s; ", (int)MIN(name_len, (size_t)64),
                 name, what);
    registry_say_engines(choice->why, sizeof(choice->why));
    return -EINVAL;
}

int registry_choose(const char *spec, struct registry_choice *choice)
{
    struct backend_probe probe;
    size_t name_len = strcspn(spec, ":");

    memset(choice, 0, sizeof(*choice));
    if (strcmp(spec, "auto") == 0)
        return registry_choose_auto(choice);
    const struct backend_ops *ops = registry_find(spec, name_len);
    if (!ops)
        return registry_unknown(spec, name_len, choice);
    choice->variant = spec[name_len] ? spec + name_len + 1 : NULL;
    registry_probe(ops, choice->variant, &probe);
    if (!probe.usable) {
        registry_say_refusal(choice->why, sizeof(choice->why), spec, &probe);
        return -ENOTSUP;
    }
    choice->ops = ops;
    registry_say(choice->why, sizeof(choice->why), "%s as asked for", spec);
    return 0;
}

const struct backend_ops *registry_fallback(const struct backend_ops *failed)
{
    struct backend_probe probe;
    bool behind = false;

    for (const struct backend_ops *const *e = registry_engines; *e; e++) {
        if (behind) {
            registry_probe(*e, NULL, &probe);
            if (probe.usable)
                return *e;
        }
        behind |= *e == failed;
    }
    return NULL;
}

int registry_print_probe(void)
{
    struct backend_probe probe;
    char version[BACKEND_TEXT_MAX];
    int status = 1;

    for (size_t i = 0; i < ARRAY_LEN(registry_known); i++) {
        const struct backend_ops *ops = registry_find(registry_known[i], strlen(registry_known[i]));

        if (!ops) {
            printf("%s: not compiled in\n", registry_known[i]);
            continue;
        }
        registry_probe(ops, NULL, &probe);
        ops->version(version, sizeof(version));
        printf("%s: %s; %s\n", ops->name, probe.usable ? "runs here" : "does not run here",
               version);
        if (probe.features[0])
            printf("    features: %s\n", probe.features);
        if (!probe.usable)
            printf("    reason: %s\n", probe.reason);
        if (probe.hint[0])
            printf("    what to do: %s\n", probe.hint);
        if (probe.usable)
            status = 0;
    }
    return status;
}

void registry_print_versions(void)
{
    char version[BACKEND_TEXT_MAX];

    for (const struct backend_ops *const *e = registry_engines; *e; e++) {
        (*e)->version(version, sizeof(version));
        printf("%s: %s\n", (*e)->name, version);
    }
}
