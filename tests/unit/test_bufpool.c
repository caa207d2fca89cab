/* SPDX-License-Identifier: MIT */
/*
 * test_bufpool.c - block pools: blocks do not overlap and do not move, the warm one is lent first,
 * the limit holds, and what is not in use any more goes back to the kernel (which is asked, with
 * mincore(2)).
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "address_space.h"
#include "bufpool.h"

static struct bufpool_budget unlimited = {.max = SIZE_MAX};

#define DATA  16256
#define BURST 5000

static bool is_mapped(const void *p)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    unsigned char in;

    return mincore((void *)((uintptr_t)p & ~(page - 1)), page, &in) == 0;
}

/* Pages in memory of what the pool has mapped. */
static size_t resident(const struct bufpool *p)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 0;
    static unsigned char in[65536];

    for (const struct buf_slab *s = p->slabs; s; s = s->next) {
        assert_true(p->slab_bytes / page <= sizeof(in));
        assert_int_equal(mincore((void *)s, p->slab_bytes, in), 0);
        for (size_t i = 0; i < p->slab_bytes / page; i++)
            n += in[i] & 1;
    }
    return n;
}

static struct buf *get(struct bufpool *p)
{
    struct buf *b = bufpool_get(p);

    assert_non_null(b);
    assert_null(b->next);
    assert_int_equal(b->start, 0);
    assert_int_equal(b->end, 0);
    return b;
}

static void put(struct buf *b)
{
    b->start = 17; /* as it is after use */
    b->end = 4711;
    bufpool_put(b);
}

/* Trim until nothing changes any more; returns the calls that it took. */
static unsigned trim_all(struct bufpool *p)
{
    unsigned calls = 0;
    size_t bytes = 1;

    while (bufpool_trimmable(p) && (bytes || calls < 2)) {
        size_t mapped = p->mapped;
        bytes = bufpool_trim(p);
        assert_int_equal(mapped - bytes, p->mapped);
        assert_true(bytes <= BUFPOOL_TRIM_MAX + p->slab_bytes);
        calls++;
    }
    return calls;
}

static void test_blocks(void **state)
{
    static const size_t sizes[] = {1, 40, 41, 1000, 4096, DATA, 41088, 300000, 1 << 20};
    struct buf *b[100];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct bufpool p;
        bufpool_init(&p, sizes[i], &unlimited);
        assert_int_equal(p.mapped, 0); /* nothing before it is needed */
        assert_null(p.slabs);
        size_t room = bufpool_capacity(&p);
        assert_true(room >= sizes[i]);
        for (size_t n = 0; n < ARRAY_LEN(b); n++) {
            b[n] = get(&p);
            assert_int_equal((uintptr_t)b[n] % (sizes[i] < 96 ? CACHE_LINE / 2 : CACHE_LINE), 0);
            memset(b[n]->data, (int)n, room);
            assert_int_equal(p.used, n + 1);
        }
        for (size_t n = 0; n < ARRAY_LEN(b); n++) {
            assert_int_equal((unsigned char)b[n]->data[0], n);
            assert_int_equal((unsigned char)b[n]->data[room - 1], n);
            put(b[n]);
        }
        assert_int_equal(p.used, 0);
        bufpool_destroy(&p);
        assert_false(is_mapped(b[0]));
    }
}

/* Only what is filled is touched, and a small response lies in one page with its block's header. */
static void test_pages_follow_use(void **state)
{
    struct bufpool p;
    size_t n;

    (void)state;
    bufpool_init(&p, DATA, &unlimited);
    for (n = 0; n < 60; n++)
        memset(get(&p)->data, 'x', 2000);
    size_t slabs = p.mapped / p.slab_bytes;
    if (sysconf(_SC_PAGESIZE) == 4096)
        assert_in_range(resident(&p), n, n + slabs);
    else
        print_message("SKIP: one page a block is only true where pages are 4 KiB\n");
    bufpool_destroy(&p);
}

static void test_last_in_first_out(void **state)
{
    struct buf *b[200], *again;
    struct bufpool p;

    (void)state;
    bufpool_init(&p, DATA, &unlimited);
    size_t n = p.slab_blocks;
    assert_true(n >= 4 && n <= ARRAY_LEN(b));
    b[0] = get(&p);
    for (int i = 0; i < 1000; i++) { /* one at a time: always the same */
        put(b[0]);
        again = get(&p);
        assert_ptr_equal(again, b[0]);
    }
    for (size_t i = 1; i < n; i++)
        b[i] = get(&p);
    for (size_t i = 0; i < n; i++)
        put(b[i]);
    for (size_t i = n; i-- > 0;)
        assert_ptr_equal(get(&p), b[i]);
    assert_int_equal(p.blocks, n); /* all of that in one slab */
    bufpool_destroy(&p);
}

