/* SPDX-License-Identifier: MIT */
/*
 * core.c - a worker's state put together and taken apart, and one turn of its loop.
 */
#include "config.h"

#include "core.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend.h"
#include "conn.h"

/*
 * Fds that are not for connections: log, listeners, the engine's own, a few to be able to do
 * anything at all.
 */
#define CORE_FDS_RESERVED 64

int core_init(struct core *c, const struct settings *set, const struct dataset *data,
              struct stats *stats, const struct backend_ops *ops, const char *variant, uint32_t fds,
              char *error)
{
    memset(c, 0, sizeof(*c));
    c->set = set;
    c->data = data;
    c->stats = stats;
    c->run_head = c->run_tail = -1;
    for (unsigned i = 0; i < CORE_LISTENERS_MAX; i++)
        c->listeners[i].fd = -1;

    fds = MIN(fds, SLOT_TABLE_MAX);
    uint32_t room = fds > 2 * CORE_FDS_RESERVED ? fds - CORE_FDS_RESERVED : MAX(fds / 2, 1);
    c->connections_max = set->max_connections ? MIN(set->max_connections, room) : room;

    int rc = slot_table_init(&c->slots, fds, ops->slot_priv_size);
    if (rc < 0) {
        snprintf(error, BACKEND_TEXT_MAX,
                 "cannot reserve a slot table for %u fds: %s (lower the fd limit or raise the "
                 "address-space limit)",
                 fds, strerror(-rc));
        return rc;
    }
    bufpool_init(&c->in_pool, conn_input_block_bytes(set), 0);
    bufpool_init(&c->out_pool, CONN_OUTPUT_BLOCK_BYTES, 0);
    clock_update(&c->clock);
    c->clock_stale = true;
    timer_init(&c->timers, &c->slots, c->clock.now_ms);

    const struct backend_config cfg = {
        .core = c,
        .slots = &c->slots,
        .stats = stats,
        .variant = variant,
        .recv_buffer_bytes = set->recv_buffer_bytes,
        .connections_max = c->connections_max,
    };
    rc = ops->open(&cfg, &c->be, error);
    if (rc < 0) {
        slot_table_destroy(&c->slots);
        bufpool_destroy(&c->in_pool);
        bufpool_destroy(&c->out_pool);
    }
    return rc;
}

void core_destroy(struct core *c)
{
    c->be->ops->close(c->be);
    bufpool_destroy(&c->in_pool);
    bufpool_destroy(&c->out_pool);
    slot_table_destroy(&c->slots);
}

int core_turn(struct core *c, int64_t max_ms)
{
    conn_run(c);
    int64_t due_ms = conn_tick(c);
    if (due_ms < 0 || (max_ms >= 0 && max_ms < due_ms))
        due_ms = max_ms;
    c->in_wait = true;
    int rc = c->be->ops->wait(c->be, due_ms);
    c->in_wait = false;
    c->stats->turns++;
    return rc;
}
