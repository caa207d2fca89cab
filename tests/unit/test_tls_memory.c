/* SPDX-License-Identifier: MIT */
/*
 * test_tls_memory.c - the memory of TLS: what an idle connection holds, and where it ends, OpenSSL's and
 * ours.
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "tls_memory.h"
#include "tls_world.h"

/*
 * OpenSSL's memory for an idle connection; 7624 bytes of it are the SSL itself, in 3.0. In 3.5 that and
 * its two record layers are 14424, and what tls_trim.c frees of the rest stays.
 */
#if OPENSSL_VERSION_NUMBER < 0x30200000L
#define IDLE_MAX 12000
#else
#define IDLE_MAX 22000
#endif

static void test_idle_memory(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static struct world w;

    (void)state;
    world_init(&w);
    world_serve(&w);
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        SSL_CTX_set_max_proto_version(w.client_ctx, versions[v]);
        for (int i = 0; i < 2; i++) { /* the first brings what OpenSSL keeps for all */
            world_connect(&w);
            assert_int_equal(shake(&w), 1);
            echo(&w, 20000);
            size_t before = memory_held;
            tls_free(&w.server);
            size_t idle = before - memory_held;
            if (i)
                print_message("# idle, %s: %zu bytes of OpenSSL\n", v ? "TLS 1.3" : "TLS 1.2",
                              idle);
            assert_in_range(idle, 1000, IDLE_MAX);
            world_disconnect(&w);
        }
    }
    world_close(&w);
}

/* No blocks: the connection fails, and only that. */
static void test_no_blocks(void **state)
{
    static struct world w;

    (void)state;
    world_init(&w);
    world_serve(&w);
    world_connect(&w);
    w.budget.max = 0;
    shake(&w);
    assert_int_equal(w.status, TLS_FAILED);
    assert_true(w.server.no_memory);
    world_disconnect(&w);
    w.budget.max = SIZE_MAX;
    world_connect(&w);
    assert_int_equal(shake(&w), 1);
    w.budget.max = 0;
    assert_int_equal(tls_write(&w.server, "x", 1), -ENOMEM);
    assert_int_equal(tls_write(&w.server, "x", 1), -EPIPE);
    tls_close(&w.server);
    world_disconnect(&w);
    world_close(&w);
}

/* One connection with a client from outside the failing part. True: it went well. */
static bool try_connection(struct world *w, long fail_at)
{
    char *data;
    bool ok = true;

    w->client = SSL_new(w->client_ctx);
    SSL_set_bio(w->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(w->client);
    w->status = TLS_WANT_INPUT;
    w->got_len = 0;
    memory_calls = 0;
    memory_fail_at = fail_at;
    int rc = tls_open(&w->server, w->context, &w->pool);
    memory_fail_at = 0;
    if (rc < 0) {
        SSL_free(w->client);
        return false;
    }
    for (int i = 0; i < 4 && ok; i++) {
        SSL_do_handshake(w->client);
        if (i == 2)
            SSL_write(w->client, "hello", 5);
        long len = BIO_get_mem_data(SSL_get_wbio(w->client), &data);
        memory_fail_at = fail_at;
        server_feed(w, data, (size_t)len);
        if (w->server.established && w->got_len && tls_write(&w->server, w->got, w->got_len) < 0)
            ok = false;
        if (i == 3)
            tls_close(&w->server);
        memory_fail_at = 0;
        (void)BIO_reset(SSL_get_wbio(w->client));
        to_client(w);
        ok = ok && w->status == TLS_WANT_INPUT;
    }
    ok = ok && w->got_len == 5;
    world_disconnect(w);
    return ok;
}

static void test_no_memory(void **state)
{
    static struct world w;
    long n, failures = 0;

    (void)state;
    world_init(&w);
    world_serve(&w);
    assert_true(try_connection(&w, 0));
    for (n = 1; n < 20000; n += n < 200 ? 1 : 7) {
        bool ok = try_connection(&w, n);
        if (ok && memory_calls < n)
            break;
        failures += !ok;
    }
    print_message("# %ld allocations of a connection, %ld of them necessary\n", n - 1, failures);
    assert_true(failures > 50);
    world_close(&w);
    /* and the context's */
    for (n = 1; n < 200000; n += n < 200 ? 1 : 37) {
        struct tls_context *c;
        char error[TLS_ERROR_MAX];
        memory_calls = 0;
        memory_fail_at = n;
        int rc = tls_context_open(&c, &w.cfg, NULL, error);
        memory_fail_at = 0;
        if (rc == 0)
            tls_context_free(c);
        if (rc == 0 && memory_calls < n)
            break;
        assert_true(rc == 0 || *error);
    }
    assert_true(n < 200000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_memory),
        cmocka_unit_test(test_no_blocks),
        cmocka_unit_test(test_no_memory),
    };

    memory_init();
    return cmocka_run_group_tests(tests, tls_certs_setup, tls_certs_teardown);
}
