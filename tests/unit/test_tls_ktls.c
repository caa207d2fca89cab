/* SPDX-License-Identifier: MIT */
/*
 * test_tls_ktls.c - a kernel that encrypts what is sent: setsockopt(2) here is one's that is played. What it
 * is told - key, number, nonce - must be such that OpenSSL's client reads what it makes of it.
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

#include "tls_world.h"

#if defined(__linux__) && defined(HAVE_LINUX_TLS_H) && !defined(OPENSSL_NO_KTLS)

#include <linux/tls.h>

/* ---- the kernel ---- */

static struct {
    int probe_errno;  /* of a socket that is not connected */
    int ulp_errno;    /* of one that is, 0: it has been set */
    int key_errno;    /* of TLS_TX */
    unsigned version; /* 0: no key has been set */
    const EVP_CIPHER *cipher;
    unsigned char key[32], nonce[12], seq[8];
    bool nonce_is_sent; /* in TLS 1.2 with AES: a part of it */
} kernel;

static int answer(int err)
{
    errno = err;
    return err ? -1 : 0;
}

static void kernel_take(const void *option)
{
    const struct tls_crypto_info *info = option;
    const struct tls12_crypto_info_aes_gcm_128 *a = option;
    const struct tls12_crypto_info_aes_gcm_256 *b = option;
    const struct tls12_crypto_info_chacha20_poly1305 *c = option;

    kernel.version = info->version;
    kernel.nonce_is_sent = info->version == TLS_1_2_VERSION;
    switch (info->cipher_type) {
    case TLS_CIPHER_AES_GCM_128:
        kernel.cipher = EVP_aes_128_gcm();
        memcpy(kernel.key, a->key, sizeof(a->key));
        memcpy(kernel.nonce, a->salt, 4);
        memcpy(kernel.nonce + 4, a->iv, 8);
        memcpy(kernel.seq, a->rec_seq, 8);
        break;
    case TLS_CIPHER_AES_GCM_256:
        kernel.cipher = EVP_aes_256_gcm();
        memcpy(kernel.key, b->key, sizeof(b->key));
        memcpy(kernel.nonce, b->salt, 4);
        memcpy(kernel.nonce + 4, b->iv, 8);
        memcpy(kernel.seq, b->rec_seq, 8);
        break;
    default:
        kernel.cipher = EVP_chacha20_poly1305();
        kernel.nonce_is_sent = false;
        memcpy(kernel.key, c->key, sizeof(c->key));
        memcpy(kernel.nonce, c->iv, 12);
        memcpy(kernel.seq, c->rec_seq, 8);
    }
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    if (level == 282 && name == TLS_TX) {
        if (kernel.key_errno)
            return answer(kernel.key_errno);
        assert_int_equal(fd, 7);
        assert_true(len >= sizeof(struct tls_crypto_info));
        kernel_take(value);
        return 0;
    }
    assert_int_equal(name, 31);
    assert_memory_equal(value, "tls", 4);
    return answer(fd == 7 ? kernel.ulp_errno : kernel.probe_errno);
}

static void count_up(unsigned char *number)
{
    for (int i = 7; i >= 0 && ++number[i] == 0; i--)
        ;
}

/* A record of up to 64 bytes for the client. */
static void kernel_send(struct world *w, unsigned char type, const void *data, size_t len)
{
    bool old = kernel.version == TLS_1_2_VERSION;
    unsigned char record[128] = {23, 3, 3}, plain[65], nonce[12], extra[13];
    size_t head = kernel.nonce_is_sent ? 13 : 5, plain_len = len + !old, extra_len = old ? 13 : 5;
    size_t body = head - 5 + plain_len + 16;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;

    memcpy(plain, data, len);
    plain[len] = type;
    if (old)
        record[0] = type;
    record[3] = (unsigned char)(body >> 8);
    record[4] = (unsigned char)body;
    memcpy(nonce, kernel.nonce, 12);
    if (kernel.nonce_is_sent)
        memcpy(record + 5, nonce + 4, 8);
    for (int i = 0; i < 8 && !kernel.nonce_is_sent; i++)
        nonce[4 + i] ^= kernel.seq[i];
    if (old) { /* RFC 5246 section 6.2.3.3 */
        memcpy(extra, kernel.seq, 8);
        memcpy(extra + 8, record, 3);
        extra[11] = 0;
        extra[12] = (unsigned char)len;
    } else { /* RFC 8446 section 5.2 */
        memcpy(extra, record, 5);
    }
    assert_int_equal(EVP_EncryptInit_ex(ctx, kernel.cipher, NULL, kernel.key, nonce), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, extra, (int)extra_len), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, record + head, &n, plain, (int)plain_len), 1);
    assert_int_equal(EVP_EncryptFinal_ex(ctx, record + head + n, &n), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, record + head + plain_len),
                     1);
    EVP_CIPHER_CTX_free(ctx);
    count_up(kernel.seq);
    if (kernel.nonce_is_sent)
        count_up(kernel.nonce + 4);
    BIO_write(SSL_get_rbio(w->client), record, (int)(5 + body));
}

