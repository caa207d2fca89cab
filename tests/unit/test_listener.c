/* SPDX-License-Identifier: MIT */
/*
 * test_listener.c - sockets that share an address: who may join, who may not, where clients go when
 * one of them is suspended, and what is left at a unix path. Addresses as text: test_options.c.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "listener.h"
#include "util.h"

#define WORKERS 4
#define CLIENTS 64

static struct listener l;
static char error[LISTENER_ERROR_MAX];

static int open_at(const char *text, unsigned workers)
{
    struct listener_addr addr;

    assert_int_equal(listener_parse(text, &addr, error), 0);
    return listener_open(&l, &addr, workers, error);
}

static void check_error(const char *wanted)
{
    if (!strstr(error, wanted))
        fail_msg("\"%s\" does not say \"%s\"", error, wanted);
}

/* A client of `addr`, connected; -errno when it is refused. */
static int client(const struct listener_addr *addr)
{
    int fd = socket(addr->u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (connect(fd, &addr->u.sa, addr->len) == 0)
        return fd;
    int err = errno;
    close(fd);
    return -err;
}

/* Connect CLIENTS times, and count by socket where they arrive. */
static void spread(unsigned counts[WORKERS])
{
    int fds[CLIENTS];

    memset(counts, 0, WORKERS * sizeof(*counts));
    for (int i = 0; i < CLIENTS; i++)
        assert_true((fds[i] = client(&l.addr)) >= 0);
    for (unsigned k = 0; k < WORKERS; k++)
        for (int fd; !l.suspended[k] && (fd = accept(listener_fd(&l, k), NULL, NULL)) >= 0;
             counts[k]++)
            close(fd);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
}

static unsigned total(const unsigned counts[WORKERS])
{
    unsigned sum = 0;

    for (unsigned k = 0; k < WORKERS; k++)
        sum += counts[k];
    return sum;
}

static void test_port_0_is_shared(void **state)
{
    unsigned counts[WORKERS];

    (void)state;
    assert_int_equal(open_at("127.0.0.1:0", WORKERS), 0);
    assert_true(ntohs(l.addr.u.in4.sin_port) > 0);
    assert_string_not_equal(l.addr.text, "127.0.0.1:0");
    assert_true(l.count > 1);
    spread(counts);
    assert_int_equal(total(counts), CLIENTS);
    /* 64 clients miss one of 4 sockets once in 10^8 times */
    for (unsigned k = 0; k < WORKERS; k++)
        assert_true(counts[k] > 0);
    listener_destroy(&l);
}

/* Nobody joins: neither a second listener_open() nor a socket with SO_REUSEPORT that comes first.
 */
static void test_a_second_server_is_refused(void **state)
{
    const unsigned of_first[] = {1, 3}, of_second[] = {1, 3};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(of_first); i++) {
        assert_int_equal(open_at("127.0.0.1:0", of_first[i]), 0);
        struct listener first = l;
        for (size_t j = 0; j < ARRAY_LEN(of_second); j++) {
            assert_int_equal(open_at(first.addr.text, of_second[j]), -EADDRINUSE);
            check_error("address in use");
            check_error(first.addr.text);
        }
        listener_destroy(&first);
    }
    const int on = 1;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    char text[64];
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(other, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
    assert_int_equal(bind(other, (struct sockaddr *)&in, len), 0);
    assert_int_equal(listen(other, 1), 0);
    assert_int_equal(getsockname(other, (struct sockaddr *)&in, &len), 0);
    snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(in.sin_port));
    assert_int_equal(open_at(text, WORKERS), -EADDRINUSE);
    close(other);
    assert_int_equal(open_at(text, WORKERS), 0);
    listener_destroy(&l);
}

/* New clients all go to the others, and come back when it listens again; the last socket stays. */
static void suspend_and_resume(const char *text)
{
    unsigned counts[WORKERS];

    assert_int_equal(open_at(text, WORKERS), 0);
    for (int round = 0; round < 3; round++) {
        assert_true(listener_suspend(&l, 2));
        assert_false(listener_suspend(&l, 2));
        spread(counts);
        assert_int_equal(counts[2], 0);
        assert_int_equal(total(counts), CLIENTS);
        assert_int_equal(listener_resume(&l, 2), 0);
        assert_int_equal(listener_resume(&l, 2), 0);
        spread(counts);
        assert_true(counts[2] > 0);
        assert_int_equal(total(counts), CLIENTS);
    }
    assert_true(listener_suspend(&l, 0)); /* the first is no different */
    assert_true(listener_suspend(&l, 1));
    assert_true(listener_suspend(&l, 3));
    assert_false(listener_suspend(&l, 2));
    spread(counts);
    assert_int_equal(counts[2], CLIENTS);
    struct listener all = l;
    assert_int_equal(open_at(all.addr.text, 1), -EADDRINUSE); /* a suspended port is still ours */
    l = all;
    assert_int_equal(listener_resume(&l, 0), 0);
    assert_int_equal(listener_resume(&l, 1), 0);
    assert_int_equal(listener_resume(&l, 3), 0);
    spread(counts);
    for (unsigned k = 0; k < WORKERS; k++)
        assert_true(counts[k] > 0);
}

