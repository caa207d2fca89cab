/* SPDX-License-Identifier: MIT */
/*
 * test_uring.c - the io_uring backend on a kernel that refuses: liburing's calls are wrapped (ld
 * --wrap), so that features are missing one by one, rings cannot be made at all, and submissions
 * fail now and then. Options and probe as well.
 */
#include "config.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cmocka.h>
#include <liburing.h>

#include "fake_core.h"
#include "io_uring_ring.h"
#include "registry.h"
#include "util.h"

#define HANG_SECONDS 120
#define REGISTER_FLAGS_AT \
    14 /* offset of the flags in the argument of IORING_REGISTER_PBUF_RING \
        */

/* ---- the kernel that refuses ---- */

static struct {
    unsigned setup_flags; /* io_uring_setup with any of these: EINVAL */
    int setup_error;      /* io_uring_setup: always */
    bool no_incremental, no_buffer_ring, no_ring_fd, no_restrictions;
    unsigned submit_percent; /* of submissions fail with EBUSY, of waits with EAGAIN */
    uint64_t random;
    unsigned failed;
} refuse;

int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *p);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *p);
int __real_io_uring_register(unsigned fd, unsigned opcode, const void *arg, unsigned nr);
int __wrap_io_uring_register(unsigned fd, unsigned opcode, const void *arg, unsigned nr);
int __real_io_uring_register_ring_fd(struct io_uring *ring);
int __wrap_io_uring_register_ring_fd(struct io_uring *ring);
int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);
int __real_io_uring_submit_and_get_events(struct io_uring *ring);
int __wrap_io_uring_submit_and_get_events(struct io_uring *ring);
int __real_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe,
                                            unsigned n, struct __kernel_timespec *ts,
                                            sigset_t *mask);
int __wrap_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe,
                                            unsigned n, struct __kernel_timespec *ts,
                                            sigset_t *mask);

int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *p)
{
    if (refuse.setup_error)
        return -refuse.setup_error;
    return p->flags & refuse.setup_flags ? -EINVAL
                                         : __real_io_uring_queue_init_params(entries, ring, p);
}

int __wrap_io_uring_register(unsigned fd, unsigned opcode, const void *arg, unsigned nr)
{
    uint16_t flags;

    if (opcode == IORING_REGISTER_PBUF_RING) {
        memcpy(&flags, (const char *)arg + REGISTER_FLAGS_AT, sizeof(flags));
        if (refuse.no_buffer_ring || (refuse.no_incremental && flags))
            return -EINVAL;
    }
    if (opcode == IORING_REGISTER_RESTRICTIONS && refuse.no_restrictions)
        return -EINVAL;
    return __real_io_uring_register(fd, opcode, arg, nr);
}

int __wrap_io_uring_register_ring_fd(struct io_uring *ring)
{
    return refuse.no_ring_fd ? -EINVAL : __real_io_uring_register_ring_fd(ring);
}

static bool refuse_submission(void)
{
    if (!refuse.submit_percent || fake_random(&refuse.random) % 100 >= refuse.submit_percent)
        return false;
    refuse.failed++;
    return true;
}

int __wrap_io_uring_submit(struct io_uring *ring)
{
    return refuse_submission() ? -EBUSY : __real_io_uring_submit(ring);
}

int __wrap_io_uring_submit_and_get_events(struct io_uring *ring)
{
    return refuse_submission() ? -EAGAIN : __real_io_uring_submit_and_get_events(ring);
}

int __wrap_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe,
                                            unsigned n, struct __kernel_timespec *ts,
                                            sigset_t *mask)
{
    return refuse_submission() ? -EAGAIN
                               : __real_io_uring_submit_and_wait_timeout(ring, cqe, n, ts, mask);
}

/* ---- helpers ---- */

static int setup(void **state)
{
    struct backend_probe p;

    memset(&refuse, 0, sizeof(refuse));
    refuse.random = 88172645463325252u;
    alarm(HANG_SECONDS);
    registry_find("io_uring", 8)->probe(NULL, &p);
    if (!p.usable)
        print_message("io_uring does not run here: %s; %s\n", p.reason, p.hint);
    *state = p.usable ? calloc(1, sizeof(struct fake)) : NULL;
    return 0;
}

