/* SPDX-License-Identifier: MIT */
/*
 * server_setup.c - see server_setup.h.
 */
#include "config.h"

#include "server_setup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cpus.h"
#include "log.h"
#include "options_parse.h"
#include "sandbox.h"
#include "server_choose.h"
#include "sys.h"

void server_count_workers(struct server_setup *u)
{
    u->cpus = cpus_find(&u->cpu_count);
    u->quota = cpus_quota("");
    if (!u->cpus)
        log_warn("cannot find out which CPUs there are: workers are not pinned");
    if (u->o.workers != OPTIONS_AUTO) {
        u->workers = (unsigned)u->o.workers;
        return;
    }
    u->workers = u->cpus ? MIN(u->cpu_count, OPTIONS_WORKERS_MAX) : 1;
    /* Others with a quota would be pinned to the same first CPUs: the scheduler knows better. */
    u->by_quota = u->quota && (u->quota + CPUS_MILLI - 1) / CPUS_MILLI < u->workers;
    if (u->by_quota)
        u->workers = (unsigned)((u->quota + CPUS_MILLI - 1) / CPUS_MILLI);
}

bool server_pins(const struct server_setup *u)
{
    return u->o.pin && u->cpus && !u->by_quota && cpus_can_pin();
}

/* ---- setups ---- */

struct server_setup *server_add_setup(struct server *s)
{
    struct server_setup *u = calloc(1, sizeof(*u));

    if (u) {
        u->files.fd = -1;
        u->next = s->setups;
        s->setups = u;
    }
    return u;
}

bool server_has_listener(const struct server_setup *u, const struct listener *l)
{
    for (unsigned i = 0; i < u->listener_count; i++)
        if (u->listeners[i] == l)
            return true;
    return false;
}

void server_close_listener(struct listener *l)
{
    int rc = listener_unlink(l);

    if (rc < 0)
        log_info("cannot remove %s: %s (it is replaced at the next start)", l->addr.text,
                 strerror(-rc));
    listener_close(l);
}

void server_remove_setup(struct server *s, struct server_setup *u)
{
    struct server_setup **at = &s->setups;

    while (*at != u)
        at = &(*at)->next;
    *at = u->next;
    for (unsigned i = 0; i < u->listener_count; i++) {
        bool used = false;
        for (const struct server_setup *other = s->setups; other; other = other->next)
            used |= server_has_listener(other, u->listeners[i]);
        if (used)
            continue;
        server_close_listener(u->listeners[i]);
        listener_destroy(u->listeners[i]);
        free(u->listeners[i]);
    }
    tls_context_free(u->tls);
    dataset_free(&u->data);
    file_cache_free(u->cache);
    static_dir_destroy(&u->files);
    free(u->cpus);
    options_free(&u->o);
    free(u);
}

/* Is it what is asked for, by its address or its name? */
static bool server_is_meant(const struct listener *l, const struct listener_addr *addr)
{
    if (l->addr.tls != addr->tls || l->addr.proxy != addr->proxy)
        return false;
    return !strcmp(l->asked, addr->text) ||
           (addr->named && l->given && !strcmp(l->name, addr->text + strlen("fd:")));
}

/*
 * The listener on that address which is open already, and not taken twice: it is the same socket,
 * with all who wait there. NULL: there is none.
 */
static struct listener *server_kept_listener(const struct server *s, const struct server_setup *u,
                                             const struct listener_addr *addr)
{
    for (unsigned i = 0; s->now && i < s->now->listener_count; i++) {
        struct listener *l = s->now->listeners[i];
        if (server_is_meant(l, addr) && !server_has_listener(u, l))
            return l;
    }
    return NULL;
}

static struct listener *server_open_listener(const struct server_setup *u,
                                             const struct listener_addr *addr, int *rc, char *error)
{
    struct listener *l = calloc(1, sizeof(*l));

    *rc = -ENOMEM;
    snprintf(error, LISTENER_ERROR_MAX, "no memory");
    if (l)
        *rc = listener_open(l, addr, MAX(u->workers, 1), error);
    if (*rc == 0)
        return l;
    free(l);
    return NULL;
}

/* 0, or -E2BIG with `error`, and nobody has it. */
static int server_take_listener(struct server_setup *u, struct listener *l, char *error)
{
    if (u->listener_count == ARRAY_LEN(u->listeners)) {
        snprintf(error, LISTENER_ERROR_MAX, "%s is one socket too many: %zu are the most",
                 l->addr.text, ARRAY_LEN(u->listeners));
        return -E2BIG;
    }
    u->listeners[u->listener_count++] = l;
    int rc = listener_limit_unsent(l, u->o.set.max_unsent_bytes);
    if (rc < 0)
        log_warn("cannot limit what the kernel holds unsent (--max-unsent-bytes): %s",
                 strerror(-rc));
    return 0;
}

