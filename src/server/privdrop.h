/* SPDX-License-Identifier: MIT */
/*
 * privdrop.h - become an ordinary user for good, and give up what a server has no use for.
 */
#ifndef BIVALVE_PRIVDROP_H
#define BIVALVE_PRIVDROP_H

#include <stdbool.h>
#include <sys/types.h>

#define PRIVDROP_ERROR_MAX 512

struct privdrop {
    bool change; /* uid and gid are to be changed */
    uid_t uid;
    gid_t gid;
    char user[64]; /* name for initgroups(3); empty: no supplementary groups */
};

/*
 * Find out what --user and --group (names or numbers; NULL: not given) mean for this process, and
 * whether it may serve at all: as root only with --user or `allow_root`. 0, or -errno with one line
 * in `error` (PRIVDROP_ERROR_MAX bytes).
 */
int privdrop_resolve(struct privdrop *p, const char *user, const char *group, bool allow_root,
                     char *error);

/*
 * Become that user: groups, gid, uid, real, effective and saved; checked that there is no way back.
 * Then no new privileges (execve(2) grants none), no capabilities unless still root, and, when
 * started as root, no core dumps (they would hold request data). Children inherit all of it. 0, or
 * -errno with `error`.
 */
int privdrop_apply(const struct privdrop *p, char *error);

#endif