static int teardown(void **state)
{
    memset(&refuse, 0, sizeof(refuse));
    free(*state);
    alarm(0);
    return 0;
}

#define BEGIN(state)           \
    struct fake *f = *(state); \
    if (!f)                    \
    skip()

static struct fake *open_ok(struct fake *f, const char *spec)
{
    char error[BACKEND_TEXT_MAX];
    int rc = fake_open(f, spec, error);

    if (rc < 0)
        fail_msg("%s: %s", spec, error);
    return f;
}

/* Have `conns` clients send `bytes` each, some at a time, and get them back. */
static void echo(struct fake *f, int conns, size_t bytes)
{
    enum { CONNS_MAX = 32 };
    int pair[CONNS_MAX][2];
    size_t sent[CONNS_MAX] = {0}, got[CONNS_MAX] = {0}, done = 0;
    uint32_t id[CONNS_MAX];
    char buf[512];

    assert_true(conns <= CONNS_MAX);
    for (int i = 0; i < conns; i++) {
        fake_pair(i % 2, pair[i]);
        struct fake_conn *c = fake_attach(f, pair[i][0]);
        c->reaction = FAKE_ECHO;
        id[i] = c->id;
    }
    for (int turn = 0; done < (size_t)conns * bytes; turn++) {
        assert_true(turn < 1000000);
        for (int i = 0; i < conns; i++) {
            size_t len = fake_random(&f->random) % sizeof(buf);
            len = MIN(len, bytes - sent[i]);
            for (size_t k = 0; k < len; k++)
                buf[k] = fake_byte(id[i], sent[i] + k);
            ssize_t n = len ? send(pair[i][1], buf, len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
            sent[i] += n > 0 ? (size_t)n : 0;
            n = recv(pair[i][1], buf, sizeof(buf), MSG_DONTWAIT);
            for (ssize_t k = 0; k < n; k++)
                assert_int_equal(buf[k], fake_byte(id[i], got[i] + (size_t)k));
            got[i] += n > 0 ? (size_t)n : 0;
            done += n > 0 ? (size_t)n : 0;
        }
        fake_turn(f, turn % 2);
    }
    for (int i = 0; i < conns; i++) {
        assert_int_equal(f->conn[pair[i][0]].err, 0);
        if (i % 3)
            fake_detach(f, pair[i][0]);
        close(pair[i][1]);
    }
}

/* Listen on and off, with a client each time. */
static void accept_some(struct fake *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int pair[2], lfd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_int_equal(bind(lfd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(lfd, 64), 0);
    assert_int_equal(getsockname(lfd, (struct sockaddr *)&a, &len), 0);
    for (unsigned i = 0; i < 20; i++) {
        fake_pair(false, pair); /* takes a place in the submission queue */
        fake_attach(f, pair[0]);
        fake_listen(f, 0, lfd, true, i % 2 ? BACKEND_BURST_ANY : 4);
        int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(client, (struct sockaddr *)&a, sizeof(a)), 0);
        fake_until(f, f->opens[0], i + 1);
        unsigned offs = f->listen_offs[0];
        fake_detach(f, pair[0]);
        if (fake_listen(f, 0, lfd, false, 0) == IO_PENDING)
            fake_until(f, f->listen_offs[0], offs + 1);
        close(client);
        close(pair[1]);
    }
    close(lfd);
}

/* ---- features missing ---- */

static void test_steps_down(void **state)
{
    static const struct {
        unsigned refused;
        const char *granted, *not_granted;
    } steps[] = {
        {0, "defer_taskrun", "coop_taskrun"},
        {IORING_SETUP_DEFER_TASKRUN, "coop_taskrun single_issuer", "defer_taskrun"},
        {IORING_SETUP_SINGLE_ISSUER, "coop_taskrun submit_all", "single_issuer"},
        {IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN, "none_taskrun single_issuer",
         "coop_taskrun"},
        {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
         "none_taskrun", "submit_all"},
    };
    char text[BACKEND_TEXT_MAX];

    BEGIN(state);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        refuse.setup_flags = steps[i].refused;
        open_ok(f, "io_uring");
        f->ops->describe(f->be, text, sizeof(text));
        if (!strstr(text, steps[i].granted) || strstr(text, steps[i].not_granted))
            fail_msg("step %zu: \"%s\"", i, text);
        echo(f, 8, 5000);
        fake_close(f);
    }
}

