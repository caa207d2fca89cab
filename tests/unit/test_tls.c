/* SPDX-License-Identifier: MIT */
/*
 * test_tls.c - TLS against OpenSSL's own client, all in memory: every split of the bytes, both
 * versions, what is offered and what is refused, both ends.
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "tls_world.h"

/* ---- it works ---- */

static void test_splits(void **state)
{
    static const size_t splits[] = {1, 2, 3, 5, 7, 64, 1000, SPLIT_ALL};
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const size_t sizes[] = {1, 100, 16383, 16384, 16385, 70000};
    static struct world w;

    (void)state;
    world_init(&w);
    world_serve(&w);
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        SSL_CTX_set_min_proto_version(w.client_ctx, versions[v]);
        SSL_CTX_set_max_proto_version(w.client_ctx, versions[v]);
        for (size_t i = 0; i < ARRAY_LEN(splits); i++) {
            w.split = splits[i];
            world_connect(&w);
            assert_int_equal(shake(&w), 1);
            assert_true(w.server.established);
            assert_string_equal(tls_protocol_name(&w.server), v ? "TLSv1.3" : "TLSv1.2");
            for (size_t s = 0; s < ARRAY_LEN(sizes); s++)
                echo(&w, sizes[s]);
            world_disconnect(&w);
        }
    }
    world_close(&w);
}

static void test_alpn(void **state)
{
    static const struct {
        const char *offer;
        int alert;
    } cases[] = {{"\x08http/1.1", 0},
                 {"\x02h2\x08http/1.1", 0},
                 {NULL, 0},
                 {"\x02h2", SSL_AD_NO_APPLICATION_PROTOCOL},
                 {"\x08http/1.0\x02h2", SSL_AD_NO_APPLICATION_PROTOCOL}};
    static struct world w;

    (void)state;
    world_init(&w);
    world_serve(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *offer = cases[i].offer;
        const unsigned char *chosen;
        unsigned len;
        world_connect(&w);
        if (offer)
            SSL_set_alpn_protos(w.client, (const unsigned char *)offer, (unsigned)strlen(offer));
        shake(&w);
        assert_int_equal(w.alert, cases[i].alert);
        assert_int_equal(w.server.established, cases[i].alert == 0);
        SSL_get0_alpn_selected(w.client, &chosen, &len);
        if (offer && !cases[i].alert) {
            assert_int_equal(len, 8);
            assert_memory_equal(chosen, "http/1.1", 8);
        } else {
            assert_int_equal(len, 0);
        }
        world_disconnect(&w);
    }
    world_close(&w);
}

/* ---- what is refused ---- */

