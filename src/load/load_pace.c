/* SPDX-License-Identifier: MIT */
/*
 * load_pace.c - when a client begins requests, what it measures of the time, and when it has its end.
 *
 * Requests that are due in the open loop are in no queue: the schedule stands still at the first
 * that has no free connection, and goes on from there when one is.
 */
#include "config.h"

#include "load_answer.h"
#include "load_client_internal.h"
#include "loop.h"

#define PACE_STOP_US        1000000 /* after load_client_stop() answers are waited for so long */
#define PACE_TIMERS_LATE_US (4000 * LOOP_TICK_MS) /* no deadline of a connection is so late */

static inline struct load_client *pace_client(struct loop *l)
{
    return CONTAINER_OF(l, struct load_client, loop);
}

/* ---- what is due ---- */

/* When the open loop's next request is due. The schedule knows of no time but its own. */
static void pace_set_due(struct load_client *c)
{
    const struct load_turns *turns = &c->plan.options->turns;

    c->due_us = c->schedule_us + c->schedule.due_us;
    if (unlikely(load_turns_some(turns)))
        c->due_us =
            load_turns_after(turns, c->zero_us + c->schedule_us, c->schedule.due_us) - c->zero_us;
}

void client_set_schedule(struct load_client *c, uint64_t begin_us, double rate_to)
{
    c->schedule_us = begin_us;
    load_schedule_init(&c->schedule, c->plan.rate_from, rate_to, c->plan.duration_us,
                       !c->plan.options->uniform, c->plan.seed, c->plan.phase);
    pace_set_due(c);
}

static void pace_advance(struct load_client *c)
{
    load_schedule_advance(&c->schedule);
    pace_set_due(c);
    if (unlikely(c->warming) && c->due_us >= c->measure_us) {
        c->warming = false;
        client_set_schedule(c, c->measure_us, c->plan.rate_to);
    }
}

static inline void pace_count_due(struct load_client *c, uint64_t due, uint32_t count, uint64_t now)
{
    if (unlikely(due < c->measure_us))
        return;
    c->results->due += count;
    c->quota_left -= count;
    if (unlikely(c->quota_left == 0))
        c->sent_us = now;
}

/* A request that is due has waited so long for a free connection. */
static inline void pace_count_backlog(struct load_client *c, uint64_t due, uint64_t late)
{
    if (late > c->results->backlog_us_max && due >= c->measure_us)
        c->results->backlog_us_max = (uint32_t)MIN(late, UINT32_MAX);
}

/* So many more requests on an open connection that has room for them. */
static inline void pace_begin(struct load_client *c, struct load_conn *conn, uint32_t count,
                              uint64_t due, uint64_t now)
{
    uint32_t at = conn->head + conn->flying;

    conn->flying += (uint16_t)count;
    conn->unsent += (uint16_t)count;
    conn->written += count;
    c->flying += count;
    pace_count_due(c, due, count, now);
    if (at >= c->depth)
        at -= c->depth;
    for (; count > 0; count--) {
        conn->ring[at] = (struct load_flight){
            .due = (uint32_t)due, .sent = (uint32_t)now, .request = c->request};
        if (++c->request >= c->plan.requests->count)
            c->request = 0;
        if (++at == c->depth)
            at = 0;
    }
}

/* The open loop's next one. */
static void pace_begin_due(struct load_client *c, struct load_conn *conn, uint64_t now)
{
    uint64_t due = c->due_us, late = now - due;

    if (c->backlogged)
        pace_count_backlog(c, due, late);
    else if (due >= c->measure_us)
        hist_record(&c->results->lag, late);
    pace_begin(c, conn, 1, due, now);
    pace_advance(c);
}

/* How many more requests the connection may have in flight. */
static inline uint32_t pace_room(const struct load_client *c, const struct load_conn *conn)
{
    uint32_t most = c->plan.options->per_connection, room = c->depth - conn->flying;

    if (unlikely(conn->state != LOAD_CONN_OPEN || (conn->flags & CONN_LAST)))
        return 0;
    return most == 0 ? room : MIN(room, most - MIN(most, conn->written));
}

