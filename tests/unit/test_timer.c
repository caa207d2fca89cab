/* SPDX-License-Identifier: MIT */
/*
 * test_timer.c - the timing wheel against a model that keeps every deadline in an array and looks
 * at all of them; its promises about lateness and about when to wake up; callbacks that do what
 * they like.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "timer.h"

#define FDS      3000
#define START_MS UINT64_C(1000000000)

/* The model: what each fd's deadline is, in milliseconds; 0: none. */
struct world {
    struct slot_table slots;
    struct timer_wheel w;
    uint64_t now_ms;
    uint64_t due_ms[FDS];
    enum timer_kind kind[FDS];
    unsigned armed, fired;
    uint64_t seed;
    bool busy; /* callbacks play with other timers */
};

static struct world world;

static uint32_t roll(struct world *x, uint32_t n)
{
    x->seed = x->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(x->seed >> 33) % n;
}

static void world_open(struct world *x, uint64_t seed)
{
    memset(x, 0, sizeof(*x));
    x->seed = seed;
    x->now_ms = START_MS;
    assert_int_equal(slot_table_init(&x->slots, FDS, 0), 0);
    timer_init(&x->w, &x->slots, x->now_ms);
    for (int fd = 0; fd < FDS; fd++)
        slot_take(&x->slots, fd)->state = SLOT_OPEN;
}

static void world_close(struct world *x)
{
    slot_table_destroy(&x->slots);
}

static void set(struct world *x, int fd, enum timer_kind kind, uint32_t delay_ms)
{
    timer_set(&x->w, fd, kind, x->now_ms, delay_ms);
    x->armed -= x->due_ms[fd] != 0;
    x->armed += delay_ms != 0;
    x->due_ms[fd] = delay_ms ? x->now_ms + delay_ms : 0;
    x->kind[fd] = delay_ms ? kind : TIMER_NONE;
    assert_int_equal(slot_get(&x->slots, fd)->timer_kind, x->kind[fd]);
}

static void stop(struct world *x, int fd)
{
    timer_stop(&x->w, fd);
    x->armed -= x->due_ms[fd] != 0;
    x->due_ms[fd] = 0;
    x->kind[fd] = TIMER_NONE;
    assert_int_equal(slot_get(&x->slots, fd)->timer_kind, TIMER_NONE);
}

/* Some change to some timer, as a connection's life makes them. */
static void change(struct world *x)
{
    static const uint32_t delays[] = {1,     127,   128,   129,   1000,   5000,   10000,  30000,
                                      60000, 65535, 65536, 65537, 131072, 600000, 3600000};
    int fd = (int)roll(x, FDS);
    enum timer_kind kind = TIMER_HEADER + roll(x, 5);

    switch (roll(x, 8)) {
    case 0: stop(x, fd); break;
    case 1: set(x, fd, kind, 0); break;
    case 2: /* the slot is released and taken again */
        stop(x, fd);
        slot_release(&x->slots, fd);
        slot_take(&x->slots, fd)->state = SLOT_OPEN;
        break;
    case 3:
    case 4: set(x, fd, kind, 1 + roll(x, 200000)); break;
    default: set(x, fd, kind, delays[roll(x, ARRAY_LEN(delays))]); break;
    }
}

static void expired(void *arg, int fd, enum timer_kind kind)
{
    struct world *x = arg;

    assert_int_not_equal(x->due_ms[fd], 0);
    assert_true(x->due_ms[fd] <= x->now_ms); /* never early */
    assert_int_equal(kind, x->kind[fd]);
    assert_int_equal(slot_get(&x->slots, fd)->timer_kind, TIMER_NONE);
    x->due_ms[fd] = 0;
    x->kind[fd] = TIMER_NONE;
    x->armed--;
    x->fired++;
    if (x->busy)
        for (uint32_t n = roll(x, 4); n > 0; n--)
            change(x);
    if (x->busy && roll(x, 2))
        set(x, fd, TIMER_IDLE, 1 + roll(x, 70000)); /* itself */
}

