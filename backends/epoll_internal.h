/* SPDX-License-Identifier: MIT */
/*
 * epoll_internal.h - what epoll.c (bytes and events) and epoll_open.c (the backend as a whole) share.
 */
#ifndef BIVALVE_EPOLL_INTERNAL_H
#define BIVALVE_EPOLL_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "backend.h"
#include "batch.h"
#include "list.h"

/*
 * Events of one epoll_wait. With 64 a busy worker makes a system call for 64 requests; more showed no
 * difference. But those that wait to be fetched have one turn where connections that go on have
 * several: with 128 and 1800 clients that ask for much, a new one waited twice as long.
 */
#define EPOLL_EVENTS 1024

#define EPOLL_WAKE (UINT64_C(1) << 62) /* event data of wake_fd */

struct epoll_listener {
    int fd;
    uint32_t burst;
    bool on;
};

struct epoll_backend {
    struct backend base;
    int epoll_fd;
    int wake_fd;
    int32_t ready_head, ready_tail; /* fds, -1: none */
    uint16_t round;                 /* 0 or EPOLL_ROUND, in turn, one an iteration */
    bool no_pwait2;                 /* this kernel has only milliseconds */
    struct batch batch;
    struct epoll_listener listener[BACKEND_LISTENERS_MAX];
    struct epoll_event events[EPOLL_EVENTS];
    char *large;    /* one receive of READINESS_LARGE_BYTES; NULL: none was needed lately */
    char scratch[]; /* one receive */
};

static inline struct epoll_backend *epoll_of(struct backend *be)
{
    return (struct epoll_backend *)be;
}

/* ---- epoll.c ---- */

/* Has this kernel the wait of microseconds? It is asked for none. */
bool epoll_has_pwait2(struct epoll_backend *b);

/* ---- epoll_open.c: members of the table, as backend.h has them ---- */

int epoll_check_variant(const char *variant, char *error);
void epoll_version(char *out, size_t out_size);
void epoll_probe(const char *variant, struct backend_probe *out);
int epoll_open(const struct backend_config *cfg, struct backend **be, char *error);
void epoll_close(struct backend *be);
void epoll_describe(struct backend *be, char *out, size_t out_size);

#endif
