/* SPDX-License-Identifier: MIT */
/*
 * test_view.c - the view inside: every counter is shown once, under the name and type that it has;
 * the board's states; a text that grows.
 */
#include "config.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "registry.h"
#include "usage.h"
#include "view.h"

static struct board *board;
static struct stats *stats;
static struct view view;

static int set_up(void **state)
{
    (void)state;
    board = board_map(2);
    stats = stats_map(2);
    view = (struct view){.board = board, .stats = stats};
    if (board) {
        board->workers = board->used = 2;
        board->worker[0].wanted = board->worker[1].wanted = true;
        strcpy(board->listeners, "127.0.0.1:1");
    }
    return board && stats ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    board_unmap(board);
    stats_unmap(stats, 2);
    return 0;
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;

    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

static void test_every_counter_once(void **state)
{
    struct text t = {0};
    uint64_t n = 1000001;
    struct stats_field f;

    (void)state;
#define SET(field) stats[0].field = n++;
    STATS_COUNTERS(SET)
    STATS_GAUGES(SET)
#undef SET
    view_metrics(&view, &t);
    assert_false(t.failed);
    for (size_t i = 0; (f = stats_field(&stats[0], i)).name; i++) {
        char value[24];
        snprintf(value, sizeof(value), " %" PRIu64 "\n", f.value);
        /* requests stand once for all workers, and once for theirs */
        if (count(t.data, value) != 1 + !strcmp(f.name, "requests"))
            fail_msg("%s is shown %u times", f.name, count(t.data, value));
    }
    assert_int_equal(count(t.data, "# HELP "), count(t.data, "# TYPE "));
    assert_int_equal(count(t.data, "# TYPE bivalve_limits_hit_total counter\n"), 1);
    assert_int_equal(count(t.data, "# TYPE bivalve_connections gauge\n"), 1);
    assert_int_equal(count(t.data, "# HELP bivalve_limits_hit_total (null)"), 0);
    text_free(&t);
}

static void test_sums(void **state)
{
    struct text t = {0};

    (void)state;
    stats[0].accepted = 40;
    stats[1].accepted = 2;
    stats[1].requests = 7;
    view_metrics(&view, &t);
    assert_int_equal(count(t.data, "\nbivalve_connections_accepted_total 42\n"), 1);
    assert_int_equal(count(t.data, "\nbivalve_worker_requests_total{worker=\"1\"} 7\n"), 1);
    assert_int_equal(count(t.data, "bivalve_backend_info"), 0); /* none serves yet */
    text_free(&t);

    board_set_serving(board, registry_list()[0], "swift, strong");
    view_metrics(&view, &t);
    assert_int_equal(count(t.data, "features=\"swift, strong\"} 1\n"), 1);
    text_free(&t);
}

static void test_health(void **state)
{
    (void)state;
    assert_false(board_is_healthy(board));
    assert_string_equal(board_state_name(board), "starting");
    board->worker[1] = (struct board_worker){.pid = getpid(), .wanted = true, .serving = true};
    assert_false(board_is_healthy(board)); /* the others have not started yet */
    board_set_serving(board, registry_list()[0], "");
    assert_true(board_is_healthy(board));
    board->worker[1].serving = false;
    assert_false(board_is_healthy(board));
    board->worker[1].serving = true;
    board->worker[1].pid = 0;
    assert_false(board_is_healthy(board));
    board->worker[1].pid = getpid();
    board->state = BOARD_DRAINING;
    assert_false(board_is_healthy(board));
    assert_string_equal(board_state_name(board), "draining");
}

static void test_status_is_whole(void **state)
{
    (void)state;
    board->worker[0] = (struct board_worker){.pid = getpid(), .wanted = true, .serving = true};
    stats[0].stale = 3;
    stats[1].stale = 4;
    char *text = view_status(&view);
    assert_non_null(text);
    assert_int_equal(count(text, "\"stale\": 3"), 1);
    assert_int_equal(count(text, "\"stale\": 7"), 1);
    assert_int_equal(count(text, "\"index\""), 2);
    assert_int_equal(count(text, "\"resident_bytes\""), 1);
    free(text);
}

static void test_text_grows(void **state)
{
    struct text t = {0};

    (void)state;
    for (int i = 0; i < 20000; i++)
        text_printf(&t, "%05d\n", i);
    assert_false(t.failed);
    assert_int_equal(t.len, 120000);
    assert_int_equal(strlen(t.data), 120000);
    assert_memory_equal(t.data + 6 * 12345, "12345\n", 6);
    text_printf(&t, "%*s", 300000, "x"); /* more than twice of what there is */
    assert_int_equal(t.len, 420000);
    text_free(&t);
    assert_null(t.data);
}

/* Of another process: qemu-user, which runs this for other architectures, makes up a process's own. */
static void test_usage(void **state)
{
    struct usage u;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        pause();
        _exit(0);
    }
    assert_true(usage_read(pid, &u));
    assert_in_range(u.resident_bytes, 1 << 16, UINT64_C(1) << 40);
    assert_true(u.cpu_s >= 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_false(usage_read(0x7fffffff, &u));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_counter_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sums, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_health, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_status_is_whole, set_up, tear_down),
        cmocka_unit_test(test_text_grows),
        cmocka_unit_test(test_usage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
