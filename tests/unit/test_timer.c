/* SPDX-License-Identifier: MIT */
/*
 * test_timer.c - the timing wheels against a model that keeps every deadline in an array and looks
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

#define TIMERS     3000
#define TICK_MS    (1u << TICK_SHIFT)
#define TICK_SHIFT 7
#define START_MS   UINT64_C(1000000000)

/* The model: what each timer's deadline is, in milliseconds; 0: none. */
struct world {
    struct timer t[TIMERS];
    struct timer_wheel w;
    uint64_t now_ms;
    uint64_t due_ms[TIMERS];
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
    timer_wheel_init(&x->w, TICK_SHIFT, x->now_ms);
}

static void set(struct world *x, int i, uint32_t delay_ms)
{
    timer_set(&x->w, &x->t[i], x->now_ms, delay_ms);
    x->armed -= x->due_ms[i] != 0;
    x->armed += delay_ms != 0;
    x->due_ms[i] = delay_ms ? x->now_ms + delay_ms : 0;
    assert_int_equal(timer_is_set(&x->t[i]), delay_ms != 0);
}

static void stop(struct world *x, int i)
{
    timer_stop(&x->w, &x->t[i]);
    x->armed -= x->due_ms[i] != 0;
    x->due_ms[i] = 0;
    assert_false(timer_is_set(&x->t[i]));
}

/* Some change to some timer, as a connection's life makes them. */
static void change(struct world *x)
{
    static const uint32_t delays[] = {1,     127,   128,   129,   1000,   5000,   10000,  30000,
                                      60000, 65535, 65536, 65537, 131072, 600000, 3600000};
    int i = (int)roll(x, TIMERS);

    switch (roll(x, 8)) {
    case 0: stop(x, i); break;
    case 1: set(x, i, 0); break;
    case 2: /* its memory goes, and is used again */
        stop(x, i);
        memset(&x->t[i], 0xff, sizeof(x->t[i]));
        memset(&x->t[i], 0, sizeof(x->t[i]));
        break;
    case 3:
    case 4: set(x, i, 1 + roll(x, 200000)); break;
    default: set(x, i, delays[roll(x, ARRAY_LEN(delays))]); break;
    }
}

static void expired(void *arg, struct timer *t)
{
    struct world *x = arg;
    int i = (int)(t - x->t);

    assert_true(i >= 0 && i < TIMERS);
    assert_int_not_equal(x->due_ms[i], 0);
    assert_true(x->due_ms[i] <= x->now_ms); /* never early */
    assert_false(timer_is_set(t));
    x->due_ms[i] = 0;
    x->armed--;
    x->fired++;
    if (x->busy)
        for (uint32_t n = roll(x, 4); n > 0; n--)
            change(x);
    if (x->busy && roll(x, 2))
        set(x, i, 1 + roll(x, 70000)); /* itself */
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
    for (int i = 0; i < TIMERS; i++) {
        if (!x->due_ms[i])
            continue;
        assert_true(x->due_ms[i] + TICK_MS > x->now_ms); /* at most a tick late */
        first_ms = MIN(first_ms, x->due_ms[i]);
    }
    int64_t next_ms = timer_next_ms(&x->w, x->now_ms);
    if (x->armed == 0) {
        assert_int_equal(next_ms, -1);
        return;
    }
    assert_true(next_ms >= 0 && next_ms <= TIMER_BUCKETS * TIMER_ROUNDS * (int64_t)TICK_MS);
    assert_true(x->now_ms + (uint64_t)next_ms < first_ms + TICK_MS); /* not too late */
}

static void random_life(struct world *x, int steps)
{
    for (int i = 0; i < steps; i++) {
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
        assert_null(x->w.bucket[b]);
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
    }
}

/* Ticks are 32 bits: 17 years. */
static void test_ticks_wrap(void **state)
{
    (void)state;
    for (uint64_t seed = 21; seed <= 22; seed++) {
        world_open(&world, seed);
        world.w.base_ms = world.now_ms - (UINT64_C(0x100000000) - 2000) * TICK_MS;
        world.w.now = 0xffffffffu - 1999;
        world.busy = seed & 1;
        random_life(&world, 1500);
        assert_true(world.w.now < 0x80000000u); /* it has wrapped */
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
        for (uint32_t phase = 0; phase < TICK_MS; phase += 21) {
            world_open(x, 1);
            advance(x, phase);
            set(x, 7, delays[i]);
            uint64_t due_ms = x->due_ms[7];
            x->now_ms = due_ms - 1;
            assert_int_equal(timer_expire(&x->w, x->now_ms, expired, x), 0);
            while (!x->fired) {
                assert_true(x->now_ms < due_ms + TICK_MS);
                x->now_ms++;
                timer_expire(&x->w, x->now_ms, expired, x);
            }
        }
    }
}

/* The hot case is one store: the node stays where it is linked until the wheel comes by. */
static void test_later_does_not_move(void **state)
{
    struct world *x = &world;
    struct timer *t = &x->t[5];

    (void)state;
    world_open(x, 1);
    set(x, 4, 10000);
    set(x, 5, 10000);
    set(x, 6, 10000);
    uint32_t at = t->at;
    struct timer *next = t->next, **link = t->link;
    for (int i = 1; i <= 50; i++) {
        x->now_ms += 100;
        set(x, 5, 10000);
        assert_int_equal(t->at, at);
        assert_ptr_equal(t->next, next);
        assert_ptr_equal(t->link, link);
    }
    advance(x, 5000 + TICK_MS); /* the others are due, this one is not */
    assert_int_equal(x->fired, 2);
    assert_int_not_equal(t->at, at); /* linked anew */
    set(x, 5, 1000);                 /* earlier: at once */
    advance(x, 1000 + TICK_MS);
    assert_int_equal(x->fired, 3);

    /* Its owner may postpone it by some ticks. */
    set(x, 5, 1000);
    timer_postpone(t, 20);
    x->due_ms[5] += 20 * TICK_MS;
    advance(x, 1000 + TICK_MS);
    assert_int_equal(x->fired, 3);
    advance(x, 20 * TICK_MS);
    assert_int_equal(x->fired, 4);
}