static void test_without_incremental_buffers(void **state)
{
    char text[BACKEND_TEXT_MAX];

    BEGIN(state);
    refuse.no_incremental = true;
    open_ok(f, "io_uring");
    f->ops->describe(f->be, text, sizeof(text));
    assert_null(strstr(text, "incremental"));
    echo(f, 8, 5000);
    fake_close(f);
    assert_int_equal(fake_open(f, "io_uring:inc=1", text), -EINVAL);
    assert_non_null(strstr(text, "incremental"));
}

/* Few buffers circulate until a receive finds none, and no more than at first after a trim. */
static void test_buffers_circulate(void **state)
{
    struct uring_options o;
    struct uring_failure why;
    struct uring_ring r;
    struct uring_pool *p = &r.pool;
    char text[BACKEND_TEXT_MAX];

    BEGIN(state);
    assert_int_equal(uring_options_parse(&o, "inc=0,buffers=128", 0, &why), 0);
    assert_int_equal(uring_ring_open(&r, &o, 4096, &why), 0);
    uint32_t least = p->circulating;
    assert_in_range(least, 1, 63);
    uring_pool_grow(p);
    assert_int_equal(p->circulating, 2 * least);
    for (int i = 0; i < 8; i++)
        uring_pool_grow(p);
    assert_int_equal(p->circulating, 128);

    p->target = least; /* as a trim does */
    for (unsigned bid = 0; bid < 128; bid++) {
        if (p->circulating == least)
            break;
        uring_pool_done(p, bid, 1, IORING_CQE_F_BUFFER);
    }
    assert_int_equal(p->circulating, least);
    for (uint32_t i = 0; i < 128 - least; i++)
        assert_int_equal(p->spare[i], i);
    uring_pool_grow(p);
    assert_int_equal(p->circulating, 2 * least);
    uring_ring_close(&r);

    /* Incremental ones are lent in part at first, and whole before there are more of them. */
    if (fake_open(f, "io_uring:inc=1", text) == 0) {
        fake_close(f);
        assert_int_equal(uring_options_parse(&o, "inc=1", 0, &why), 0);
        assert_int_equal(uring_ring_open(&r, &o, 4096, &why), 0);
        least = p->circulating;
        uint32_t lent = p->lent;
        assert_in_range(lent, 1, p->bytes - 1);
        uring_pool_grow(p);
        assert_int_equal(p->lent, p->bytes);
        assert_int_equal(p->circulating, least);
        uring_pool_grow(p);
        assert_int_equal(p->circulating, 2 * least);
        if (uring_ring_trim(&r) > 0) {
            assert_int_equal(p->lent, lent);
            assert_int_equal(p->target, least);
        }
        uring_ring_close(&r);
    }

    /* However few there are. */
    open_ok(f, "io_uring:buffers=1,buffer-bytes=64");
    echo(f, 8, 5000);
    fake_close(f);
}

static void test_without_registered_ring(void **state)
{
    char text[BACKEND_TEXT_MAX];

    BEGIN(state);
    refuse.no_ring_fd = true;
    open_ok(f, "io_uring");
    f->ops->describe(f->be, text, sizeof(text));
    assert_null(strstr(text, "registered"));
    echo(f, 8, 5000);
    fake_close(f);
    assert_int_equal(fake_open(f, "io_uring:ring-fd=1", text), -EINVAL);
    assert_non_null(strstr(text, "ring-fd=1"));
}

