/* SPDX-License-Identifier: MIT */
/*
 * test_file_cache.c - what stays open, what is noticed of changes to it, what gives way.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file_cache.h"

#define VALID_MS 1000

struct world {
    char base[32];
    int at;
    struct static_dir dir;
    struct file_cache *cache;
    struct stats stats;
    uint64_t now_ms;
};

static int world_open(void **state)
{
    static struct world x;
    char error[STATIC_ERROR_MAX];

    memset(&x, 0, sizeof(x));
    strcpy(x.base, "/tmp/bivalve-cache-XXXXXX");
    x.now_ms = 1000000;
    if (!mkdtemp(x.base) || static_dir_init(&x.dir, x.base, error) < 0)
        return -1;
    x.at = open(x.base, O_RDONLY | O_DIRECTORY);
    *state = &x;
    return x.at < 0;
}

static int world_close(void **state)
{
    struct world *x = *state;
    char command[64];

    file_cache_free(x->cache);
    static_dir_destroy(&x->dir);
    close(x->at);
    sprintf(command, "rm -r %s", x->base);
    return system(command);
}

static void put(const struct world *x, const char *name, const char *text)
{
    int fd = openat(x->at, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static int fds(void)
{
    int fd = dup(0);

    close(fd);
    return fd;
}

static struct file_entry *get(struct world *x, const char *path)
{
    struct file_entry *e = NULL;
    int rc = file_cache_open(x->cache, &x->dir, path, strlen(path), x->now_ms, &x->stats, &e);

    if (rc < 0)
        fail_msg("%s: %s", path, strerror(-rc));
    return e;
}

static void expect_text(const struct file_entry *e, const char *text)
{
    char got[64];

    assert_int_equal(pread(e->ref.fd, got, sizeof(got), 0), strlen(text));
    assert_memory_equal(got, text, strlen(text));
    assert_int_equal(e->st.st_size, strlen(text));
}

/* It has this text, and was open before, or was not. */
static void expect(struct world *x, const char *path, const char *text, bool hit)
{
    uint64_t hits = x->stats.file_cache_hits, misses = x->stats.file_cache_misses;
    struct file_entry *e = get(x, path);

    expect_text(e, text);
    file_ref_put(&e->ref);
    assert_int_equal(x->stats.file_cache_hits, hits + hit);
    assert_int_equal(x->stats.file_cache_misses, misses + !hit);
}

static void expect_error(struct world *x, const char *path, int err)
{
    struct file_entry *e;

    assert_int_equal(
        file_cache_open(x->cache, &x->dir, path, strlen(path), x->now_ms, &x->stats, &e), -err);
}

static void test_changes_are_seen(void **state)
{
    struct world *x = *state;

    x->cache = file_cache_new(8, VALID_MS);
    put(x, "a", "one");
    expect(x, "a", "one", false);
    expect(x, "a", "one", true);
    put(x, "a", "longer"); /* in its place */
    expect(x, "a", "longer", false);
    expect(x, "a", "longer", true);
    put(x, "new", "two");
    assert_int_equal(renameat(x->at, "new", x->at, "a"), 0);
    expect(x, "a", "two", false);
    expect(x, "a", "two", true);
    assert_int_equal(renameat(x->at, "a", x->at, "b"), 0);
    expect_error(x, "a", ENOENT);
    expect_error(x, "a", ENOENT); /* not remembered, nor anything lost by it */
    assert_int_equal(x->stats.files_open, 0);
    expect(x, "b", "two", false);
    assert_int_equal(unlinkat(x->at, "b", 0), 0);
    expect_error(x, "b", ENOENT);
    assert_int_equal(mkdirat(x->at, "dir", 0755), 0);
    expect_error(x, "dir", ENOENT);
    assert_int_equal(symlinkat("../..", x->at, "out"), 0);
    expect_error(x, "out", x->dir.step_by_step ? ELOOP : EXDEV);
    assert_int_equal(x->stats.files_open, 0);
}

/* What the file itself does not show is seen when its time is over. */
static void test_names_are_looked_up_again(void **state)
{
    struct world *x = *state;

    x->cache = file_cache_new(8, VALID_MS);
    assert_int_equal(mkdirat(x->at, "old", 0755) | mkdirat(x->at, "new", 0755), 0);
    put(x, "old/a", "old");
    put(x, "new/a", "new");
    assert_int_equal(renameat(x->at, "old", x->at, "now"), 0);
    expect(x, "now/a", "old", false);
    assert_int_equal(renameat(x->at, "now", x->at, "old"), 0);
    assert_int_equal(renameat(x->at, "new", x->at, "now"), 0);
    x->now_ms += VALID_MS - 1;
    expect(x, "now/a", "old", true);
    x->now_ms += 1;
    expect(x, "now/a", "new", false);
    x->now_ms += VALID_MS - 1; /* its time has begun anew */
    expect(x, "now/a", "new", true);
}

