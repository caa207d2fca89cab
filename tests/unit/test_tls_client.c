/* SPDX-License-Identifier: MIT */
/*
 * test_tls_client.c - the client's side of TLS against the server's, all in memory: every split of the
 * bytes, both versions, sessions, whom it trusts and what it says of who fails, OpenSSL without memory.
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "log.h"
#include "tls.h"
#include "tls_memory.h"

#define BLOCK     16256
#define SPLIT_ALL ((size_t)-1)

/* ---- certificates, made once ---- */

static char dir[] = "/tmp/bivalve-tls-XXXXXX";
static char cert[64], key[64], other_cert[64], other_key[64];

static int setup(void **state)
{
    char error[TLS_ERROR_MAX];

    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
    snprintf(key, sizeof(key), "%s/key.pem", dir);
    snprintf(other_cert, sizeof(other_cert), "%s/other.pem", dir);
    snprintf(other_key, sizeof(other_key), "%s/other.key", dir);
    log_set_level(LOG_LEVEL_ERROR);
    return tls_make_cert(cert, key, "DNS:a.test,IP:127.0.0.1,IP:::1", false, error) < 0 ||
                   tls_make_cert(other_cert, other_key, "DNS:b.test", false, error) < 0
               ? -1
               : 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(cert);
    unlink(key);
    unlink(other_cert);
    unlink(other_key);
    return rmdir(dir);
}

/* ---- both sides ---- */

struct side {
    struct tls tls;
    enum tls_status status; /* of the last call that read or shook hands */
    char got[4096];
    size_t got_len;
};

struct world {
    struct bufpool_budget budget;
    struct bufpool pool;
    struct tls_context *server_context, *client_context;
    struct side server, client;
};

static void world_open(struct world *w, const struct tls_client_config *cfg, unsigned min_version)
{
    struct tls_config server = {
        .pairs = {{.cert = cert, .key = key}}, .pair_count = 1, .min_version = min_version};
    char error[TLS_ERROR_MAX];

    memset(w, 0, sizeof(*w));
    w->budget.max = SIZE_MAX;
    bufpool_init(&w->pool, BLOCK, &w->budget);
    assert_int_equal(tls_context_open(&w->server_context, &server, NULL, error), 0);
    assert_int_equal(tls_client_context_open(&w->client_context, cfg, error), 0);
    assert_true(tls_is_client(w->client_context) && !tls_is_client(w->server_context));
}

static void world_close(struct world *w)
{
    tls_context_free(w->server_context);
    tls_context_free(w->client_context);
    bufpool_destroy(&w->pool);
}

/* What a side has received is worked on. */
static void side_work(struct side *x)
{
    size_t n;

    if (x->status == TLS_FAILED || x->status == TLS_CLOSED)
        return;
    if (!x->tls.established) {
        x->status = tls_handshake(&x->tls);
        if (x->status != TLS_OK)
            return;
    }
    do {
        x->status = tls_read(&x->tls, x->got + x->got_len, sizeof(x->got) - x->got_len, &n);
        if (x->status == TLS_OK)
            x->got_len += n;
    } while (x->status == TLS_OK);
}

/* All that one side has to send reaches the other, in pieces of `split`. True: there was some. */
static bool pass(struct side *from, struct side *to, size_t split)
{
    struct backend_segment segment;
    bool some = false;

    while (out_segments(&from->tls.out, &segment, 1)) {
        size_t n = MIN(segment.len, split);
        some = true;
        tls_feed(&to->tls, segment.data, n);
        side_work(to);
        to->tls.len = 0;
        out_consume(&from->tls.out, n);
    }
    return some;
}

