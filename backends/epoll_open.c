/* SPDX-License-Identifier: MIT */
/*
 * epoll_open.c - the epoll backend as a whole: its variants, what this kernel has of it, and how it is
 * opened and closed.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "epoll_internal.h"

/* The window that `variant` asks for; 0: it is no variant. */
static uint32_t epoll_batch(const char *variant)
{
    return strncmp(variant, "batch=", 6) ? 0 : batch_parse(variant + 6, strlen(variant + 6));
}

int epoll_check_variant(const char *variant, char *error)
{
    if (epoll_batch(variant))
        return 0;
    snprintf(error, BACKEND_TEXT_MAX,
             "epoll has no variant \"%.60s\"; there is batch=TIME, " BATCH_WANT, variant);
    return -EINVAL;
}

void epoll_version(char *out, size_t out_size)
{
    struct utsname kernel;

    snprintf(out, out_size, "epoll of Linux %s", uname(&kernel) < 0 ? "?" : kernel.release);
}

/* The fds: epoll's and the one that wakes. 0, or -errno with `error`, and nothing left behind. */
static int epoll_open_fds(struct epoll_backend *b, char *error)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = EPOLL_WAKE};
    const char *call = "epoll_create1";
    int err = 0;

    b->wake_fd = -1;
    b->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (b->epoll_fd >= 0) {
        call = "eventfd";
        b->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    }
    if (b->wake_fd >= 0) {
        call = "epoll_ctl";
        if (epoll_ctl(b->epoll_fd, EPOLL_CTL_ADD, b->wake_fd, &event) == 0)
            return 0;
    }
    err = errno;
    snprintf(error, BACKEND_TEXT_MAX, "%s: %s%s", call, strerror(err),
             err == EMFILE   ? "; raise the limit of open files (ulimit -n, LimitNOFILE=)"
             : err == ENOSPC ? "; raise the sysctl fs.epoll.max_user_watches"
                             : "");
    if (b->wake_fd >= 0)
        close(b->wake_fd);
    if (b->epoll_fd >= 0)
        close(b->epoll_fd);
    return -err;
}

static void epoll_close_fds(struct epoll_backend *b)
{
    close(b->wake_fd);
    close(b->epoll_fd);
}

void epoll_probe(const char *variant, struct backend_probe *out)
{
    struct epoll_backend b = {.base = {.ops = &epoll_backend_ops}};

    memset(out, 0, sizeof(*out));
    if ((variant && epoll_check_variant(variant, out->reason) < 0) ||
        epoll_open_fds(&b, out->reason) < 0)
        return;
    snprintf(out->features, sizeof(out->features), "edge_triggered %sepoll_pwait2",
             epoll_has_pwait2(&b) ? "" : "no:");
    epoll_close_fds(&b);
    out->usable = true;
}

int epoll_open(const struct backend_config *cfg, struct backend **be, char *error)
{
    struct epoll_backend *b = calloc(1, sizeof(*b) + cfg->recv_buffer_bytes);

    if (!b) {
        snprintf(error, BACKEND_TEXT_MAX, "no memory for the epoll backend");
        return -ENOMEM;
    }
    b->base.ops = &epoll_backend_ops;
    b->base.cfg = *cfg;
    b->ready_head = b->ready_tail = -1;
    int rc = cfg->variant ? epoll_check_variant(cfg->variant, error) : 0;
    if (rc == 0)
        rc = epoll_open_fds(b, error);
    if (rc < 0) {
        free(b);
        return rc;
    }
    if (cfg->variant) {
        b->batch.us = epoll_batch(cfg->variant);
        prctl(PR_SET_TIMERSLACK, 1000UL); /* otherwise a window takes 50 us more */
    }
    *be = &b->base;
    return 0;
}

void epoll_close(struct backend *be)
{
    epoll_close_fds(epoll_of(be));
    free(epoll_of(be)->large);
    free(be);
}

void epoll_describe(struct backend *be, char *out, size_t out_size)
{
    int n = snprintf(out, out_size, "edge-triggered, %d events a wait", EPOLL_EVENTS);

    if (epoll_of(be)->batch.us && n > 0 && (size_t)n < out_size)
        snprintf(out + n, out_size - (size_t)n, ", in windows of %u us", epoll_of(be)->batch.us);
}
