/* SPDX-License-Identifier: MIT */
/*
 * file_cache.c - see file_cache.h. A hash table with chains, and a list by use.
 */
#include "config.h"

#include "file_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

struct file_cache {
    uint32_t max, count, valid_ms;
    uint32_t mask;                      /* buckets less one: a power of two, no fewer than files */
    struct file_entry *newest, *oldest; /* by use */
    struct file_entry *bucket[];
};

struct file_cache *file_cache_new(uint32_t max, uint32_t valid_ms)
{
    uint32_t buckets = 1;

    while (buckets < max)
        buckets *= 2;
    struct file_cache *c = calloc(1, sizeof(*c) + buckets * sizeof(c->bucket[0]));
    if (c) {
        c->max = max;
        c->valid_ms = valid_ms;
        c->mask = buckets - 1;
    }
    return c;
}

/* FNV-1a. Only names of files that exist are kept: a client cannot choose them for their hashes. */
static uint32_t file_hash(const char *path, size_t len)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)path[i]) * 16777619u;
    return h ^ h >> 16;
}

/* ---- the list ---- */

static void file_cache_push(struct file_cache *c, struct file_entry *e)
{
    e->newer = NULL;
    e->older = c->newest;
    if (c->newest)
        c->newest->newer = e;
    else
        c->oldest = e;
    c->newest = e;
}

static void file_cache_pull(struct file_cache *c, struct file_entry *e)
{
    if (e->newer)
        e->newer->older = e->older;
    else
        c->newest = e->older;
    if (e->older)
        e->older->newer = e->newer;
    else
        c->oldest = e->newer;
}

/* ---- in and out ---- */

static void file_cache_remove(struct file_cache *c, struct file_entry *e)
{
    struct file_entry **at = &c->bucket[e->hash & c->mask];

    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    file_cache_pull(c, e);
    c->count--;
    file_ref_put(&e->ref);
}

static void file_cache_insert(struct file_cache *c, struct file_entry *e, struct stats *stats)
{
    if (c->count == c->max) {
        file_cache_remove(c, c->oldest);
        stats->file_cache_evictions++;
    }
    e->next = c->bucket[e->hash & c->mask];
    c->bucket[e->hash & c->mask] = e;
    file_cache_push(c, e);
    c->count++;
    stats->files_open = c->count;
}

void file_cache_free(struct file_cache *c)
{
    if (!c)
        return;
    while (c->oldest)
        file_cache_remove(c, c->oldest);
    free(c);
}

static struct file_entry *file_cache_find(const struct file_cache *c, const char *path, size_t len,
                                          uint32_t hash)
{
    struct file_entry *e = c->bucket[hash & c->mask];

    while (e && (e->hash != hash || e->len != len || memcmp(e->path, path, len) != 0))
        e = e->next;
    return e;
}

static bool file_same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Is the open file what its name leads to, as far as it can be seen by the file? */
static bool file_is_current(const struct file_cache *c, const struct file_entry *e, uint64_t now_ms)
{
    struct stat st;

    /* a rename is a change of the inode, too; what has no name left was removed or replaced */
    return now_ms - e->opened_ms < c->valid_ms && fstat(e->ref.fd, &st) == 0 && st.st_nlink > 0 &&
           st.st_size == e->st.st_size && file_same_time(&st.st_ctim, &e->st.st_ctim) &&
           file_same_time(&st.st_mtim, &e->st.st_mtim);
}

static int file_entry_open(const struct static_dir *d, const char *path, size_t len,
                           struct file_entry **entry)
{
    struct stat st;
    int fd = static_dir_open(d, path, &st);

    if (fd < 0)
        return fd;
    struct file_entry *e = malloc(sizeof(*e) + len + 1);
    if (!e) {
        close(fd);
        return -ENOMEM;
    }
    *e = (struct file_entry){.ref = {.fd = fd, .refs = 1}, .st = st, .len = (uint32_t)len};
    memcpy(e->path, path, len);
    e->path[len] = '\0';
    *entry = e;
    return 0;
}

int file_cache_open(struct file_cache *c, const struct static_dir *d, const char *path, size_t len,
                    uint64_t now_ms, struct stats *stats, struct file_entry **entry)
{
    uint32_t hash = file_hash(path, len);
    struct file_entry *e = file_cache_find(c, path, len, hash);

    if (likely(e && file_is_current(c, e, now_ms))) {
        stats->file_cache_hits++;
        file_cache_pull(c, e);
        file_cache_push(c, e);
    } else {
        if (e)
            file_cache_remove(c, e);
        stats->files_open = c->count;
        int rc = file_entry_open(d, path, len, &e);
        if (rc < 0)
            return rc;
        stats->file_cache_misses++;
        e->hash = hash;
        e->opened_ms = now_ms;
        file_cache_insert(c, e, stats);
    }
    e->used_ms = now_ms;
    file_ref_get(&e->ref);
    *entry = e;
    return 0;
}

bool file_cache_sweep(struct file_cache *c, uint64_t now_ms, struct stats *stats)
{
    while (c->oldest && now_ms - c->oldest->used_ms >= c->valid_ms)
        file_cache_remove(c, c->oldest);
    stats->files_open = c->count;
    return c->count > 0;
}