/*
 * Those that there are for `addr`: of the server as it is, or inherited. How many, or -errno with
 * `error`.
 */
static int server_find_listeners(struct server *s, struct server_setup *u,
                                 const struct listener_addr *addr, char *error)
{
    struct listener *l;
    int rc = 0, count = 0;

    while (rc == 0 && (addr->named || count == 0) && (l = server_kept_listener(s, u, addr))) {
        rc = server_take_listener(u, l, error);
        count++;
    }
    while (rc == 0 && (addr->named || count == 0) &&
           (l = inherit_listener(&s->inherited, addr, &rc, error))) {
        rc = server_take_listener(u, l, error);
        count++;
    }
    return rc < 0 ? rc : count;
}

/* 0, or -errno with `error`. */
static int server_listen_one(struct server *s, struct server_setup *u,
                             const struct listener_addr *addr, char *error)
{
    int rc = server_find_listeners(s, u, addr, error);

    if (rc != 0)
        return MIN(rc, 0);
    if (addr->named) {
        snprintf(error, LISTENER_ERROR_MAX,
                 "%s: no socket of that name was handed over (FileDescriptorName= of the socket "
                 "unit, LISTEN_FDNAMES); is the socket unit active?",
                 addr->text);
        return -ENOENT;
    }
    struct listener *l = server_open_listener(u, addr, &rc, error);
    if (!l)
        return rc;
    rc = server_take_listener(u, l, error);
    if (rc < 0) {
        server_close_listener(l);
        listener_destroy(l);
        free(l);
    }
    return rc;
}

/* Are there sockets that take the place of the address that is listened on when none is named? */
static bool server_is_activated(const struct server *s)
{
    for (unsigned i = 0; s->now && i < s->now->listener_count; i++)
        if (s->now->listeners[i]->given)
            return true;
    return inherit_has_given(&s->inherited);
}

static int server_listen_asked(struct server *s, struct server_setup *u, char *error)
{
    int rc = 0;

    for (unsigned i = 0; i < u->o.listen_count && rc == 0; i++)
        rc = server_listen_one(s, u, &u->o.listen[i], error);
    return rc;
}

int server_listen(struct server *s, struct server_setup *u, char *error)
{
    return u->o.listen_default && server_is_activated(s) ? 0 : server_listen_asked(s, u, error);
}

/* Has every socket a worker that accepts from it? 0, or -E2BIG with `error`. */
static int server_check_sockets(const struct server_setup *u, char *error)
{
    unsigned sockets = 0;

    for (unsigned i = 0; i < u->listener_count && u->workers == 0; i++)
        if (u->listeners[i]->count > 1) {
            snprintf(error, LISTENER_ERROR_MAX,
                     "%s: this process alone (--workers 0) takes one socket of an address, and "
                     "here are %u",
                     u->listeners[i]->addr.text, u->listeners[i]->count);
            return -E2BIG;
        }
    for (unsigned i = 0; i < u->listener_count; i++)
        sockets += (u->listeners[i]->count + MAX(u->workers, 1) - 1) / MAX(u->workers, 1);
    if (sockets <= BACKEND_LISTENERS_MAX)
        return 0;
    snprintf(error, LISTENER_ERROR_MAX,
             "%u workers cannot take over the sockets of so many more, of which none is closed so "
             "that no client is lost: restart the server, or leave --workers as it was",
             u->workers);
    return -E2BIG;
}

int server_listen_rest(struct server *s, struct server_setup *u, char *error)
{
    struct listener *l;
    int rc = 0;

    for (unsigned i = 0; s->now && rc == 0 && i < s->now->listener_count; i++)
        if (s->now->listeners[i]->given && !server_has_listener(u, s->now->listeners[i]))
            rc = server_take_listener(u, s->now->listeners[i], error);
    while (rc == 0 && (l = inherit_rest(&s->inherited, &rc, error)))
        rc = server_take_listener(u, l, error);
    if (rc == 0 && u->listener_count == 0) /* what was given is not for clients */
        rc = server_listen_asked(s, u, error);
    return rc < 0 ? rc : server_check_sockets(u, error);
}

/* ---- what is read ---- */

bool server_wants_sandbox(const struct server_setup *u)
{
    if (u->o.sandbox == OPTIONS_SANDBOX_TRY)
        return sandbox_available() && !SERVER_SANITIZED && u->workers > 0;
    return u->o.sandbox == OPTIONS_SANDBOX_ON;
}

