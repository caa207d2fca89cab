/* SPDX-License-Identifier: MIT */
/*
 * backend.h - the contract between the core and an I/O backend. This is the only place where it is
 * written down; tests/backend holds every backend to it, sentence by sentence.
 *
 * Three rules make a readiness backend (epoll) and a completion backend (io_uring) the same to the
 * core:
 *
 *   1. The core owns state, buffers, timers, limits, statistics and the closing of fds. A backend
 *      only moves bytes and reports.
 *   2. Calls down never call up, and calls up happen only inside wait(). The backend_*() wrappers
 *      below assert both for every backend.
 *   3. Input is borrowed until the upcall returns. Output is frozen until its completion has been
 *      reported.
 *
 * A connection's life at the seam:
 *
 *      accepted() or connect() -> connected()
 *            -> attach -> { input() | send -> sent() | recv_ctl }*
 *            -> detach [-> detached()] -> close(2)
 *
 * Connections are named by fd. The core takes the slot of an fd before it calls attach() or
 * connect(), and keeps it until detach() is complete. In between a backend keeps what it needs in
 * its private part of the slot (slot_priv(), ops->slot_priv_size bytes, zero when the slot is
 * taken). It reads `gen` of a slot and nothing else.
 *
 * From an upcall the core may call any member but wait(), close() and probe(), for any connection
 * and any listener: it may detach the connection that the upcall is about, whose fd may then be
 * closed and used again before the upcall returns. So after an upcall a backend relies on nothing
 * of a slot or a listener that it has not looked at anew (the generation tells).
 */
#ifndef BIVALVE_BACKEND_H
#define BIVALVE_BACKEND_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "segment.h"
#include "slot.h"
#include "stats.h"
#include "util.h"

/* Of this contract: it grows with every change that a backend's author has to know of. */
#define BACKEND_VERSION 5

#define IO_PENDING 0x40000000 /* send(), detach(), listen_ctl(): an upcall will report the end */

#define BACKEND_TEXT_MAX      512
#define BACKEND_LISTENERS_MAX 64
#define BACKEND_SEGMENTS_MAX  16         /* of one send() */
#define BACKEND_BURST_ANY     UINT32_MAX /* listen_ctl(): as many as there are */

/*
 * Whom a backend reports to. `arg` is backend_config.arg. Called inside wait() alone, through the
 * backend_on_*() wrappers.
 */
struct backend_events {
    /*
     * Listener `index` accepted `fd`, which is non-blocking and close-on-exec. It is the core's
     * from now on: the core attaches or closes it. accept_room has been counted down already.
     */
    void (*accepted)(void *arg, unsigned index, int fd);

    /*
     * accept(2) on listener `index` failed with `err`, a positive errno. Every error but EAGAIN
     * and EINTR is reported, one upcall for each. Unless the core turns the listener off, the
     * backend goes on with it, at the next wait() at the earliest.
     */
    void (*accept_failed)(void *arg, unsigned index, int err);

    /* listen_ctl(off), which returned IO_PENDING, is complete. */
    void (*listen_off)(void *arg, unsigned index);

    /*
     * connect() has ended: err is 0, or a positive errno. The backend has forgotten the fd; the
     * core attaches or closes it.
     */
    void (*connected)(void *arg, int fd, int err);

    /* `len` (1..recv_buffer_bytes, or what recv_expect() said) bytes have arrived; borrowed until the
     * return. */
    void (*input)(void *arg, int fd, const char *data, size_t len);

    /*
     * The peer will send no more. Receiving is off. recv_ctl(on) makes the backend look once more,
     * and report what it finds: input (there can be some behind an end that the core made itself,
     * by shutdown(SHUT_RD)), or the end again.
     */
    void (*eof)(void *arg, int fd);

    /*
     * Receiving failed, `err` is a positive errno. Receiving is off and stays so: the core detaches
     * the connection, now or later. A failing send is reported by send() or sent() instead.
     */
    void (*failed)(void *arg, int fd, int err);

    /*
     * The send() that returned IO_PENDING has ended: the bytes of it that were taken (0 to all of
     * them), or -errno. With 0 nothing was taken but there is room now: the core sends again what
     * there is to send.
     */
    void (*sent)(void *arg, int fd, int result);

