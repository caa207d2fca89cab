/* SPDX-License-Identifier: MIT */
/*
 * test_out.c - the output chain against a flat model: what goes in comes out, in order, whatever
 * the sizes of pieces and sends; a range that has been lent stays put; nothing is kept of what was
 * sent.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "out.h"

#define DATA  1000
#define MODEL (4 << 20)

static char model[MODEL]; /* all that was ever appended */

struct world {
    struct bufpool_budget budget;
    struct bufpool p;
    struct out o;
    size_t written, sent; /* offsets into the model */
};

/* max_blocks 0: no limit */
static void world_open(struct world *x, size_t max_blocks)
{
    memset(x, 0, sizeof(*x));
    x->budget.max = SIZE_MAX;
    bufpool_init(&x->p, DATA, &x->budget);
    if (max_blocks)
        x->budget.max = max_blocks * x->p.block_size;
}

static void world_close(struct world *x)
{
    assert_true(out_empty(&x->o));
    assert_null(x->o.tail);
    assert_int_equal(x->p.used, 0);
    bufpool_destroy(&x->p);
}

static int model_setup(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (size_t i = 0; i < MODEL; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        model[i] = (char)(seed >> 40);
    }
    return 0;
}

static void append(struct world *x, size_t n)
{
    assert_int_equal(out_append(&x->o, &x->p, model + x->written, n), 0);
    x->written += n;
    assert_int_equal(out_pending(&x->o), x->written - x->sent);
}

static void reserve(struct world *x, size_t need, size_t n)
{
    char *at = out_reserve(&x->o, &x->p, need);

    assert_non_null(at);
    assert_ptr_equal(out_reserve(&x->o, &x->p, need), at); /* nothing happens before the commit */
    memcpy(at, model + x->written, n);
    out_commit(&x->o, n);
    x->written += n;
    assert_int_equal(out_pending(&x->o), x->written - x->sent);
}

/* Look at up to `max` segments, and take at most n bytes of them, as a kernel does. */
static size_t take_from(struct world *x, unsigned max, size_t n)
{
    struct backend_segment s[8];
    unsigned count = out_segments(&x->o, s, max);
    size_t len = 0;

    assert_true(count <= max);
    for (unsigned i = 0; i < count; i++) {
        assert_true(s[i].len > 0 && s[i].len <= bufpool_capacity(&x->p));
        assert_memory_equal(s[i].data, model + x->sent + len, s[i].len);
        len += s[i].len;
    }
    n = MIN(n, len);
    out_consume(&x->o, n);
    x->sent += n;
    return n;
}

static size_t take(struct world *x, size_t n)
{
    return take_from(x, 1, n);
}

static void test_empty(void **state)
{
    struct world x;
    struct backend_segment s;

    (void)state;
    world_open(&x, 0);
    assert_true(out_empty(&x.o));
    assert_int_equal(out_segments(&x.o, &s, 1), 0);
    assert_int_equal(out_pending(&x.o), 0);
    assert_int_equal(out_append(&x.o, &x.p, "", 0), 0);
    assert_true(out_empty(&x.o)); /* nothing takes no block */
    assert_int_equal(x.p.used, 0);
    out_clear(&x.o);
    world_close(&x);
}

static void test_one_block(void **state)
{
    struct world x;

    (void)state;
    world_open(&x, 0);
    for (int i = 0; i < 100; i++) {
        append(&x, 1);
        reserve(&x, 100, 60);
        append(&x, 40);
        assert_int_equal(x.p.used, 1);
        assert_false(out_empty(&x.o));
        assert_int_equal(take(&x, SIZE_MAX), 101); /* one range, one send */
        assert_true(out_empty(&x.o));
        assert_int_equal(x.p.used, 0); /* and not a block is kept */
    }
    assert_int_equal(x.p.blocks, x.p.slab_blocks);
    world_close(&x);
}