/* What the backend never submits is refused by the kernel, and registering more as well. */
static void refused_by_ring(struct io_uring *ring, bool restricted)
{
    struct io_uring_cqe *cqe;
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    int probe[2];

    io_uring_prep_openat(sqe, AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC, 0);
    assert_int_equal(io_uring_submit_and_wait(ring, 1), 1);
    assert_int_equal(io_uring_peek_cqe(ring, &cqe), 0);
    if (restricted)
        assert_int_equal(cqe->res, -EACCES);
    else
        assert_int_equal(close(cqe->res), 0);
    io_uring_cqe_seen(ring, cqe);
    probe[0] = probe[1] = -1;
    int rc = io_uring_register_files(ring, probe, 2);
    assert_int_equal(rc, restricted ? -EACCES : 0);
}

static void test_restrictions(void **state)
{
    static const char *const variants[] = {"", "restrict=0", "restrict=1", ""};
    struct uring_options o;
    struct uring_failure why;
    struct uring_ring r;
    char text[BACKEND_TEXT_MAX];

    BEGIN(state);
    for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
        bool restricted = i % 2 == 0;
        refuse.no_restrictions = i == 3; /* an older kernel: the backend does without */
        assert_int_equal(uring_options_parse(&o, variants[i], 0, &why), 0);
        assert_int_equal(uring_ring_open(&r, &o, 4096, &why), 0);
        assert_int_equal(r.restricted, restricted);
        refused_by_ring(&r.ring, restricted);
        uring_ring_close(&r);
    }
    open_ok(f, "io_uring");
    f->ops->describe(f->be, text, sizeof(text));
    assert_null(strstr(text, "restricted"));
    echo(f, 8, 5000);
    fake_close(f);
    assert_int_equal(fake_open(f, "io_uring:restrict=1", text), -EINVAL);
    assert_non_null(strstr(text, "restrict=1"));
}

static int count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* io_uring taken away: open() and the probe both fail, say why and what to do, and leave nothing
 * behind. */
static void test_refused(void **state)
{
    static const struct {
        int err;
        const char *hint;
    } causes[] = {
        {EPERM, "seccomp"},    {ENOSYS, "libev"},       {ENOMEM, "ulimit -l"},
        {EMFILE, "ulimit -n"}, {ENFILE, "fs.file-max"}, {EINVAL, "too old"},
    };
    char error[BACKEND_TEXT_MAX];
    struct backend_probe p;
    int fds = count_fds();

    BEGIN(state);
    for (size_t i = 0; i <= ARRAY_LEN(causes); i++) {
        int err = i < ARRAY_LEN(causes) ? causes[i].err : EINVAL;
        refuse.setup_error = i < ARRAY_LEN(causes) ? err : 0;
        refuse.no_buffer_ring = i == ARRAY_LEN(causes);
        assert_int_equal(fake_open(f, "io_uring", error), -err);
        assert_non_null(strstr(error, strerror(err)));
        registry_find("io_uring", 8)->probe(NULL, &p);
        assert_false(p.usable);
        assert_non_null(strstr(p.reason, strerror(err)));
        assert_true(p.hint[0] != '\0');
        /* (for EPERM the machine's sysctl may be the cause it names) */
        if (i < ARRAY_LEN(causes) && !strstr(p.hint, "sysctl"))
            assert_non_null(strstr(p.hint, causes[i].hint));
    }
    assert_int_equal(count_fds(), fds);
}

static void test_probe(void **state)
{
    struct backend_probe p;
    int fds = count_fds();

    BEGIN(state);
    (void)f;
    for (int i = 0; i < 3; i++) {
        registry_find("io_uring", 8)->probe(i == 2 ? "inc=0,taskrun=none,ring-fd=0" : NULL, &p);
        assert_true(p.usable);
        assert_string_equal(p.reason, "");
        assert_non_null(strstr(p.features, "multishot_recv"));
        assert_null(strstr(p.features, "no:multishot_recv"));
    }
    assert_non_null(strstr(p.features, "no:incremental_buffers"));
    assert_non_null(strstr(p.features, "no:coop_taskrun"));
    assert_non_null(strstr(p.features, "no:registered_ring"));
    assert_int_equal(count_fds(), fds);
}