    /*
     * detach(), which returned IO_PENDING, is complete. The core closes the fd before it returns.
     */
    void (*detached)(void *arg, int fd);
};

/* What a backend is opened with. */
struct backend_config {
    struct backend_events events;
    void *arg; /* handed back in every upcall */
    /* built with this backend's slot_priv_size; outlives the backend */
    struct slot_table *slots;
    struct stats *stats; /* where the backend counts */
    /* what stood behind the colon in --backend NAME:VARIANT, or NULL */
    const char *variant;
    uint32_t recv_buffer_bytes; /* the most one input() may carry, but for recv_expect() */
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

/* An open backend; the first member of the backend's own structure. */
struct backend {
    const struct backend_ops *ops;
    struct backend_config cfg;

    /*
     * How many connections may yet be accepted, on all listeners together. The core sets it before
     * it turns listeners on and whenever a connection ends; a backend counts it down by
     * backend_on_accepted() and accepts nothing while it is 0. The core turns all listeners off
     * when it has become 0, and on again later.
     */
    uint32_t accept_room;

    /* The most that one input() may carry whatever recv_expect() has said, unless it is less than
     * recv_buffer_bytes: the core lowers it as its memory gets short. */
    size_t recv_room;

    /* Bytes of input that it keeps for connections whose receiving is off: they count as buffers
     * of those (--max-buffer-bytes). */
    size_t held_bytes;

    bool in_wait; /* upcalls are allowed; the wrappers' own */
    bool in_call; /* a member other than wait() is running: none is; the wrappers' own */
};

struct backend_ops {
    unsigned contract; /* BACKEND_VERSION when it was written */
    const char *name;  /* as in --backend */

    /* Bytes of backend state a connection: a multiple of 16, or 0. */
    size_t slot_priv_size;

    /* Does send() wait for the disk where a range of a file is not in memory? Then the core has it
     * read first. */
    bool waits_for_files;

    /* Does send() use the segments until sent() even where the peer has room? Then the core has
     * little output in small blocks meanwhile. */
    bool sends_later;

    /* For --help, one line without its end: "libev (epoll), or libev:epoll|poll|select". */
    const char *help;

    /* Names of its own counters, stats->backend[] in this order; NULL-terminated. */
    const char *const *counters;

    /* System calls (SYS_*) that it makes inside wait() and the other calls beyond read, write,
     * close and those on sockets; terminated by -1. For the sandbox. */
    const int *syscalls;

    /*
     * Is it a variant of this backend? Pure. 0, or -EINVAL with one line in `error`
     * (BACKEND_TEXT_MAX bytes), worded to follow "--backend NAME:VARIANT: ".
     */
    int (*check_variant)(const char *variant, char *error);

    /* The library it runs on, "libev 4.33", or the kernel interface, into out. */
    void (*version)(char *out, size_t out_size);

    /*
     * Would open() succeed with this variant (NULL: default), and with what? Functional, not by
     * version numbers. Leaves nothing behind.
     */
    void (*probe)(const char *variant, struct backend_probe *out);

    /*
     * Open a backend in the process that will use it. 0 and *be, or -errno with one line in `error`
     * (BACKEND_TEXT_MAX bytes) that names the cause and the way out, and nothing left behind.
     */
    int (*open)(const struct backend_config *cfg, struct backend **be, char *error);

    /*
     * No connection is attached or connecting and no listener is on any more, or the process is
     * about to end.
     */
    void (*close)(struct backend *be);

    /* What the open backend runs with, as one line, into out: true of what it does now. */
    void (*describe)(struct backend *be, char *out, size_t out_size);

    /*
     * Accept on listener fd `lfd`, at most `burst` connections an iteration and never more than
     * accept_room, and report accepted() with `index` (below BACKEND_LISTENERS_MAX); or stop.
     *
     * on: 0, or -errno. On already: `burst` is replaced. An off that is pending is called off.
     * off: 0 at once, or IO_PENDING: connections that were accepted before are still reported, and
     * then listen_off() once; the listener may be closed then. Off already: 0, or IO_PENDING while
     * that is pending.
     * Never moves bytes of the listener itself; a listener that was shut down or closed under the
     * backend by another process is reported by accept_failed().
     */
    int (*listen_ctl)(struct backend *be, unsigned index, int lfd, bool on, uint32_t burst);

