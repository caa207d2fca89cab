/* SPDX-License-Identifier: MIT */
/*
 * fake_core.h - a core that records what a backend reports and checks the backend's side of the
 * contract at every upcall: only inside wait(), nothing while receiving is off, nothing after
 * detach, one completion a send. Used by the tests beside it.
 *
 * A failed check prints what broke and aborts: it can happen where cmocka could not unwind.
 */
#ifndef BIVALVE_FAKE_CORE_H
#define BIVALVE_FAKE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend.h"
#include "sim.h"

#define FAKE_FDS        512
#define FAKE_RECV_BYTES 4096
#define FAKE_LISTENERS  4

/* What a connection does by itself in input(). */
enum fake_reaction {
    FAKE_KEEP,         /* record */
    FAKE_PAUSE,        /* record, and turn receiving off */
    FAKE_PAUSE_RESUME, /* record, turn receiving off and on again */
    FAKE_DETACH,       /* record, and close the connection */
    FAKE_RANDOM_PAUSE, /* record; every third time turn receiving off */
    FAKE_ECHO,         /* send it back; receiving is off meanwhile */
};

struct fake_conn {
    bool open; /* between attach and the end of detach */
    bool receiving, detaching, sending, eof;
    bool detach_in_eof, detach_in_sent;
    const char *again; /* sent again as soon as it has been sent; NULL: nothing is */
    size_t again_len;
    enum fake_reaction reaction;
    int err;  /* failed()'s, or a send's */
    char *in; /* all that was received */
    size_t in_len, in_cap;
    size_t expect, input_max; /* what was said of the next input; the longest */
    unsigned inputs, eofs, sents;
    const char *out; /* the rest of what is being sent */
    size_t out_len, in_flight;
    size_t piece; /* cut into segments of so many bytes; 0: one */
    unsigned sent_zero;
    bool connecting, keep_when_failed;
    unsigned connects;
    bool out_keep; /* the test sends what is left itself: last_sent tells of this send */
    int last_sent, peer;
    size_t drained; /* bytes its client has taken: the test's */
    char *echo;     /* owned copy of what is being echoed */
    uint32_t id;    /* distinguishes users of one fd */
};

struct fake {
    const struct backend_ops *ops;
    const char *variant;
    struct backend *be;
    struct slot_table slots;
    struct stats stats;
    bool in_wait;
    uint32_t next_id;
    uint64_t random;
    struct fake_conn conn[FAKE_FDS];
    int opened[FAKE_FDS]; /* fds reported by accepted(), in order, not taken by the test yet */
    unsigned opened_count, opens[FAKE_LISTENERS];
    unsigned listen_offs[FAKE_LISTENERS];
    bool listening[FAKE_LISTENERS]; /* accepted() and accept_failed() may come */
    bool off_pending[FAKE_LISTENERS];
    unsigned accept_errors;
    unsigned off_after_errors; /* the listener goes off after so many; 0: it stays */
    int accept_err, lfd;
    bool reject;          /* accepted connections are closed at once */
    bool errors_expected; /* the test makes the backend's system calls fail */
    struct sim_script script;
    uint64_t sim_random;
    enum fake_reaction reaction; /* of new connections */
    unsigned connections_max;    /* listener 0 goes off when so many are open; 0: never */
};

/* Open the backend named by `spec` ("io_uring:entries=2"): 0, or -errno and the backend's words in
 * `error` (BACKEND_TEXT_MAX bytes). */
int fake_open(struct fake *f, const char *spec, char *error);

/* From now on this one is tested: after another was opened, or failed to open. */
void fake_is(struct fake *f);

/* Detach what is left, check that nothing is in flight or stale, close. */
void fake_close(struct fake *f);

/* The backend called so, sim too; NULL: not compiled in. */
const struct backend_ops *fake_find(const char *name, size_t len);

/* One wait(); -1: for ever. */
void fake_turn(struct fake *f, int64_t timeout_ms);
void fake_turn_us(struct fake *f, int64_t timeout_us);

/* Take turns until *what >= least; abort when that does not come to pass. */
void fake_until_(struct fake *f, const unsigned *what, unsigned least, const char *text);
#define fake_until(f, what, least) fake_until_(f, &(what), least, #what)

/* Turns enough for whatever must not happen to happen. */
void fake_settle(struct fake *f);

/* A connected pair of stream sockets, of TCP over loopback or of AF_UNIX: [0] is the server's end,
 * non-blocking, the other blocks. */
void fake_pair(bool tcp, int pair[2]);

/* Give fd to the backend, as if it had just been accepted. */
struct fake_conn *fake_attach(struct fake *f, int fd);

/* Begin to connect a new socket; attached when that has succeeded, else closed. As the member. */
int fake_connect(struct fake *f, int fd, const struct sockaddr *addr, socklen_t len);

/* As listen_ctl(). */
int fake_listen(struct fake *f, unsigned index, int lfd, bool on, uint32_t burst);

/* Send buf as the core does: at once, or the rest as sent() tells. */
void fake_send(struct fake *f, int fd, const char *buf, size_t len);

void fake_recv(struct fake *f, int fd, bool on);

/* Detach; closes fd at once or when detached() comes. */
void fake_detach(struct fake *f, int fd);

uint64_t fake_random(uint64_t *state);

/* Deterministic bytes: of stream `id` at position `pos`. */
static inline char fake_byte(uint32_t id, size_t pos)
{
    return (char)((id * 2654435761u + (uint32_t)pos * 40503u) >> 13);
}

/* Is everything conn received so far the stream `id` from `start` on? */
bool fake_stream_is(const struct fake_conn *conn, uint32_t id, size_t start);

#endif