static void test_options(void **state)
{
    static const char *const bad[] = {
        "x",
        "entries",
        "entries=",
        "entries=1",
        "entries=4097",
        "entries=99999999999",
        "entries=8x",
        "entries=-8",
        "entries= 8",
        "cq=1",
        "entries=64,cq=32",
        "buffers=3",
        "buffers=0",
        "buffer-bytes=63",
        "buffer-bytes=1048577",
        "taskrun=",
        "taskrun=deferred",
        "send=both",
        "inc=2",
        "inc=yes",
        "ring-fd=",
        "restrict=2",
        "submit-bytes=0",
        "submit-bytes=1048577",
        "=",
        "=1",
        "entries=8,,cq=16",
        ",",
        "entries=8,",
        "Entries=8",
        "entries=8;cq=16",
        "incl=1",
    };
    static const char *const good[] = {
        "",
        "entries=2",
        "entries=4096",
        "entries=8,cq=16,buffers=4,buffer-bytes=128,taskrun=coop,inc=0,ring-fd=0",
        "inc=0",
        "submit-bytes=1",
        "submit-bytes=1048576",
        "taskrun=none",
    };
    char spec[256], error[BACKEND_TEXT_MAX];
    struct backend_probe p;

    BEGIN(state);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(spec, sizeof(spec), "io_uring:%s", bad[i]);
        int rc = fake_open(f, spec, error);
        if (rc != -EINVAL ||
            !strstr(error, "io_uring option") == !strstr(error, "io_uring has no option"))
            fail_msg("%s: %d, \"%s\"", spec, rc, rc < 0 ? error : "opened");
        f->ops->probe(bad[i], &p);
        assert_false(p.usable);
        assert_true(p.reason[0] != '\0');
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        snprintf(spec, sizeof(spec), "io_uring:%s", good[i]);
        open_ok(f, spec);
        fake_close(f);
    }
}

/* ---- submissions that fail ---- */

/* The queue is full and the kernel takes nothing: what could not be submitted is submitted later,
 * nothing is lost or done twice. */
static void test_submission_fails(void **state)
{
    static const char *const specs[] = {
        "io_uring:entries=2,cq=4",
        "io_uring:entries=2,cq=2,buffers=1,buffer-bytes=64",
        "io_uring:entries=4,inc=0,taskrun=coop",
        "io_uring:entries=2,taskrun=none",
    };

    BEGIN(state);
    for (size_t i = 0; i < ARRAY_LEN(specs); i++)
        for (unsigned percent = 10; percent <= 90; percent += 40) {
            open_ok(f, specs[i]);
            f->errors_expected = true;
            refuse.submit_percent = percent;
            refuse.failed = 0;
            echo(f, 24, 3000);
            accept_some(f);
            assert_true(refuse.failed > 0);
            assert_true(f->stats.backend_errors > 0);
            fake_close(f);
            refuse.submit_percent = 0;
        }
}

/* ---- work that the kernel defers ---- */

/*
 * Many connections send without end, and each send completes at once; the receives of many others,
 * of which the kernel works off only so many at a time, keep step with them.
 */
