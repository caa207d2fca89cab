/* SPDX-License-Identifier: MIT */
/*
 * fake_core.h - a core that records what an engine reports and checks the engine's side of the
 * contract at every upcall: only inside wait(), nothing while receiving is off, nothing after
 * detach, one completion a send. Used by test_engine.c alone.
 *
 * A failed check prints what broke and aborts: it can happen where cmocka could not unwind.
 */
#ifndef BIVALVE_FAKE_CORE_H
#define BIVALVE_FAKE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend.h"

#define FAKE_FDS        512
#define FAKE_RECV_BYTES 4096
#define FAKE_LISTENERS  4

/* What a connection does by itself in conn_on_input(). */
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
    int err;  /* conn_on_error's */
    char *in; /* all that was received */
    size_t in_len, in_cap;
    unsigned inputs, eofs, sents;
    const char *out; /* the rest of what is being sent */
    size_t out_len, lent;
    char *echo;  /* owned copy of what is being echoed */
    uint32_t id; /* distinguishes users of one fd */
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
    int opened[FAKE_FDS]; /* fds reported by conn_on_open(), in order, not taken by the test yet */
    unsigned opened_count, opens[FAKE_LISTENERS];
    unsigned listen_offs[FAKE_LISTENERS];
    unsigned accept_errors, accept_stops;
    int accept_err, lfd;
    bool errors_expected;        /* the test makes the engine's system calls fail */
    enum fake_reaction reaction; /* of new connections */
    unsigned connections_max;    /* listener 0 goes off when so many are open; 0: never */
};

/* Open the engine named by `spec` ("io_uring:entries=2"): 0, or -errno and the engine's words in
 * `error` (BACKEND_TEXT_MAX bytes). */
int fake_open(struct fake *f, const char *spec, char *error);

/* Detach what is left, check that nothing is in flight or stale, close. */
void fake_close(struct fake *f);

/* One wait(). */
void fake_turn(struct fake *f, int64_t timeout_ms);

/* Take turns until *what >= least; abort when that does not come to pass. */
void fake_until_(struct fake *f, const unsigned *what, unsigned least, const char *text);
#define fake_until(f, what, least) fake_until_(f, &(what), least, #what)

/* Turns enough for whatever must not happen to happen. */
void fake_settle(struct fake *f);

/* A connected pair of stream sockets, of TCP over loopback or of AF_UNIX: [0] is the server's end,
 * non-blocking, the other blocks. */
void fake_pair(bool tcp, int pair[2]);

/* Give fd to the engine, as if it had just been accepted. */
struct fake_conn *fake_attach(struct fake *f, int fd);

/* Send buf as the core does: at once, or the rest as conn_on_sent() tells. */
void fake_send(struct fake *f, int fd, const char *buf, size_t len);

void fake_recv(struct fake *f, int fd, bool on);

/* Detach; closes fd at once or when conn_on_detached() comes. */
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
