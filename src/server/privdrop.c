/* SPDX-License-Identifier: MIT */
/*
 * privdrop.c - from root to nobody in particular. setresuid(2), capabilities(7), prctl(2).
 */
#include "config.h"

#include "privdrop.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef HAVE_LINUX_CAPABILITY_H
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include "log.h"
#include "sys.h"

/*
 * A user or group number: digits only, and not -1, which means "leave it". False when `text` is no
 * number.
 */
static bool privdrop_number(const char *text, id_t *id)
{
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    *id = (id_t)n;
    return !errno && !*end && n < (id_t)-1;
}

static int privdrop_find_user(struct privdrop *p, const char *user, bool group_given, char *error)
{
    char shown[128];
    struct passwd *pw;

    errno = 0;
    pw = getpwnam(user);
    if (!pw && privdrop_number(user, &p->uid)) {
        pw = getpwuid(p->uid);
        if (!pw && group_given)
            return 0; /* a number alone will do: there need be no such user */
    }
    if (!pw) {
        log_escape(shown, sizeof(shown), user, strlen(user));
        snprintf(error, PRIVDROP_ERROR_MAX,
                 "there is no user \"%s\"; give --user one that \"getent passwd\" shows, or a "
                 "number together with --group",
                 shown);
        return -ENOENT;
    }
    p->uid = pw->pw_uid;
    p->gid = pw->pw_gid;
    if (strlen(pw->pw_name) < sizeof(p->user))
        memcpy(p->user, pw->pw_name, strlen(pw->pw_name) + 1);
    return 0;
}

static int privdrop_find_group(struct privdrop *p, const char *group, char *error)
{
    char shown[128];
    struct group *gr = getgrnam(group);

    if (gr) {
        p->gid = gr->gr_gid;
    } else if (!privdrop_number(group, &p->gid)) {
        log_escape(shown, sizeof(shown), group, strlen(group));
        snprintf(
            error, PRIVDROP_ERROR_MAX,
            "there is no group \"%s\"; give --group one that \"getent group\" shows, or a number",
            shown);
        return -ENOENT;
    }
    return 0;
}

int privdrop_resolve(struct privdrop *p, const char *user, const char *group, bool allow_root,
                     char *error)
{
    bool root = geteuid() == 0 || getuid() == 0;
    int rc = 0;

    memset(p, 0, sizeof(*p));
    p->uid = geteuid();
    p->gid = getegid();
    if (user)
        rc = privdrop_find_user(p, user, group != NULL, error);
    if (rc == 0 && group)
        rc = privdrop_find_group(p, group, error);
    if (rc < 0)
        return rc;
    if (root && p->uid == 0 && !allow_root) {
        snprintf(error, PRIVDROP_ERROR_MAX,
                 "refusing to serve as root: name an ordinary user with --user (root is given up "
                 "once the listeners are open), or insist with --allow-root");
        return -EPERM;
    }
    if (!root && (p->uid != geteuid() || p->gid != getegid())) {
        snprintf(error, PRIVDROP_ERROR_MAX,
                 "only root can become another user or group: leave --user and --group out, or "
                 "start as root");
        return -EPERM;
    }
    p->change = root && (user || group);
    return 0;
}

static int privdrop_failed(char *error, const char *what)
{
    int err = errno ? errno : EPERM;

    snprintf(error, PRIVDROP_ERROR_MAX,
             "cannot give up privileges: %s: %s (does the container or unit leave CAP_SETUID and "
             "CAP_SETGID?)",
             what, strerror(err));
    return -err;
}

static int privdrop_change(const struct privdrop *p, char *error)
{
    if (p->user[0] ? initgroups(p->user, p->gid) : setgroups(0, NULL))
        return privdrop_failed(error, "setgroups");
    if (setresgid(p->gid, p->gid, p->gid) < 0)
        return privdrop_failed(error, "setresgid");
    if (setresuid(p->uid, p->uid, p->uid) < 0)
        return privdrop_failed(error, "setresuid");
    errno = 0;
    if (p->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0))
        return privdrop_failed(error, "root could still be had back");
    return 0;
}

#ifdef HAVE_LINUX_CAPABILITY_H

/*
 * Capabilities that an ordinary user was given to bind a port (by systemd, by the file): they have
 * done their duty.
 */
static void privdrop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3], none[_LINUX_CAPABILITY_U32S_3];

    memset(have, 0xff, sizeof(have));
    memset(none, 0, sizeof(none));
    syscall(SYS_capget, &head, have);
    if (!memcmp(have, none, sizeof(have)))
        return;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capset, &head, none) < 0)
        log_warn("cannot give up capabilities: %s (does a filter forbid capset?)", strerror(errno));
}

#else

static void privdrop_capabilities(void)
{
    /* there are none */
}

#endif

int privdrop_apply(const struct privdrop *p, char *error)
{
    bool root = geteuid() == 0 || getuid() == 0;

    if (p->change) {
        int rc = privdrop_change(p, error);
        if (rc < 0)
            return rc;
    }
    if (sys_no_new_privileges() < 0)
        return privdrop_failed(error, "PR_SET_NO_NEW_PRIVS");
    if (geteuid() != 0)
        privdrop_capabilities();
    /*
     * No core dumps. Who insists on root keeps /proc/PID readable, for measuring in containers
     * without CAP_SYS_PTRACE.
     */
    const struct rlimit no_core = {0, 0};
    if (root && setrlimit(RLIMIT_CORE, &no_core) < 0)
        return privdrop_failed(error, "RLIMIT_CORE");
    if (p->change && sys_not_dumpable() < 0)
        return privdrop_failed(error, "PR_SET_DUMPABLE");
    return 0;
}
