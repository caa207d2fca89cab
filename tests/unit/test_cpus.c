/* SPDX-License-Identifier: MIT */
/*
 * test_cpus.c - the quota of CPU time, read from trees of files like those of kernels and containers.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpus.h"

static char root[] = "/tmp/bivalve-cpus-XXXXXX";

/* A file beneath the root, with the directories that lead to it. */
static void put(const char *path, const char *text)
{
    char name[512];

    snprintf(name, sizeof(name), "%s%s", root, path);
    for (char *slash = name + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(name, 0700);
        *slash = '/';
    }
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int setup(void **state)
{
    (void)state;
    strcpy(root + strlen(root) - 6, "XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", root);
    return system(command);
}

#define V2 "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"

static void test_nothing_there(void **state)
{
    (void)state;
    assert_int_equal(cpus_quota(root), 0);
    put("/proc/self/mountinfo", V2);
    assert_int_equal(cpus_quota(root), 0);
    put("/proc/self/cgroup", "0::/a\n");
    assert_int_equal(cpus_quota(root), 0); /* no such file: the controller is not on */
    put("/sys/fs/cgroup/a/cpu.max", "nonsense\n");
    assert_int_equal(cpus_quota(root), 0);
    put("/sys/fs/cgroup/a/cpu.max", "1 0\n");
    assert_int_equal(cpus_quota(root), 0);
}

static void test_v2(void **state)
{
    (void)state;
    put("/proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" V2);
    put("/proc/self/cgroup", "0::/system.slice/bivalve.service\n");
    put("/sys/fs/cgroup/system.slice/bivalve.service/cpu.max", "max 100000\n");
    assert_int_equal(cpus_quota(root), 0);
    put("/sys/fs/cgroup/system.slice/cpu.max", "250000 100000\n"); /* of the group around it */
    assert_int_equal(cpus_quota(root), 2500);
    put("/sys/fs/cgroup/system.slice/bivalve.service/cpu.max", "50000 200000\n");
    assert_int_equal(cpus_quota(root), 250);
    put("/sys/fs/cgroup/system.slice/bivalve.service/cpu.max", "1000 1000000\n");
    assert_int_equal(cpus_quota(root), 1);
}

/* A container with a name space of its own: the root is its group. */
static void test_v2_container(void **state)
{
    (void)state;
    put("/proc/self/mountinfo", V2);
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
    assert_int_equal(cpus_quota(root), 1500);
    put("/proc/self/cgroup", "0::/../other\n"); /* outside of what is mounted */
    assert_int_equal(cpus_quota(root), 1500);
}

static void test_v1(void **state)
{
    (void)state;
    put("/proc/self/mountinfo",
        "30 24 0:26 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
        "31 24 0:27 /docker/0123 /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n");
    put("/proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/docker/0123\n0::/x\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpus_quota(root), 0);
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "300000\n");
    assert_int_equal(cpus_quota(root), 3000);
    put("/proc/self/cgroup", "2:cpu,cpuacct:/docker/0123/in\n");
    put("/sys/fs/cgroup/cpu,cpuacct/in/cpu.cfs_quota_us", "20000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/in/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpus_quota(root), 200);
}

/* Here, whatever that is: it does not fail, and the CPUs are in order. */
static void test_here(void **state)
{
    unsigned count;
    int *cpus = cpus_find(&count);

    (void)state;
    assert_non_null(cpus);
    assert_true(count >= 1);
    for (unsigned i = 1; i < count; i++)
        assert_true(cpus[i] > cpus[i - 1]);
    free(cpus);
    assert_true(cpus_quota("") < 1000ul * 1000 * 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_v2, setup, teardown),
        cmocka_unit_test_setup_teardown(test_v2_container, setup, teardown),
        cmocka_unit_test_setup_teardown(test_v1, setup, teardown),
        cmocka_unit_test(test_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
