/* SPDX-License-Identifier: MIT */
/*
 * backend.h - the contract between the core and an I/O engine. This is the only place where it is
 * written down.
 *
 * Three rules make a readiness engine (epoll) and a completion engine (io_uring) the same to the
 * core:
 *
 *   1. The core owns state, buffers, timers, limits, statistics and the closing of fds. An engine
 *      only moves bytes and reports.
 *   2. Calls down never call up. Calls up happen only inside wait(). (Asserted on both sides:
 *      backend_upcall_begin().)
 *   3. Input is borrowed until the upcall returns. Output is lent until its completion has been
 *      reported.
 *
 * A connection's life at the seam:
 *
 *      conn_on_open -> attach -> { conn_on_input | send -> conn_on_sent | recv_ctl }*
 *                   -> detach [-> conn_on_detached] -> close(2)
 *
 * Connections are named by fd. Between attach() and the end of detach() an engine keeps what it
 * needs in its private part of the slot (slot_priv(), ops->slot_priv_size bytes, zeroed at accept).
 * During any upcall for an fd the core may call any per-connection member for that fd, and after it
 * has returned the connection may be gone and the fd reused: an engine looks at nothing of that
 * slot after an upcall that it has not checked anew (the generation tells).
 */
#ifndef BIVALVE_BACKEND_H
#define BIVALVE_BACKEND_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "slot.h"
#include "stats.h"

struct core;

#define IO_PENDING 0x40000000 /* send(), detach(): not finished; an upcall will report it */

#define BACKEND_TEXT_MAX    512
#define BACKEND_ACCEPT_FREE 64 /* listen_ctl(): a burst of so many need not be kept */

/* What an engine is opened with. */
struct backend_config {
    struct core *core; /* handed back in every upcall */
    /* built with this engine's slot_priv_size; outlives the engine */
    struct slot_table *slots;
    struct stats *stats; /* where the engine counts */
    /* what stood behind the colon in --backend NAME:VARIANT, or NULL */
    const char *variant;
    uint32_t recv_buffer_bytes; /* the most one conn_on_input() may carry */
    uint32_t connections_max;   /* to size queues by */
};

/* What a probe found out, for `bivalve --probe` and the reason why `auto` chose as it did. */
struct backend_probe {
    bool usable;
    /* "multishot_recv defer_taskrun ... no:recv_bundle", found and missing */
    char features[BACKEND_TEXT_MAX];
    /* why not: the call that failed and its error; empty when usable */
    char reason[BACKEND_TEXT_MAX];
    char hint[BACKEND_TEXT_MAX]; /* the likely cause and the way out; may be empty */
};

/* An open engine; the first member of the engine's own structure. */
struct backend {
    const struct backend_ops *ops;
    struct backend_config cfg;
};

struct backend_ops {
    const char *name;      /* as in --backend */
    size_t slot_priv_size; /* bytes of engine state a connection, a multiple of 16 */

    /*
     * What may stand behind the colon of --backend NAME:VARIANT, NULL-terminated; NULL: left to
     * open() to judge.
     */
    const char *const *variants;

    /*
     * The library it was built with and runs on, "libev 4.33", into out. No engine needs to be
     * open.
     */
    void (*version)(char *out, size_t out_size);

    /*
     * Would open() succeed with this variant (NULL: default), and with what? Functional, not by
     * version numbers. Leaves nothing behind.
     */
    void (*probe)(const char *variant, struct backend_probe *out);

    /*
     * Open an engine in the process that will use it. 0 and *be, or -errno with one line in `error`
     * (BACKEND_TEXT_MAX bytes) that names the cause and the way out.
     */
    int (*open)(const struct backend_config *cfg, struct backend **be, char *error);

    /* No connection is attached and no listener armed any more (or the process is about to end). */
    void (*close)(struct backend *be);

    /*
     * Features of the open engine as one line, "epoll" or "multishot, defer_taskrun, ...", into
     * out.
     */
    void (*describe)(struct backend *be, char *out, size_t out_size);

