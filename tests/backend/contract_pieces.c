/* SPDX-License-Identifier: MIT */
/*
 * contract_pieces.c - test_contract.c: output of several segments, files, and much at a time.
 */
#include "config.h"

#include <sys/syscall.h>

#include "contract.h"

/* The type of the record that was sent last: TLS_SET_RECORD_TYPE of SOL_TLS. */
static unsigned last_record;

/* In place of the C library's, to see what is said beside the bytes. */
ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    const struct cmsghdr *said = CMSG_FIRSTHDR(msg);

    if (said && said->cmsg_level == 282 && said->cmsg_type == 1 &&
        said->cmsg_len == CMSG_LEN(sizeof(unsigned char)))
        last_record = *CMSG_DATA(said);
    return (ssize_t)syscall(SYS_sendmsg, fd, msg, flags);
}

/* ---- several segments, and files ---- */

/* "Send 1 to BACKEND_SEGMENTS_MAX segments, in order", of every size, whatever is taken of them. */
static void test_segments(void **state)
{
    static const size_t pieces[] = {1, 7, 100, 4096, 60000};
    enum { BYTES = 700000 };
    char *data = malloc(BYTES);
    int pair[2];

    BEGIN(state);
    assert_non_null(data);
    for (size_t i = 0; i < 2 * ARRAY_LEN(pieces); i++) {
        size_t len = i / 2 ? BYTES : 16;
        fake_pair(i % 2, pair);
        struct fake_conn *c = fake_attach(f, pair[0]);
        c->piece = pieces[i / 2];
        fill_stream(data, c->id, len);
        fake_send(f, pair[0], data, len);
        peer_read(f, pair[1], c->id, len, 50000);
        fake_until(f, c->sents, 1);
        fake_detach(f, pair[0]);
        close(pair[1]);
    }
    free(data);
}

static int file_of(uint32_t id, size_t len)
{
    char name[] = "/tmp/bivalve-contract-XXXXXX";
    int fd = mkostemp(name, O_CLOEXEC);
    char *data = malloc(len);

    assert_true(fd >= 0 && data);
    unlink(name);
    fill_stream(data, id, len);
    assert_int_equal(write(fd, data, len), len);
    free(data);
    return fd;
}

/* Send segments to their end, as the core does. Returns 0 or the error. */
static int send_all(struct fake *f, int fd, struct backend_segment *s, unsigned count)
{
    struct fake_conn *c = &f->conn[fd];

    for (int i = 0; count; i++) {
        assert_true(i < 1000000);
        size_t taken;
        int rc = backend_send(f->be, fd, s, count);
        if (rc == IO_PENDING) {
            /* reported like any send: fake_core sees 0 bytes left, and says so */
            unsigned sents = c->sents;
            c->sending = true;
            c->out_len = c->in_flight = backend_segments_len(s, count);
            c->out_keep = true;
            for (int k = 0; c->sending; k++) {
                assert_true(k < 1000000);
                peer_drain(f, fd);
                fake_turn(f, 0);
            }
            assert_int_equal(c->sents, sents);
            rc = c->last_sent;
        }
        if (rc < 0)
            return -rc;
        taken = (size_t)rc;
        while (count && taken >= s->len) {
            taken -= s->len;
            s++;
            count--;
        }
        if (count && taken) {
            s->data += s->data ? taken : 0;
            s->offset += s->data ? 0 : (off_t)taken;
            s->len -= taken;
        }
    }
    return 0;
}

/* "... or of a regular file": a range of it, with memory before and behind it, in every order. */
static void test_files(void **state)
{
    enum { FILE_BYTES = 300000 };
    char *before = malloc(FILE_BYTES), *behind;
    int pair[2];

    BEGIN(state);
    for (int i = 0; i < 6; i++) {
        fake_pair(i % 2, pair);
        struct fake_conn *c = fake_attach(f, pair[0]);
        fill_stream(before, c->id, FILE_BYTES);
        behind = before + 250000;
        int file = file_of(c->id, FILE_BYTES);
        c->peer = pair[1];
        struct backend_segment s[] = {
            {.data = before, .len = 1000},
            {.file = file, .offset = 1000, .len = 199000},
            {.data = before + 200000, .len = 10},
            {.data = before + 200010, .len = 49990},
            {.file = file, .offset = 250000, .len = 1},
            {.data = behind + 1, .len = FILE_BYTES - 250001},
        };
        unsigned first = i >= 4 ? 1 : 0;
        c->drained = first ? 1000 : 0;
        size_t total = FILE_BYTES - c->drained;
        assert_int_equal(send_all(f, pair[0], s + first, ARRAY_LEN(s) - first), 0);
        for (int k = 0; c->drained - (first ? 1000 : 0) < total; k++) {
            assert_true(k < 100000);
            peer_drain(f, pair[0]);
            fake_turn(f, 1); /* a thread may be reading the file: give it time */
        }
        fake_detach(f, pair[0]);
        close(pair[1]);
        close(file);
    }
    free(before);
}