/* One request on an idle connection; when it has been answered there is one more. */
static void pace_feed_idle(struct load_client *c, struct load_conn *conn, uint64_t now)
{
    if (conn->flying == 0 && !(conn->flags & CONN_ANSWERED)) {
        pace_begin(c, conn, 1, now, now);
    } else if (conn->flying == 0 && !(conn->flags & CONN_KEPT)) {
        conn->flags |= CONN_KEPT;
        c->results->idle++;
        c->gathered_us = now;
    }
}

void client_feed(struct load_client *c, struct load_conn *conn, uint64_t now)
{
    if (unlikely(conn->flags & CONN_IDLE)) {
        pace_feed_idle(c, conn, now);
    } else if (client_is_open_loop(c)) {
        while (pace_room(c, conn) && client_has_more(c, now) && c->due_us <= now)
            pace_begin_due(c, conn, now);
        if (c->due_us > now)
            c->backlogged = false;
        if (pace_room(c, conn) && !(conn->flags & CONN_FREE)) {
            conn->flags |= CONN_FREE;
            client_list_push(c, &c->free, conn);
        }
    } else {
        uint32_t room = client_has_more(c, now) ? pace_room(c, conn) : 0;
        if (unlikely(room > c->quota_left))
            room = (uint32_t)c->quota_left;
        if (room)
            pace_begin(c, conn, room, now, now);
    }
    if (conn->unsent)
        client_send(c, conn, now);
}

/* The free connection that has been so for longest, or NULL. */
static struct load_conn *pace_free(struct load_client *c)
{
    struct load_conn *conn;

    while ((conn = client_list_pop(c, &c->free)) != NULL) {
        conn->flags &= (uint8_t)~CONN_FREE;
        if (pace_room(c, conn))
            return conn;
    }
    return NULL;
}

/* Send what is due now; what has waited for a connection for too long comes to nothing. */
static void pace_dispatch(struct load_client *c)
{
    uint64_t now = load_client_now(c);

    while (client_has_more(c, now) && c->due_us <= now) {
        struct load_conn *conn = pace_free(c);
        if (!conn) {
            c->backlogged = true;
            break;
        }
        pace_begin_due(c, conn, now);
        if (pace_room(c, conn)) {
            conn->flags |= CONN_FREE;
            client_list_push(c, &c->free, conn);
        }
        client_send(c, conn, now);
        now = load_client_now(c);
    }
    while (c->backlogged && client_has_more(c, now) &&
           c->due_us + c->plan.options->timeout_us <= now) {
        uint64_t due = c->due_us, late = now - due;
        if (due >= c->measure_us) {
            client_count_failure(c, LOAD_FAILURE_TIMEOUT,
                                 "no connection was free within --timeout");
            hist_record(&c->results->response, late);
        }
        pace_count_backlog(c, due, late);
        pace_count_due(c, due, 1, now);
        pace_advance(c);
    }
}

/* ---- the time that is measured ---- */

static uint64_t pace_us(struct timeval later, struct timeval earlier)
{
    return (uint64_t)((later.tv_sec - earlier.tv_sec) * 1000000 + later.tv_usec - earlier.tv_usec);
}

static void pace_begin_measuring(struct load_client *c)
{
    c->measuring = true;
    getrusage(RUSAGE_SELF, &c->usage);
    c->bytes_in = c->stats->bytes_in;
    c->bytes_out = c->stats->bytes_out;
    c->handshakes = c->stats->tls_handshakes;
    c->resumed = c->stats->tls_resumed;
}

static void pace_measured(struct load_client *c, uint64_t until)
{
    struct load_results *r = c->results;
    struct rusage usage;

    if (!c->measuring) /* stopped before */
        pace_begin_measuring(c);
    getrusage(RUSAGE_SELF, &usage);
    c->measured = true;
    r->begin_us = c->zero_us + c->measure_us;
    r->cpu_user_us = pace_us(usage.ru_utime, c->usage.ru_utime);
    r->cpu_system_us = pace_us(usage.ru_stime, c->usage.ru_stime);
    r->measured_us = until > c->measure_us ? until - c->measure_us : 1;
    r->bytes_in = c->stats->bytes_in - c->bytes_in;
    r->bytes_out = c->stats->bytes_out - c->bytes_out;
    r->tls_handshakes = c->stats->tls_handshakes - c->handshakes;
    r->tls_resumed = c->stats->tls_resumed - c->resumed;
    r->own_us = client_own_us(c, until);
    r->busiest = (double)(r->cpu_user_us + r->cpu_system_us) / (double)r->own_us;
}