    /*
     * Begin to connect a new non-blocking stream socket. 0: connected() will report; or -errno at
     * once, and nothing is reported. `addr` is the caller's and is copied if need be.
     */
    int (*connect)(struct backend *be, int fd, const struct sockaddr *addr, socklen_t len);

    /*
     * Start receiving on a connected, non-blocking stream socket. 0 or -errno (the core then closes
     * the fd).
     */
    int (*attach)(struct backend *be, int fd);

    /*
     * Turn receiving off or on. After `off` no input(), eof() or failed() is reported until `on`: a
     * backend that has received more already keeps it, in order, and hands it over after `on` (in
     * wait(), by rule 2). Setting what is set already does nothing.
     */
    void (*recv_ctl)(struct backend *be, int fd, bool on);

    /*
     * The next input() of fd may carry up to `bytes`, where that is more than recv_buffer_bytes: much
     * of one body is to come. A hint that holds for that one input(). NULL: there is no room for more.
     */
    void (*recv_expect)(struct backend *be, int fd, size_t bytes);

    /*
     * Send 1 to BACKEND_SEGMENTS_MAX segments, in order; one send at a time a connection. Returns
     * the bytes taken now (1 to all of them), or IO_PENDING: what the segments point to is frozen
     * until exactly one sent(); or -errno. The array itself is the caller's again at once. Short
     * counts are the core's to handle; a record (segment.h) is taken whole. A file that ends before offset + len is -EIO. (SIGPIPE has
     * to be ignored by the program: sendfile(2) raises it.)
     */
    int (*send)(struct backend *be, int fd, const struct backend_segment *segments, unsigned count);

    /*
     * Send what the socket has room for, of segments of memory, while no send() is under way: the bytes
     * taken, and nothing is reported and nothing of the segments kept, so that they may be borrowed
     * input. 0: none were, for whatever reason; an error is the next send()'s to tell. NULL: cannot.
     */
    size_t (*send_now)(struct backend *be, int fd, const struct backend_segment *segments,
                       unsigned count);

    /*
     * Stop everything for fd: receiving, a send or a connect in flight. Nothing is reported for it
     * any more but, after IO_PENDING, exactly one detached(). 0: nothing is in flight. Memory and
     * files of a send in flight are the core's again with the 0 or with detached(); how much of it
     * went out is not told. Input that was received but not handed over is dropped.
     */
    int (*detach)(struct backend *be, int fd);

    /*
     * Make upcalls for what has happened; wait for something to happen, at most timeout_us
     * microseconds (-1: for ever, 0: not at all). Returns after at least one event, the timeout, a
     * wake() or a signal: 0, or -errno when the backend is broken beyond use. A timeout may end
     * late by what the system call rounds up to (a millisecond at most); never early but for an
     * event, or by what has passed since the wait before (libev's clock is that old). The core looks
     * at the clock behind each wait, and waits for the rest.
     */
    int (*wait)(struct backend *be, int64_t timeout_us);

    /*
     * Give memory back to the kernel that a load needed which is over; outside wait(), about once a
     * second at most, and only when connections have ended. The bytes given back. NULL: it keeps
     * nothing that it could.
     */
    size_t (*trim)(struct backend *be);

