/* SPDX-License-Identifier: MIT */
/*
 * loop.c - the event loop put together and taken apart, and one iteration of it.
 */
#include "config.h"

#include "loop.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdio.h>
#include <string.h>

#include "accept.h"
#include "log.h"
#include "readers.h"
#include "stream.h"
#include "trace.h"

/*
 * Fds that are not for connections: log, listeners, the backend's own, a few to be able to do
 * anything at all.
 */
#define LOOP_FDS_RESERVED 64

#define LOOP_TRIM_MS 1000

/*
 * Room in a block of what is sent later: for an answer with a short body. With its header it is an
 * odd number of cache lines, so that blocks do not compete for the same sets of the caches.
 */
#define LOOP_SENT_BLOCK_BYTES 416

static uint32_t loop_connections_max(const struct settings *set, uint32_t fds)
{
    uint32_t room = fds > 2 * LOOP_FDS_RESERVED ? fds - LOOP_FDS_RESERVED : MAX(fds / 2, 1);

    if (set->serves_files) /* --open-file-cache has at most half of the fds: server_setup.c */
        room = MAX((room - MIN(room, set->open_file_cache)) / 2, 1);
    return set->max_connections ? MIN(set->max_connections, room) : room;
}

/* ---- room for others ---- */

struct loop_search {
    uint32_t nearest; /* ticks to the nearest deadline of all that hold blocks */
    uint32_t near;    /* ticks to a deadline that is taken to be as near */
    size_t most;      /* bytes that one of those holds */
    size_t freed, wanted;
    bool fresh; /* those too whose send has hardly begun */
};

/* Does it hold blocks that a close would give back, and may it be closed? */
static bool loop_is_holder(const struct loop *l, const struct slot *s,
                           const struct loop_search *search)
{
    return s != l->current && s->state != STREAM_DETACHING && stream_held(l, s) > 0 &&
           (search->fresh || !stream_send_is_fresh(l, s));
}

static uint32_t loop_deadline(const struct loop *l, const struct slot *s)
{
    return timer_is_set(&s->timer) ? s->timer.deadline - l->timers.now : UINT32_MAX;
}

static void loop_find_nearest(struct loop *l, struct slot *s, void *arg)
{
    struct loop_search *search = arg;

    if (loop_is_holder(l, s, search))
        search->nearest = MIN(search->nearest, loop_deadline(l, s));
}

static void loop_find_most(struct loop *l, struct slot *s, void *arg)
{
    struct loop_search *search = arg;

    if (loop_is_holder(l, s, search) && loop_deadline(l, s) <= search->near)
        search->most = MAX(search->most, stream_held(l, s));
}

static void loop_close_one(struct loop *l, struct slot *s, void *arg)
{
    struct loop_search *search = arg;

    if (search->freed >= search->wanted || !loop_is_holder(l, s, search) ||
        loop_deadline(l, s) > search->near || stream_held(l, s) <= search->most / 2)
        return;
    search->freed += stream_held(l, s);
    l->stats->limit_buffers++;
    stream_reset(l, s);
}

/* Close some, those that search->fresh says, until as much as is wanted is free. */
static void loop_close_some(struct loop *l, struct loop_search *search)
{
    const uint32_t apart = l->set->write_timeout_ms / 4 / LOOP_TICK_MS;
    size_t before;

    do {
        before = search->freed;
        search->nearest = UINT32_MAX;
        search->most = 0;
        loop_each(l, loop_find_nearest, search);
        search->near = search->nearest < UINT32_MAX - apart ? search->nearest + apart : UINT32_MAX;
        loop_each(l, loop_find_most, search);
        loop_each(l, loop_close_one, search);
    } while (search->freed < search->wanted && search->freed > before);
}

/*
 * Blocks are used up: of the connections that hold some, those that are nearest to their deadline,
 * having made no progress for longest, are closed, until a sixteenth is free; of those whose
 * deadlines are apart by less than a quarter of the time limit, those first that hold most. Where a
 * backend sends later than it is told to, whoever has just been answered holds something, too: they
 * are closed only where there is nobody else.
 */
static bool loop_reclaim(void *arg)
{
    struct loop *l = arg;
    struct loop_search search = {.wanted = MAX(l->budget.max / 16, l->out_pool.block_size)};

    loop_close_some(l, &search);
    if (search.freed == 0) {
        search.fresh = true;
        loop_close_some(l, &search);
    }
    if (search.freed == 0)
        return false;
    log_limited(
        LOG_LEVEL_WARN,
        "connections hold %zu bytes (--max-buffer-bytes): those without progress are closed",
        l->budget.used);
    return true;
}

int loop_init(struct loop *l, const struct settings *set, const struct loop_hooks *hooks,
              struct stats *stats, const struct backend_ops *ops, const char *variant, uint32_t fds,
              char *error)
{
    memset(l, 0, sizeof(*l));
    l->set = set;
    l->hooks = hooks;
    l->stats = stats;
    fds = MIN(fds, SLOT_TABLE_MAX);
    l->acceptor.connections_max = loop_connections_max(set, fds);

    int rc = slot_table_init(&l->slots, fds, ops->slot_priv_size);
    if (rc < 0) {
        snprintf(error, BACKEND_TEXT_MAX,
                 "cannot reserve a slot table for %u fds: %s (lower the fd limit or raise the "
                 "address-space limit)",
                 fds, strerror(-rc));
        return rc;
    }
    l->budget =
        (struct bufpool_budget){.max = set->max_buffer_bytes, .reclaim = loop_reclaim, .arg = l};
    bufpool_init(&l->out_pool, hooks->output_block_bytes, &l->budget);
    bufpool_init(&l->sent_pool, LOOP_SENT_BLOCK_BYTES, &l->budget);
    clock_update(&l->clock);
    l->clock_stale = true;
    timer_wheel_init(&l->timers, LOOP_TICK_SHIFT, l->clock.now_ms);

    const struct backend_config cfg = {
        .events = {.accepted = acceptor_on_accepted,
                   .accept_failed = acceptor_on_failed,
                   .listen_off = acceptor_on_listen_off,
                   .connected = stream_on_connected,
                   .input = stream_on_input,
                   .eof = stream_on_eof,
                   .failed = stream_on_failed,
                   .sent = stream_on_sent,
                   .detached = stream_on_detached},
        .arg = l,
        .slots = &l->slots,
        .stats = stats,
        .variant = variant,
        .recv_buffer_bytes = set->recv_buffer_bytes,
        .connections_max = l->acceptor.connections_max,
    };
    rc = ops->open(&cfg, &l->be, error);
    if (rc < 0) {
        slot_table_destroy(&l->slots);
        bufpool_destroy(&l->out_pool);
        bufpool_destroy(&l->sent_pool);
    }
    return rc;
}

