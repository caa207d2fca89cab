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
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "log.h"
#include "prng.h"
#include "stream_tls.h"
#include "tls.h"
#include "world.h"

#define GET_SUM "GET /baseline11?a=13&b=42 HTTP/1.1\r\nHost: x\r\n\r\n"

static char dir[] = "/tmp/bivalve-tls-core-XXXXXX";
static struct tls_context *context;
static SSL_CTX *client_ctx;

static int tls_setup(void **state)
{
    struct tls_config cfg = {.pair_count = 1, .min_version = 12};
    char cert[64], key[64], error[TLS_ERROR_MAX];

    if (group_setup(state) < 0 || !mkdtemp(dir))
        return -1;
    snprintf(cert, sizeof(cert), "%s/cert", dir);
    snprintf(key, sizeof(key), "%s/key", dir);
    cfg.pairs[0] = (struct tls_pair){.cert = cert, .key = key};
    if (tls_make_cert(cert, key, "DNS:x", false, error) < 0 ||
        tls_context_open(&context, &cfg, NULL, error) < 0) {
        fprintf(stderr, "%s\n", error);
        return -1;
    }
    unlink(cert);
    unlink(key);
    rmdir(dir);
    client_ctx = SSL_CTX_new(TLS_client_method());
    log_set_level(LOG_LEVEL_ERROR);
    return 0;
}

static int tls_teardown(void **state)
{
    SSL_CTX_free(client_ctx);
    tls_context_free(context);
    return group_teardown(state);
}

/* ---- a client ---- */

struct client {
    int fd;
    SSL *ssl;
    size_t seen; /* of the server's output */
    bool ended;  /* the server's close_notify has come */
    bool broken; /* OpenSSL says that something is wrong */
    char got[1 << 20];
    size_t got_len;
};

static struct loop *loop_of(struct world *w)
{
    return &w->f.http.loop;
}

static void open_tls_world(struct world *w)
{
    open_world(w);
    loop_of(w)->acceptor.listener[0].tls = true;
    assert_int_equal(tls_streams_open(loop_of(w), context), 0);
}

static void close_tls_world(struct world *w)
{
    assert_int_equal(sim_fixture_close(&w->f), 0);
    /* the hot exchange alone */
    assert_in_range(loop_of(w)->budget.used, 0, sizeof(struct exchange) + 64);
    tls_streams_close(loop_of(w));
}

static void client_open(struct world *w, struct client *c)
{
    c->fd = sim_connect(loop_of(w)->be);
    assert_true(c->fd >= 0);
    c->ssl = SSL_new(client_ctx);
    SSL_set_bio(c->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(c->ssl);
    c->seen = c->got_len = 0;
    c->ended = c->broken = false;
}

static void client_free(struct client *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
}

/* What the client wants to send, to the server. */
static void client_push(struct world *w, struct client *c)
{
    char *data;
    long len = BIO_get_mem_data(SSL_get_wbio(c->ssl), &data);

    if (len > 0 && sim_is_open(loop_of(w)->be, c->fd))
        sim_input(loop_of(w)->be, c->fd, data, (size_t)len);
    (void)BIO_reset(SSL_get_wbio(c->ssl));
}

/* What the server has sent, to the client. */
static void client_pull(struct world *w, struct client *c)
{
    size_t len;
    const char *data = sim_output(loop_of(w)->be, c->fd, &len);

    if (len > c->seen)
        BIO_write(SSL_get_rbio(c->ssl), data + c->seen, (int)(len - c->seen));
    c->seen = len;
    while (!c->broken && !c->ended) {
        ERR_clear_error();
        int rc = SSL_read(c->ssl, c->got + c->got_len, (int)(sizeof(c->got) - c->got_len));
        if (rc > 0) {
            c->got_len += (size_t)rc;
            continue;
        }
        int error = SSL_get_error(c->ssl, rc);
        c->ended = error == SSL_ERROR_ZERO_RETURN;
        c->broken = error != SSL_ERROR_WANT_READ && !c->ended;
        break;
    }
}

static void client_turn(struct world *w, struct client *c)
{
    if (!c->broken && !c->ended)
        client_pull(w, c);
    client_push(w, c);
    sim_fixture_iterate(&w->f, 1);
    client_pull(w, c);
}

static void client_shake(struct world *w, struct client *c)
{
    for (int i = 0; i < 100000 && !SSL_is_init_finished(c->ssl) && !c->broken; i++)
        client_turn(w, c);
    assert_true(SSL_is_init_finished(c->ssl));
}

/* The client says `text`, and turns until there are `n` answers of 200. */
static void client_ask(struct world *w, struct client *c, const char *text, size_t n)
{
    assert_int_equal(SSL_write(c->ssl, text, (int)strlen(text)), (int)strlen(text));
    for (int i = 0; i < 200000 && count(c->got, c->got_len, "HTTP/1.1 200 OK") < n; i++) {
        assert_false(c->broken);
        client_turn(w, c);
    }
    assert_int_equal(count(c->got, c->got_len, "HTTP/1.1 200 OK"), n);
}

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

/* Answers that nobody reads, to what needs no request: key updates. */
static void test_key_updates_unread(void **state)
{
    static struct client c;
    struct world *w = *state;

    open_tls_world(w);
    client_open(w, &c);
    client_shake(w, &c);
    client_ask(w, &c, GET_SUM, 1);
    w->knobs.send_max = w->knobs.sent_max = -1;
    for (int i = 0; i < 20000 && sim_is_open(loop_of(w)->be, c.fd); i++) {
        SSL_key_update(c.ssl, SSL_KEY_UPDATE_REQUESTED);
        SSL_do_handshake(c.ssl);
        client_push(w, &c);
        sim_fixture_iterate(&w->f, 1);
    }
    assert_false(sim_is_open(loop_of(w)->be, c.fd));
    assert_int_equal(w->f.stats.limit_buffers, 1);
    client_free(&c);
    memset(&w->knobs, 0, sizeof(w->knobs));
    close_tls_world(w);
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
        cmocka_unit_test_setup_teardown(test_key_updates_unread, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_memory, setup, teardown),
    };

    return cmocka_run_group_tests(tests, tls_setup, tls_teardown);
}
