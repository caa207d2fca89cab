/* SPDX-License-Identifier: MIT */
/*
 * test_registry.c - the list of backends: complete, found by name, and an incomplete one is found
 * out before anything is served.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "registry.h"
#include "sim.h"
#include "util.h"

static void test_those_compiled_in(void **state)
{
    char error[BACKEND_TEXT_MAX];

    (void)state;
    assert_int_equal(registry_check(error), 0);
    assert_non_null(registry_list()[0]);
    for (const struct backend_ops *const *b = registry_list(); *b; b++) {
        assert_ptr_equal(registry_find((*b)->name, strlen((*b)->name)), *b);
        assert_null(registry_find((*b)->name, strlen((*b)->name) - 1));
        assert_int_equal((*b)->check_variant("nonsense", error), -EINVAL);
        assert_non_null(strstr(error, (*b)->name));
    }
    assert_null(registry_find("sim", 3));
}

/* What is wrong with a copy of a good table in which one thing is not. */
static void refused(const struct backend_ops *bad, const char *why)
{
    const struct backend_ops *list[] = {&sim_backend_ops, bad, NULL};
    char error[BACKEND_TEXT_MAX] = "";

    assert_int_equal(registry_check_ops(list, error), -EINVAL);
    if (!strstr(error, why))
        fail_msg("\"%s\" does not say \"%s\"", error, why);
}

static void test_incomplete(void **state)
{
    static const size_t members[] = {
#define MEMBER(name) offsetof(struct backend_ops, name)
        MEMBER(help),       MEMBER(counters), MEMBER(syscalls), MEMBER(check_variant),
        MEMBER(version),    MEMBER(probe),    MEMBER(open),     MEMBER(close),
        MEMBER(describe),   MEMBER(connect),  MEMBER(attach),   MEMBER(recv_ctl),
        MEMBER(listen_ctl), MEMBER(send),     MEMBER(detach),   MEMBER(wait),
        MEMBER(wake),
#undef MEMBER
    };
    struct backend_ops bad;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        bad = sim_backend_ops;
        bad.name = "bad";
        memset((char *)&bad + members[i], 0, sizeof(void *));
        refused(&bad, "the backend bad lacks");
    }
    bad = sim_backend_ops;
    refused(&bad, "has the name of another");
    bad.name = NULL;
    refused(&bad, "without a name");
    bad = sim_backend_ops;
    bad.name = "bad";
    bad.contract = BACKEND_VERSION - 1;
    refused(&bad, "another version");
    bad.contract = BACKEND_VERSION;
    bad.slot_priv_size = 24;
    refused(&bad, "slot_priv_size");
    bad.slot_priv_size = 1 << 20;
    refused(&bad, "slot_priv_size");
}

static void test_counters(void **state)
{
    const char *many[STATS_BACKEND_MAX + 2] = {NULL};
    struct backend_ops bad = sim_backend_ops;

    (void)state;
    bad.name = "bad";
    bad.counters = many;
    for (size_t i = 0; i <= STATS_BACKEND_MAX; i++)
        many[i] = "counter";
    refused(&bad, "too many counters");
    many[0] = "a_counter_whose_name_is_far_too_long";
    many[1] = NULL;
    refused(&bad, "too long a name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_those_compiled_in),
        cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_counters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