/* A connection, until nobody has anything to say. */
static void talk(struct world *w, size_t split)
{
    memset(&w->server, 0, sizeof(w->server));
    memset(&w->client, 0, sizeof(w->client));
    assert_int_equal(tls_open(&w->server.tls, w->server_context, &w->pool), 0);
    if (tls_open(&w->client.tls, w->client_context, &w->pool) < 0) {
        w->client.status = TLS_FAILED;
        return;
    }
    side_work(&w->client);
    bool some;
    do {
        some = pass(&w->client, &w->server, split);
        some |= pass(&w->server, &w->client, split);
    } while (some);
}

static void hang_up(struct world *w)
{
    out_clear(&w->client.tls.out);
    out_clear(&w->server.tls.out);
    tls_free(&w->client.tls);
    tls_free(&w->server.tls);
}

/* ---- the tests ---- */

static const size_t splits[] = {1, 2, 5, 100, 1000, SPLIT_ALL};

static void test_both_ways(void **state)
{
    static struct world w;

    (void)state;
    for (unsigned version = 12; version <= 13; version++) {
        struct tls_client_config cfg = {.host = "a.test", .ca_file = cert, .version = version};
        world_open(&w, &cfg, 12);
        for (unsigned i = 0; i < ARRAY_LEN(splits); i++) {
            talk(&w, splits[i]);
            assert_true(w.client.tls.established && w.server.tls.established);
            assert_string_equal(tls_protocol_name(&w.client.tls),
                                version == 12 ? "TLSv1.2" : "TLSv1.3");
            assert_false(tls_is_resumed(&w.client.tls));
            assert_int_equal(tls_write(&w.client.tls, "question", 8), 0);
            assert_int_equal(tls_write(&w.server.tls, "answer", 6), 0);
            pass(&w.client, &w.server, splits[i]);
            pass(&w.server, &w.client, splits[i]);
            assert_true(w.server.got_len == 8 && !memcmp(w.server.got, "question", 8));
            assert_true(w.client.got_len == 6 && !memcmp(w.client.got, "answer", 6));
            assert_false(w.client.tls.peer_closed);
            tls_close(&w.server.tls);
            pass(&w.server, &w.client, splits[i]);
            assert_true(w.client.status == TLS_CLOSED && w.client.tls.peer_closed);
            hang_up(&w);
        }
        world_close(&w);
    }
}

static void test_sessions(void **state)
{
    static struct world w;

    (void)state;
    for (unsigned version = 12; version <= 13; version++)
        for (int resume = 0; resume < 2; resume++) {
            struct tls_client_config cfg = {
                .host = "a.test", .ca_file = cert, .version = version, .resume = resume};
            world_open(&w, &cfg, 12);
            for (unsigned i = 0; i < 4; i++) {
                talk(&w, SPLIT_ALL);
                assert_true(w.client.tls.established);
                assert_int_equal(tls_is_resumed(&w.client.tls), resume && i > 0);
                assert_int_equal(tls_is_resumed(&w.server.tls), resume && i > 0);
                hang_up(&w); /* without a word: the session is none the worse */
            }
            world_close(&w);
        }
}

static void test_trust(void **state)
{
    static const struct {
        struct tls_client_config cfg;
        const char *reason; /* NULL: trusted */
    } cases[] = {
        {{.host = "a.test", .ca_file = cert}, NULL},
        {{.host = "127.0.0.1", .ca_file = cert}, NULL},
        {{.host = "::1", .ca_file = cert}, NULL},
        {{.host = "b.test", .ca_file = cert}, "ostname mismatch"},
        {{.host = "127.0.0.2", .ca_file = cert}, "IP address mismatch"},
        {{.host = "a.test", .ca_file = other_cert}, "self"},
        {{.host = "a.test"}, "self"},
        {{.host = "b.test", .insecure = true}, NULL},
    };
    static struct world w;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        world_open(&w, &cases[i].cfg, 12);
        talk(&w, SPLIT_ALL);
        assert_int_equal(w.client.tls.established, !cases[i].reason);
        if (cases[i].reason) {
            assert_int_equal(w.client.status, TLS_FAILED);
            assert_int_equal(w.server.status, TLS_FAILED); /* the client has told it */
        }
        hang_up(&w);
        world_close(&w);
        if (!cases[i].reason)
            continue;
        /* Of two that fail the last is remembered: the client alone. */
        world_open(&w, &cases[i].cfg, 12);
        memset(&w.client, 0, sizeof(w.client));
        memset(&w.server, 0, sizeof(w.server));
        assert_int_equal(tls_open(&w.server.tls, w.server_context, &w.pool), 0);
        assert_int_equal(tls_open(&w.client.tls, w.client_context, &w.pool), 0);
        side_work(&w.client);
        pass(&w.client, &w.server, SPLIT_ALL);
        pass(&w.server, &w.client, SPLIT_ALL);
        assert_int_equal(tls_blame(), TLS_BLAME_CERTIFICATE);
        if (!strstr(tls_reason(), cases[i].reason))
            fail_msg("%s", tls_reason());
        hang_up(&w);
        world_close(&w);
    }
}

