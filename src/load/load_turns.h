/* SPDX-License-Identifier: MIT */
/*
 * load_turns.h - time divided into turns of one length, each the next load's of several, over and over: so
 * that loads which know nothing of each other measure the same minute and are never at work at the
 * same time. Turns are counted on CLOCK_MONOTONIC, which all processes of a machine share.
 *
 *      own time       another's turn      own time
 *   |=============...|----------------|=============...|---   length_us each
 *                 ^ the gap: what is in flight comes to its end
 *
 * Own time ends before the turn does, and what has been begun in it is over when the next load begins.
 */
#ifndef BIVALVE_LOAD_TURNS_H
#define BIVALVE_LOAD_TURNS_H

#include <stdbool.h>
#include <stdint.h>

#define LOAD_TURNS_MAX 64
#define LOAD_TURNS_GAP 8 /* the gap is one part of so many of a turn */

struct load_turns {
    uint32_t index,
        count; /* the own turn's number, from 0, of so many; count 0: all time is one's own */
    uint64_t length_us;
};

/* The turns are there, and not all of them one's own. */
static inline bool load_turns_some(const struct load_turns *t)
{
    return t->count > 0;
}

/* When the own turn began that `now_us` is in, or else when the next one will. */
uint64_t load_turns_begin(const struct load_turns *t, uint64_t now_us);

/* Own time, without gaps, in all that was before `to_us`; so that own(b) - own(a) is what lies between. */
uint64_t load_turns_own(const struct load_turns *t, uint64_t to_us);

/* The moment at which so much own time has passed since `from_us`. It is one of own time. */
uint64_t load_turns_after(const struct load_turns *t, uint64_t from_us, uint64_t own_us);

/* "25ms:1/2", the first of each two of 25 ms; LENGTH from 1 ms to 10 s. False: it is no such text. */
bool load_turns_parse(const char *text, struct load_turns *t);

#endif