/* Around the end of a block, byte by byte. */
static void test_block_edges(void **state)
{
    struct world x;

    (void)state;
    world_open(&x, 0);
    size_t room = bufpool_capacity(&x.p);
    for (size_t filled = room - 3; filled <= room; filled++) {
        for (size_t need = 1; need <= 4; need++) {
            append(&x, filled);
            assert_int_equal(x.p.used, 1);
            reserve(&x, need, need); /* contiguous: in the rest, or in a block of its own */
            assert_int_equal(x.p.used, filled + need <= room ? 1 : 2);
            append(&x, 5); /* over the edge if need be, leaving no gap */
            while (take(&x, SIZE_MAX))
                ;
        }
    }
    reserve(&x, room, room); /* the most that there is */
    reserve(&x, 1, 1);
    assert_int_equal(x.p.used, 2);
    while (take(&x, SIZE_MAX))
        ;
    append(&x, 10 * room);
    assert_int_equal(x.p.used, 10);
    append(&x, 10 * room + 1);
    assert_int_equal(x.p.used, 21);
    while (take(&x, SIZE_MAX))
        ;
    world_close(&x);
}

/* What is in flight is not moved or changed by what is appended meanwhile. */
static void test_range_in_flight_stays(void **state)
{
    struct world x;
    struct backend_segment sent, now;

    (void)state;
    world_open(&x, 0);
    append(&x, 300);
    assert_int_equal(out_segments(&x.o, &sent, 1), 1);
    assert_int_equal(sent.len, 300);
    for (int i = 0; i < 200; i++) {
        append(&x, 77);
        assert_int_equal(out_segments(&x.o, &now, 1), 1);
        assert_true(now.len >= sent.len);
        assert_ptr_equal(now.data, sent.data);
        assert_memory_equal(sent.data, model, sent.len);
    }
    out_consume(&x.o, 299); /* a short one */
    x.sent += 299;
    assert_int_equal(out_segments(&x.o, &now, 1), 1);
    assert_ptr_equal(now.data, sent.data + 299);
    while (take(&x, SIZE_MAX))
        ;
    assert_int_equal(x.sent, x.written);
    world_close(&x);
}

static void test_random(void **state)
{
    struct world x;
    uint64_t seed = 7;

    (void)state;
    world_open(&x, 0);
    size_t room = bufpool_capacity(&x.p);
    while (x.written + 3 * room < MODEL) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint32_t r = (uint32_t)(seed >> 33);
        size_t n = 1 + (r >> 4) % ((r & 8) ? 3 * room : 100);
        switch (r % 4) {
        case 0: append(&x, n); break;
        case 1:
            n = MIN(n, room);
            reserve(&x, n, 1 + (r >> 20) % n);
            break;
        case 2: take_from(&x, 1 + (r >> 22) % 8, n); break;
        default: take(&x, n); break;
        }
        assert_int_equal(out_pending(&x.o), x.written - x.sent);
        assert_int_equal(out_empty(&x.o), x.written == x.sent);
        assert_int_equal(x.p.used == 0, x.written == x.sent);
    }
    while (take(&x, 333))
        ;
    assert_int_equal(x.sent, x.written);
    world_close(&x);
}

static void test_no_blocks(void **state)
{
    struct world x;

    (void)state;
    world_open(&x, 3);
    size_t room = bufpool_capacity(&x.p);
    append(&x, 2 * room + 1);
    assert_non_null(out_reserve(&x.o, &x.p, room - 1)); /* the rest of the third */
    assert_null(out_reserve(&x.o, &x.p, room));
    assert_int_equal(out_pending(&x.o), 2 * room + 1); /* what is there stays and can be sent */
    assert_int_equal(out_append(&x.o, &x.p, model + x.written, room), -ENOMEM);
    x.written += room - 1; /* as far as it went */
    assert_int_equal(out_pending(&x.o), x.written);
    while (take(&x, SIZE_MAX))
        ;
    assert_int_equal(x.sent, 3 * room);
    append(&x, 1); /* and there is room again */
    take(&x, 1);
    world_close(&x);

    world_open(&x, 1);
    struct buf *taken = bufpool_get(&x.p);
    assert_null(out_reserve(&x.o, &x.p, 1));
    assert_int_equal(out_append(&x.o, &x.p, "x", 1), -ENOMEM);
    assert_true(out_empty(&x.o));
    bufpool_put(taken);
    world_close(&x);
}

