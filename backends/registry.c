/* SPDX-License-Identifier: MIT */
/*
 * registry.c - see registry.h. The only place that knows which backends there are.
 */
#include "config.h"

#include "registry.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "list.h"
#include "sys.h"
#include "util.h"

#define REGISTRY_PROBE_S  10   /* a probe that takes longer hangs */
#define REGISTRY_PRIV_MAX 4096 /* a page: slot.c gives back whole ones */

static_assert(sizeof(struct backend_probe) <= PIPE_BUF, "a probe's result is one atomic write");

/* Best first: the order of `auto`. */
static const struct backend_ops *const registry_backends[] = {
#ifdef HAVE_LIBURING
    &uring_backend_ops,
#endif
#ifdef HAVE_EPOLL
    &epoll_backend_ops,
#endif
#ifdef HAVE_LIBEV
    &libev_backend_ops,
#endif
    NULL,
};

/* Every backend that can be compiled in, to tell a missing one from a misspelt one. */
static const char *const registry_known[] = {"io_uring", "epoll", "libev"};

/* A member that is missing, or has a value that the core cannot work with; NULL: all is well. */
static const char *registry_flaw(const struct backend_ops *ops)
{
    size_t counters = 0;

    if (ops->contract != BACKEND_VERSION)
        return "was written for another version of backend.h";
    if (!ops->name || !ops->help || !ops->counters || !ops->syscalls)
        return "lacks its name, help, counters or system calls";
    if (!ops->check_variant || !ops->version || !ops->probe || !ops->open || !ops->close ||
        !ops->describe || !ops->listen_ctl || !ops->connect || !ops->attach || !ops->recv_ctl ||
        !ops->send || !ops->detach || !ops->wait || !ops->wake)
        return "lacks a member"; /* recv_expect, send_now and trim are optional */
    while (ops->counters[counters])
        if (strlen(ops->counters[counters++]) > STATS_NAME_MAX)
            return "has a counter with too long a name";
    if (counters > STATS_BACKEND_MAX)
        return "has too many counters";
    if (ops->slot_priv_size % 16 || ops->slot_priv_size > REGISTRY_PRIV_MAX)
        return "has a slot_priv_size that is no multiple of 16, or too large";
    return NULL;
}

int registry_check_ops(const struct backend_ops *const *list, char *error)
{
    for (const struct backend_ops *const *b = list; *b; b++) {
        const char *flaw = registry_flaw(*b);
        for (const struct backend_ops *const *other = list; !flaw && other != b; other++)
            if (strcmp((*other)->name, (*b)->name) == 0)
                flaw = "has the name of another";
        if (flaw) {
            snprintf(error, BACKEND_TEXT_MAX, "the backend %s %s (a mistake of its author's)",
                     (*b)->name ? (*b)->name : "without a name", flaw);
            return -EINVAL;
        }
    }
    return 0;
}

int registry_check(char *error)
{
    return registry_check_ops(registry_backends, error);
}

const struct backend_ops *const *registry_list(void)
{
    return registry_backends;
}

const struct backend_ops *registry_find(const char *name, size_t name_len)
{
    for (const struct backend_ops *const *e = registry_backends; *e; e++)
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

static void registry_say_backends(char *out, size_t out_size)
{
    registry_say(out, out_size, "compiled in:");
    for (const struct backend_ops *const *e = registry_backends; *e; e++)
        registry_say(out, out_size, " %s", (*e)->name);
}

static void registry_say_refusal(char *out, size_t out_size, const char *name,
                                 const struct backend_probe *probe)
{
    registry_say(out, out_size, "%s does not run here: %s", name, probe->reason);
    if (probe->hint[0])
        registry_say(out, out_size, " (%s)", probe->hint);
}

/* How a process that was probing ended without an answer. */
static void registry_explain_death(struct backend_probe *probe, int status)
{
    int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

    if (number == SIGSYS) {
        registry_say(probe->reason, sizeof(probe->reason), "trying it was answered with SIGSYS");
        registry_say(probe->hint, sizeof(probe->hint),
                     "a seccomp filter, of a container or a service manager, kills who uses it");
    } else if (number == SIGALRM) {
        registry_say(probe->reason, sizeof(probe->reason), "trying it took more than %d s",
                     REGISTRY_PROBE_S);
    } else if (number) {
        registry_say(probe->reason, sizeof(probe->reason), "trying it ended with signal %d (%s)",
                     number, strsignal(number));
    } else {
        registry_say(probe->reason, sizeof(probe->reason), "trying it ended with status %d",
                     WEXITSTATUS(status));
    }
}

/* In the child: killed rather than hanging, and told by a write that fits a pipe. */
static void registry_probe_child(const struct backend_ops *ops, const char *variant, int fd)
{
    struct backend_probe probe = {0};
    sigset_t alarm_alone;

    signal(SIGALRM, SIG_DFL);
    sigemptyset(&alarm_alone);
    sigaddset(&alarm_alone, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &alarm_alone, NULL);
    alarm(REGISTRY_PROBE_S);
    ops->probe(variant, &probe);
    _exit(write(fd, &probe, sizeof(probe)) == (ssize_t)sizeof(probe) ? 0 : 1);
}

/*
 * Probe in a process of its own: what goes wrong there (a filter that kills, a hang, something left
 * behind) ends there. SIGCHLD must not be ignored.
 */
static void registry_probe(const struct backend_ops *ops, const char *variant,
                           struct backend_probe *probe)
{
    int fds[2], status = 0;
    ssize_t n;

    memset(probe, 0, sizeof(*probe));
    pid_t pid = sys_pipe(fds) < 0 ? -2 : fork();
    if (pid == 0)
        registry_probe_child(ops, variant, fds[1]);
    if (pid < 0) {
        registry_say(probe->reason, sizeof(probe->reason), "no process to try it in: %s",
                     strerror(errno));
        registry_say(probe->hint, sizeof(probe->hint), "raise the limit on %s",
                     pid == -2 ? "open files" : "processes");
        if (pid == -1) {
            close(fds[0]);
            close(fds[1]);
        }
        return;
    }
    close(fds[1]);
    while ((n = read(fds[0], probe, sizeof(*probe))) < 0 && errno == EINTR)
        continue;
    close(fds[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (n == (ssize_t)sizeof(*probe))
        return;
    memset(probe, 0, sizeof(*probe));
    registry_explain_death(probe, status);
}

static int registry_choose_auto(struct registry_choice *choice)
{
    struct backend_probe probe;
    char refused[sizeof(choice->why)] = "";

    choice->automatic = true;
    for (const struct backend_ops *const *e = registry_backends; *e; e++) {
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
    registry_say(choice->why, sizeof(choice->why), "no backend runs here: %s", refused);
    return -ENOTSUP;
}

static int registry_unknown(const char *name, size_t name_len, struct registry_choice *choice)
{
    const char *what = "is no backend";

    for (size_t i = 0; i < ARRAY_LEN(registry_known); i++)
        if (strlen(registry_known[i]) == name_len && memcmp(registry_known[i], name, name_len) == 0)
            what = "was left out of this build";
    registry_say(choice->why, sizeof(choice->why), "%.*s %s; ", (int)MIN(name_len, (size_t)64),
                 name, what);
    registry_say_backends(choice->why, sizeof(choice->why));
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

    for (const struct backend_ops *const *e = registry_backends; *e; e++) {
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

    for (const struct backend_ops *const *e = registry_backends; *e; e++) {
        (*e)->version(version, sizeof(version));
        printf("%s: %s\n", (*e)->name, version);
    }
}