/* Let time go on, and compare. */
static void advance(struct world *x, uint64_t ms)
{
    x->now_ms += ms;
    unsigned before = x->fired;
    unsigned n = timer_expire(&x->w, x->now_ms, expired, x);
    assert_int_equal(n, x->fired - before);
    assert_int_equal(x->w.armed, x->armed);
    uint64_t first_ms = UINT64_MAX;
    for (int fd = 0; fd < FDS; fd++) {
        if (!x->due_ms[fd])
            continue;
        assert_true(x->due_ms[fd] + TIMER_TICK_MS > x->now_ms); /* at most a tick late */
        first_ms = MIN(first_ms, x->due_ms[fd]);
    }
    int64_t next_ms = timer_next_ms(&x->w, x->now_ms);
    if (x->armed == 0) {
        assert_int_equal(next_ms, -1);
        return;
    }
    assert_true(next_ms >= 0 && next_ms <= TIMER_BUCKETS * TIMER_TICK_MS);
    assert_true(x->now_ms + (uint64_t)next_ms < first_ms + TIMER_TICK_MS); /* not too late */
}

static void random_life(struct world *x, int turns)
{
    for (int i = 0; i < turns; i++) {
        for (uint32_t n = roll(x, 60); n > 0; n--)
            change(x);
        switch (roll(x, 16)) {
        case 0:
            advance(x, roll(x, 200000)); /* more than a round at once */
            break;
        case 1: advance(x, 0); break;
        case 2:
        case 3: advance(x, roll(x, 5000)); break;
        default: advance(x, roll(x, 300)); break;
        }
    }
    x->busy = false;
    advance(x, UINT64_C(2) * 3600000);
    assert_int_equal(x->armed, 0);
    for (unsigned b = 0; b < ARRAY_LEN(x->w.bucket); b++)
        assert_int_equal(x->w.bucket[b], -1);
    for (unsigned i = 0; i < ARRAY_LEN(x->w.occupied); i++)
        assert_int_equal(x->w.occupied[i], 0);
}

static void test_against_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        world_open(&world, seed);
        random_life(&world, 1500);
        assert_true(world.fired > 1000);
        world_close(&world);
    }
}

static void test_busy_callbacks(void **state)
{
    (void)state;
    for (uint64_t seed = 11; seed <= 14; seed++) {
        world_open(&world, seed);
        world.busy = true;
        random_life(&world, 1500);
        assert_true(world.fired > 1000);
        world_close(&world);
    }
}

/* Ticks are 32 bits: 17 years. */
static void test_ticks_wrap(void **state)
{
    (void)state;
    for (uint64_t seed = 21; seed <= 22; seed++) {
        world_open(&world, seed);
        world.w.base_ms = world.now_ms - (UINT64_C(0x100000000) - 2000) * TIMER_TICK_MS;
        world.w.now = 0xffffffffu - 1999;
        world.busy = seed & 1;
        random_life(&world, 1500);
        assert_true(world.w.now < 0x80000000u); /* it has wrapped */
        world_close(&world);
    }
}

/* One timer at a time, time in single milliseconds: late by less than a tick, never early. */
static void test_lateness(void **state)
{
    static const uint32_t delays[] = {1,     2,     126,   127,    128,   129,   255,
                                      256,   257,   1000,  65407,  65408, 65409, 65535,
                                      65536, 65537, 65664, 131072, 131073};
    struct world *x = &world;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(delays); i++) {
        for (uint32_t phase = 0; phase < TIMER_TICK_MS; phase += 21) {
            world_open(x, 1);
            advance(x, phase);
            set(x, 7, TIMER_IDLE, delays[i]);
            uint64_t due_ms = x->due_ms[7];
            x->now_ms = due_ms - 1;
            assert_int_equal(timer_expire(&x->w, x->now_ms, expired, x), 0);
            while (!x->fired) {
                assert_true(x->now_ms < due_ms + TIMER_TICK_MS);
                x->now_ms++;
                timer_expire(&x->w, x->now_ms, expired, x);
            }
            world_close(x);
        }
    }
}

/* The hot case is one store: the slot stays where it is linked until the wheel comes by. */
static void test_later_does_not_move(void **state)
{
    struct world *x = &world;
    struct slot *s;

    (void)state;
    world_open(x, 1);
    s = slot_get(&x->slots, 5);
    set(x, 4, TIMER_IDLE, 10000);
    set(x, 5, TIMER_IDLE, 10000);
    set(x, 6, TIMER_IDLE, 10000);
    uint32_t at = s->timer_at;
    int32_t next = s->timer_next, prev = s->timer_prev;
    for (int i = 1; i <= 50; i++) {
        x->now_ms += 100;
        set(x, 5, i & 1 ? TIMER_WRITE : TIMER_IDLE, 10000);
        assert_int_equal(s->timer_at, at);
        assert_int_equal(s->timer_next, next);
        assert_int_equal(s->timer_prev, prev);
    }
    advance(x, 5000 + TIMER_TICK_MS); /* the others are due, this one is not */
    assert_int_equal(x->fired, 2);
    assert_int_not_equal(s->timer_at, at); /* linked anew */
    set(x, 5, TIMER_HEADER, 1000);         /* earlier: at once */
    advance(x, 1000 + TIMER_TICK_MS);
    assert_int_equal(x->fired, 3);

    /* The core may move a deadline itself, to later. */
    set(x, 5, TIMER_BODY, 1000);
    s->deadline += 20;
    x->due_ms[5] += 20 * TIMER_TICK_MS;
    advance(x, 1000 + TIMER_TICK_MS);
    assert_int_equal(x->fired, 3);
    advance(x, 20 * TIMER_TICK_MS);
    assert_int_equal(x->fired, 4);
    world_close(x);
}

