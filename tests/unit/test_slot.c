/* SPDX-License-Identifier: MIT */
/*
 * test_slot.c - the slot table: what a taken slot looks like, generations, limits, and that pages
 * of empty groups really leave (the kernel is asked, with mincore(2)).
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "address_space.h"
#include "slot.h"

#define PRIV 48

/* Pages of [p, p + bytes) that are in memory. */
static size_t resident(const void *p, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 0;
    unsigned char in[512];
    const char *at = p;

    while (bytes > 0) {
        size_t part = MIN(bytes, sizeof(in) * page);
        assert_int_equal(mincore((void *)at, part, in), 0);
        for (size_t i = 0; i < (part + page - 1) / page; i++)
            n += in[i] & 1;
        at += part;
        bytes -= part;
    }
    return n;
}

static size_t table_resident(const struct slot_table *t)
{
    size_t slots = (size_t)t->groups * SLOT_GROUP;

    return resident(t->slots, slots * sizeof(struct slot)) +
           resident(t->priv, slots * t->priv_size);
}

static struct slot *take(struct slot_table *t, int fd)
{
    struct slot *s = slot_take(t, fd);

    assert_non_null(s);
    s->state = 1;
    return s;
}

static void test_taken_slot_is_zero(void **state)
{
    struct slot_table t;
    struct slot want;
    static const char zeros[PRIV];
    uint32_t last = 0;

    (void)state;
    assert_int_equal(slot_table_init(&t, 1000, PRIV), 0);
    for (int round = 0; round < 3; round++) {
        for (int fd = 0; fd < 1000; fd += 7) {
            struct slot *s = slot_take(&t, fd);
            assert_non_null(s);
            assert_ptr_equal(s, slot_get(&t, fd));
            assert_int_equal(slot_fd(&t, s), fd);
            assert_int_equal((uintptr_t)s % CACHE_LINE, 0);
            assert_int_equal((uintptr_t)slot_priv(&t, fd) % 16, 0);
            memset(&want, 0, sizeof(want));
            want.gen = s->gen;
            assert_memory_equal(s, &want, sizeof(want));
            assert_memory_equal(slot_priv(&t, fd), zeros, PRIV);
            assert_int_not_equal(s->gen, 0);
            assert_int_not_equal(s->gen, last);
            last = s->gen;
            /* leave dirt, as a connection does */
            memset((char *)s + sizeof(s->gen), 0xa5, sizeof(*s) - sizeof(s->gen));
            memset(&s->timer, 0, sizeof(s->timer)); /* stopped */
            memset(slot_priv(&t, fd), 0xa5, PRIV);
        }
        assert_int_equal(t.used, 143);
        for (int fd = 0; fd < 1000; fd += 7) {
            slot_release(&t, fd);
            assert_false(slot_used(slot_get(&t, fd)));
            assert_int_equal(slot_get(&t, fd)->gen, 0);
        }
        assert_int_equal(t.used, 0);
    }
    slot_table_destroy(&t);
}

static void test_neighbours_are_left_alone(void **state)
{
    struct slot_table t;
    struct slot before;
    char priv[PRIV];

    (void)state;
    assert_int_equal(slot_table_init(&t, 64, PRIV), 0);
    for (int fd = 0; fd < 64; fd += 2) {
        take(&t, fd)->exchanges = (uint32_t)fd;
        memset(slot_priv(&t, fd), fd, PRIV);
    }
    for (int fd = 1; fd < 64; fd += 2)
        take(&t, fd);
    for (int fd = 1; fd < 64; fd += 2)
        slot_release(&t, fd);
    for (int fd = 0; fd < 64; fd += 2) {
        memcpy(&before, slot_get(&t, fd), sizeof(before));
        assert_int_equal(before.exchanges, fd);
        assert_int_equal(before.state, 1);
        memset(priv, fd, PRIV);
        assert_memory_equal(slot_priv(&t, fd), priv, PRIV);
    }
    slot_table_destroy(&t);
}

