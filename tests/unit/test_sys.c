/* SPDX-License-Identifier: MIT */
/*
 * test_sys.c - what is called by one name whether the system has the call or not: the same comes of
 * it. scripts/portability runs this also where configure was told that there is none of them.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "signals.h"
#include "sys.h"
#include "util.h"
#include "wakeup.h"
#include "wide.h"

/* fcntl(2)'s F_GETFD and F_GETFL as they were asked for. */
static void assert_flags(int fd, bool nonblocking)
{
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(!!(fcntl(fd, F_GETFL) & O_NONBLOCK), nonblocking);
}

static void test_descriptors(void **state)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    struct pollfd waiting = {.events = POLLIN};
    int fds[2];

    (void)state;
    assert_int_equal(sys_pipe(fds), 0);
    assert_flags(fds[0], false);
    assert_flags(fds[1], false);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(sys_socketpair(SOCK_SEQPACKET, true, fds), 0);
    assert_flags(fds[0], true);
    assert_flags(fds[1], true);
    close(fds[0]);
    close(fds[1]);

    int listener = waiting.fd = sys_socket(AF_INET, SOCK_STREAM, true);
    int client = sys_socket(AF_INET, SOCK_STREAM, false);
    assert_flags(listener, true);
    assert_flags(client, false);
    assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(sys_accept(listener), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(poll(&waiting, 1, -1), 1);
    int accepted = sys_accept(listener);
    assert_flags(accepted, true);
    close(accepted);
    close(client);
    close(listener);
}

/* From the offset on, as much as there is, and not by way of the file's own position. */
static void test_send_file(void **state)
{
    FILE *file = tmpfile();
    char sent[4096];
    int pair[2];

    (void)state;
    assert_non_null(file);
    assert_true(fputs("0123456789", file) >= 0 && fflush(file) == 0);
    assert_int_equal(sys_socketpair(SOCK_STREAM, true, pair), 0);
    assert_int_equal(sys_send_file(pair[0], fileno(file), 2, 5), 5);
    assert_int_equal(read(pair[1], sent, sizeof(sent)), 5);
    assert_memory_equal(sent, "23456", 5);
    assert_int_equal(sys_send_file(pair[0], fileno(file), 8, 100), 2);
    assert_int_equal(sys_send_file(pair[0], fileno(file), 10, 100), 0);
    while (sys_send_file(pair[0], fileno(file), 0, 10) > 0)
        continue;
    assert_int_equal(errno, EAGAIN);
    close(pair[1]);
    signal(SIGPIPE, SIG_IGN); /* sendfile(2) takes no MSG_NOSIGNAL */
    assert_int_equal(sys_send_file(pair[0], fileno(file), 0, 10), -1);
    assert_int_equal(errno, EPIPE);
    close(pair[0]);
    fclose(file);
}

static void test_discard(void **state)
{
    size_t bytes = 4 * (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | SYS_MAP_NORESERVE, -1, 0);

    (void)state;
    assert_true(p != MAP_FAILED);
    sys_no_huge_pages(p, bytes);
    memset(p, 7, bytes);
    assert_int_equal(sys_discard(p + bytes / 4, bytes / 2), 0);
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(p[i], i / (bytes / 4) % 3 == 0 ? 7 : 0);
    p[bytes / 2] = 1;
    munmap(p, bytes);
}