static void test_suspend_and_resume(void **state)
{
    char text[LISTENER_TEXT_MAX];

    (void)state;
    suspend_and_resume("127.0.0.1:0");
    strcpy(text, l.addr.text);
    listener_destroy(&l);
    suspend_and_resume(text); /* a port given by number is another matter to the kernel */
    listener_destroy(&l);
    assert_int_equal(open_at("127.0.0.1:0", 1), 0);
    assert_false(listener_suspend(&l, 0));
    listener_destroy(&l);
}

/* However many workers there are now: each socket has one, and each of them a socket. */
static void test_every_socket_has_a_worker(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= 9; count++)
        for (unsigned workers = 1; workers <= 9; workers++) {
            const struct listener some = {.count = count};
            unsigned taken[9] = {0}, has[9] = {0};
            for (unsigned k = 0; k < workers; k++)
                for (unsigned i = 0; i < count; i++)
                    if (listener_serves(&some, i, k, workers)) {
                        taken[i]++;
                        has[k]++;
                    }
            for (unsigned i = 0; i < count; i++)
                assert_in_range(taken[i], 1, (workers + count - 1) / count);
            for (unsigned k = 0; k < workers; k++)
                assert_in_range(has[k], 1, (count + workers - 1) / workers);
        }
}

static void test_keep_only(void **state)
{
    (void)state;
    assert_int_equal(open_at("127.0.0.1:0", 3), 0);
    int own = listener_fd(&l, 1);
    listener_keep_only(&l, &own, 1);
    assert_int_equal(listener_fd(&l, 0), -1);
    assert_true(listener_fd(&l, 1) >= 0);
    assert_int_equal(listener_fd(&l, 2), -1);
    listener_close(&l);
    assert_int_equal(listener_fd(&l, 1), -1);
    assert_int_equal(client(&l.addr), -ECONNREFUSED);
    listener_destroy(&l);
}

static void test_an_address_that_is_not_ours(void **state)
{
    (void)state;
    assert_int_equal(open_at("192.0.2.1:0", 2), -EADDRNOTAVAIL); /* TEST-NET-1, RFC 5737 */
    check_error("no interface of this machine has that address");
    assert_null(l.fds);
}

/* ---- unix paths ---- */

static char directory[64];
static char path[80], address[100];

static int make_directory(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/bivalve-test-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof(path), "%s/s", directory);
    snprintf(address, sizeof(address), "unix:%s", path);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

static void test_unix_path(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(open_at(address, WORKERS), 0);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.asked, address);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666);
    int fd = client(&l.addr);
    assert_true(fd >= 0);
    close(fd);
    int own = listener_fd(&l, 0);
    listener_keep_only(&l, &own, 1);
    assert_true(listener_fd(&l, 0) >= 0);
    struct listener first = l;
    assert_int_equal(open_at(address, 1), -EADDRINUSE); /* left alone: somebody answers there */
    assert_int_equal(access(path, F_OK), 0);
    listener_close(&first);
    assert_int_equal(open_at(address, 1), 0); /* stale: nobody does */
    assert_int_equal(listener_unlink(&first), 0);
    assert_int_equal(access(path, F_OK), 0); /* not the first's any more */
    assert_int_equal(listener_unlink(&l), 0);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(listener_unlink(&l), 0);
    listener_destroy(&l);
    listener_destroy(&first);
}

static void test_unix_path_that_is_something_else(void **state)
{
    struct stat st;
    FILE *f = fopen(path, "w");

    (void)state;
    assert_non_null(f);
    fputs("data", f);
    fclose(f);
    assert_int_equal(open_at(address, 1), -EEXIST);
    check_error("there is a file that is no socket");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 4);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("nowhere", path), 0); /* a link is not followed */
    assert_int_equal(open_at(address, 1), -EEXIST);
    assert_int_equal(unlink(path), 0);
    strcat(address, "/s");
    assert_int_equal(open_at(address, 1), -ENOENT);
    check_error("make the directory first");
    address[strlen(address) - 2] = '\0';
}