void loop_destroy(struct loop *l)
{
    readers_free(l->readers); /* they wake the backend */
    l->be->ops->close(l->be);
    bufpool_destroy(&l->out_pool);
    bufpool_destroy(&l->sent_pool);
    slot_table_destroy(&l->slots);
}

/* The earlier of two times from now, -1 is never. */
static int64_t loop_earlier(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

static void loop_trim(struct loop *l)
{
    bool pending = false, more = false;
    size_t bytes = slot_table_trim(&l->slots, &pending);

    bytes += bufpool_trim(&l->out_pool) + bufpool_trim(&l->sent_pool);
    bytes += l->hooks->trim(l, &more);
    l->trim_pending =
        pending || more || bufpool_trimmable(&l->out_pool) || bufpool_trimmable(&l->sent_pool);
    if (!l->trim_pending) { /* the last time: what is not ours, too */
        bytes += backend_trim(l->be);
#ifdef __GLIBC__
        malloc_trim(0);
#endif
    }
    l->trim_pending |= l->trim_again;
    l->stats->pages_returned += bytes;
    l->trim_ms = l->clock.now_ms + LOOP_TRIM_MS;
}

void loop_update(struct loop *l)
{
    /* An upcall of the wait before may have read it: once an iteration is enough. */
    if (l->clock_stale)
        clock_update(&l->clock);
    l->clock_stale = true;
    l->stats->slots_used = l->slots.used;
}

/* What time has brought. */
static void loop_expire(struct loop *l)
{
    loop_update(l);
    timer_expire(&l->timers, l->clock.now_ms, stream_on_timer, l);
    acceptor_update(l);
    if (unlikely(atomic_load_explicit(&l->reads_done, memory_order_relaxed)))
        stream_collect_reads(l);
    if (unlikely(l->budget.used + l->be->held_bytes > l->budget.max && l->be->held_bytes))
        loop_reclaim(l);
    /* Connections that stay open can have needed many blocks at once. */
    if (unlikely(bufpool_has_slack(&l->out_pool) || bufpool_has_slack(&l->sent_pool)))
        l->trim_pending = true;
    if (l->trim_pending && l->clock.now_ms >= l->trim_ms)
        loop_trim(l);
}

/* Milliseconds until time brings something, -1: never. */
static int64_t loop_due_ms(const struct loop *l)
{
    int64_t due_ms = timer_next_ms(&l->timers, l->clock.now_ms);

    if (unlikely(acceptor_is_failing(l)))
        due_ms = loop_earlier(due_ms, acceptor_due_ms(l));
    if (l->trim_pending)
        due_ms = loop_earlier(
            due_ms, l->trim_ms > l->clock.now_ms ? (int64_t)(l->trim_ms - l->clock.now_ms) : 0);
    return due_ms;
}

int loop_iterate(struct loop *l, int64_t max_us)
{
    loop_expire(l);
    int64_t due_us = l->hooks->before_wait(l);
    int64_t due_ms = loop_due_ms(l); /* the program's work has set deadlines, too */

    if (due_ms >= 0)
        due_us = loop_earlier(due_us, due_ms * 1000);
    int rc = backend_wait(l->be, loop_earlier(due_us, max_us));
    l->stats->iterations++;
    TRACE0(iteration);
    return rc;
}

void loop_each(struct loop *l, void (*f)(struct loop *l, struct slot *s, void *arg), void *arg)
{
    for (uint32_t g = 0; g < l->slots.groups; g++) {
        if (!l->slots.group[g].live)
            continue;
        uint32_t end = MIN((g + 1) * SLOT_GROUP, l->slots.cap);
        for (uint32_t fd = g * SLOT_GROUP; fd < end; fd++)
            if (slot_used(slot_get(&l->slots, (int)fd)))
                f(l, slot_get(&l->slots, (int)fd), arg);
    }
}

static void loop_drain_one(struct loop *l, struct slot *s, void *arg)
{
    (void)arg;
    if (s->state == STREAM_OPEN)
        stream_protocol(l, s)->drain(l, s);
}

void loop_drain(struct loop *l)
{
    l->draining = true;
    l->patient = false;
    loop_update(l);
    loop_each(l, loop_drain_one, NULL);
    acceptor_drain(l);
}

void loop_retire(struct loop *l, uint64_t kept)
{
    l->draining = true;
    l->patient = true;
    loop_update(l);
    acceptor_retire(l, kept);
}

static void loop_abort_one(struct loop *l, struct slot *s, void *arg)
{
    (void)arg;
    stream_close(l, s);
}

void loop_abort(struct loop *l)
{
    loop_each(l, loop_abort_one, NULL);
}