static void test_set_and_stop(void **state)
{
    struct world *x = &world;

    (void)state;
    world_open(x, 1);
    assert_int_equal(timer_next_ms(&x->w, x->now_ms), -1);
    timer_stop(&x->w, 9); /* nothing to stop */
    timer_set(&x->w, 9, TIMER_IDLE, x->now_ms, 0);
    assert_int_equal(x->w.armed, 0);
    set(x, 9, TIMER_IDLE, 1000);
    set(x, 9, TIMER_HEADER, 500);
    assert_int_equal(x->w.armed, 1);
    set(x, 9, TIMER_HEADER, 0);
    advance(x, 100000);
    assert_int_equal(x->fired, 0);

    /* A clock that is behind the wheel: due at the next tick instead of a round later. */
    timer_set(&x->w, 9, TIMER_IDLE, x->now_ms - 50000, 10);
    x->due_ms[9] = x->now_ms;
    x->kind[9] = TIMER_IDLE;
    x->armed++;
    x->now_ms += TIMER_TICK_MS;
    assert_int_equal(timer_expire(&x->w, x->now_ms, expired, x), 1);

    /* The longest delay there is. */
    set(x, 9, TIMER_IDLE, UINT32_MAX);
    advance(x, UINT32_MAX - 1);
    assert_int_equal(x->fired, 1);
    advance(x, 1 + TIMER_TICK_MS);
    assert_int_equal(x->fired, 2);
    world_close(x);
}

/* A loop that sleeps as long as it may wakes up for a timer and little else. */
static void test_wake_ups(void **state)
{
    struct world *x = &world;
    unsigned wake_ups = 0;

    (void)state;
    world_open(x, 1);
    set(x, 1, TIMER_IDLE, 60000);
    while (x->armed) {
        int64_t ms = timer_next_ms(&x->w, x->now_ms);
        assert_true(ms > 0);
        advance(x, (uint64_t)ms);
        assert_true(++wake_ups <= 1);
    }
    set(x, 1, TIMER_IDLE, 600000); /* goes round the wheel nine times */
    for (wake_ups = 0; x->armed; wake_ups++)
        advance(x, (uint64_t)timer_next_ms(&x->w, x->now_ms));
    assert_true(wake_ups <= 11);
    world_close(x);
}

/* Two that are due together, and the first releases the second. */
static int other;
static struct timer_wheel *wheel;
static unsigned calls;

static void release_other(void *arg, int fd, enum timer_kind kind)
{
    struct world *x = arg;

    assert_int_equal(kind, TIMER_LINGER);
    assert_true(fd == 1 || fd == 2);
    other = 3 - fd;
    timer_stop(wheel, other);
    slot_release(&x->slots, other);
    slot_release(&x->slots, fd);
    calls++;
}

static void test_callback_releases_another(void **state)
{
    struct world *x = &world;

    (void)state;
    world_open(x, 1);
    wheel = &x->w;
    timer_set(wheel, 1, TIMER_LINGER, x->now_ms, 1000);
    timer_set(wheel, 2, TIMER_LINGER, x->now_ms, 1000);
    assert_int_equal(timer_expire(wheel, x->now_ms + 2000, release_other, x), 1);
    assert_int_equal(calls, 1);
    assert_int_equal(wheel->armed, 0);
    assert_int_equal(timer_expire(wheel, x->now_ms + 200000, release_other, x), 0);
    world_close(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_and_stop),
        cmocka_unit_test(test_lateness),
        cmocka_unit_test(test_later_does_not_move),
        cmocka_unit_test(test_callback_releases_another),
        cmocka_unit_test(test_wake_ups),
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_busy_callbacks),
        cmocka_unit_test(test_ticks_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