/* "A file that ends before offset + len is -EIO", when what there is of it has been sent. */
static void test_file_too_short(void **state)
{
    int pair[2];

    BEGIN(state);
    fake_pair(true, pair);
    struct fake_conn *c = fake_attach(f, pair[0]);
    int file = file_of(c->id, 5000);
    struct backend_segment s = {.file = file, .offset = 0, .len = 9000};
    c->peer = pair[1];
    assert_int_equal(send_all(f, pair[0], &s, 1), EIO);
    fake_detach(f, pair[0]);
    close(pair[1]);
    close(file);
}

/*
 * "A record is taken whole", and its type goes with it: sendmsg() above sees that. A socket whose TLS the
 * kernel does not do takes the bytes and leaves the type, which is how it can be tried anywhere.
 */
static void test_record(void **state)
{
    enum { ALERT = 21, LEN = 2, BYTES = 1 << 30 };
    int pair[2];

    BEGIN(state);
    for (int i = 0; i < 4; i++) {
        fake_pair(i % 2, pair);
        struct fake_conn *c = fake_attach(f, pair[0]);
        c->peer = pair[1];
        size_t before =
            i / 2 ? peer_write_some(pair[0], c->id, 0, BYTES) : 0; /* until it is full */
        assert_true(before < BYTES);
        const char text[LEN] = {fake_byte(c->id, before), fake_byte(c->id, before + 1)};
        struct backend_segment s = {.record = ALERT, .text = text, .len = LEN};

        last_record = 0;
        assert_int_equal(send_all(f, pair[0], &s, 1), 0);
        assert_int_equal(last_record, spec_is(e, "sim") && !f->stats.send_calls ? 0 : ALERT);
        for (int k = 0; c->drained < before + LEN; k++) {
            assert_true(k < 100000);
            peer_drain(f, pair[0]);
            fake_turn(f, 0);
        }
        fake_detach(f, pair[0]);
        close(pair[1]);
    }
}

/* ---- much at a time ---- */

/*
 * recv_expect(): all comes, in order; more at a time than usual where the backend can, and only once.
 * A backend that cannot gives the usual pieces.
 */
static void test_expect(void **state)
{
    enum { BYTES = 100000, EXPECT = 60000 };
    int pair[2];

    BEGIN(state);
    for (int i = 0; i < 6; i++) {
        fake_pair(i % 2, pair);
        struct fake_conn *c = fake_attach(f, pair[0]);
        peer_write(pair[1], c->id, 0, BYTES);
        f->be->recv_room = i < 4 ? SIZE_MAX : FAKE_RECV_BYTES / 2; /* no less than usual */
        c->expect = i < 2 ? EXPECT : i < 4 ? FAKE_RECV_BYTES / 2 : FAKE_RECV_BYTES;
        backend_recv_expect(f->be, pair[0], i < 4 ? c->expect : EXPECT);
        for (int k = 0; c->in_len < BYTES; k++) {
            assert_true(k < 100000);
            fake_turn(f, 1);
        }
        char *right = malloc(BYTES);
        assert_non_null(right);
        fill_stream(right, c->id, BYTES);
        assert_memory_equal(c->in, right, BYTES);
        free(right);
        if (f->be->ops->recv_expect && i < 2)
            assert_true(c->input_max > FAKE_RECV_BYTES);
        else
            assert_true(c->input_max <= FAKE_RECV_BYTES);
        backend_trim(f->be); /* what was needed for that may go */
        fake_detach(f, pair[0]);
        close(pair[1]);
    }
}

/*
 * send_now(): what it says is taken, in order, of memory that changes at once; 0 when there is no room;
 * nothing is reported, and a send() goes on behind it.
 */
static void test_send_now(void **state)
{
    enum { BYTES = 400000, PIECE = 50000 };
    char *data = malloc(BYTES), *piece = malloc(PIECE);
    int pair[2];

    BEGIN(state);
    assert_true(data && piece);
    for (int i = 0; i < 2; i++) {
        fake_pair(i, pair);
        struct fake_conn *c = fake_attach(f, pair[0]);
        size_t at = 0, n;
        c->peer = pair[1];
        fill_stream(data, c->id, BYTES);
        do {
            memcpy(piece, data + at, PIECE);
            struct backend_segment s[] = {{.data = piece, .len = 10},
                                          {.data = piece + 10, .len = PIECE - 10}};
            n = backend_send_now(f->be, pair[0], s, ARRAY_LEN(s));
            assert_true(n <= PIECE);
            memset(piece, '!', PIECE);
            at += n;
        } while (n && at + PIECE <= BYTES);
        /* a simulated socket has room at times */
        assert_true(at > 0 || !f->be->ops->send_now || !strcmp(f->ops->name, "sim"));
        assert_int_equal(c->sents, 0);
        if (at < BYTES) {
            struct backend_segment rest = {.data = data + at, .len = BYTES - at};
            assert_int_equal(send_all(f, pair[0], &rest, 1), 0);
        }
        for (int k = 0; c->drained < BYTES; k++) {
            assert_true(k < 100000);
            peer_drain(f, pair[0]);
        }
        fake_detach(f, pair[0]);
        close(pair[1]);
    }
    free(data);
    free(piece);
}

const struct contract_test contract_pieces_tests[] = {
    CONTRACT_TEST(test_segments),
    CONTRACT_TEST(test_files),
    CONTRACT_TEST(test_file_too_short),
    CONTRACT_TEST(test_record),
    CONTRACT_TEST(test_expect),
    CONTRACT_TEST(test_send_now),
    {0},
};
