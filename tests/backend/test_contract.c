/* SPDX-License-Identifier: MIT */
/*
 * test_contract.c - the contract of backends (backend.h), scenario by scenario, on every backend,
 * sim included, and on io_uring with features taken away and with queues and pools so small that
 * every rare path is the usual one. fake_core.c checks at each upcall what the core may expect
 * then. The scenarios are in contract_*.c.
 */
#include "config.h"

#include "contract.h"

#define TESTS_MAX    64  /* of all parts together */
#define HANG_SECONDS 120 /* a test that takes so long hangs */

/* The backends every scenario runs on. */
static const char *const specs[] = {
    "sim",
    "skeleton",
    "epoll",
    "epoll:batch=200us",
    "libev",
    "libev:poll",
    "libev:select",
    "io_uring",
    "io_uring:inc=0",
    "io_uring:submit-bytes=1",
    "io_uring:batch=200us",
    "io_uring:taskrun=coop",
    "io_uring:taskrun=none,inc=0,ring-fd=0",
    "io_uring:entries=2,cq=2,buffers=1,buffer-bytes=64",
    "io_uring:entries=2,cq=4,buffers=2,buffer-bytes=100,inc=0",
    "io_uring:entries=2,cq=2,buffers=1,buffer-bytes=64,taskrun=none,inc=0",
};

/* Is the backend compiled in, and does it run here? Says why not. */
static bool spec_runs(const char *spec)
{
    struct backend_probe p;
    size_t name_len = strcspn(spec, ":");
    const struct backend_ops *ops = fake_find(spec, name_len);

    if (!ops) {
        print_message("# skipped: %.*s is not compiled in\n", (int)name_len, spec);
        return false;
    }
    ops->probe(NULL, &p);
    if (!p.usable)
        print_message("# skipped: %s does not run here: %s; %s\n", spec, p.reason, p.hint);
    return p.usable;
}

static int setup(void **state)
{
    struct env *e = calloc(1, sizeof(*e));
    char error[BACKEND_TEXT_MAX];

    e->spec = *state;
    e->f = calloc(1, sizeof(*e->f));
    *state = e;
    if (!spec_runs(e->spec))
        return 0;
    alarm(HANG_SECONDS);
    if (fake_open(e->f, e->spec, error) == 0)
        return 0;
    print_error("%s: %s\n", e->spec, error);
    return -1;
}

static int teardown(void **state)
{
    struct env *e = *state;

    if (e->f->be)
        fake_close(e->f);
    alarm(0);
    free(e->f);
    free(e);
    return 0;
}

int main(void)
{
    static const struct contract_test *const parts[] = {contract_conn_tests, contract_accept_tests,
                                                        contract_pieces_tests, contract_wait_tests};
    static struct CMUnitTest all[TESTS_MAX * ARRAY_LEN(specs)];
    static char names[ARRAY_LEN(all)][128];
    size_t n = 0;

    signal(SIGPIPE, SIG_IGN); /* sendfile(2) cannot be told not to raise it */
    for (size_t s = 0; s < ARRAY_LEN(specs); s++)
        for (size_t p = 0; p < ARRAY_LEN(parts); p++)
            for (const struct contract_test *t = parts[p]; t->name; t++) {
                if (t->only && !t->only(specs[s]))
                    continue;
                if (n == ARRAY_LEN(all)) {
                    print_error("there are more than %d tests\n", TESTS_MAX);
                    return 1;
                }
                snprintf(names[n], sizeof(names[n]), "%s: %s", specs[s], t->name);
                all[n] = (struct CMUnitTest){names[n], t->function, setup, teardown,
                                             (void *)(uintptr_t)specs[s]};
                n++;
            }
    return _cmocka_run_group_tests("backends", all, n, NULL, NULL);
}
