/* SPDX-License-Identifier: MIT */
/*
 * sim.h - the backend of the tests: no kernel, no clock; every split, short send, delay and failure
 * is chosen by the test, so that each run of the core can be repeated. Not part of the server.
 *
 * It also checks the core's side of the contract: sends of one connection do not overlap, what is
 * in flight is not changed or given back early, nothing is asked of a connection after detach.
 */
#ifndef BIVALVE_SIM_H
#define BIVALVE_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend.h"

#define SIM_LISTENER 0x7fffffff /* as a listener's fd: clients come by sim_connect() alone */

enum sim_choice {
    /*
     * how many of `limit` queued bytes to report in one input(): 1..limit; 0: none in this
     * iteration
     */
    SIM_INPUT,
    SIM_SEND, /* of `limit` bytes offered: 1..limit taken at once; 0: pending; -errno fails */
    /*
     * of `limit` pending bytes: 1..limit complete; 0: not in this iteration; -EAGAIN: none was
     * taken but there is room; other -errno: fails
     */
    SIM_SENT,
    SIM_DETACH,     /* iterations until a detach is complete: 0 is at once */
    SIM_ATTACH,     /* 0, or -errno: attach fails */
    SIM_LISTEN_OFF, /* iterations until a listener is off: 0 is at once; `fd` is its index */
    SIM_CONNECT,    /* 0: it is done; 1: not in this iteration; -errno: it has failed */
};

struct sim_script {
    int (*choose)(void *arg, int fd, enum sim_choice what, int limit);
    void *arg;
};

/* Everything goes well and at once. */
extern const struct sim_script sim_script_plain;

extern const struct backend_ops sim_backend_ops;

/* From now on the script decides. It must outlive the backend. */
void sim_set_script(struct backend *be, const struct sim_script *script);

/*
 * A new client: returns its fd, which the next wait() reports. -errno when the process has no fds.
 */
int sim_connect(struct backend *be);

/* The same, to listener `index`. */
int sim_connect_to(struct backend *be, unsigned index);

/* The next accept on listener `index` fails with `err`, as long as it is set; 0: no longer. */
void sim_accept_error(struct backend *be, unsigned index, int err);

/* Is the listener on? */
bool sim_is_listening(struct backend *be, unsigned index);

/* Queue input; delivered by wait() while receiving is on. */
void sim_input(struct backend *be, int fd, const void *data, size_t len);

/* After the queued input: end of input, or an error. */
void sim_eof(struct backend *be, int fd);
void sim_error(struct backend *be, int fd, int err);

/* Everything the client of `fd` has been sent so far, also after the connection has ended. */
const char *sim_output(struct backend *be, int fd, size_t *len);

/* Bytes of the heap that the simulation itself holds for the client of `fd`. */
size_t sim_memory(struct backend *be, int fd);

/* Is the connection still there? Is receiving on? Has the server half-closed? */
bool sim_is_open(struct backend *be, int fd);
bool sim_is_receiving(struct backend *be, int fd);
bool sim_is_half_closed(struct backend *be, int fd);

/* Connections' operations that have not completed. 0 at the end, or something leaked. */
unsigned sim_in_flight(struct backend *be);

#endif
