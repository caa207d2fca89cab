/* SPDX-License-Identifier: MIT */
/*
 * status.c - see status.h.
 */
#include "config.h"

#include "status.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "sys.h"
#include "util.h"

#define STATUS_TIMEOUT_S  5
#define STATUS_ANSWER_MAX (16u << 20) /* 1024 workers are 3 MiB */
#define STATUS_TEXT_MAX   2048

/* One answer of the server, and when it came. */
struct status_sample {
    json_t *root;
    uint64_t at_ms;
};

/* ---- asking ---- */

static int status_connect(const struct listener_addr *addr)
{
    const struct timeval limit = {.tv_sec = STATUS_TIMEOUT_S};
    int fd = sys_socket(addr->u.sa.sa_family, SOCK_STREAM, false);

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, &addr->u.sa, addr->len) < 0) {
        int err = errno;
        close(fd);
        return -err;
    }
    return fd;
}

/* All that comes until the end of the connection, NUL-terminated, to be freed; NULL and errno. */
static char *status_read(int fd)
{
    size_t len = 0, room = 65536;
    char *text = malloc(room + 1);
    ssize_t n = 0;

    while (text && (n = recv(fd, text + len, room - len, 0)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || (len += (size_t)n) > STATUS_ANSWER_MAX)
            break;
        if (len == room) {
            char *more = realloc(text, 2 * room + 1);
            if (!more)
                break;
            text = more;
            room *= 2;
        }
    }
    if (!text || n != 0) {
        int err = !text ? ENOMEM : n < 0 ? errno : EMSGSIZE;
        free(text);
        errno = err == EAGAIN ? ETIMEDOUT : err;
        return NULL;
    }
    text[len] = '\0';
    return text;
}

static int status_fail(const struct listener_addr *addr, const char *why)
{
    fprintf(stderr, "bivalve: no status from %s: %s (was the server started with --admin %s?)\n",
            addr->text, why, addr->text);
    return -EIO;
}

/* 0, or negative with a line on stderr. */
static int status_ask(const struct listener_addr *addr, struct status_sample *s)
{
    static const char request[] =
        "GET /status HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n";
    int fd = status_connect(addr);

    if (fd < 0)
        return status_fail(addr, strerror(-fd));
    char *text = NULL;
    if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) == (ssize_t)sizeof(request) - 1)
        text = status_read(fd);
    int err = errno;
    close(fd);
    if (!text)
        return status_fail(addr, strerror(err));
    const char *body = strstr(text, "\r\n\r\n");
    s->at_ms = clock_monotonic_ms();
    s->root = body && !strncmp(text, "HTTP/1.1 200 ", 13) ? json_loads(body + 4, 0, NULL) : NULL;
    free(text);
    if (!json_is_object(s->root)) {
        json_decref(s->root);
        return status_fail(addr, "what answers there is no bivalve");
    }
    return 0;
}

/* ---- reading an answer ---- */

static uint64_t status_number(const json_t *object, const char *name)
{
    return (uint64_t)json_number_value(json_object_get(object, name));
}

/* A text, which may be drawn on a terminal; valid until the next call. */
static const char *status_text(const json_t *object, const char *name)
{
    static char shown[STATUS_TEXT_MAX];
    const char *text = json_string_value(json_object_get(object, name));

    return log_escape(shown, sizeof(shown), text ? text : "", text ? strlen(text) : 0);
}

/* How much `name` of the totals has grown a second. */
static double status_rate(const struct status_sample *before, const struct status_sample *now,
                          const char *name)
{
    uint64_t a = status_number(json_object_get(before->root, "totals"), name);
    uint64_t b = status_number(json_object_get(now->root, "totals"), name);

    return b > a ? (double)(b - a) * 1000 / (double)MAX(now->at_ms - before->at_ms, 1) : 0;
}

