/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "registry.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engines.h"
#include "util.h"

static const struct backend_ops *const registry[] = {
#ifdef HAVE_LIBURING
    &uring_backend_ops,
#endif
#ifdef HAVE_LIBEV
    &libev_backend_ops,
#endif
    NULL,
};

const struct backend_ops *const *registry_list(void)
{
    return registry;
}

const struct backend_ops *registry_find(const char *name, size_t name_len)
{
    for (const struct backend_ops *const *e = registry; *e; e++)
        if (strlen((*e)->name) == name_len && !memcmp((*e)->name, name, name_len))
            return *e;
    return NULL;
}

/* "libev, io_uring" into out. */
static void registry_names(char *out, size_t out_size)
{
    size_t n = 0;

    out[0] = '\0';
    for (const struct backend_ops *const *e = registry; *e && n < out_size; e++)
        n += (size_t)snprintf(out + n, out_size - n, "%s%s", n ? ", " : "", (*e)->name);
}

static int registry_choose_auto(struct registry_choice *choice)
{
    size_t n = 0, size = sizeof(choice->why);
    struct backend_probe probe;

    for (const struct backend_ops *const *e = registry; *e; e++) {
        (*e)->probe(NULL, &probe);
        if (probe.usable) {
            choice->ops = *e;
            snprintf(choice->why + n, size - n, "%susing %s", n ? "; " : "", (*e)->name);
            return 0;
        }
        n += (size_t)snprintf(choice->why + n, size - n, "%s%s does not run here: %s%s%s", n ? "; " : "", (*e)->name,
                              probe.reason, probe.hint[0] ? ": " : "", probe.hint);
        n = MIN(n, size - 1);
    }
    return -ENOTSUP;
}

int registry_choose(const char *spec, struct registry_choice *choice)
{
    const char *colon = strchr(spec, ':');
    size_t name_len = colon ? (size_t)(colon - spec) : strlen(spec);
    struct backend_probe probe;
    char names[128];

    memset(choice, 0, sizeof(*choice));
    if (!strcmp(spec, "auto")) {
        choice->automatic = true;
        return registry_choose_auto(choice);
    }
    choice->variant = colon ? colon + 1 : NULL;
    choice->ops = registry_find(spec, name_len);
    if (!choice->ops) {
        registry_names(names, sizeof(names));
        snprintf(choice->why, sizeof(choice->why), "no engine \"%s\" is compiled in; there are: %s", spec, names);
        return -EINVAL;
    }
    choice->ops->probe(choice->variant, &probe);
    if (!probe.usable) {
        snprintf(choice->why, sizeof(choice->why), "%s does not run here: %s%s%s", choice->ops->name, probe.reason,
                 probe.hint[0] ? ": " : "", probe.hint);
        return -ENOTSUP;
    }
    snprintf(choice->why, sizeof(choice->why), "using %s, as asked", choice->ops->name);
    return 0;
}

const struct backend_ops *registry_fallback(const struct backend_ops *failed)
{
    const struct backend_ops *const *e = registry;
    struct backend_probe probe;

    while (*e && *e != failed)
        e++;
    for (e += *e != NULL; *e; e++) {
        (*e)->probe(NULL, &probe);
        if (probe.usable)
            return *e;
    }
    return NULL;
}

int registry_print_probe(void)
{
    struct backend_probe probe;
    int status = 1;

    for (const struct backend_ops *const *e = registry; *e; e++) {
        (*e)->probe(NULL, &probe);
        printf("%s: %s\n", (*e)->name, probe.usable ? "runs here" : "does not run here");
        if (probe.features[0])
            printf("  features: %s\n", probe.features);
        if (!probe.usable)
            printf("  reason: %s\n", probe.reason);
        if (probe.hint[0])
            printf("  hint: %s\n", probe.hint);
        if (probe.usable)
            status = 0;
    }
    return status;
}

void registry_print_versions(void)
{
    char version[128];

    for (const struct backend_ops *const *e = registry; *e; e++) {
        (*e)->version(version, sizeof(version));
        printf("engine %s (%s)\n", (*e)->name, version);
    }
}