static void test_limits(void **state)
{
    struct slot_table t;

    (void)state;
    assert_int_equal(slot_table_init(&t, 0, PRIV), -EINVAL);
    assert_int_equal(slot_table_init(&t, SLOT_TABLE_MAX + 1, PRIV), -EINVAL);
    assert_int_equal(slot_table_init(&t, 10, 8), -EINVAL);

    assert_int_equal(slot_table_init(&t, 10, 0), 0); /* an backend without private state */
    assert_null(slot_take(&t, -1));
    assert_null(slot_take(&t, 10));
    assert_null(slot_take(&t, INT32_MAX));
    assert_null(slot_take(&t, INT32_MIN));
    assert_int_equal(t.used, 0);
    assert_non_null(slot_take(&t, 9));
    assert_non_null(slot_take(&t, 0));
    assert_int_equal(t.used, 2);
    slot_table_destroy(&t);
    slot_table_destroy(&t); /* of zeroes: nothing */

    /* The largest table costs address space and nothing else. */
    assert_int_equal(slot_table_init(&t, SLOT_TABLE_MAX, 64), 0);
    assert_int_equal(table_resident(&t), 0);
    assert_non_null(slot_take(&t, SLOT_TABLE_MAX - 1));
    assert_int_equal(table_resident(&t), 2);
    slot_table_destroy(&t);
}

/* Room for `more` bytes, and a table that needs 128 MiB: exit status 0 if it fails as it should. */
static void fail_to_reserve(size_t more)
{
    size_t before = address_space();
    struct slot_table t;

    address_space_limit(more);
    if (slot_table_init(&t, SLOT_TABLE_MAX, 64) != -ENOMEM)
        _exit(11);
    if (t.slots || t.priv || t.group)
        _exit(12);
    _exit(address_space() < before + (1 << 20) ? 0 : 13);
}

static void test_no_address_space(void **state)
{
    static const size_t more[] = {16u << 20, 100u << 20}; /* for neither array, for one of them */

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        int status;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            fail_to_reserve(more[i]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == ADDRESS_SPACE_UNLIMITED)
            skip();
        assert_int_equal(status, 0);
    }
}

static void test_generations(void **state)
{
    struct slot_table t;

    (void)state;
    assert_int_equal(slot_table_init(&t, 600, 16), 0);
    /* Every accept draws a new one, and 0 is never drawn. */
    t.gen_next = SLOT_GEN_MASK - 1;
    assert_int_equal(take(&t, 5)->gen, SLOT_GEN_MASK);
    assert_int_equal(take(&t, 6)->gen, 1);
    assert_int_equal(take(&t, 7)->gen, 2);
    slot_release(&t, 5);
    slot_release(&t, 6);
    slot_release(&t, 7);

    /* Giving pages back does not start generations anew. */
    bool pending;
    slot_table_trim(&t, &pending);
    assert_true(slot_table_trim(&t, &pending) > 0);
    assert_int_equal(take(&t, 5)->gen, 3);
    slot_table_destroy(&t);
}

static void test_pages_come_back(void **state)
{
    const int n = 10000;
    struct slot_table t;
    bool pending;

    (void)state;
    assert_int_equal(slot_table_init(&t, 20000, PRIV), 0);
    assert_int_equal(table_resident(&t), 0);
    assert_int_equal(slot_table_trim(&t, &pending), 0);
    assert_false(pending);
    for (int round = 0; round < 3; round++) {
        for (int fd = 0; fd < n; fd++)
            take(&t, fd);
        size_t full = table_resident(&t);
        assert_true(full * (size_t)sysconf(_SC_PAGESIZE) >= (size_t)n * (SLOT_SIZE + PRIV));
        assert_int_equal(slot_table_trim(&t, &pending), 0);
        assert_false(pending);
        for (int fd = 0; fd < n; fd++)
            slot_release(&t, fd);

        /* Not at the first trim: the next burst may be on its way. */
        assert_int_equal(slot_table_trim(&t, &pending), 0);
        assert_true(pending);
        assert_int_equal(table_resident(&t), full);
        size_t bytes = slot_table_trim(&t, &pending);
        assert_true(bytes >= (size_t)n * (SLOT_SIZE + PRIV));
        assert_false(pending);
        assert_int_equal(table_resident(&t), 0);
        assert_int_equal(t.group_top, 0);
        assert_int_equal(slot_table_trim(&t, &pending), 0);
        assert_false(pending);
    }
    slot_table_destroy(&t);
}