static void test_sends_leave_room_for_receives(void **state)
{
    enum { BUSY = 140, CONNS = 64, TURNS_MAX = 2 };
    static const char block[64];
    int busy[BUSY][2], pair[CONNS][2];
    size_t reported = 0;

    BEGIN(state);
    open_ok(f, "io_uring:submit-bytes=1,buffers=256,buffer-bytes=64");
    for (int i = 0; i < CONNS; i++) {
        fake_pair(i % 2, pair[i]);
        fake_attach(f, pair[i][0]);
    }
    for (int i = 0; i < BUSY; i++) {
        fake_pair(true, busy[i]);
        struct fake_conn *c = fake_attach(f, busy[i][0]);
        c->again = block;
        c->again_len = sizeof(block);
        fake_send(f, busy[i][0], block, sizeof(block));
    }
    for (int i = 0; i < 10; i++)
        fake_turn(f, 0);
    for (int i = 0; i < CONNS; i++)
        assert_int_equal(send(pair[i][1], "x", 1, MSG_NOSIGNAL), 1);
    for (int i = 0; i < TURNS_MAX; i++)
        fake_turn(f, 0);
    for (int i = 0; i < CONNS; i++)
        reported += f->conn[pair[i][0]].in_len;
    assert_int_equal(reported, CONNS);
    for (int i = 0; i < BUSY; i++)
        f->conn[busy[i][0]].again = NULL;
    fake_close(f);
    for (int i = 0; i < CONNS; i++)
        close(pair[i][1]);
    for (int i = 0; i < BUSY; i++)
        close(busy[i][1]);
}

/*
 * A crowd that finds the buffers used up, each of it with little to bring: more and more of them try
 * again in an iteration, so that it does not take as many as there are connections.
 */
static void test_a_crowd_finds_no_buffer(void **state)
{
    enum { CONNS = 64, EACH = 3, TURNS_MAX = 20 };
    char error[BACKEND_TEXT_MAX];
    int pair[CONNS][2], turns = 0;
    size_t reported = 0;

    BEGIN(state);
    if (fake_open(f, "io_uring:inc=1,buffers=1,buffer-bytes=64", error) < 0)
        skip();
    for (int i = 0; i < CONNS; i++) {
        fake_pair(i % 2, pair[i]);
        fake_attach(f, pair[i][0]);
    }
    fake_turn(f, 0);
    for (int i = 0; i < CONNS; i++)
        assert_int_equal(send(pair[i][1], "abc", EACH, MSG_NOSIGNAL), EACH);
    for (; reported < (size_t)CONNS * EACH; turns++) {
        assert_true(turns < TURNS_MAX);
        fake_turn(f, 0);
        reported = 0;
        for (int i = 0; i < CONNS; i++)
            reported += f->conn[pair[i][0]].in_len;
    }
    assert_true(turns > 1);
    fake_close(f);
    for (int i = 0; i < CONNS; i++)
        close(pair[i][1]);
}

/* ---- input that was cut by the end of a buffer ---- */

/* This release of Linux or a later one. */
static bool linux_has(unsigned major, unsigned minor)
{
    struct utsname kernel;
    unsigned a = 0, b = 0;

    assert_int_equal(uname(&kernel), 0);
    assert_int_equal(sscanf(kernel.release, "%u.%u", &a, &b), 2);
    return a > major || (a == major && b >= minor);
}

/* Two connections take turns with messages of random length, which lie across the ends of buffers
 * again and again: each is one input(), but where the kernel leaves the rest for later, as it does
 * once in 32 times. */
static void test_cut_input_is_joined(void **state)
{
    enum { MESSAGES = 400, LONGEST = 70 };
    char error[BACKEND_TEXT_MAX], message[LONGEST];
    struct fake_conn *conn[2];
    int pair[2][2];
    uint32_t id[2];
    size_t sent[2] = {0};

    BEGIN(state);
    if (fake_open(f, "io_uring:inc=1,buffers=4,buffer-bytes=100", error) < 0)
        skip();
    for (int i = 0; i < 2; i++) {
        fake_pair(i == 0, pair[i]);
        conn[i] = fake_attach(f, pair[i][0]);
        id[i] = conn[i]->id;
    }
    for (int n = 0; n < MESSAGES; n++)
        for (int i = 0; i < 2; i++) {
            size_t len = 1 + fake_random(&f->random) % LONGEST;
            for (size_t k = 0; k < len; k++)
                message[k] = fake_byte(id[i], sent[i] + k);
            assert_int_equal(send(pair[i][1], message, len, MSG_NOSIGNAL), len);
            sent[i] += len;
            for (int turn = 0; conn[i]->in_len < sent[i]; turn++) {
                assert_true(turn < 1000);
                fake_turn(f, 10);
            }
        }
    for (int i = 0; i < 2; i++)
        assert_true(fake_stream_is(conn[i], id[i], 0));
    size_t ends = (sent[0] + sent[1]) / 100, inputs = conn[0]->inputs + conn[1]->inputs;
    assert_in_range(ends, 100, SIZE_MAX);
    /* Linux 6.12 leaves the rest for later more often: 105 of 284. */
    assert_in_range(inputs, 2 * MESSAGES, 2 * MESSAGES + (linux_has(6, 18) ? ends / 8 : ends));
    fake_close(f);
    for (int i = 0; i < 2; i++)
        close(pair[i][1]);
}