static void pace_window(struct load_client *c, uint64_t now)
{
    if (unlikely(!c->measuring) && now >= c->measure_us)
        pace_begin_measuring(c);
    if (unlikely(!c->measured) && c->measuring && now >= c->end_us)
        pace_measured(c, c->end_us);
}

static uint64_t pace_earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/*
 * Once nothing is due any more: so long are answers waited for. Each request has a time limit of its
 * own; this is for those that were sent again.
 */
static uint64_t pace_give_up(const struct load_client *c)
{
    uint64_t timeout_us = c->plan.options->timeout_us;

    if (c->stopped)
        return c->end_us + PACE_STOP_US;
    return (c->plan.by_count ? MAX(c->last_us, c->sent_us) : c->end_us) + timeout_us;
}

/* When there is something to do next without anything having happened; CLIENT_NEVER: nothing. */
static uint64_t pace_next(const struct load_client *c, uint64_t now)
{
    uint64_t next = client_ramp(c);
    bool more = client_has_more(c, now);

    if (c->gathering)
        next = pace_earlier(next, c->gathered_us + c->plan.options->timeout_us + 1);
    else if (!c->measuring && !c->stopped)
        next = pace_earlier(next, c->measure_us);
    if (c->measuring && !c->measured)
        next = pace_earlier(next, c->end_us);
    if (client_takes_turns(c) && now < c->end_us)
        next = pace_earlier(next, client_next_turn(c));
    if (c->waiting.first != LOAD_NOBODY && c->connecting < CLIENT_CONNECTING_MAX && !c->resting)
        next = pace_earlier(next, c->connect_at_us);
    if (client_is_open_loop(c) && more && !c->gathering)
        next = pace_earlier(next, c->due_us + (c->backlogged ? c->plan.options->timeout_us : 0));
    if (!more && c->flying)
        next = pace_earlier(next, pace_give_up(c));
    return next;
}

int64_t client_before_wait(struct loop *l)
{
    struct load_client *c = pace_client(l);
    uint64_t now = load_client_now(c);

    if (now < c->start_us && !c->gathering)
        return (int64_t)(c->start_us - now);
    pace_window(c, now);
    if (unlikely(client_takes_turns(c)))
        client_take_turn(c, now);
    if (now >= client_ramp(c) || client_may_connect(c, now))
        client_connect_waiting(c, now);
    if (client_is_open_loop(c) && !c->gathering)
        pace_dispatch(c);

    now = load_client_now(c);
    uint64_t next = c->overdue ? now : pace_next(c, now);
    if (next >= CLIENT_NEVER)
        return -1;
    return next > now ? (int64_t)(next - now) : 0;
}

/* Requests are counted, none is in flight, and for the whole timeout there was nobody to take one. */
static bool pace_is_given_up(const struct load_client *c, uint64_t now)
{
    /* Who is connecting yet fails by then, and is counted. */
    uint64_t late_us = c->connecting ? PACE_TIMERS_LATE_US : 0;

    /* In the open loop those that are due wait for no longer than that, and are counted. */
    return c->plan.by_count && !client_is_open_loop(c) && c->flying == 0 && c->tried_us &&
           now > MAX(c->last_us, c->tried_us) + c->plan.options->timeout_us + late_us;
}

bool load_client_done(struct load_client *c)
{
    uint64_t now = load_client_now(c);
    bool over = !client_has_more(c, now) && (now >= c->end_us || c->quota_left == 0);

    if (!over) {
        /* If this process did not run for so long, what has come meanwhile is to be seen first. */
        bool again = c->overdue;
        c->overdue = pace_is_given_up(c, now);
        if (!c->overdue || !again)
            return false;
    }
    if (c->flying > 0 && now < pace_give_up(c))
        return false;
    if (!c->measured) /* where requests are counted, the last answer is the end */
        pace_measured(c, !c->plan.by_count || c->stopped ? c->end_us
                         : c->results->requests          ? c->last_us
                                                         : now);
    return true;
}