/* ---- connections ---- */

static void serve(struct world *w, int version, const char *ciphers)
{
    memset(&kernel, 0, sizeof(kernel));
    kernel.probe_errno = ENOTCONN;
    world_init(w);
    w->cfg.ktls = TLS_KTLS_ON;
    w->cfg.ciphers = ciphers;
    world_serve(w);
    SSL_CTX_set_min_proto_version(w->client_ctx, version);
    SSL_CTX_set_max_proto_version(w->client_ctx, version);
    world_connect(w);
    assert_int_equal(shake(w), 1);
    assert_true(w->server.established);
}

static void client_reads(struct world *w, const char *wanted)
{
    char got[64];
    int n = SSL_read(w->client, got, sizeof(got));

    assert_int_equal(n, (int)strlen(wanted));
    assert_memory_equal(got, wanted, strlen(wanted));
}

static void test_ciphers(void **state)
{
    static const struct {
        int version;
        const char *cipher;
    } cases[] = {
        {TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256"},
        {TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384"},
        {TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256"},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256"},
        {TLS1_2_VERSION, "ECDHE-RSA-AES256-GCM-SHA384"},
        {TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305"},
    };
    static struct world w;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        /* how many records OpenSSL has written before */
        for (unsigned before = 0; before < 3; before++) {
            serve(&w, cases[i].version, cases[i].cipher);
            assert_string_equal(tls_cipher_name(&w.server), cases[i].cipher);
            for (unsigned k = 0; k < before; k++)
                echo(&w, 100);
            assert_true(tls_ktls_begin(&w.server, 7));
            assert_null(w.server.ktls);
            kernel_send(&w, 23, "first", 5);
            kernel_send(&w, 23, "second", 6);
            client_reads(&w, "first");
            client_reads(&w, "second");
            /* what the client sends is still read */
            w.got_len = 0;
            SSL_write(w.client, "more", 4);
            to_server(&w);
            assert_int_equal(w.got_len, 4);
            tls_close(&w.server);
            assert_true(out_empty(&w.server.out));
            assert_true(w.server.alert_due);
            kernel_send(&w, TLS_RECORD_ALERT, w.server.alert, 2);
            assert_int_equal(SSL_read(w.client, w.got, 1), 0);
            assert_int_equal(SSL_get_error(w.client, 0), SSL_ERROR_ZERO_RETURN);
            world_disconnect(&w);
            world_close(&w);
        }
    }
}

static void test_refused_by_the_kernel(void **state)
{
    static struct world w;

    (void)state;
    for (int i = 0; i < 2; i++) {
        serve(&w, TLS1_3_VERSION, NULL);
        kernel.ulp_errno = i == 0 ? ENOENT : 0;
        kernel.key_errno = i == 1 ? ENOMEM : 0;
        assert_false(tls_ktls_begin(&w.server, 7));
        assert_false(w.server.in_kernel);
        echo(&w, 1000);
        assert_false(tls_ktls_begin(&w.server, 7));
        world_disconnect(&w);
        world_close(&w);
    }
}

static void test_no_such_kernel(void **state)
{
    static struct world w;
    char error[TLS_ERROR_MAX];

    (void)state;
    memset(&kernel, 0, sizeof(kernel));
    kernel.probe_errno = ENOENT;
    assert_int_equal(tls_ktls_probe(), -ENOENT);
    world_init(&w);
    w.cfg.ktls = TLS_KTLS_ON;
    assert_int_equal(tls_context_open(&w.context, &w.cfg, NULL, error), -ENOENT);
    assert_non_null(strstr(error, "modprobe tls"));
    w.cfg.ktls = TLS_KTLS_AUTO;
    world_serve(&w);
    world_connect(&w);
    assert_int_equal(shake(&w), 1);
    assert_null(w.server.ktls);
    echo(&w, 1000);
    world_disconnect(&w);
    world_close(&w);
}

/*
 * Keys that change before the kernel is asked: OpenSSL offers the new one (since 3.2), which the kernel
 * then has, or it does not, and the kernel is not asked.
 */
static void test_key_update_before(void **state)
{
    static struct world w;

    (void)state;
    serve(&w, TLS1_3_VERSION, NULL);
    SSL_key_update(w.client, SSL_KEY_UPDATE_REQUESTED);
    shake(&w);
    echo(&w, 100);
    if (tls_ktls_begin(&w.server, 7)) {
        kernel_send(&w, 23, "answer", 6);
        client_reads(&w, "answer");
    } else {
        assert_true(OPENSSL_VERSION_NUMBER < 0x30200000L);
        echo(&w, 100);
    }
    world_disconnect(&w);
    world_close(&w);
}

static void test_key_update_after(void **state)
{
    static struct world w;

    (void)state;
    serve(&w, TLS1_3_VERSION, NULL);
    assert_true(tls_ktls_begin(&w.server, 7));
    /* the client's own key alone: that is OpenSSL's here, too */
    SSL_key_update(w.client, SSL_KEY_UPDATE_NOT_REQUESTED);
    SSL_write(w.client, "more", 4);
    to_server(&w);
    assert_int_equal(w.got_len, 4);
    assert_int_equal(w.status, TLS_WANT_INPUT);
    kernel_send(&w, 23, "answer", 6);
    client_reads(&w, "answer");
    /* ours as well */
    SSL_key_update(w.client, SSL_KEY_UPDATE_REQUESTED);
    SSL_write(w.client, "more", 4);
    to_server(&w);
    assert_int_equal(w.status, TLS_FAILED);
    assert_non_null(strstr(tls_reason(), "new keys"));
    assert_true(out_empty(&w.server.out));
    assert_true(w.server.alert_due);
    assert_int_equal(w.server.alert[0], SSL3_AL_FATAL);
    assert_int_equal(w.server.alert[1], SSL_AD_INTERNAL_ERROR);
    tls_close(&w.server); /* says nothing after that */
    assert_int_equal(w.server.alert[0], SSL3_AL_FATAL);
    world_disconnect(&w);
    world_close(&w);
}

static void test_alert(void **state)
{
    static const char junk[] = "\x17\x03\x03\x00\x20"
                               "0123456789abcdef0123456789abcdef";
    static struct world w;

    (void)state;
    serve(&w, TLS1_3_VERSION, NULL);
    assert_true(tls_ktls_begin(&w.server, 7));
    server_feed(&w, junk, sizeof(junk) - 1);
    assert_int_equal(w.status, TLS_FAILED);
    assert_true(w.server.alert_due);
    assert_int_equal(w.server.alert[1], SSL_AD_BAD_RECORD_MAC);
    kernel_send(&w, TLS_RECORD_ALERT, w.server.alert, 2);
    int rc = SSL_read(w.client, w.got, 1);
    assert_true(rc <= 0);
    assert_int_equal(SSL_get_error(w.client, rc), SSL_ERROR_SSL);
    world_disconnect(&w);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ciphers),          cmocka_unit_test(test_refused_by_the_kernel),
        cmocka_unit_test(test_no_such_kernel),   cmocka_unit_test(test_key_update_before),
        cmocka_unit_test(test_key_update_after), cmocka_unit_test(test_alert),
    };

    return cmocka_run_group_tests(tests, tls_certs_setup, tls_certs_teardown);
}

#else

static void test_nothing(void **state)
{
    (void)state;
    assert_int_equal(tls_ktls_probe(), -ENOSYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
