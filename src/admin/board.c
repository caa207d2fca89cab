/* SPDX-License-Identifier: MIT */
/*
 * board.c - see board.h.
 */
#include "config.h"

#include "board.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "util.h"

static size_t board_size(unsigned seats)
{
    return sizeof(struct board) + seats * sizeof(struct board_worker);
}

struct board *board_map(unsigned seats)
{
    void *p =
        mmap(NULL, board_size(seats), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    struct board *b = p;
    b->state = BOARD_STARTING;
    b->pid = getpid();
    b->started_s = time(NULL);
    b->started_ms = clock_monotonic_ms();
    b->seats = seats;
    return b;
}

void board_unmap(struct board *b)
{
    if (b)
        munmap(b, board_size(b->seats));
}

void board_set_serving(struct board *b, const struct backend_ops *ops, const char *features)
{
    snprintf(b->features, sizeof(b->features), "%s", features);
    b->ops = ops; /* after the features: a reader looks at it first */
    b->state = BOARD_SERVING;
}

bool board_shows(const struct board *b, unsigned k)
{
    return b->worker[k].pid || b->worker[k].wanted;
}

bool board_is_healthy(const struct board *b)
{
    if (b->state != BOARD_SERVING)
        return false;
    for (unsigned k = 0; k < b->used; k++)
        if (b->worker[k].pid && b->worker[k].serving)
            return true;
    return false;
}

const char *board_state_name(const struct board *b)
{
    static const char *const names[] = {
        [BOARD_STARTING] = "starting",
        [BOARD_SERVING] = "serving",
        [BOARD_DRAINING] = "draining",
    };

    return names[MIN(b->state, ARRAY_LEN(names) - 1)];
}
