/* SPDX-License-Identifier: MIT */
/*
 * load_turns.c - see load_turns.h.
 */
#include "config.h"

#include "load_turns.h"

#include <string.h>

#include "load_values.h"
#include "util.h"

#define TURNS_LENGTH_MIN_US 1000
#define TURNS_LENGTH_MAX_US 10000000
#define TURNS_TEXT_MAX      32

static uint64_t turns_round_us(const struct load_turns *t)
{
    return t->length_us * t->count;
}

static uint64_t turns_own_us(const struct load_turns *t)
{
    return t->length_us - t->length_us / LOAD_TURNS_GAP;
}

uint64_t load_turns_begin(const struct load_turns *t, uint64_t now_us)
{
    uint64_t round_us = turns_round_us(t);
    uint64_t begin_us = now_us - now_us % round_us + t->index * t->length_us;

    return now_us < begin_us + t->length_us ? begin_us : begin_us + round_us;
}

uint64_t load_turns_own(const struct load_turns *t, uint64_t to_us)
{
    uint64_t round_us = turns_round_us(t), own_us = turns_own_us(t);
    uint64_t at_us = to_us % round_us, begin_us = t->index * t->length_us;

    return to_us / round_us * own_us + (at_us > begin_us ? MIN(at_us - begin_us, own_us) : 0);
}

uint64_t load_turns_after(const struct load_turns *t, uint64_t from_us, uint64_t own_us)
{
    uint64_t each_us = turns_own_us(t), all_us = load_turns_own(t, from_us) + own_us;

    return all_us / each_us * turns_round_us(t) + t->index * t->length_us + all_us % each_us;
}

bool load_turns_parse(const char *text, struct load_turns *t)
{
    const char *colon = strchr(text, ':'), *slash = colon ? strchr(colon, '/') : NULL;
    char length[TURNS_TEXT_MAX], index[TURNS_TEXT_MAX];
    uint64_t own, count;

    if (!slash || colon - text >= TURNS_TEXT_MAX || slash - colon > TURNS_TEXT_MAX)
        return false;
    *(char *)mempcpy(length, text, (size_t)(colon - text)) = '\0';
    *(char *)mempcpy(index, colon + 1, (size_t)(slash - colon - 1)) = '\0';
    if (!load_value_time(length, TURNS_LENGTH_MIN_US, TURNS_LENGTH_MAX_US, &t->length_us) ||
        !load_value_count(slash + 1, 1, LOAD_TURNS_MAX, &count) ||
        !load_value_count(index, 1, count, &own))
        return false;
    t->index = (uint32_t)own - 1;
    t->count = (uint32_t)count;
    return true;
}