static void test_limit(void **state)
{
    struct bufpool p;
    struct buf *b[3];

    (void)state;
    struct bufpool_budget budget = {.max = 3 * (size_t)192};
    bufpool_init(&p, 100, &budget);
    assert_int_equal(p.block_size, 192);
    for (int i = 0; i < 3; i++)
        b[i] = get(&p);
    assert_null(bufpool_get(&p));
    assert_null(bufpool_get(&p));
    assert_int_equal(p.used, 3);
    put(b[1]);
    assert_ptr_equal(get(&p), b[1]);
    assert_null(bufpool_get(&p));
    budget.max = p.block_size; /* lowered below what is handed out */
    put(b[1]);
    assert_null(bufpool_get(&p));
    put(b[0]);
    put(b[2]);
    assert_non_null(bufpool_get(&p));
    assert_null(bufpool_get(&p));
    bufpool_destroy(&p);
}

/* Two pools share what there is, and whoever can make room is asked to. */
struct owner {
    struct bufpool *p;
    struct buf *spare;
    unsigned asked;
};

static bool give_back(void *arg)
{
    struct owner *o = arg;

    o->asked++;
    if (!o->spare)
        return false;
    bufpool_put(o->spare);
    o->spare = NULL;
    return true;
}

static void test_shared_budget(void **state)
{
    struct owner owner = {0};
    struct bufpool_budget budget = {.reclaim = give_back, .arg = &owner};
    struct bufpool a, b;

    (void)state;
    bufpool_init(&a, 100, &budget);
    bufpool_init(&b, 5000, &budget);
    budget.max = a.block_size + b.block_size;
    owner.p = &a;
    owner.spare = get(&a);
    struct buf *one = get(&b);
    assert_int_equal(owner.asked, 0);
    assert_int_equal(budget.used, budget.max);
    struct buf *two = get(&b); /* a block of the other pool makes room */
    assert_int_equal(owner.asked, 1);
    assert_int_equal(a.used, 0);
    assert_null(bufpool_get(&b));
    assert_int_equal(owner.asked, 2);
    budget.releasing = b.block_size * 2; /* one is as good as back */
    struct buf *three = get(&b);
    budget.releasing = 0;
    put(one);
    put(two);
    put(three);
    assert_int_equal(budget.used, 0);
    bufpool_destroy(&a);
    bufpool_destroy(&b);
}

/* In a child with room for a few slabs: blocks until there are no more, and again after one came
 * back. */
static void run_out_of_memory(void)
{
    const size_t more = 8 << 20;
    struct bufpool p;
    struct buf *b, *last = NULL;

    address_space_limit(more);
    bufpool_init(&p, DATA, &unlimited);
    while ((b = bufpool_get(&p)))
        last = b;
    if (!last || p.used < 100 || p.mapped > more)
        _exit(11);
    if (bufpool_get(&p))
        _exit(12);
    bufpool_put(last);
    if (bufpool_get(&p) != last || bufpool_get(&p))
        _exit(13);
    _exit(0);
}

static void test_out_of_memory(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0)
        run_out_of_memory();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == ADDRESS_SPACE_UNLIMITED)
        skip();
    assert_int_equal(status, 0);
}

/* A burst of thousands, then nothing: everything goes back, though not in one turn. */
static void test_burst_is_returned(void **state)
{
    static struct buf *b[BURST];
    struct bufpool p;

    (void)state;
    bufpool_init(&p, DATA, &unlimited);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < BURST; i++) {
            b[i] = get(&p);
            b[i]->data[0] = b[i]->data[DATA - 1] = 'x';
        }
        assert_true(resident(&p) > BURST);
        assert_int_equal(bufpool_trim(&p), 0); /* nothing of it is free */
        for (int i = 0; i < BURST; i++)
            put(b[(i * 7) % BURST]); /* 7 and BURST have no common divisor: each once */
        assert_true(bufpool_trimmable(&p));
        size_t mapped = p.mapped;
        assert_int_equal(bufpool_trim(&p), 0); /* it might have been wanted again */
        size_t bytes = bufpool_trim(&p);
        assert_in_range(bytes, BUFPOOL_TRIM_MAX, BUFPOOL_TRIM_MAX + p.slab_bytes - 1);
        assert_int_equal(p.mapped, mapped - bytes);
        assert_true(bufpool_trimmable(&p));
        assert_true(trim_all(&p) <= mapped / BUFPOOL_TRIM_MAX + 1);
        assert_int_equal(p.mapped, 0);
        assert_int_equal(p.blocks, 0);
        assert_null(p.slabs);
        assert_null(p.open);
        assert_false(bufpool_trimmable(&p));
        for (int i = 0; i < BURST; i++)
            assert_false(is_mapped(b[i]));
        assert_int_equal(bufpool_trim(&p), 0);
    }
    bufpool_destroy(&p);
}

/* The same while the server goes on with a block at a time: what stays is bounded by a slab. */
static void test_burst_is_returned_under_load(void **state)
{
    static struct buf *b[BURST];
    struct bufpool p;

    (void)state;
    bufpool_init(&p, DATA, &unlimited);
    for (int i = 0; i < BURST; i++)
        b[i] = get(&p);
    for (int i = 0; i < BURST; i++)
        put(b[i]);
    for (unsigned trims = 0; trims < 2 + BURST * DATA / BUFPOOL_TRIM_MAX + 1; trims++) {
        for (int i = 0; i < 10; i++)
            put(get(&p));
        bufpool_trim(&p);
    }
    assert_int_equal(p.mapped, p.slab_bytes);
    bufpool_trim(&p);
    bufpool_trim(&p);
    assert_int_equal(p.mapped, 0);
    bufpool_destroy(&p);
}

