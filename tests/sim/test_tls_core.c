/* SPDX-License-Identifier: MIT */
/*
 * test_tls_core.c - HTTP over TLS over the simulated backend: every split of what arrives and of what
 * is taken, sends that pend and fail, forged bytes, floods, memory that ends; and whatever happens,
 * everything comes back.
 */
#include "config.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "prng.h"
#include "tls_clients.h"

/* ---- it works, however the bytes move ---- */

struct dice {
    struct prng prng;
    int input_max, send_max;
};

static int dice_choose(void *arg, int fd, enum sim_choice what, int limit)
{
    struct dice *d = arg;
    uint64_t n = prng_next(&d->prng);

    (void)fd;
    switch (what) {
    case SIM_INPUT: return n % 8 == 0 ? 0 : 1 + (int)(n / 8 % (unsigned)MIN(limit, d->input_max));
    case SIM_SEND: return n % 3 == 0 ? 0 : 1 + (int)(n / 8 % (unsigned)MIN(limit, d->send_max));
    case SIM_SENT:
        return n % 4 == 0   ? 0
               : n % 4 == 1 ? -EAGAIN
                            : 1 + (int)(n / 8 % (unsigned)MIN(limit, d->send_max));
    case SIM_DETACH: return (int)(n % 4);
    default: return 0;
    }
}