/* A file between memory: in order, its fd open as long as there is something of it, and closed
 * once.
 */
/* Little output moves into a small block; nothing else does. */
static void test_shrink(void **state)
{
    struct bufpool small;
    struct world x;
    char *at;

    (void)state;
    world_open(&x, 0);
    bufpool_init(&small, 100, &x.budget);
    size_t most = bufpool_capacity(&small);

    /* As much as fits; what was sent of it does not come along. */
    assert_int_equal(out_append(&x.o, &x.p, model, 10 + most), 0);
    out_shrink(&x.o, &small);
    assert_int_equal(small.used, 0);
    out_consume(&x.o, 10);
    out_shrink(&x.o, &small);
    assert_int_equal(x.p.used, 0);
    assert_int_equal(small.used, 1);
    assert_int_equal(out_held(&x.o), small.block_size);
    assert_int_equal(x.budget.used, small.block_size);
    assert_int_equal(out_pending(&x.o), most);

    /* Once is enough, and what is in flight there stays where it is while more is appended. */
    struct backend_segment s[3];
    assert_int_equal(out_segments(&x.o, s, 3), 1);
    const char *lent = s[0].data;
    out_shrink(&x.o, &small);
    assert_non_null(at = out_reserve(&x.o, &x.p, DATA));
    memcpy(at, model + 10 + most, 500);
    out_commit(&x.o, 500);
    out_shrink(&x.o, &small);
    assert_int_equal(out_segments(&x.o, s, 3), 2);
    assert_ptr_equal(s[0].data, lent);
    assert_memory_equal(s[0].data, model + 10, most);
    assert_memory_equal(s[1].data, model + 10 + most, 500);
    out_consume(&x.o, most + 499);
    assert_int_equal(small.used, 0);
    assert_int_equal(out_pending(&x.o), 1);

    /* Where the budget is used up, it is less so afterwards. */
    x.budget.max = x.budget.used;
    out_shrink(&x.o, &small);
    assert_int_equal(small.used, 1);
    assert_int_equal(x.p.used, 0);
    assert_int_equal(x.budget.used, small.block_size);
    x.budget.max = SIZE_MAX;
    out_clear(&x.o);
    assert_int_equal(out_append_file(&x.o, &x.p, open("/dev/null", O_RDONLY | O_CLOEXEC), 0, 9), 0);
    out_shrink(&x.o, &small);
    assert_int_equal(small.used, 0);
    assert_int_equal(out_segments(&x.o, s, 1), 1);
    assert_null(s[0].data);
    out_clear(&x.o);
    world_close(&x);
    bufpool_destroy(&small);
}