/* Whoever starts while another one is between bind and listen waits for it. */
static void test_unix_path_is_locked(void **state)
{
    int status, lock = open(directory, O_RDONLY | O_DIRECTORY);

    (void)state;
    assert_true(lock >= 0);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(lock);
        _exit(open_at(address, 1) == 0 ? 0 : 1);
    }
    usleep(100000);
    assert_int_equal(waitpid(child, &status, WNOHANG), 0);
    assert_int_not_equal(access(path, F_OK), 0);
    close(lock);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(access(path, F_OK), 0);
}

/* Many at once at a path that a dead server left behind: one of them gets it, and keeps it. */
static void test_unix_path_has_one_server(void **state)
{
    enum { SERVERS = 8, ROUNDS = 50 };

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        int start[2], result[2], end[2];
        unsigned winners = 0;

        unlink(path);
        assert_int_equal(open_at(address, 1), 0);
        listener_close(&l); /* and the path stays */
        struct listener_addr addr = l.addr;
        listener_destroy(&l);
        assert_int_equal(pipe(start), 0);
        assert_int_equal(pipe(result), 0);
        assert_int_equal(pipe(end), 0);
        for (int i = 0; i < SERVERS; i++) {
            pid_t child = fork();
            assert_true(child >= 0);
            if (child)
                continue;
            char c;
            close(start[1]);
            close(end[1]);
            (void)!read(start[0], &c, 1);
            int rc = open_at(address, 1);
            (void)!write(result[1], &rc, sizeof(rc));
            (void)!read(end[0], &c, 1); /* it serves until the round is over */
            _exit(0);
        }
        close(start[1]);
        for (int i = 0; i < SERVERS; i++) {
            int rc;
            assert_int_equal(read(result[0], &rc, sizeof(rc)), sizeof(rc));
            assert_true(rc == 0 || rc == -EADDRINUSE);
            winners += rc == 0;
        }
        assert_int_equal(winners, 1);
        int fd = client(&addr);
        assert_true(fd >= 0);
        close(fd);
        close(end[1]);
        while (wait(NULL) > 0)
            ;
        close(start[0]);
        close(result[0]);
        close(result[1]);
        close(end[0]);
    }
}

/* No file: a name that is free again once nobody listens there. */
static void test_abstract_name(void **state)
{
    char name[64];

    (void)state;
    snprintf(name, sizeof(name), "unix:@bivalve-test-%d", (int)getpid());
    assert_int_equal(open_at(name, WORKERS), 0);
    assert_string_equal(l.addr.text, name);
    assert_int_not_equal(access(name + 5, F_OK), 0);
    int fd = client(&l.addr);
    assert_true(fd >= 0);
    close(fd);
    struct listener first = l;
    assert_int_equal(open_at(name, 1), -EADDRINUSE);
    check_error("another server listens there");
    assert_int_equal(listener_unlink(&first), 0);
    listener_destroy(&first);
    assert_int_equal(open_at(name, 1), 0);
    listener_destroy(&l);
}

/* Accepted sockets inherit the limit on what the kernel holds unsent. */
static void test_limit_unsent(void **state)
{
    int value = 0;
    socklen_t value_len = sizeof(value);

    (void)state;
    assert_int_equal(open_at("127.0.0.1:0", 2), 0);
    int rc = listener_limit_unsent(&l, 54321);
    if (rc == -ENOPROTOOPT) { /* qemu-user's kernel, or one that is not Linux */
        listener_destroy(&l);
        skip();
    }
    assert_int_equal(rc, 0);
    int peer = client(&l.addr), fd = -1;
    assert_true(peer >= 0);
    for (unsigned i = 0; fd < 0 && i < 100000; i++)
        fd = accept(listener_fd(&l, i % 2), NULL, NULL);
    assert_true(fd >= 0);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, &value_len), 0);
    assert_int_equal(value, 54321);
    close(fd);
    close(peer);
    listener_destroy(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit_unsent),
        cmocka_unit_test(test_port_0_is_shared),
        cmocka_unit_test(test_a_second_server_is_refused),
        cmocka_unit_test(test_suspend_and_resume),
        cmocka_unit_test(test_every_socket_has_a_worker),
        cmocka_unit_test(test_keep_only),
        cmocka_unit_test(test_an_address_that_is_not_ours),
        cmocka_unit_test(test_abstract_name),
        cmocka_unit_test_setup_teardown(test_unix_path, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(test_unix_path_is_locked, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(test_unix_path_has_one_server, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(test_unix_path_that_is_something_else, make_directory,
                                        remove_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
