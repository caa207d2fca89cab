/* SPDX-License-Identifier: MIT */
/*
 * test_out.c - the output chain against a flat model: what goes in comes out, in order, whatever
 * the sizes of pieces and sends; a range that has been lent stays put; nothing is kept of what was
 * sent.
 */
#include "config.h"

#include <errno.h>
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
    struct bufpool p;
    struct out o;
    size_t written, sent; /* offsets into the model */
};

static void world_open(struct world *x, size_t max_blocks)
{
    memset(x, 0, sizeof(*x));
    bufpool_init(&x->p, DATA, max_blocks);
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

/* Look at the next range, and take at most n of it, as a kernel does. */
static size_t take(struct world *x, size_t n)
{
    char *data;
    size_t len = out_peek(&x->o, &data);

    if (len == 0)
        return 0;
    assert_true(len <= bufpool_capacity(&x->p));
    assert_memory_equal(data, model + x->sent, len);
    n = MIN(n, len);
    out_consume(&x->o, &x->p, n);
    x->sent += n;
    return n;
}

static void test_empty(void **state)
{
    struct world x;
    char *data;

    (void)state;
    world_open(&x, 0);
    assert_true(out_empty(&x.o));
    assert_int_equal(out_peek(&x.o, &data), 0);
    assert_int_equal(out_pending(&x.o), 0);
    assert_int_equal(out_append(&x.o, &x.p, "", 0), 0);
    assert_true(out_empty(&x.o)); /* nothing takes no block */
    assert_int_equal(x.p.used, 0);
    out_clear(&x.o, &x.p);
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

/* What was lent to the engine is not moved or changed by what is appended meanwhile. */
static void test_lent_range_stays(void **state)
{
    struct world x;
    char *lent = NULL, *now = NULL;

    (void)state;
    world_open(&x, 0);
    append(&x, 300);
    size_t len = out_peek(&x.o, &lent);
    assert_int_equal(len, 300);
    for (int i = 0; i < 200; i++) {
        append(&x, 77);
        assert_true(out_peek(&x.o, &now) >= len);
        assert_ptr_equal(now, lent);
        assert_memory_equal(lent, model, len);
    }
    out_consume(&x.o, &x.p, 299); /* a short one */
    x.sent += 299;
    assert_true(out_peek(&x.o, &now) > 0);
    assert_ptr_equal(now, lent + 299);
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
    bufpool_put(&x.p, taken);
    world_close(&x);
}

static void test_clear(void **state)
{
    struct world x;

    (void)state;
    world_open(&x, 0);
    append(&x, 12345);
    take(&x, 5);
    out_clear(&x.o, &x.p);
    assert_true(out_empty(&x.o));
    assert_non_null(out_reserve(&x.o, &x.p, 10)); /* never committed */
    out_clear(&x.o, &x.p);
    world_close(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),       cmocka_unit_test(test_one_block),
        cmocka_unit_test(test_block_edges), cmocka_unit_test(test_lent_range_stays),
        cmocka_unit_test(test_random),      cmocka_unit_test(test_no_blocks),
        cmocka_unit_test(test_clear),
    };

    return cmocka_run_group_tests(tests, model_setup, NULL);
}