static unsigned sents_of(struct fake *f, int pair[][2], int conns)
{
    unsigned sents = 0;

    for (int i = 0; i < conns; i++)
        sents += f->conn[pair[i][0]].sents;
    return sents;
}

/* ---- completions taken before their turn ---- */

/* What was submitted early is told to have been sent while the receives behind it still wait for
 * their turn, so that one block of output will do for all. */
static void test_sent_in_the_same_wait(void **state)
{
    enum { CONNS = 16 };
    int pair[CONNS][2];
    size_t echoed = 0;

    BEGIN(state);
    open_ok(f, "io_uring:submit-bytes=1");
    for (int i = 0; i < CONNS; i++) {
        fake_pair(i % 2, pair[i]);
        fake_attach(f, pair[i][0])->reaction = FAKE_ECHO;
    }
    fake_settle(f);
    for (int i = 0; i < CONNS; i++)
        assert_int_equal(send(pair[i][1], "x", 1, MSG_NOSIGNAL), 1);
    for (int turn = 0; echoed < CONNS; turn++) {
        assert_true(turn < 1000);
        fake_turn(f, 0);
        size_t inputs = 0;
        for (int i = 0; i < CONNS; i++)
            inputs += f->conn[pair[i][0]].in_len;
        assert_int_equal(sents_of(f, pair, CONNS), inputs); /* none is for the next one */
        echoed = inputs;
    }
    fake_close(f);
    for (int i = 0; i < CONNS; i++)
        close(pair[i][1]);
}

/* Those whose sends bring about the next ones have two in an iteration, not as many as there is other
 * work in it. */
static void test_taken_are_limited(void **state)
{
    enum { BUSY = 8, TURNS = 40 };
    static const char block[64];
    int pair[BUSY][2];

    BEGIN(state);
    open_ok(f, "io_uring:submit-bytes=1");
    for (int i = 0; i < BUSY; i++) {
        fake_pair(true, pair[i]);
        struct fake_conn *c = fake_attach(f, pair[i][0]);
        c->again = block;
        c->again_len = sizeof(block);
        fake_send(f, pair[i][0], block, sizeof(block));
    }
    for (int turn = 0; turn < TURNS; turn++) {
        unsigned before = sents_of(f, pair, BUSY);
        fake_turn(f, 0);
        assert_in_range(sents_of(f, pair, BUSY) - before, 0, 2 * BUSY);
    }
    assert_true(sents_of(f, pair, BUSY) >= TURNS);
    for (int i = 0; i < BUSY; i++)
        f->conn[pair[i][0]].again = NULL;
    fake_close(f);
    for (int i = 0; i < BUSY; i++)
        close(pair[i][1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        TEST(test_steps_down),
        TEST(test_without_incremental_buffers),
        TEST(test_buffers_circulate),
        TEST(test_a_crowd_finds_no_buffer),
        TEST(test_without_registered_ring),
        TEST(test_restrictions),
        TEST(test_refused),
        TEST(test_probe),
        TEST(test_options),
        TEST(test_submission_fails),
        TEST(test_sends_leave_room_for_receives),
        TEST(test_cut_input_is_joined),
        TEST(test_sent_in_the_same_wait),
        TEST(test_taken_are_limited),
    };
    return cmocka_run_group_tests_name("io_uring", tests, NULL, NULL);
}
