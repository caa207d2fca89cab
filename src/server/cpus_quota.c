/* SPDX-License-Identifier: MIT */
/*
 * cpus_quota.c - a control group's limit of CPU time.
 *
 * /proc/self/cgroup says in which group the process is, /proc/self/mountinfo where the groups are to
 * be seen, and which of them is the root there: in a container the two may speak of different roots.
 */
#include "config.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpus.h"
#include "util.h"

#define CPUS_DEPTH_MAX 64 /* groups within groups that are looked at */

/* Where groups with CPU quotas are to be seen. */
struct cpus_place {
    bool v2;
    char mount[PATH_MAX];
    char top[PATH_MAX];   /* the group that is the root there */
    char group[PATH_MAX]; /* this process's, as /proc/self/cgroup has it */
};

/* Is `word` one of the words of `list`, which are separated by commas? */
static bool cpus_has_word(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (!strncmp(at, word, len) && (at[len] == '\0' || at[len] == ',' || at[len] == '\n'))
            return true;
    return false;
}

static FILE *cpus_open(const char *root, const char *path)
{
    char name[2 * PATH_MAX];

    if (snprintf(name, sizeof(name), "%s%s", root, path) >= (int)sizeof(name))
        return NULL;
    return fopen(name, "re");
}

/* Fill p->group. proc_pid_cgroup(5): "ID:CONTROLLERS:PATH". */
static bool cpus_find_group(struct cpus_place *p, const char *root)
{
    char line[2 * PATH_MAX];
    FILE *file = cpus_open(root, "/proc/self/cgroup");
    bool found = false;

    while (file && !found && fgets(line, sizeof(line), file)) {
        char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        found = p->v2 ? !strcmp(line, "0:") && strlen(path) < sizeof(p->group)
                      : cpus_has_word(list + 1, "cpu") && strlen(path) < sizeof(p->group);
        if (found)
            memcpy(p->group, path, strlen(path) + 1);
    }
    if (file)
        fclose(file);
    return found;
}

/* Fill p->mount and p->top. proc_pid_mountinfo(5): "ID PARENT DEV TOP MOUNT OPTIONS ... - TYPE SOURCE OPTIONS". */
static bool cpus_find_mount(struct cpus_place *p, const char *root)
{
    char line[4 * PATH_MAX], top[PATH_MAX], mount[PATH_MAX], type[64], options[PATH_MAX];
    FILE *file = cpus_open(root, "/proc/self/mountinfo");
    bool found = false;

    while (file && !found && fgets(line, sizeof(line), file)) {
        const char *rest = strstr(line, " - ");
        if (!rest || sscanf(line, "%*s %*s %*s %4095s %4095s", top, mount) != 2 ||
            sscanf(rest, " - %63s %*s %4095s", type, options) != 2)
            continue;
        found = p->v2 ? !strcmp(type, "cgroup2")
                      : !strcmp(type, "cgroup") && cpus_has_word(options, "cpu");
    }
    if (file)
        fclose(file);
    if (found) {
        memcpy(p->mount, mount, sizeof(mount));
        memcpy(p->top, top, sizeof(top));
    }
    return found;
}

/* One number of a file in a group's directory; -1: "max", or there is no such file. */
static long long cpus_read(const char *root, const char *dir, const char *name, long long *second)
{
    char path[3 * PATH_MAX], text[64] = "";
    long long value = -1;

    if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
        return -1;
    FILE *file = cpus_open(root, path);
    if (!file)
        return -1;
    if (!fgets(text, sizeof(text), file) || sscanf(text, "%lld %lld", &value, second) < 1)
        value = -1;
    fclose(file);
    return value;
}

/* The quota of the group in `dir`, in thousandths of a CPU; 0: none. */
static unsigned long cpus_group_quota(const struct cpus_place *p, const char *root, const char *dir)
{
    long long period = 100000, none = 0;
    long long quota = p->v2 ? cpus_read(root, dir, "cpu.max", &period)
                            : cpus_read(root, dir, "cpu.cfs_quota_us", &none);

    if (!p->v2)
        period = cpus_read(root, dir, "cpu.cfs_period_us", &none);
    if (quota <= 0 || period <= 0 || quota > LONG_MAX / CPUS_MILLI)
        return 0;
    return MAX((unsigned long)(quota * CPUS_MILLI / period), 1);
}

static unsigned long cpus_least(unsigned long a, unsigned long b)
{
    return !a || (b && b < a) ? b : a;
}

/* The least from the process's group up to the root that is to be seen. */
static unsigned long cpus_place_quota(const struct cpus_place *p, const char *root)
{
    char dir[2 * PATH_MAX];
    size_t top = strlen(p->top), mount = strlen(p->mount);
    const char *below = p->group;
    unsigned long least = 0;

    if (top > 1 && !strncmp(p->group, p->top, top) && (below[top] == '/' || !below[top]))
        below += top;
    else if (top > 1) /* a root of another name: the group is the root */
        below = "";
    if (strstr(below, "/..")) /* outside of what is to be seen */
        below = "";
    snprintf(dir, sizeof(dir), "%s%s", p->mount, strcmp(below, "/") ? below : "");
    for (unsigned depth = 0; depth < CPUS_DEPTH_MAX; depth++) {
        least = cpus_least(least, cpus_group_quota(p, root, dir));
        char *slash = strrchr(dir, '/');
        if (strlen(dir) <= mount || !slash)
            break;
        *slash = '\0';
    }
    return least;
}

unsigned long cpus_quota(const char *root)
{
    unsigned long least = 0;

    for (unsigned v2 = 0; v2 < 2; v2++) {
        struct cpus_place place = {.v2 = v2};
        if (cpus_find_mount(&place, root) && cpus_find_group(&place, root))
            least = cpus_least(least, cpus_place_quota(&place, root));
    }
    return least;
}
