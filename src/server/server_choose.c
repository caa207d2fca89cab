/* SPDX-License-Identifier: MIT */
/*
 * server_choose.c - see server_choose.h.
 */
#include "config.h"

#include "server_choose.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend.h"
#include "log.h"
#include "sys.h"

struct server_verdict {
    int rc;
    char name[64];
    bool automatic;
    char why[2 * BACKEND_TEXT_MAX];
};

static_assert(sizeof(struct server_verdict) <= PIPE_BUF, "a verdict is one atomic write");

/* In the child: under the workers' limits and privileges, but nothing that it does outlives it. */
static void server_choose_child(const struct privdrop *priv, const char *spec, int fd)
{
    struct server_verdict v = {0};
    struct registry_choice choice;

    v.rc = privdrop_apply(priv, v.why);
    if (v.rc == 0) {
        v.rc = registry_choose(spec, &choice);
        v.automatic = choice.automatic;
        if (choice.ops)
            snprintf(v.name, sizeof(v.name), "%s", choice.ops->name);
        memcpy(v.why, choice.why, sizeof(v.why));
    }
    _exit(write(fd, &v, sizeof(v)) == (ssize_t)sizeof(v) ? 0 : 1);
}

/* Ask a throw-away child which backend it is to be. */
static void server_ask(const struct privdrop *priv, const char *spec, struct server_verdict *v)
{
    int fds[2];
    pid_t pid = -1;
    ssize_t n = 0;

    memset(v, 0, sizeof(*v));
    if (sys_pipe(fds) == 0) {
        pid = fork();
        if (pid == 0)
            server_choose_child(priv, spec, fds[1]);
        close(fds[1]);
        while (pid > 0 && (n = read(fds[0], v, sizeof(*v))) < 0 && errno == EINTR)
            continue;
        close(fds[0]);
    }
    int err = errno;
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (n == (ssize_t)sizeof(*v))
        return;
    memset(v, 0, sizeof(*v));
    v->rc = -ENOTSUP;
    snprintf(v->why, sizeof(v->why), "the process that chooses a backend %s: %s",
             pid < 0 ? "cannot be started" : "died", pid < 0 ? strerror(err) : "out of memory?");
}

int server_choose_backend(const char *spec, const struct privdrop *priv,
                          struct registry_choice *choice)
{
    const char *colon = strchr(spec, ':');
    struct server_verdict v;

    server_ask(priv, spec, &v);
    choice->ops = v.name[0] ? registry_find(v.name, strlen(v.name)) : NULL;
    choice->variant = colon ? colon + 1 : NULL;
    choice->automatic = v.automatic;
    if (v.rc == 0 && choice->ops) {
        if (v.automatic)
            log_notice("--backend %s: %s", spec, v.why);
        return 0;
    }
    log_error("--backend %s: %s%s", spec, v.why,
              strcmp(spec, "auto") ? "; --backend auto takes a backend that runs" : "");
    return v.rc == -EINVAL ? 2 : 1;
}