static void test_any_split(void **state)
{
    static const uint32_t buffers[] = {16, 100, 16384};
    static const int most[] = {3, 200, 100000};
    static struct client c;
    struct world *w = *state;

    for (unsigned seed = 1; seed <= 40; seed++) {
        struct dice d = {.input_max = most[seed % 3], .send_max = most[seed / 3 % 3]};
        struct sim_script script = {.choose = dice_choose, .arg = &d};
        d.prng.state = seed;
        w->f.set.recv_buffer_bytes = buffers[seed / 9 % 3];
        w->f.set.max_output_bytes = seed % 2 ? 2000 : 65536;
        open_tls_world(w);
        sim_set_script(loop_of(w)->be, &script);
        client_open(w, &c);
        SSL_set_max_proto_version(c.ssl, seed % 5 ? TLS1_3_VERSION : TLS1_2_VERSION);
        client_shake(w, &c);
        client_ask(w, &c, GET_SUM, 1);
        client_ask(w, &c, POST_20 POST_CHUNKED GET_SUM GET_PIPELINE, 5);
        client_ask(
            w, &c,
            "GET /json/30 HTTP/1.1\r\nHost: x\r\n\r\nGET /json/50 HTTP/1.1\r\nHost: x\r\n\r\n"
            "GET /json/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            8);
        for (int i = 0; i < 5000 && !c.ended; i++)
            client_turn(w, &c);
        assert_true(c.ended); /* by a close_notify */
        assert_int_equal(count(c.got, c.got_len, "HTTP/1.1"), 8);
        assert_int_equal(w->f.stats.tls_handshakes, 1);
        client_free(&c);
        close_tls_world(w);
    }
}

/* ---- the ends ---- */

/* Sends that pend for ever, or fail, when the connection is closed under them at any moment. */
static void test_closed_any_time(void **state)
{
    static struct client c;
    struct world *w = *state;

    for (int at = 0; at < 12; at++) {
        for (int how = 0; how < 4; how++) {
            open_tls_world(w);
            client_open(w, &c);
            for (int i = 0; i < at; i++) {
                client_turn(w, &c);
                if (SSL_is_init_finished(c.ssl))
                    SSL_write(c.ssl, GET_SUM, (int)strlen(GET_SUM));
            }
            w->knobs.send_max = how < 2 ? -1 : 0;
            w->knobs.sent_max = how < 2 ? -1 : 0;
            w->knobs.detach_in = how % 2 ? 2 : 0;
            w->knobs.send_error = how == 3 ? EPIPE : 0;
            client_turn(w, &c);
            client_turn(w, &c);
            if (how == 2 && sim_is_open(loop_of(w)->be, c.fd))
                sim_error(loop_of(w)->be, c.fd, ECONNRESET);
            sim_fixture_iterate(&w->f, 1);
            memset(&w->knobs, 0, sizeof(w->knobs));
            client_free(&c);
            close_tls_world(w);
        }
    }
}

static void test_forged_bytes(void **state)
{
    static struct client c;
    struct world *w = *state;
    struct prng prng = {.state = 7};

    for (int round = 0; round < 150; round++) {
        unsigned turn = (unsigned)(prng_next(&prng) % 6), i = 0;
        open_tls_world(w);
        client_open(w, &c);
        for (; i < 12 && sim_is_open(loop_of(w)->be, c.fd); i++) {
            char *data;
            if (SSL_is_init_finished(c.ssl))
                SSL_write(c.ssl, POST_20, (int)strlen(POST_20));
            else
                client_pull(w, &c);
            long len = BIO_get_mem_data(SSL_get_wbio(c.ssl), &data);
            if (i == turn && len > 0)
                data[prng_next(&prng) % (uint64_t)len] ^= (char)(1 << prng_next(&prng) % 8);
            client_push(w, &c);
            sim_fixture_iterate(&w->f, 2);
            client_pull(w, &c);
        }
        client_free(&c);
        close_tls_world(w);
    }
}

static void test_plain_http(void **state)
{
    struct world *w = *state;
    size_t len;

    open_tls_world(w);
    int fd = connect_one(w);
    say(w, fd, GET_SUM);
    sim_fixture_iterate(&w->f, 2);
    const char *out = sim_output(loop_of(w)->be, fd, &len);
    assert_int_equal(count(out, len, "HTTP/1.1 400 Bad Request\r\n"), 1);
    assert_int_equal(count(out, len, "use https\n"), 1);
    assert_true(sim_is_half_closed(loop_of(w)->be, fd));
    assert_int_equal(w->f.stats.tls_plain, 1);
    close_tls_world(w);
}

/* ---- floods ---- */

static void test_hellos_wait(void **state)
{
    static struct client served;
    struct client *c = calloc(40, sizeof(*c));
    struct world *w = *state;

    open_tls_world(w);
    client_open(w, &served);
    client_shake(w, &served);
    for (int i = 0; i < 40; i++)
        client_open(w, &c[i]);
    sim_fixture_iterate(&w->f, 1);
    for (int i = 0; i < 40; i++) {
        SSL_do_handshake(c[i].ssl);
        client_push(w, &c[i]);
    }
    SSL_write(served.ssl, GET_SUM, (int)strlen(GET_SUM));
    client_push(w, &served);
    sim_fixture_iterate(&w->f, 1);
    client_pull(w, &served); /* is not kept waiting by any of them */
    assert_int_equal(count(served.got, served.got_len, "200 OK"), 1);
    int begun = 0;
    for (int i = 0; i < 40; i++) {
        size_t len;
        sim_output(loop_of(w)->be, c[i].fd, &len);
        begun += len > 0;
    }
    assert_int_equal(begun, 8);
    assert_int_equal(w->f.stats.tls_deferred, 32);
    for (int i = 0; i < 40; i++) {
        client_shake(w, &c[i]);
        client_ask(w, &c[i], GET_SUM, 1);
        client_free(&c[i]);
    }
    client_free(&served);
    free(c);
    close_tls_world(w);
}

/* Who is closed while its hello waits. */
static void test_closed_while_waiting(void **state)
{
    struct client *c = calloc(40, sizeof(*c));
    struct world *w = *state;

    open_tls_world(w);
    for (int i = 0; i < 40; i++)
        client_open(w, &c[i]);
    sim_fixture_iterate(&w->f, 1);
    for (int i = 0; i < 40; i++) {
        SSL_do_handshake(c[i].ssl);
        client_push(w, &c[i]);
        client_free(&c[i]);
    }
    sim_fixture_iterate(&w->f, 1);
    assert_int_equal(w->f.stats.tls_deferred, 32);
    free(c);
    close_tls_world(w);
}

static void key_update(struct world *w, struct client *c)
{
    SSL_key_update(c->ssl, SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(c->ssl);
    client_push(w, c);
    sim_fixture_iterate(&w->f, 1);
}

/* Key updates without end, by a client that reads the answers to them, or not; one by one and in one piece. */
static void test_key_updates(void **state)
{
    static struct client c;
    struct world *w = *state;

    for (int reads = 0; reads < 2; reads++) {
        open_tls_world(w);
        client_open(w, &c);
        client_shake(w, &c);
        client_ask(w, &c, GET_SUM, 1);
        w->knobs.send_max = w->knobs.sent_max = reads - 1;
        for (int i = 0; i < TLS_IDLE_MESSAGES; i++) {
            key_update(w, &c);
            if (reads)
                client_pull(w, &c);
        }
        assert_int_equal(w->f.stats.tls_failed, 0);
        if (reads) { /* data in between, and it may again */
            static char body[TLS_IDLE_BYTES + 1];
            memset(body, 'x', sizeof(body) - 1);
            client_ask(w, &c, "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n",
                       1);
            client_ask(w, &c, body, 2);
            for (int i = 0; i < TLS_IDLE_MESSAGES; i++)
                key_update(w, &c);
            client_ask(w, &c, GET_SUM, 3);
        }
        for (int i = 0; i < 1000; i++) {
            SSL_key_update(c.ssl, SSL_KEY_UPDATE_REQUESTED);
            SSL_do_handshake(c.ssl);
        }
        size_t sent;
        sim_output(loop_of(w)->be, c.fd, &sent);
        client_push(w, &c);
        sim_fixture_iterate(&w->f, 2);
        assert_int_equal(w->f.stats.tls_failed, 1);
        size_t answered;
        sim_output(loop_of(w)->be, c.fd, &answered);
        assert_true(answered - sent <
                    100 * TLS_IDLE_MESSAGES); /* the rest was not even looked at */
        client_free(&c);
        memset(&w->knobs, 0, sizeof(w->knobs));
        close_tls_world(w);
    }
}

static void test_no_blocks(void **state)
{
    static struct client c;
    struct world *w = *state;

    for (int at = 0; at < 6; at++) {
        open_tls_world(w);
        client_open(w, &c);
        uint64_t max = loop_of(w)->budget.max;
        for (int i = 0; i < 6; i++) {
            loop_of(w)->budget.max = i == at ? 0 : max;
            if (SSL_is_init_finished(c.ssl))
                SSL_write(c.ssl, GET_SUM, (int)strlen(GET_SUM));
            client_turn(w, &c);
        }
        loop_of(w)->budget.max = max;
        client_free(&c);
        close_tls_world(w);
    }
}

/* ---- memory ---- */

#define IDLE_CONNECTIONS 20
#define IDLE_MAX         12288 /* bytes of an idle connection, with what malloc(3) adds */

/*
 * All that an idle connection holds on the heap: OpenSSL's, and ours. OpenSSL 3.2 and later hold more,
 * which tls_trim.c does not know how to drop.
 */
static void test_idle_memory(void **state)
{
    static struct client c;
    struct world *w = *state;
    size_t before = 0, simulation = 0;

#if OPENSSL_VERSION_NUMBER >= 0x30200000L || defined(BUFPOOL_POISON)
    skip(); /* a sanitizer's malloc says nothing */
#endif
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        open_tls_world(w);
        for (int i = -1; i < IDLE_CONNECTIONS; i++) { /* -1 brings what all share */
            if (i == 0) {
                before = mallinfo2().uordblks;
                simulation = 0;
            }
            client_open(w, &c);
            SSL_set_max_proto_version(c.ssl, version);
            client_shake(w, &c);
            client_ask(w, &c, GET_SUM, 1);
            client_free(&c);
            simulation += sim_memory(loop_of(w)->be, c.fd);
        }
        size_t each = (mallinfo2().uordblks - before - simulation) / IDLE_CONNECTIONS;
        print_message("# idle, TLS 1.%d: %zu bytes\n", version - TLS1_VERSION, each);
        assert_in_range(each, 0, IDLE_MAX);
        close_tls_world(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_any_split, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_any_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forged_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_plain_http, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hellos_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_while_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_key_updates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_memory, setup, teardown),
    };

    return cmocka_run_group_tests(tests, tls_setup, tls_teardown);
}
