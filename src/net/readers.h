/* SPDX-License-Identifier: MIT */
/*
 * readers.h - threads that read ranges of files into the page cache, so that the loop does not wait
 * for the disk: what they have read is sent from there. They are started when there is work for
 * them, and stay: a process that sends only what is in memory has one thread.
 */
#ifndef BIVALVE_READERS_H
#define BIVALVE_READERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define READERS_MAX 64 /* threads */

struct readers;

/*
 * At most `threads` (1 to READERS_MAX) of them. `wake` is called with `arg` by any of them when it has
 * done something: to bring about a call of readers_collect(). NULL: no memory.
 */
struct readers *readers_new(unsigned threads, void (*wake)(void *arg), void *arg);

/* Waits for the reads that are under way; what else was asked for is dropped. NULL does nothing. */
void readers_free(struct readers *r);

/*
 * Read `len` bytes of `file` from `offset` on, for connection `fd` of generation `gen`. The file may be
 * closed at once. False: that cannot be done, for want of memory, fds or threads.
 */
bool readers_ask(struct readers *r, int fd, uint32_t gen, int file, off_t offset, size_t len);

/*
 * Call `done` for each range that has been read, or could not be: who sends it finds out. What was
 * asked for and not yet done.
 */
unsigned readers_collect(struct readers *r, void (*done)(void *arg, int fd, uint32_t gen),
                         void *arg);

#endif
