/* SPDX-License-Identifier: MIT */
/*
 * server_setup.h - one reading of the options and what they name: a reload makes another, which takes
 * over the listeners that both have; the one before it goes when its last worker has.
 */
#ifndef BIVALVE_SERVER_SETUP_H
#define BIVALVE_SERVER_SETUP_H

#include <limits.h>
#include <stdbool.h>

#include "admin.h"
#include "board.h"
#include "dataset.h"
#include "handlers.h"
#include "inherit.h"
#include "logger.h"
#include "options.h"
#include "privdrop.h"
#include "registry.h"
#include "file_cache.h"
#include "static_dir.h"
#include "stats.h"
#include "supervisor.h"
#include "tls.h"

/* LeakSanitizer stops the process with ptrace(2) to look at it, which the filter forbids. */
#if defined(__SANITIZE_ADDRESS__)
#define SERVER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SERVER_SANITIZED 1
#endif
#endif
#ifndef SERVER_SANITIZED
#define SERVER_SANITIZED 0
#endif

/* One reading of the options, and what they name. */
struct server_setup {
    struct options o;
    struct dataset data;
    struct static_dir files;
    struct file_cache *cache; /* of these; empty: the workers fill their own */
    struct tls_context *tls;  /* NULL: no address has TLS */
    struct handlers_context context;
    struct registry_choice backend;
    struct listener *listeners[BACKEND_LISTENERS_MAX]; /* open ones are in one setup or several */
    unsigned listener_count;
    unsigned workers; /* processes; 0: none but this one */
    int *cpus;        /* of the affinity mask */
    unsigned cpu_count;
    unsigned long quota; /* cpus_quota() */
    bool by_quota;       /* it has made `workers` less than there are CPUs */
    struct supervisor_plan plan;
    struct server_setup *next; /* in struct server.setups */
};

struct server {
    int argc; /* the command line, for a reload */
    char **argv;
    char path[PATH_MAX];         /* of the program */
    struct server_setup *setups; /* that are in use */
    struct server_setup *now;    /* the one that is served */
    struct privdrop priv;
    struct inherited inherited; /* sockets that were open before the start */
    struct stats *stats;
    struct board *board;
    struct admin admin;
    struct logger logger;
    bool logging; /* there is one */
    unsigned seats;
    bool ready; /* --workers 0: this process serves */
};

/* Is each worker pinned to a CPU? */
bool server_pins(const struct server_setup *u);

/* Find the CPUs, and how many workers --workers means. */
void server_count_workers(struct server_setup *u);

/*
 * Read the keys, if there are any; `before` as in tls_context_open(). From now on nobody but root may
 * look into this process and its children, and they leave no core: proc(5), PR_SET_DUMPABLE. 0, or -1
 * with `error` (TLS_ERROR_MAX bytes).
 */
int server_read_keys(struct server_setup *u, struct tls_context *before, char *error);

/*
 * Open the directory of --static, if there is one, and make --open-file-cache. 0, or -1 with `error`
 * (SERVER_FILES_ERROR_MAX bytes); what is open then is the caller's to close all the same.
 */
#define SERVER_FILES_ERROR_MAX (STATIC_ERROR_MAX + 32)
int server_open_static(const struct options *o, struct static_dir *files, struct file_cache **cache,
                       char *error);

/* A new one, empty; NULL: no memory. */
struct server_setup *server_add_setup(struct server *s);

/* Is it one of this setup? */
bool server_has_listener(const struct server_setup *u, const struct listener *l);

/* Nobody listens there any more, and nobody can. */
void server_close_listener(struct listener *l);

/* Nobody uses a setup any more: what it alone has goes. */
void server_remove_setup(struct server *s, struct server_setup *u);

/*
 * Listen where the options say, by sockets that are open already where there are such. 0, or -errno
 * with `error`, and what is open then is in the setup.
 */
int server_listen(struct server *s, struct server_setup *u, char *error);

/*
 * Then: what a service manager has given and no option names is served as well, since clients that it
 * queues there would wait for ever. As server_listen().
 */
int server_listen_rest(struct server *s, struct server_setup *u, char *error);

/*
 * One process is for debuggers and profilers, which want to do things in it that no worker does:
 * there only when asked for.
 */
bool server_wants_sandbox(const struct server_setup *u);

/* What the supervisor has to know of a setup. */
void server_plan(const struct server *s, struct server_setup *u);

/* Fill the setup of a reload. 0, or -1 with `error`; a line of the log's own may have been enough. */
int server_read_setup(struct server *s, struct server_setup *u, char *error);

#endif