static void test_lent_blocks_stay(void **state)
{
    static struct buf *b[BURST];
    struct bufpool p;
    size_t kept = 0;

    (void)state;
    bufpool_init(&p, DATA, &unlimited);
    for (int i = 0; i < BURST; i++) {
        b[i] = get(&p);
        memset(b[i]->data, i, DATA);
    }
    for (int i = 0; i < BURST; i++)
        if (i % 500 != 3)
            put(b[i]);
    trim_all(&p);
    for (int i = 3; i < BURST; i += 500) {
        kept++;
        for (int at = 0; at < DATA; at++)
            assert_int_equal((unsigned char)b[i]->data[at], i & 255);
    }
    assert_int_equal(p.used, kept);
    assert_true(p.mapped <= kept * p.slab_bytes);
    /* What is lent next comes from the slabs that are there. */
    size_t mapped = p.mapped;
    for (size_t i = 0; i < p.slab_blocks; i++)
        get(&p);
    assert_int_equal(p.mapped, mapped);
    bufpool_destroy(&p);
}

/* A slab that something is taken from between two trims is not idle. */
static void test_hysteresis(void **state)
{
    struct bufpool p;

    (void)state;
    bufpool_init(&p, DATA, &unlimited);
    put(get(&p));
    for (int i = 0; i < 10; i++) {
        assert_int_equal(bufpool_trim(&p), 0);
        put(get(&p));
    }
    assert_int_equal(bufpool_trim(&p), 0);
    assert_int_equal(bufpool_trim(&p), p.slab_bytes);
    assert_int_equal(p.mapped, 0);
    put(get(&p)); /* and it goes on */
    bufpool_destroy(&p);
}

/* Random takes, returns and trims; every block keeps what was written to it for as long as it is
 * lent. */
static void test_random(void **state)
{
    static struct buf *b[400];
    static uint32_t mark[400];
    struct bufpool p;
    uint64_t seed = 42;
    size_t used = 0;

    (void)state;
    struct bufpool_budget budget = {.max = 300 * (size_t)8256};
    bufpool_init(&p, 5000, &budget);
    assert_int_equal(p.block_size, 8256);
    for (int turn = 0; turn < 200000; turn++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint32_t r = (uint32_t)(seed >> 33);
        size_t i = r % ARRAY_LEN(b);
        bool fill = turn / 5000 % 2 == 0; /* filling and emptying in turn */
        if (r >> 20 == 7) {
            bufpool_trim(&p);
        } else if (b[i] && (!fill || (r >> 12) % 4 == 0)) {
            uint32_t found[2];
            memcpy(&found[0], b[i]->data, sizeof(uint32_t));
            memcpy(&found[1], b[i]->data + 4990, sizeof(uint32_t));
            assert_int_equal(found[0], mark[i]);
            assert_int_equal(found[1], mark[i]);
            put(b[i]);
            b[i] = NULL;
            used--;
        } else if (!b[i] && fill) {
            b[i] = bufpool_get(&p);
            assert_true(!b[i] == (used == 300));
            if (b[i]) {
                used++;
                mark[i] = r;
                memcpy(b[i]->data, &r, sizeof(r));
                memcpy(b[i]->data + 4990, &r, sizeof(r));
            }
        }
        assert_int_equal(p.used, used);
        assert_true(p.blocks >= used);
        assert_int_equal(p.mapped / p.slab_bytes * p.slab_blocks, p.blocks);
    }
    for (size_t i = 0; i < ARRAY_LEN(b); i++)
        if (b[i])
            put(b[i]);
    trim_all(&p);
    assert_int_equal(p.mapped, 0);
    bufpool_destroy(&p);
}

#ifdef BUFPOOL_POISON
static void test_poison(void **state)
{
    struct bufpool p;

    (void)state;
    bufpool_init(&p, DATA, &unlimited);
    struct buf *b = get(&p);
    assert_null(__asan_region_is_poisoned(b, sizeof(*b) + DATA));
    put(b);
    assert_non_null(__asan_region_is_poisoned(b->data, 1));
    assert_non_null(__asan_region_is_poisoned(b->data + DATA - 1, 1));
    assert_ptr_equal(get(&p), b);
    assert_null(__asan_region_is_poisoned(b, sizeof(*b) + DATA));
    put(b);
    trim_all(&p);
    assert_null(
        __asan_region_is_poisoned(b, sizeof(*b) + DATA)); /* the address belongs to others */
    bufpool_destroy(&p);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_budget),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_pages_follow_use),
        cmocka_unit_test(test_last_in_first_out),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_burst_is_returned),
        cmocka_unit_test(test_burst_is_returned_under_load),
        cmocka_unit_test(test_lent_blocks_stay),
        cmocka_unit_test(test_hysteresis),
        cmocka_unit_test(test_random),
#ifdef BUFPOOL_POISON
        cmocka_unit_test(test_poison),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