    /*
     * Accept on listener fd `lfd` and report conn_on_open() with `index`, or stop. `burst` bounds
     * the accepts of one turn; from BACKEND_ACCEPT_FREE on an engine may take all that the listener
     * has. After `off`, connections accepted already may still be reported by the next wait()s; the
     * listener may be closed once listen_ctl(off) has returned 0 or conn_on_listen_off() has been
     * called after IO_PENDING. New sockets are non-blocking and close-on-exec.
     */
    int (*listen_ctl)(struct backend *be, unsigned index, int lfd, bool on, unsigned burst);

    /*
     * Start receiving on a connection that conn_on_open() has just reported. 0 or -errno (the core
     * then closes the fd).
     */
    int (*attach)(struct backend *be, int fd);

    /*
     * Stop or resume receiving. After `off` no conn_on_input(), conn_on_eof() or receive error is
     * reported until `on`: an engine that has received more already keeps it, in order, and hands
     * it over after `on` (in wait(), by rule 2). Setting what is set already does nothing.
     */
    void (*recv_ctl)(struct backend *be, int fd, bool on);

    /*
     * Send `len` bytes (len > 0), one send at a time a connection. Returns the bytes taken now
     * (1..len), or IO_PENDING: the range is frozen until exactly one conn_on_sent(), or -errno.
     * Short counts are the core's to handle.
     */
    int (*send)(struct backend *be, int fd, const char *buf, size_t len);

    /*
     * Stop everything for fd; nothing is reported for it any more but, after IO_PENDING, exactly
     * one conn_on_detached(). 0: nothing is in flight. A lent range is given back by the 0 or by
     * conn_on_detached(). Input that was received but not handed over is dropped.
     */
    int (*detach)(struct backend *be, int fd);

    /*
     * Make upcalls for what has happened; wait for something to happen, at most timeout_ms (-1: for
     * ever, 0: not at all). Returns after at least one event, the timeout, a wake() or a signal: 0,
     * or -errno when the engine is broken beyond use.
     */
    int (*wait)(struct backend *be, int64_t timeout_ms);

    /*
     * Make the current or next wait() return soon. Async-signal-safe; the only member that may be
     * called from a signal handler.
     */
    void (*wake)(struct backend *be);
};

/*
 * Does this error of accept(2) concern only a client that is gone already, and not the listener?
 * The next may be well.
 */
static inline bool backend_accept_goes_on(int err)
{
    switch (err) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM: /* a firewall's word */ return true;
    default: return false;
    }
}

/* ---- upcalls: called by engines inside wait(), implemented in src/conn.c ---- */

/*
 * Listener `index` accepted `fd` (non-blocking, close-on-exec). The core attaches it or closes it.
 */
void conn_on_open(struct core *c, unsigned index, int fd);

/*
 * Accepting failed with `err` (positive errno). ECONNABORTED and its like are not reported. The
 * engine has stopped accepting on that listener when `stopped`; the core will say when to go on.
 */
void conn_on_accept_error(struct core *c, unsigned index, int err, bool stopped);

/* listen_ctl(off) is complete, after it returned IO_PENDING. */
void conn_on_listen_off(struct core *c, unsigned index);

/* `len` (1..recv_buffer_bytes) bytes have arrived, borrowed until the return. */
void conn_on_input(struct core *c, int fd, const char *data, size_t len);

/* The client will send no more. Receiving has stopped. */
void conn_on_eof(struct core *c, int fd);

/* The connection is broken, `err` is a positive errno. The core detaches. */
void conn_on_error(struct core *c, int fd, int err);

/* The send that returned IO_PENDING has finished: bytes taken (1..len) or -errno. */
void conn_on_sent(struct core *c, int fd, int result);

/* detach() that returned IO_PENDING is complete. The core closes fd before it returns. */
void conn_on_detached(struct core *c, int fd);

#endif