static void test_versions(void **state)
{
    static struct world w;

    (void)state;
    world_init(&w);
    w.cfg.min_version = 13;
    world_serve(&w);
    SSL_CTX_set_max_proto_version(w.client_ctx, TLS1_2_VERSION);
    refused(&w, SSL_AD_PROTOCOL_VERSION);
    tls_context_free(w.context);
    w.cfg.min_version = 12;
    world_serve(&w);
    SSL_CTX_set_security_level(w.client_ctx, 0);
    SSL_CTX_set_min_proto_version(w.client_ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(w.client_ctx, TLS1_1_VERSION);
    refused(&w, SSL_AD_PROTOCOL_VERSION);
    world_close(&w);
}

static void test_weak_ciphers(void **state)
{
    static const char *const weak[] = {
        "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES256-SHA384", /* no AEAD */
        "AES128-GCM-SHA256",                              /* no ephemeral key */
    };
    static struct world w;

    (void)state;
    world_init(&w);
    world_serve(&w);
    SSL_CTX_set_max_proto_version(w.client_ctx, TLS1_2_VERSION);
    for (size_t i = 0; i < ARRAY_LEN(weak); i++) {
        assert_int_equal(SSL_CTX_set_cipher_list(w.client_ctx, weak[i]), 1);
        refused(&w, SSL_AD_HANDSHAKE_FAILURE);
    }
    world_close(&w);
}

static void test_preference(void **state)
{
    static struct world w;

    (void)state;
    world_init(&w);
    world_serve(&w);
    SSL_CTX_set_max_proto_version(w.client_ctx, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(w.client_ctx,
                            "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256");
    world_connect(&w);
    assert_int_equal(shake(&w), 1);
    assert_string_equal(tls_cipher_name(&w.server), "ECDHE-ECDSA-AES128-GCM-SHA256");
    world_disconnect(&w);
    /* A client that prefers ChaCha20 has no hardware for AES. */
    SSL_CTX_set_cipher_list(w.client_ctx,
                            "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256");
    world_connect(&w);
    assert_int_equal(shake(&w), 1);
    assert_string_equal(tls_cipher_name(&w.server), "ECDHE-ECDSA-CHACHA20-POLY1305");
    world_disconnect(&w);
    world_close(&w);
}

/* Bytes that are no TLS, or no TLS now: never anything but a failure. */
static void test_garbage(void **state)
{
    static const struct {
        const char *data;
        size_t len;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", 18},
        {"\x16\x03\x01\xff\xff\x01", 6},                      /* a record of 64 KiB */
        {"\x16\x03\x01\x00\x00", 5},                          /* an empty handshake record */
        {"\x17\x03\x03\x00\x01\x00", 6},                      /* data before the handshake */
        {"\x15\x03\x01\x00\x02\x02\x28", 7},                  /* an alert that ends it */
        {"\x14\x03\x03\x00\x01\x01", 6},                      /* change_cipher_spec first */
        {"\x16\x03\x01\x00\x04\x0b\x00\x00\x00", 9},          /* no ClientHello */
        {"\x16\x03\x01\x00\x06\x01\xff\xff\xff\x03\x03", 11}, /* a hello of 16 MiB */
        {"\x80\x2e\x01\x03\x01", 5},                          /* SSL 2 */
    };
    static struct world w;

    (void)state;
    world_init(&w);
    world_serve(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (w.split = 1; w.split < 20; w.split += 18) {
            world_connect(&w);
            server_feed(&w, cases[i].data, cases[i].len);
            if (w.status != TLS_FAILED) { /* it waits for the rest */
                char zeros[300] = {0};
                for (int k = 0; k < 64 && w.status == TLS_WANT_INPUT; k++)
                    server_feed(&w, zeros, sizeof(zeros));
            }
            assert_int_equal(w.status, TLS_FAILED);
            assert_true(*tls_reason());
            assert_false(w.server.established);
            tls_close(&w.server);
            world_disconnect(&w);
        }
    }
    world_close(&w);
}

/* After the handshake a byte that is wrong anywhere in a record ends the connection. */
static void test_forged(void **state)
{
    static struct world w;

    (void)state;
    world_init(&w);
    world_serve(&w);
    for (size_t at = 0; at < 60; at += 3) {
        char *data;
        world_connect(&w);
        assert_int_equal(shake(&w), 1);
        assert_int_equal(SSL_write(w.client, "0123456789012345678901234567890123456789", 40), 40);
        BIO_get_mem_data(SSL_get_wbio(w.client), &data);
        data[at] ^= 0x20;
        to_server(&w);
        if (w.status == TLS_WANT_INPUT) { /* the length: a longer record */
            char zeros[16640] = {0};
            server_feed(&w, zeros, sizeof(zeros));
        }
        assert_int_equal(w.status, TLS_FAILED);
        assert_int_equal(w.got_len, 0);
        assert_true(out_pending(&w.server.out) > 0); /* the alert */
        world_disconnect(&w);
    }
    world_close(&w);
}

static void test_renegotiation(void **state)
{
    static struct world w;

    (void)state;
    world_init(&w);
    world_serve(&w);
    SSL_CTX_set_max_proto_version(w.client_ctx, TLS1_2_VERSION);
    world_connect(&w);
    assert_int_equal(shake(&w), 1);
    SSL_renegotiate(w.client);
    SSL_do_handshake(w.client);
    to_server(&w);
    to_client(&w);
    assert_true(w.status == TLS_WANT_INPUT || w.status == TLS_FAILED);
    assert_int_not_equal(SSL_do_handshake(w.client), 1); /* it was told no */
    assert_in_range(w.server.messages, 1, 2);            /* its hello, our alert: not without end */
    world_disconnect(&w);
    world_close(&w);
}

static void test_key_update(void **state)
{
    static struct world w;

    (void)state;
    world_init(&w);
    world_serve(&w);
    world_connect(&w);
    assert_int_equal(shake(&w), 1);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(SSL_key_update(w.client, i % 2 ? SSL_KEY_UPDATE_REQUESTED
                                                        : SSL_KEY_UPDATE_NOT_REQUESTED),
                         1);
        echo(&w, 1000);
    }
    world_disconnect(&w);
    world_close(&w);
}

/* ---- the ends ---- */

/* A client whose records are to be short, RFC 6066 section 4: it takes no longer ones. */
static void test_short_records(void **state)
{
    static struct world w;

    (void)state;
    world_init(&w);
    world_serve(&w);
    SSL_CTX_set_tlsext_max_fragment_length(w.client_ctx, TLSEXT_max_fragment_length_512);
    world_connect(&w);
    assert_int_equal(shake(&w), 1);
    echo(&w, 20000);
    world_disconnect(&w);
    world_close(&w);
}

static void test_ends(void **state)
{
    static struct world w;
    char byte;

    (void)state;
    world_init(&w);
    world_serve(&w);
    /* ours */
    world_connect(&w);
    assert_int_equal(shake(&w), 1);
    tls_close(&w.server);
    tls_close(&w.server); /* once is enough */
    to_client(&w);
    assert_int_equal(SSL_read(w.client, &byte, 1), 0);
    assert_int_equal(SSL_get_error(w.client, 0), SSL_ERROR_ZERO_RETURN);
    assert_int_equal(tls_write(&w.server, "x", 1), -EPIPE);
    world_disconnect(&w);
    /* the client's: it may still be answered */
    world_connect(&w);
    assert_int_equal(shake(&w), 1);
    SSL_write(w.client, "last", 4);
    SSL_shutdown(w.client);
    to_server(&w);
    assert_int_equal(w.status, TLS_CLOSED);
    assert_int_equal(w.got_len, 4);
    assert_int_equal(tls_write(&w.server, "answer", 6), 0);
    to_client(&w);
    char answer[8];
    assert_int_equal(SSL_read(w.client, answer, sizeof(answer)), 6);
    world_disconnect(&w);
    /* a record cut anywhere is no end */
    world_connect(&w);
    assert_int_equal(shake(&w), 1);
    char *data;
    SSL_write(w.client, "never", 5);
    long len = BIO_get_mem_data(SSL_get_wbio(w.client), &data);
    server_feed(&w, data, (size_t)len - 1);
    assert_int_equal(w.status, TLS_WANT_INPUT);
    assert_int_equal(w.got_len, 0);
    world_disconnect(&w);
    /* before there is anything to end */
    world_connect(&w);
    tls_close(&w.server);
    assert_true(out_empty(&w.server.out));
    world_disconnect(&w);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splits),     cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_versions),   cmocka_unit_test(test_weak_ciphers),
        cmocka_unit_test(test_preference), cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_forged),     cmocka_unit_test(test_renegotiation),
        cmocka_unit_test(test_key_update), cmocka_unit_test(test_short_records),
        cmocka_unit_test(test_ends),
    };

    return cmocka_run_group_tests(tests, tls_certs_setup, tls_certs_teardown);
}