static const char *status_bytes(char out[16], double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    unsigned unit = 0;

    for (; bytes >= 1024 && unit + 1 < ARRAY_LEN(units); unit++)
        bytes /= 1024;
    snprintf(out, 16, unit && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return out;
}

static const char *status_time(char out[32], uint64_t s)
{
    if (s >= 86400)
        snprintf(out, 32, "%" PRIu64 "d %" PRIu64 "h", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        snprintf(out, 32, "%" PRIu64 "h %" PRIu64 "min", s / 3600, s / 60 % 60);
    else
        snprintf(out, 32, "%" PRIu64 "min %" PRIu64 "s", s / 60, s % 60);
    return out;
}

/* ---- showing it ---- */

/* Those of the totals whose names begin with one of `prefixes` and that are not 0. */
static void status_print_hits(const json_t *totals, const char *title, const char *const *prefixes)
{
    const char *name;
    const json_t *value;
    unsigned shown = 0;
    void *it;

    printf("%-12s", title);
    for (it = json_object_iter((json_t *)totals); it;
         it = json_object_iter_next((json_t *)totals, it)) {
        name = json_object_iter_key(it);
        value = json_object_iter_value(it);
        for (size_t i = 0; prefixes[i]; i++)
            if (!strncmp(name, prefixes[i], strlen(prefixes[i])) && json_number_value(value) > 0)
                printf("%s%s %" PRIu64, shown++ ? ", " : "", name,
                       (uint64_t)json_number_value(value));
    }
    printf("%s\n", shown ? "" : "none");
}

static void status_print_workers(const struct status_sample *before,
                                 const struct status_sample *now)
{
    const json_t *workers = json_object_get(now->root, "workers");
    const json_t *earlier = json_object_get(before->root, "workers");

    printf("\n%6s %8s %-8s %10s %8s %10s %8s %12s %9s %8s\n", "worker", "pid", "state", "up",
           "cpu s", "memory", "conns", "requests", "req/s", "restarts");
    for (size_t i = 0; i < json_array_size(workers); i++) {
        const json_t *w = json_array_get(workers, i);
        const json_t *c = json_object_get(w, "counters");
        uint64_t was =
            status_number(json_object_get(json_array_get(earlier, i), "counters"), "requests");
        uint64_t requests = status_number(c, "requests");
        char up[32], memory[16];
        printf("%6" PRIu64 " %8" PRIu64 " %-8s %10s %8.1f %10s %8" PRIu64 " %12" PRIu64
               " %9.0f %8" PRIu64 "\n",
               status_number(w, "index"), status_number(w, "pid"),
               json_is_true(json_object_get(w, "serving")) ? "serving" : "down",
               status_time(up, status_number(w, "uptime_seconds")),
               json_number_value(json_object_get(w, "cpu_seconds")),
               status_bytes(memory, (double)status_number(w, "resident_bytes")),
               status_number(c, "slots_used"), requests,
               requests > was
                   ? (double)(requests - was) * 1000 / (double)MAX(now->at_ms - before->at_ms, 1)
                   : 0,
               status_number(c, "restarts"));
    }
}

/* Where any listener has it. */
static void status_print_tls(const struct status_sample *before, const struct status_sample *now)
{
    const json_t *totals = json_object_get(now->root, "totals");

    if (!strstr(status_text(now->root, "listeners"), "(TLS)"))
        return;
    printf("%-12s%.0f handshakes/s, %" PRIu64 " in all, %" PRIu64
           " of them resumed; failed %" PRIu64 ", plain %" PRIu64 ", truncated %" PRIu64 "\n",
           "TLS", status_rate(before, now, "tls_handshakes"),
           status_number(totals, "tls_handshakes"), status_number(totals, "tls_resumed"),
           status_number(totals, "tls_failed"), status_number(totals, "tls_plain"),
           status_number(totals, "tls_truncated"));
}

static void status_show(const struct status_sample *before, const struct status_sample *now)
{
    static const char *const refused[] = {
        "rejected", "accept_errors",  "accept_pauses",  "no_block",
        "stuck",    "handler_errors", "backend_errors", NULL};
    static const char *const limits[] = {"timeout_", "limit_", NULL};
    const json_t *root = now->root, *totals = json_object_get(root, "totals");
    char up[32], in[16], out[16], memory[16], buffers[16];
    double resident = 0;

    for (size_t i = 0; i < json_array_size(json_object_get(root, "workers")); i++)
        resident += (double)status_number(json_array_get(json_object_get(root, "workers"), i),
                                          "resident_bytes");
    printf("%-12s%s", "version", status_text(root, "version"));
    printf(", pid %" PRIu64 ", %s for %s%s\n", status_number(root, "pid"),
           status_text(root, "state"), status_time(up, status_number(root, "uptime_seconds")),
           json_is_true(json_object_get(root, "healthy")) ? "" : ", NOT HEALTHY");
    printf("%-12s%s", "backend", status_text(root, "backend"));
    printf(" (%s)\n", status_text(root, "features"));
    printf("%-12s%s\n", "listening", status_text(root, "listeners"));
    printf("%-12s%" PRIu64 " open, %.0f/s accepted, %" PRIu64 " in all\n", "connections",
           status_number(totals, "slots_used"), status_rate(before, now, "accepted"),
           status_number(totals, "accepted"));
    printf("%-12s%.0f/s, %" PRIu64 " in all; 2xx %" PRIu64 ", 3xx %" PRIu64 ", 4xx %" PRIu64
           ", 5xx %" PRIu64 "\n",
           "requests", status_rate(before, now, "requests"), status_number(totals, "requests"),
           status_number(totals, "responses_2xx"), status_number(totals, "responses_3xx"),
           status_number(totals, "responses_4xx"), status_number(totals, "responses_5xx"));
    status_print_tls(before, now);
    printf("%-12s%s/s in, %s/s out\n", "traffic",
           status_bytes(in, status_rate(before, now, "bytes_in")),
           status_bytes(out, status_rate(before, now, "bytes_out")));
    printf("%-12s%s resident (what workers share is counted for each), %s of it buffers\n",
           "memory", status_bytes(memory, resident),
           status_bytes(buffers, (double)status_number(totals, "block_bytes")));
    status_print_hits(totals, "trouble", refused);
    status_print_hits(totals, "limits", limits);
    status_print_workers(before, now);
}

int status_print(const struct listener_addr *addr, bool watch)
{
    const struct timespec second = {.tv_sec = 1};
    const char *clear = isatty(STDOUT_FILENO) ? "\033[H\033[J" : "";
    struct status_sample before, now;

    if (status_ask(addr, &before) < 0)
        return 1;
    do {
        nanosleep(&second, NULL);
        if (status_ask(addr, &now) < 0) {
            json_decref(before.root);
            return 1;
        }
        fputs(watch ? clear : "", stdout);
        status_show(&before, &now);
        if (watch)
            putchar('\n');
        json_decref(before.root);
        before = now;
    } while (watch && fflush(stdout) == 0);
    json_decref(before.root);
    return 0;
}