static void test_set_and_stop(void **state)
{
    struct world *x = &world;

    (void)state;
    world_open(x, 1);
    assert_int_equal(timer_next_ms(&x->w, x->now_ms), -1);
    timer_stop(&x->w, &x->t[9]); /* nothing to stop */
    timer_set(&x->w, &x->t[9], x->now_ms, 0);
    assert_int_equal(x->w.armed, 0);
    set(x, 9, 1000);
    set(x, 9, 500);
    assert_int_equal(x->w.armed, 1);
    set(x, 9, 0);
    advance(x, 100000);
    assert_int_equal(x->fired, 0);

    /* A clock that is behind the wheel: due at the next tick instead of a round later. */
    timer_set(&x->w, &x->t[9], x->now_ms - 50000, 10);
    x->due_ms[9] = x->now_ms;
    x->armed++;
    x->now_ms += TICK_MS;
    assert_int_equal(timer_expire(&x->w, x->now_ms, expired, x), 1);

    /* The longest delay there is. */
    set(x, 9, UINT32_MAX);
    advance(x, UINT32_MAX - 1);
    assert_int_equal(x->fired, 1);
    advance(x, 1 + TICK_MS);
    assert_int_equal(x->fired, 2);
}

/* A loop that sleeps as long as it may wakes up for a timer and little else. */
static void test_wake_ups(void **state)
{
    struct world *x = &world;
    unsigned wake_ups = 0;

    (void)state;
    world_open(x, 1);
    set(x, 1, 60000);
    while (x->armed) {
        int64_t ms = timer_next_ms(&x->w, x->now_ms);
        assert_true(ms > 0);
        advance(x, (uint64_t)ms);
        assert_true(++wake_ups <= 1);
    }
    set(x, 1, 600000); /* when its round begins, and when it is due */
    for (wake_ups = 0; x->armed; wake_ups++)
        advance(x, (uint64_t)timer_next_ms(&x->w, x->now_ms));
    assert_int_equal(wake_ups, 2);

    /* Many that are far away: no more than the rounds that they lie in, and themselves. */
    for (int i = 0; i < TIMERS; i++)
        set(x, i, 3600000 + (uint32_t)i);
    for (wake_ups = 0; x->armed; wake_ups++)
        advance(x, (uint64_t)timer_next_ms(&x->w, x->now_ms));
    assert_true(wake_ups <= TIMERS / TICK_MS + 2 + 1);
}

/* Two that are due together, and the first stops the second, whose memory goes. */
static unsigned calls;

static void stop_other(void *arg, struct timer *t)
{
    struct world *x = arg;
    struct timer *other = t == &x->t[1] ? &x->t[2] : &x->t[1];

    assert_true(t == &x->t[1] || t == &x->t[2]);
    timer_stop(&x->w, other);
    memset(other, 0xff, sizeof(*other));
    memset(t, 0xff, sizeof(*t));
    calls++;
}

static void test_callback_stops_another(void **state)
{
    struct world *x = &world;

    (void)state;
    world_open(x, 1);
    timer_set(&x->w, &x->t[1], x->now_ms, 1000);
    timer_set(&x->w, &x->t[2], x->now_ms, 1000);
    assert_int_equal(timer_expire(&x->w, x->now_ms + 2000, stop_other, x), 1);
    assert_int_equal(calls, 1);
    assert_int_equal(x->w.armed, 0);
    assert_int_equal(timer_expire(&x->w, x->now_ms + 200000, stop_other, x), 0);
}

/* A wheel of milliseconds: due in the very one, whatever the distance. */
static void test_millisecond_ticks(void **state)
{
    struct world *x = &world;

    (void)state;
    for (uint32_t delay_ms = 1; delay_ms < 3000; delay_ms += 37) {
        world_open(x, 1);
        timer_wheel_init(&x->w, 0, x->now_ms);
        timer_set(&x->w, &x->t[3], x->now_ms, delay_ms);
        x->due_ms[3] = x->now_ms + delay_ms;
        x->armed = 1;
        x->now_ms += delay_ms - 1;
        assert_int_equal(timer_expire(&x->w, x->now_ms, expired, x), 0);
        assert_int_equal(timer_next_ms(&x->w, x->now_ms), 1);
        x->now_ms++;
        assert_int_equal(timer_expire(&x->w, x->now_ms, expired, x), 1);
        assert_int_equal(timer_next_ms(&x->w, x->now_ms), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_and_stop),        cmocka_unit_test(test_lateness),
        cmocka_unit_test(test_later_does_not_move), cmocka_unit_test(test_callback_stops_another),
        cmocka_unit_test(test_millisecond_ticks),   cmocka_unit_test(test_wake_ups),
        cmocka_unit_test(test_against_model),       cmocka_unit_test(test_busy_callbacks),
        cmocka_unit_test(test_ticks_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