static int file_open(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static bool file_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_files(void **state)
{
    struct backend_segment s[8];
    struct world x;

    (void)state;
    world_open(&x, 0);
    int fd = file_open(), other = file_open();
    assert_int_equal(out_append(&x.o, &x.p, "head", 4), 0);
    assert_int_equal(out_append_file(&x.o, &x.p, fd, 1000, 5000), 0);
    assert_int_equal(out_append(&x.o, &x.p, "tail", 4), 0);
    assert_int_equal(out_append_file(&x.o, &x.p, other, 7, (uint64_t)5 << 30), 0);
    assert_int_equal(out_pending(&x.o), 4 + 5000 + 4 + ((uint64_t)5 << 30));
    assert_int_equal(out_held(&x.o), 4 * x.p.block_size);
    assert_int_equal(out_segments(&x.o, s, 8), 4);
    assert_memory_equal(s[0].data, "head", 4);
    assert_null(s[1].data);
    assert_int_equal(s[1].file, fd);
    assert_int_equal(s[1].offset, 1000);
    assert_int_equal(s[1].len, 5000);
    assert_memory_equal(s[2].data, "tail", 4);
    assert_int_equal(s[3].len, INT32_MAX); /* the rest comes later */
    out_consume(&x.o, 4 + 1500);           /* over the edge */
    assert_int_equal(out_segments(&x.o, s, 1), 1);
    assert_int_equal(s[0].offset, 2500);
    assert_int_equal(s[0].len, 3500);
    assert_true(file_is_open(fd));
    out_consume(&x.o, 3500);
    assert_false(file_is_open(fd));
    out_consume(&x.o, 4 + (size_t)INT32_MAX);
    assert_int_equal(out_segments(&x.o, s, 8), 1);
    assert_int_equal(s[0].offset, 7 + (int64_t)INT32_MAX);
    assert_true(file_is_open(other));
    out_clear(&x.o); /* dropped: closed as well */
    assert_false(file_is_open(other));
    x.budget.max = 1; /* and where there is no block for it */
    struct buf *taken = bufpool_get(&x.p);
    fd = file_open();
    assert_int_equal(out_append_file(&x.o, &x.p, fd, 0, 1), -ENOMEM);
    assert_false(file_is_open(fd));
    bufpool_put(taken);
    world_close(&x);
}

/* One file in two answers and a cache: open as long as any of them has it. */
static void test_shared_files(void **state)
{
    struct backend_segment s[8];
    struct world x;

    (void)state;
    world_open(&x, 0);
    struct file_ref *file = malloc(sizeof(*file));
    assert_non_null(file);
    int fd = file_open();
    *file = (struct file_ref){.fd = fd, .refs = 1};
    assert_int_equal(out_append_shared_file(&x.o, &x.p, file_ref_get(file), 10, 20), 0);
    assert_int_equal(out_append_shared_file(&x.o, &x.p, file_ref_get(file), 30, 40), 0);
    file_ref_put(file); /* the cache's */
    assert_int_equal(out_segments(&x.o, s, 8), 2);
    assert_int_equal(s[0].file, fd);
    assert_int_equal(s[1].file, fd);
    assert_int_equal(s[1].offset, 30);
    out_consume(&x.o, 20);
    assert_true(file_is_open(fd));
    out_consume(&x.o, 39);
    assert_true(file_is_open(fd));
    file_ref_get(file);
    out_clear(&x.o);
    assert_true(file_is_open(fd));
    x.budget.max = 1; /* no block: the reference is let go of, and no more than that */
    struct buf *taken = bufpool_get(&x.p);
    assert_int_equal(out_append_shared_file(&x.o, &x.p, file_ref_get(file), 0, 1), -ENOMEM);
    assert_true(file_is_open(fd));
    assert_int_equal(out_append_shared_file(&x.o, &x.p, file, 0, 1), -ENOMEM);
    assert_false(file_is_open(fd));
    bufpool_put(taken);
    world_close(&x);
}

static void test_clear(void **state)
{
    struct world x;

    (void)state;
    world_open(&x, 0);
    append(&x, 12345);
    take(&x, 5);
    out_clear(&x.o);
    assert_true(out_empty(&x.o));
    assert_non_null(out_reserve(&x.o, &x.p, 10)); /* never committed */
    out_clear(&x.o);
    world_close(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),       cmocka_unit_test(test_one_block),
        cmocka_unit_test(test_block_edges), cmocka_unit_test(test_range_in_flight_stays),
        cmocka_unit_test(test_random),      cmocka_unit_test(test_no_blocks),
        cmocka_unit_test(test_files),       cmocka_unit_test(test_shared_files),
        cmocka_unit_test(test_clear),       cmocka_unit_test(test_shrink),
    };

    return cmocka_run_group_tests(tests, model_setup, NULL);
}