static void test_refusals(void **state)
{
    static struct world w;
    struct tls_client_config cfg = {.host = "a.test", .ca_file = cert, .version = 12};

    (void)state;
    world_open(&w, &cfg, 13); /* no version in common */
    talk(&w, SPLIT_ALL);
    assert_true(w.client.status == TLS_FAILED && tls_blame() == TLS_BLAME_ALERT);
    assert_non_null(strstr(tls_reason(), "alert"));
    hang_up(&w);

    memset(&w.client, 0, sizeof(w.client)); /* no TLS at all */
    assert_int_equal(tls_open(&w.client.tls, w.client_context, &w.pool), 0);
    side_work(&w.client);
    tls_feed(&w.client.tls, "HTTP/1.1 400 Bad Request\r\n", 26);
    side_work(&w.client);
    assert_true(w.client.status == TLS_FAILED && tls_blame() == TLS_BLAME_PROTOCOL);
    out_clear(&w.client.tls.out);
    tls_free(&w.client.tls);
    world_close(&w);
}

static void test_contexts_that_cannot_be(void **state)
{
    static const struct tls_client_config cases[] = {
        {.host = "a.test", .ca_file = "/nonexistent"},
        {.host = "a.test", .ca_file = key}, /* no certificate in it */
    };
    struct tls_context *c;
    char error[TLS_ERROR_MAX];

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        *error = '\0';
        assert_true(tls_client_context_open(&c, &cases[i], error) < 0 && !c);
        assert_true(strstr(error, "PEM") && !strchr(error, '\n'));
    }
    tls_context_free(NULL);
}

/* Wherever memory ends: it fails, and says so, or goes on without what it can do without. */
static void test_no_memory(void **state)
{
    static struct world w;
    struct tls_client_config cfg = {.host = "a.test", .ca_file = cert, .resume = true};

    (void)state;
    world_open(&w, &cfg, 12);
    talk(&w, SPLIT_ALL);
    hang_up(&w);
    for (long at = 1;; at += 3) {
        memory_calls = 0;
        memory_fail_at = at;
        memset(&w.client, 0, sizeof(w.client));
        int rc = tls_open(&w.client.tls, w.client_context, &w.pool);
        if (rc == 0)
            side_work(&w.client);
        bool failed = memory_calls >= at;
        memory_fail_at = 0;
        assert_true(rc == 0 || rc == -ENOMEM);
        if (rc == 0) {
            assert_true(w.client.status == TLS_WANT_INPUT || w.client.status == TLS_FAILED);
            out_clear(&w.client.tls.out);
            tls_free(&w.client.tls);
        }
        if (!failed)
            break;
    }
    talk(&w, SPLIT_ALL);
    assert_true(w.client.tls.established);
    hang_up(&w);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_contexts_that_cannot_be),
        cmocka_unit_test(test_no_memory),
    };

    memory_init();
    return cmocka_run_group_tests(tests, setup, teardown);
}