/* The grandchild is told when its parent has gone, and not before, or it looks itself. */
static void test_orphaned(void **state)
{
    int fds[2];
    char word = 0;
    sigset_t set;

    (void)state;
    assert_int_equal(sys_pipe(fds), 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pid_t child = fork();
    if (child == 0) {
        pid_t parent = getpid();
        int number, ready[2];
        if (sys_pipe(ready) < 0)
            _exit(1);
        if (fork() > 0)
            _exit(read(ready[0], &word, 1) == 1 ? 0 : 1);
        sys_on_orphaned(SIGUSR2);
        if (write(ready[1], "r", 1) != 1)
            _exit(1);
        do
            sigwait(&set, &number);
        while (getppid() == parent);
        _exit(write(fds[1], "o", 1) == 1 ? 0 : 1);
    }
    close(fds[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(read(fds[0], &word, 1), 1);
    assert_int_equal(word, 'o');
    close(fds[0]);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void test_wakeup(void **state)
{
    struct wakeup w;

    (void)state;
    assert_int_equal(wakeup_open(&w), 0);
    assert_flags(w.read_fd, true);
    assert_flags(w.write_fd, true);
    struct pollfd waiting = {.fd = w.read_fd, .events = POLLIN};
    assert_int_equal(poll(&waiting, 1, 0), 0);
    assert_true(wakeup_clear(&w));
    for (unsigned i = 0; i < 20000; i++) { /* more than a pipe holds */
        errno = 123;
        wakeup_send(w.write_fd);
        assert_int_equal(errno, 123);
    }
    assert_int_equal(poll(&waiting, 1, -1), 1);
    assert_true(wakeup_clear(&w));
    assert_int_equal(poll(&waiting, 1, 0), 0);
    wakeup_send(w.write_fd);
    assert_int_equal(poll(&waiting, 1, -1), 1);
    wakeup_close(&w);
    assert_int_equal(w.read_fd, -1);
    wakeup_close(&w);
    assert_false(wakeup_clear(&w));
}

/* They come only in the wait, each once, and also past a descriptor that is always ready. */
static void test_signals(void **state)
{
    static const int numbers[] = {SIGCHLD, SIGUSR1, SIGUSR2, SIGHUP};
    struct pollfd ready = {.events = POLLIN};
    struct sigaction now;
    struct wakeup w;
    sigset_t set;

    (void)state;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGHUP, SIG_IGN);
    signals_catch(numbers, ARRAY_LEN(numbers));
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGHUP); /* was ignored, and is caught all the same */
    assert_int_equal(signals_next(), 0);
    assert_int_equal(signals_wait(NULL, 0, 100000), -1);
    assert_int_equal(errno, EINTR);
    assert_int_equal(signals_next(), SIGUSR1);
    assert_int_equal(signals_next(), SIGUSR2);
    assert_int_equal(signals_next(), SIGHUP);
    assert_int_equal(signals_next(), 0);
    assert_int_equal(signals_wait(NULL, 0, 1), 0);

    assert_int_equal(wakeup_open(&w), 0);
    wakeup_send(w.write_fd);
    ready.fd = w.read_fd;
    kill(getpid(), SIGUSR1);
    assert_int_equal(signals_wait(&ready, 1, 100000), 1);
    assert_int_equal(signals_next(), SIGUSR1);
    wakeup_close(&w);

    signals_release();
    assert_int_equal(sigaction(SIGUSR1, NULL, &now), 0);
    assert_ptr_equal(now.sa_handler, SIG_DFL);
    assert_int_equal(sigaction(SIGHUP, NULL, &now), 0);
    assert_ptr_equal(now.sa_handler, SIG_IGN);
    signal(SIGHUP, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void assert_wide(wide w, uint64_t high, uint64_t low)
{
    assert_true(wide_high(w) == high);
    assert_true(wide_low(w) == low);
}

static void test_wide(void **state)
{
    const uint64_t all = UINT64_MAX;

    (void)state;
    assert_wide(wide_product(all, all), all - 1, 1);
    assert_wide(wide_product(UINT64_C(0xffffffff), UINT64_C(0x100000001)), 0, all);
    assert_wide(wide_product(UINT64_C(1) << 32, UINT64_C(1) << 32), 1, 0);
    assert_wide(wide_product(UINT64_C(0x123456789abcdef0), UINT64_C(0xfedcba9876543210)),
                UINT64_C(0x121fa00ad77d7422), UINT64_C(0x236d88fe5618cf00));
    assert_wide(wide_add(wide_of(0, all), wide_of(0, 1)), 1, 0);
    assert_wide(wide_add(wide_of(all, all), wide_of(0, 1)), 0, 0);
    assert_wide(wide_subtract(wide_of(1, 0), wide_of(0, 1)), 0, all);
    assert_wide(wide_subtract(wide_of(0, 0), wide_of(0, 1)), all, all);
    assert_wide(wide_times_ten(wide_of(1, UINT64_C(1) << 63)), 15, 0);
    assert_true(wide_less(wide_of(0, all), wide_of(1, 0)));
    assert_false(wide_less(wide_of(1, 0), wide_of(0, all)));
    assert_true(wide_less(wide_of(1, 0), wide_of(1, 1)));
    assert_false(wide_less(wide_of(1, 1), wide_of(1, 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptors), cmocka_unit_test(test_send_file),
        cmocka_unit_test(test_discard),     cmocka_unit_test(test_orphaned),
        cmocka_unit_test(test_wakeup),      cmocka_unit_test(test_signals),
        cmocka_unit_test(test_wide),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
