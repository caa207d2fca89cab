/* SPDX-License-Identifier: MIT */
/*
 * listener.h - addresses to listen on, and the sockets of each: one SO_REUSEPORT socket per worker
 * for TCP, one shared by all workers for a unix path. The supervisor opens and holds them; workers
 * inherit their own.
 */
#ifndef BIVALVE_LISTENER_H
#define BIVALVE_LISTENER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>

#define LISTENER_TEXT_MAX  128 /* "unix:" and the longest path there is, NUL included */
#define LISTENER_ERROR_MAX 512
#define LISTENER_NAME_MAX  LISTENER_TEXT_MAX /* of a socket that was handed over */

struct listener_addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } u;
    socklen_t len;
    bool unix_socket;
    bool named; /* "fd:NAME": no address, but a socket that is handed over by that name */
    bool proxy; /* who connects is a proxy, and says for whom; the same */
    bool tls;   /* who connects speaks TLS; for the caller */
    char text[LISTENER_TEXT_MAX]; /* as the log shows it; with the real port once it is open */
};

struct listener {
    struct listener_addr addr;
    char asked[LISTENER_TEXT_MAX]; /* the same as it was asked for, with port 0 */
    unsigned count;                /* sockets: one per worker, or 1 when all workers share it */
    int *fds;                      /* count of them; -1: closed */
    bool given; /* another's, who goes on listening when we do not: nothing is done to it */
    char name[LISTENER_NAME_MAX]; /* ... and what that one calls it */
    bool *suspended;              /* count of them: see listener_suspend() */
    dev_t unix_dev;               /* which file at the path is ours */
    ino_t unix_ino;
    struct timespec unix_made;
};

/*
 * Understand `IPV4:PORT`, `[IPV6]:PORT`, `unix:PATH`, `unix:@NAME` (abstract, unix(7)) or `fd:NAME`.
 * Pure. 0, or -EINVAL with the reason in `error` (LISTENER_ERROR_MAX bytes), worded to follow the quoted
 * text.
 */
int listener_parse(const char *text, struct listener_addr *addr, char *error);

/*
 * Is it an address that nobody but this machine's users reaches: a unix socket, or one of loopback?
 */
bool listener_is_local(const struct listener_addr *addr);

/* A name in the abstract namespace of unix(7), not a path? */
bool listener_is_abstract(const struct listener_addr *addr);

/* addr->text from the numbers, port included; of a TCP address. */
void listener_describe(struct listener_addr *addr);

/*
 * Could `addr` be listened on, as far as that shows without taking the port: does the kernel have
 * such sockets, this machine the address, and is there a directory for the path? 0, or -errno with
 * `error`.
 */
int listener_check(const struct listener_addr *addr, char *error);

/*
 * Open the sockets of `addr` for so many workers (at least 1), listening. Another server on the
 * address is found out, even one of the same user that would share it (SO_REUSEPORT). A stale unix
 * path is removed once connect() is refused there, under a lock of its directory. 0, or -errno with
 * one line in `error` that names the cause and the way out, and nothing left behind.
 */
int listener_open(struct listener *l, const struct listener_addr *addr, unsigned workers,
                  char *error);

/*
 * What is socket `fd`? 0 and its address when it listens for stream connections; or -errno with the
 * reason in `error`, worded to follow what it is called.
 */
int listener_inspect(int fd, struct listener_addr *addr, char *error);

/* Are these the same place? */
bool listener_same_place(const struct listener_addr *a, const struct listener_addr *b);

/*
 * Make a listener of `count` sockets on `addr` that listen already, in place of opening it as `asked`
 * (of which it has .tls and .proxy); they are its own from now on. 0, or -errno with `error`, and
 * they are as they were.
 */
int listener_adopt(struct listener *l, const struct listener_addr *asked,
                   const struct listener_addr *addr, const int *fds, unsigned count, char *error);

/* Others have it, by other copies: at the end its path stays. */
void listener_disown(struct listener *l);

/*
 * From now on the kernel takes no more than `bytes` of a connection's output that it has not sent
 * (TCP_NOTSENT_LOWAT, tcp(7)); accepted sockets inherit it. 0: as much as it likes. TCP alone: a
 * unix socket has its buffer. 0 or -errno.
 */
int listener_limit_unsent(const struct listener *l, uint32_t bytes);

/* Socket `i`, of which there are .count; -1 when it is closed. */
int listener_fd(const struct listener *l, unsigned i);

/*
 * Does worker `worker` of so many accept from socket `i`? There are as many of both, unless it is
 * one that is shared, or the number of workers has changed since they were opened. No socket can be
 * closed then without its queue being lost: each has a worker, if need be one that has others.
 */
static inline bool listener_serves(const struct listener *l, unsigned i, unsigned worker,
                                   unsigned workers)
{
    return workers >= l->count ? i == worker % l->count : i % workers == worker;
}

/*
 * Close this process's copies of all sockets but the `count` of `fds`, a worker's own; what it does
 * first after the fork.
 */
void listener_keep_only(struct listener *l, const int *fds, unsigned count);

/* Close this process's copies of all sockets; the memory stays. */
void listener_close(struct listener *l);

/* Remove the unix path, if it is still ours: when the server ends. 0 or -errno. */
int listener_unlink(const struct listener *l);

/* Free what listener_open() allocated, closing what is still open. */
void listener_destroy(struct listener *l);

/*
 * Stop listening on socket `at`, of a dead worker, so that new clients are hashed to the others. Its
 * queue is lost. The port stays bound: resuming needs no privilege. False, and nothing done, when
 * it is the last one.
 */
bool listener_suspend(struct listener *l, unsigned at);

/* Listen again on a suspended socket; nothing to do for any other. 0 or -errno. */
int listener_resume(struct listener *l, unsigned at);

#endif
