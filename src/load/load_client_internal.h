/* SPDX-License-Identifier: MIT */
/*
 * load_client_internal.h - what load_lifetime.c (put together, taken apart), load_conn.c (what is sent
 * and comes back), load_answer.c (what becomes of requests; load_answer.h), load_connect.c
 * (connections are opened), load_pace.c (when what is begun) and load_rest.c (when nothing is) share.
 */
#ifndef BIVALVE_LOAD_CLIENT_INTERNAL_H
#define BIVALVE_LOAD_CLIENT_INTERNAL_H

#include "load_client.h"
#include "load_options.h"

/* load_conn.flags */
enum {
    CONN_FREE = 1 << 0,     /* in the free list, even while it is not open */
    CONN_LAST = 1 << 1,     /* no answer follows on this connection: it is to be closed */
    CONN_BAD_BODY = 1 << 2, /* this answer's body has differed already */
    CONN_TRYING = 1 << 3,   /* `since` is of an earlier try of the same connection */
    CONN_ANSWERED = 1 << 4, /* there was an answer on it */
    CONN_IDLE = 1 << 5,     /* one request, then it is kept open */
    CONN_KEPT = 1 << 6,     /* ... which it is */
};

/* No time of a client. */
#define CLIENT_NEVER (UINT64_MAX / 2)

extern const struct protocol client_protocol;

static inline bool client_is_open_loop(const struct load_client *c)
{
    return c->plan.rate_from > 0;
}

static inline struct load_conn *client_conn(const struct load_client *c, uint32_t index)
{
    return (struct load_conn *)(void *)(c->conns + (size_t)index * c->conn_size);
}

static inline uint32_t client_index(const struct load_client *c, const struct load_conn *conn)
{
    return (uint32_t)((size_t)((const char *)conn - c->conns) / c->conn_size);
}

/* Its slot; it has one, unless it is waiting. */
static inline struct slot *client_slot(const struct load_client *c, const struct load_conn *conn)
{
    return slot_get(&c->loop.slots, conn->fd);
}

/* How many there are, idle ones included. */
static inline uint32_t client_conns(const struct load_client *c)
{
    return c->plan.connections + c->plan.idle;
}

/* Behind the others in the list. */
static inline void client_list_push(struct load_client *c, struct load_list *list,
                                    struct load_conn *conn)
{
    uint32_t index = client_index(c, conn);

    conn->next[list->link] = LOAD_NOBODY;
    if (list->first == LOAD_NOBODY)
        list->first = index;
    else
        client_conn(c, list->last)->next[list->link] = index;
    list->last = index;
}

/* The first of the list, which it leaves; NULL: there is none. */
static inline struct load_conn *client_list_pop(struct load_client *c, struct load_list *list)
{
    if (list->first == LOAD_NOBODY)
        return NULL;
    struct load_conn *conn = client_conn(c, list->first);
    list->first = conn->next[list->link];
    return conn;
}

/* ---- load_conn.c ---- */

/* Send what is unsent of the connection's requests. False: it is gone. */
bool client_send(struct load_client *c, struct load_conn *conn, uint64_t now);

/* What kind of failure the end of a connection is that TLS has failed on (EPROTO). */
enum load_failure client_tls_failure(void);

/* ---- load_connect.c ---- */

#define CLIENT_CONNECTING_MAX 128 /* at once: a listener's queue is not endless */

/* It is not open any more: let it wait for its turn, if there is still something to do. */
void client_wait(struct load_client *c, struct load_conn *conn);

/* It could not be opened: `err` says why. */
void client_connect_failed(struct load_client *c, struct load_conn *conn, int err);

/* No connection is begun for a while, longer each time. */
void client_back_off(struct load_client *c, uint64_t now);

/* When the ramp lets the next connection go; CLIENT_NEVER: all have been let go. */
static inline uint64_t client_ramp(const struct load_client *c)
{
    if (c->begun >= c->plan.connections)
        return CLIENT_NEVER;
    return c->start_us + c->plan.options->ramp_us * c->begun / c->plan.connections;
}

/* May another connection be begun now? */
static inline bool client_may_connect(const struct load_client *c, uint64_t now)
{
    return c->waiting.first != LOAD_NOBODY && c->connecting < CLIENT_CONNECTING_MAX &&
           now >= c->connect_at_us;
}

/* Let those go that the ramp does, and open what may be now. */
void client_connect_waiting(struct load_client *c, uint64_t now);

/* ---- load_pace.c ---- */

/* Is there another request that is to be sent at or after `now`? */
static inline bool client_has_more(const struct load_client *c, uint64_t now)
{
    if (c->quota_left == 0 || c->stopped || c->resting)
        return false;
    return (client_is_open_loop(c) ? c->due_us : now) < c->end_us;
}

/* The connection is open: begin the requests that are due on it, and send what is unsent. */
void client_feed(struct load_client *c, struct load_conn *conn, uint64_t now);

/* The open loop's schedule begins then, at the plan's rate, and goes to `rate_to` over the duration. */
void client_set_schedule(struct load_client *c, uint64_t begin_us, double rate_to);

/* struct loop_hooks' before_wait. */
int64_t client_before_wait(struct loop *l);

/* ---- load_rest.c ---- */

/* Does the closed loop take turns? */
static inline bool client_takes_turns(const struct load_client *c)
{
    return load_turns_some(&c->plan.options->turns) && !client_is_open_loop(c) && !c->gathering;
}

/* It rests until the turn that `now` is in, or the next one. */
void client_set_turn(struct load_client *c, uint64_t now);

/* A turn, or a rest, begins if it is time for that. */
void client_take_turn(struct load_client *c, uint64_t now);

/* When the next one does; CLIENT_NEVER: once the last answer is there. */
uint64_t client_next_turn(const struct load_client *c);

/* The time in which there was load, of all that has been measured until then; never 0. */
uint64_t client_own_us(const struct load_client *c, uint64_t until);

#endif
