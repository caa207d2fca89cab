/* SPDX-License-Identifier: MIT */
/*
 * test_ring.c - records through shared memory: between two processes, around the end of the ring, at
 * its edges, with a writer that dies.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "ring.h"

#define RECORD 64

static void write_record(struct ring *r, char c, size_t len)
{
    char *p = ring_reserve(r);

    assert_non_null(p);
    memset(p, c, len);
    ring_commit(r, len);
}

/* All that there is, joined. */
static size_t read_all(struct ring *r, char *out)
{
    struct iovec pieces[2];
    size_t len = 0;
    unsigned n = ring_peek(r, pieces);

    for (unsigned i = 0; i < n; i++) {
        memcpy(out + len, pieces[i].iov_base, pieces[i].iov_len);
        len += pieces[i].iov_len;
    }
    ring_consume(r, len);
    return len;
}

static void test_edges(void **state)
{
    struct ring *r = ring_map(256, RECORD);
    struct iovec pieces[2];
    char out[256];

    (void)state;
    assert_non_null(r);
    assert_int_equal(ring_peek(r, pieces), 0);
    /* Room is promised for the longest record only. */
    for (int i = 0; i < 4; i++)
        write_record(r, (char)('a' + i), RECORD);
    assert_null(ring_reserve(r));
    assert_int_equal(ring_used(r), 256);
    assert_int_equal(ring_peek(r, pieces), 1);
    ring_consume(r, 1);
    assert_null(ring_reserve(r));
    ring_consume(r, RECORD - 1);
    /* At every place over the end: what is read is what was written. */
    write_record(r, 'e', 30);
    assert_int_equal(read_all(r, out), 3 * RECORD + 30);
    assert_int_equal(out[0], 'b');
    for (int i = 0; i < 1000; i++) {
        size_t len = 1 + (size_t)i % RECORD;
        write_record(r, (char)(i % 26 + 'a'), len);
        write_record(r, '.', 1);
        assert_int_equal(read_all(r, out), len + 1);
        for (size_t k = 0; k < len; k++)
            assert_int_equal(out[k], i % 26 + 'a');
        assert_int_equal(out[len], '.');
    }
    ring_unmap(r);
}

static void test_waking(void **state)
{
    struct ring *r = ring_map(256, RECORD);

    (void)state;
    write_record(r, 'a', 10);
    assert_false(ring_wants_wake(r)); /* nobody sleeps */
    r->wake_at = 20;
    assert_false(ring_wants_wake(r));
    write_record(r, 'a', 10);
    assert_true(ring_wants_wake(r));
    assert_false(ring_wants_wake(r)); /* it has been told */
    ring_unmap(r);
}

/* A child writes numbered records of random lengths, and dies inside one. */
static void test_two_processes(void **state)
{
    struct ring *r = ring_map(4096, RECORD);
    unsigned next = 0, count = 100000;
    char rest[4096 + RECORD];
    size_t held = 0;
    int status;

    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        uint64_t seed = 1;
        for (unsigned i = 0; i < count;) {
            char *p = ring_reserve(r);
            if (!p) {
                usleep(1);
                continue;
            }
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
            int n = sprintf(p, "%u ", i++);
            int more = (int)(seed >> 60);
            memset(p + n, 'x', (size_t)more);
            p[n + more] = '\n';
            ring_commit(r, (size_t)(n + more) + 1);
        }
        memset(ring_reserve(r), 'y', RECORD);
        _exit(0);
    }
    while (next < count) {
        struct iovec pieces[2];
        unsigned n = ring_peek(r, pieces);
        if (!n) {
            usleep(1);
            continue;
        }
        size_t len = MIN(pieces[0].iov_len, (size_t)4096 - held);
        memcpy(rest + held, pieces[0].iov_base, len);
        ring_consume(r, len);
        held += len;
        char *from = rest, *end;
        while ((end = memchr(from, '\n', held - (size_t)(from - rest)))) {
            *end = '\0';
            assert_int_equal(strtoul(from, NULL, 10), next++);
            char *space = strchr(from, ' ');
            assert_non_null(space);
            assert_int_equal(strspn(space + 1, "x"), strlen(space + 1));
            from = end + 1;
        }
        held -= (size_t)(from - rest);
        memmove(rest, from, held);
    }
    assert_int_equal(held, 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(ring_used(r), 0);
    ring_unmap(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_waking),
        cmocka_unit_test(test_two_processes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