static void test_the_least_recent_gives_way(void **state)
{
    struct world *x = *state;
    int before;

    x->cache = file_cache_new(3, VALID_MS);
    for (const char *const *name = (const char *const[]){"a", "b", "c", "d", NULL}; *name; name++)
        put(x, *name, *name);
    before = fds();
    expect(x, "a", "a", false);
    expect(x, "b", "b", false);
    expect(x, "c", "c", false);
    assert_int_equal(x->stats.file_cache_evictions, 0);
    assert_int_equal(fds(), before + 3);
    expect(x, "a", "a", true);
    expect(x, "d", "d", false);
    assert_int_equal(x->stats.file_cache_evictions, 1);
    assert_int_equal(x->stats.files_open, 3);
    expect(x, "c", "c", true);
    expect(x, "a", "a", true);
    expect(x, "b", "b", false); /* it was */
    assert_int_equal(x->stats.file_cache_evictions, 2);
    file_cache_free(x->cache);
    x->cache = NULL;
    assert_int_equal(fds(), before);
}

/* One of many in few buckets, and the lists hold. */
static void test_many(void **state)
{
    struct world *x = *state;
    char name[16];

    x->cache = file_cache_new(100, VALID_MS);
    for (int i = 0; i < 300; i++) {
        sprintf(name, "f%d", i);
        put(x, name, name);
    }
    for (int round = 0; round < 20; round++)
        for (int i = 0; i < 300; i++) {
            sprintf(name, "f%d", (i * 7 + round) % (round % 2 ? 300 : 90));
            struct file_entry *e = get(x, name);
            expect_text(e, name);
            file_ref_put(&e->ref);
        }
    assert_int_equal(x->stats.files_open, 100);
    assert_int_equal(x->stats.file_cache_hits + x->stats.file_cache_misses, 20 * 300);
    assert_true(x->stats.file_cache_hits >= 9 * 210);
}

/* What is in use stays open: driven out, replaced, closed for want of use, and after the cache's end. */
static void test_in_use(void **state)
{
    struct world *x = *state;
    int before;

    put(x, "a", "a");
    put(x, "b", "bb");
    before = fds();
    x->cache = file_cache_new(1, VALID_MS);
    struct file_entry *a = get(x, "a"), *b = get(x, "b");
    assert_int_equal(x->stats.file_cache_evictions, 1);
    assert_ptr_not_equal(a, b);
    put(x, "b", "other");
    struct file_entry *again = get(x, "b");
    assert_ptr_not_equal(again, b);
    x->now_ms += VALID_MS;
    assert_false(file_cache_sweep(x->cache, x->now_ms, &x->stats));
    file_cache_free(x->cache);
    x->cache = NULL;
    expect_text(a, "a");
    expect_text(again, "other");
    file_ref_put(&a->ref);
    file_ref_put(&b->ref);
    file_ref_put(&again->ref);
    assert_int_equal(fds(), before);
}

static void test_sweep(void **state)
{
    struct world *x = *state;
    int before;

    put(x, "a", "a");
    put(x, "b", "b");
    before = fds();
    x->cache = file_cache_new(4, VALID_MS);
    assert_false(file_cache_sweep(x->cache, x->now_ms, &x->stats));
    expect(x, "a", "a", false);
    expect(x, "b", "b", false);
    x->now_ms += VALID_MS - 1;
    expect(x, "a", "a", true);
    assert_true(file_cache_sweep(x->cache, x->now_ms, &x->stats));
    assert_int_equal(x->stats.files_open, 2);
    x->now_ms += 1;
    assert_true(file_cache_sweep(x->cache, x->now_ms, &x->stats));
    assert_int_equal(x->stats.files_open, 1);
    x->now_ms += VALID_MS - 1;
    assert_false(file_cache_sweep(x->cache, x->now_ms, &x->stats));
    assert_int_equal(x->stats.files_open, 0);
    assert_int_equal(fds(), before);
    assert_int_equal(x->stats.file_cache_evictions, 0); /* for no other */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_changes_are_seen, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_names_are_looked_up_again, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_the_least_recent_gives_way, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_many, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_in_use, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_sweep, world_open, world_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