static void test_live_slots_keep_their_pages(void **state)
{
    struct slot_table t;
    bool pending;

    (void)state;
    assert_int_equal(slot_table_init(&t, 8 * SLOT_GROUP, PRIV), 0);
    for (int fd = 0; fd < 8 * SLOT_GROUP; fd++)
        take(&t, fd)->exchanges = (uint32_t)fd;
    int keep = 3 * SLOT_GROUP + 17;
    memset(slot_priv(&t, keep), 0x5a, PRIV);
    for (int fd = 0; fd < 8 * SLOT_GROUP; fd++)
        if (fd != keep)
            slot_release(&t, fd);
    slot_table_trim(&t, &pending);
    assert_true(pending);
    slot_table_trim(&t, &pending);
    assert_false(pending);
    size_t group_pages =
        (size_t)SLOT_GROUP * (SLOT_SIZE + PRIV) / (size_t)sysconf(_SC_PAGESIZE) * t.trim_groups;
    assert_int_equal(table_resident(&t), group_pages);
    assert_int_equal(slot_get(&t, keep)->exchanges, keep);
    assert_int_equal(((char *)slot_priv(&t, keep))[PRIV - 1], 0x5a);
    assert_true(t.group_top > 3 && t.group_top < 8);
    slot_release(&t, keep);
    slot_table_trim(&t, &pending);
    slot_table_trim(&t, &pending);
    assert_int_equal(table_resident(&t), 0);
    slot_table_destroy(&t);
}

/* A group that is used again between two trims starts over. */
static void test_hysteresis(void **state)
{
    struct slot_table t;
    bool pending;

    (void)state;
    assert_int_equal(slot_table_init(&t, SLOT_GROUP, PRIV), 0);
    take(&t, 3);
    for (int i = 0; i < 10; i++) {
        slot_release(&t, 3);
        assert_int_equal(slot_table_trim(&t, &pending), 0);
        assert_true(pending);
        take(&t, 3);
    }
    slot_release(&t, 3);
    assert_int_equal(slot_table_trim(&t, &pending), 0);
    assert_true(slot_table_trim(&t, &pending) > 0);
    slot_table_destroy(&t);
}

/* Where pages are larger than a group's share of them, groups go together: no neighbour loses a
 * slot. */
static void test_large_pages(void **state)
{
    struct slot_table t;
    bool pending;

    (void)state;
    assert_int_equal(slot_table_init(&t, 32 * SLOT_GROUP, PRIV), 0);
    t.trim_groups = 16;
    for (uint32_t g = 0; g < t.groups; g++)
        take(&t, (int)g * SLOT_GROUP)->exchanges = 77;
    for (uint32_t g = 0; g < t.groups; g++)
        if (g != 5)
            slot_release(&t, (int)g * SLOT_GROUP);
    slot_table_trim(&t, &pending);
    assert_true(pending);
    assert_int_equal(slot_table_trim(&t, &pending), 16 * SLOT_GROUP * (SLOT_SIZE + PRIV));
    assert_false(pending);
    assert_int_equal(slot_get(&t, 5 * SLOT_GROUP)->exchanges, 77);
    slot_release(&t, 5 * SLOT_GROUP);
    slot_table_trim(&t, &pending);
    assert_true(pending);
    assert_int_equal(slot_table_trim(&t, &pending), 16 * SLOT_GROUP * (SLOT_SIZE + PRIV));
    assert_int_equal(t.group_top, 0);
    assert_int_equal(table_resident(&t), 0);
    slot_table_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken_slot_is_zero),
        cmocka_unit_test(test_neighbours_are_left_alone),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_no_address_space),
        cmocka_unit_test(test_generations),
        cmocka_unit_test(test_pages_come_back),
        cmocka_unit_test(test_live_slots_keep_their_pages),
        cmocka_unit_test(test_hysteresis),
        cmocka_unit_test(test_large_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