void server_plan(const struct server *s, struct server_setup *u)
{
    u->context.data = &u->data;
    u->context.files = &u->files;
    u->context.cache = u->cache;
    u->context.level = u->o.compress_level;
    u->plan = (struct supervisor_plan){
        .set = &u->o.set,
        .routes = u->o.static_dir ? &handlers_routes_files : &handlers_routes,
        .reads_files = u->o.static_dir != NULL,
        .context = &u->context,
        .tls = u->tls,
        .listeners = u->listeners,
        .listener_count = u->listener_count,
        .workers = u->workers,
        .cpus = server_pins(u) ? u->cpus : NULL,
        .cpu_count = u->cpu_count,
        .proxy_from = &u->o.proxy_from,
        .sandbox = server_wants_sandbox(u),
        .sandbox_must = u->o.sandbox == OPTIONS_SANDBOX_ON,
        .meter = s->admin.open,
        .access_logs = s->logging ? s->logger.workers : NULL,
        .ops = u->backend.ops,
        .variant = u->backend.variant,
        .automatic = u->backend.automatic,
    };
}

static bool server_same(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

int server_read_keys(struct server_setup *u, struct tls_context *before, char *error)
{
    if (u->o.tls.pair_count == 0)
        return 0;
    if (tls_context_open(&u->tls, &u->o.tls, before, error) < 0)
        return -1;
    if (!SERVER_SANITIZED)
        sys_not_dumpable();
    return 0;
}

/* A cache that leaves the connections enough fds of those that the workers can have. */
static int server_check_cache(const struct settings *set, char *error)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max / 2 >= set->open_file_cache)
        return 0;
    snprintf(error, SERVER_FILES_ERROR_MAX,
             "--open-file-cache: %" PRIu32 " is more than half of the limit of open files, %llu "
             "(raise it, with LimitNOFILE= or ulimit -n, or keep fewer files open)",
             set->open_file_cache, (unsigned long long)limit.rlim_max);
    return -EINVAL;
}

int server_open_static(const struct options *o, struct static_dir *files, struct file_cache **cache,
                       char *error)
{
    char why[STATIC_ERROR_MAX];

    if (!o->static_dir)
        return 0;
    if (static_dir_init(files, o->static_dir, why) < 0) {
        snprintf(error, SERVER_FILES_ERROR_MAX, "--static: %s", why);
        return -1;
    }
    if (o->set.open_file_cache == 0)
        return 0;
    if (server_check_cache(&o->set, error) < 0)
        return -1;
    *cache = file_cache_new(o->set.open_file_cache, o->set.open_file_cache_valid_ms);
    if (!*cache)
        snprintf(error, SERVER_FILES_ERROR_MAX, "--open-file-cache: no memory");
    return *cache ? 0 : -1;
}

/* The files that are served, and the keys. 0, or -1 with `error`. */
static int server_open_files(struct server_setup *u, struct tls_context *before, char *error)
{
    if (server_open_static(&u->o, &u->files, &u->cache, error) < 0)
        return -1;
    return server_read_keys(u, before, error);
}

/* An option that only a start can change and that has been changed; NULL: there is none. */
static const char *server_needs_restart(const struct options *was, const struct options *o)
{
    if (!server_same(was->user, o->user))
        return "user";
    if (!server_same(was->group, o->group))
        return "group";
    if (was->allow_root != o->allow_root)
        return "allow-root";
    if (strcmp(was->admin.text, o->admin.text) != 0)
        return "admin";
    if (!server_same(was->access_log, o->access_log))
        return "access-log";
    if (was->access_log_format != o->access_log_format)
        return "access-log-format";
    if (o->workers == 0)
        return "workers";
    return NULL;
}

int server_read_setup(struct server *s, struct server_setup *u, char *error)
{
    static const struct privdrop nothing_more;
    const char *fixed;

    error[0] = '\0';
    if (options_load(s->argc, s->argv, &u->o, error) < 0)
        return -1;
    fixed = server_needs_restart(&s->now->o, &u->o);
    if (fixed) {
        snprintf(error, OPTIONS_ERROR_MAX, "option --%s is changed by a restart only", fixed);
        return -1;
    }
    server_count_workers(u);
    if (dataset_load(&u->data, u->o.dataset, error) < 0 ||
        server_open_files(u, s->now->tls, error) < 0)
        return -1;
    if (!strcmp(s->now->o.backend, u->o.backend))
        u->backend = s->now->backend;
    else if (server_choose_backend(u->o.backend, &nothing_more, &u->backend) != 0)
        return -1;
    /* What stands behind a colon is a part of the options, which are another copy now. */
    if (u->backend.variant)
        u->backend.variant = strchr(u->o.backend, ':') + 1;
    return server_listen(s, u, error) < 0 || server_listen_rest(s, u, error) < 0 ? -1 : 0;
}