    /*
     * Make the current or next wait() return soon. Async-signal-safe; the only member that may be
     * called from a signal handler.
     */
    void (*wake)(struct backend *be);
};

/* ---- calls down, by the core; each as the member of the same name ---- */

static inline void backend_call_begin(struct backend *be)
{
    assert(!be->in_call);
    be->in_call = true;
}

static inline int backend_listen_ctl(struct backend *be, unsigned index, int lfd, bool on,
                                     uint32_t burst)
{
    backend_call_begin(be);
    int rc = be->ops->listen_ctl(be, index, lfd, on, burst);
    be->in_call = false;
    return rc;
}

static inline int backend_connect(struct backend *be, int fd, const struct sockaddr *addr,
                                  socklen_t len)
{
    backend_call_begin(be);
    int rc = be->ops->connect(be, fd, addr, len);
    be->in_call = false;
    return rc;
}

static inline int backend_attach(struct backend *be, int fd)
{
    backend_call_begin(be);
    int rc = be->ops->attach(be, fd);
    be->in_call = false;
    return rc;
}

static inline void backend_recv_ctl(struct backend *be, int fd, bool on)
{
    backend_call_begin(be);
    be->ops->recv_ctl(be, fd, on);
    be->in_call = false;
}

static inline int backend_send(struct backend *be, int fd, const struct backend_segment *segments,
                               unsigned count)
{
    backend_call_begin(be);
    int rc = be->ops->send(be, fd, segments, count);
    be->in_call = false;
    return rc;
}

static inline void backend_recv_expect(struct backend *be, int fd, size_t bytes)
{
    if (!be->ops->recv_expect)
        return;
    backend_call_begin(be);
    be->ops->recv_expect(be, fd, bytes);
    be->in_call = false;
}

/* 0 also where the backend has no such member. */
static inline size_t backend_send_now(struct backend *be, int fd,
                                      const struct backend_segment *segments, unsigned count)
{
    if (!be->ops->send_now)
        return 0;
    backend_call_begin(be);
    size_t n = be->ops->send_now(be, fd, segments, count);
    be->in_call = false;
    return n;
}

static inline int backend_detach(struct backend *be, int fd)
{
    backend_call_begin(be);
    int rc = be->ops->detach(be, fd);
    be->in_call = false;
    return rc;
}

static inline int backend_wait(struct backend *be, int64_t timeout_us)
{
    assert(!be->in_wait && !be->in_call);
    be->in_wait = true;
    int rc = be->ops->wait(be, timeout_us);
    be->in_wait = false;
    return rc;
}

/* Bytes given back; 0 also where the backend has no such member. */
static inline size_t backend_trim(struct backend *be)
{
    if (!be->ops->trim)
        return 0;
    assert(!be->in_wait);
    backend_call_begin(be);
    size_t bytes = be->ops->trim(be);
    be->in_call = false;
    return bytes;
}

/* ---- calls up, by backends ---- */

static inline void backend_upcall_begin(const struct backend *be)
{
    assert(be->in_wait && !be->in_call);
    (void)be;
}

static inline void backend_on_accepted(struct backend *be, unsigned index, int fd)
{
    backend_upcall_begin(be);
    assert(be->accept_room > 0);
    be->accept_room--;
    be->cfg.events.accepted(be->cfg.arg, index, fd);
}

static inline void backend_on_accept_failed(struct backend *be, unsigned index, int err)
{
    backend_upcall_begin(be);
    be->cfg.events.accept_failed(be->cfg.arg, index, err);
}

static inline void backend_on_listen_off(struct backend *be, unsigned index)
{
    backend_upcall_begin(be);
    be->cfg.events.listen_off(be->cfg.arg, index);
}

static inline void backend_on_connected(struct backend *be, int fd, int err)
{
    backend_upcall_begin(be);
    be->cfg.events.connected(be->cfg.arg, fd, err);
}

static inline void backend_on_input(struct backend *be, int fd, const char *data, size_t len)
{
    backend_upcall_begin(be);
    be->cfg.events.input(be->cfg.arg, fd, data, len);
}

static inline void backend_on_eof(struct backend *be, int fd)
{
    backend_upcall_begin(be);
    be->cfg.events.eof(be->cfg.arg, fd);
}

static inline void backend_on_failed(struct backend *be, int fd, int err)
{
    backend_upcall_begin(be);
    be->cfg.events.failed(be->cfg.arg, fd, err);
}

static inline void backend_on_sent(struct backend *be, int fd, int result)
{
    backend_upcall_begin(be);
    be->cfg.events.sent(be->cfg.arg, fd, result);
}

static inline void backend_on_detached(struct backend *be, int fd)
{
    backend_upcall_begin(be);
    be->cfg.events.detached(be->cfg.arg, fd);
}

#endif
