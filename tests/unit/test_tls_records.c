/* SPDX-License-Identifier: MIT */
/*
 * test_tls_records.c - records that OpenSSL's own client would not write, sealed with its keys: empty, padded and too
 * long ones, alerts of any kind, messages of a handshake behind the handshake, content that is none.
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

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>

#include "tls_world.h"

/* Content types, RFC 8446 section 5.1. */
enum { CHANGE_CIPHER_SPEC = 20, ALERT = 21, HANDSHAKE = 22, DATA = 23 };

static struct world w;
static unsigned char secret[32]; /* of the client's side */

/* ---- a client with a pen of its own ---- */

static void on_keylog(const SSL *ssl, const char *line)
{
    const char *hex = strrchr(line, ' ');

    (void)ssl;
    if (strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24))
        return;
    for (size_t i = 0; i < sizeof(secret); i++)
        sscanf(hex + 1 + 2 * i, "%2hhx", &secret[i]);
}

/* HKDF-Expand-Label(secret, label, "", len), RFC 8446 section 7.1; len is at most 32. */
static void expand(const char *label, unsigned char *out, size_t len)
{
    unsigned char info[64], full[32];
    size_t n = strlen(label), at = 0;

    info[at++] = 0;
    info[at++] = (unsigned char)len;
    info[at++] = (unsigned char)(6 + n);
    memcpy(info + at, "tls13 ", 6);
    memcpy(info + at + 6, label, n);
    at += 6 + n;
    info[at++] = 0;
    info[at++] = 1; /* the first block of HKDF-Expand, RFC 5869 section 2.3 */
    HMAC(EVP_sha256(), secret, sizeof(secret), info, at, full, NULL);
    memcpy(out, full, len);
}

/* A record with this content and so many zeros behind it, as the client's number `seq`. Its length. */
static size_t seal(unsigned char *record, uint64_t seq, int type, const void *data, size_t len,
                   size_t zeros)
{
    static unsigned char inner[20000];
    unsigned char key[16], iv[12];
    size_t body = len + 1 + zeros, all = body + 16;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n;

    memset(inner, 0, body);
    memcpy(inner, data, len);
    inner[len] = (unsigned char)type;
    expand("key", key, sizeof(key));
    expand("iv", iv, sizeof(iv));
    for (int i = 0; i < 8; i++)
        iv[11 - i] ^= (unsigned char)(seq >> (8 * i));
    memcpy(record, "\x17\x03\x03", 3);
    record[3] = (unsigned char)(all >> 8);
    record[4] = (unsigned char)all;
    EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), NULL, key, iv);
    EVP_EncryptUpdate(c, NULL, &n, record, 5);
    EVP_EncryptUpdate(c, record + 5, &n, inner, (int)body);
    EVP_EncryptFinal_ex(c, record + 5 + n, &n);
    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, record + 5 + body);
    EVP_CIPHER_CTX_free(c);
    return 5 + all;
}

/* Records that are alike, the first with the number `seq`; each as one piece. */
static void write_records(uint64_t seq, unsigned count, int type, const void *data, size_t len,
                          size_t zeros)
{
    static unsigned char record[20000];

    for (unsigned i = 0; i < count; i++)
        server_feed(&w, (const char *)record, seal(record, seq + i, type, data, len, zeros));
}

static void connect_1_3(void)
{
    world_connect(&w);
    assert_int_equal(shake(&w), 1);
    w.status = TLS_WANT_INPUT;
    w.got_len = 0;
    out_clear(&w.server.out);
}

static int setup(void **state)
{
    if (tls_certs_setup(state) < 0)
        return -1;
    world_init(&w);
    w.cfg.ciphers = "TLS_AES_128_GCM_SHA256";
    world_serve(&w);
    SSL_CTX_set_keylog_callback(w.client_ctx, on_keylog);
    return 0;
}

static int teardown(void **state)
{
    world_close(&w);
    return tls_certs_teardown(state);
}

/* ---- records ---- */

static const char long_data[TLS_RECORD_MAX + 1];

struct step {
    unsigned count; /* of records; 0: no more steps */
    int type;
    const char *data;
    size_t len, zeros;
};

static const struct {
    const char *name;
    struct step steps[4];
    enum tls_status status;
    size_t got; /* bytes of data */
} cases[] = {
    {"one byte each", {{1000, DATA, "x", 1, 0}}, TLS_WANT_INPUT, 1000},
    {"padding", {{3, DATA, "x", 1, 16383}}, TLS_WANT_INPUT, 3},
    {"the longest", {{2, DATA, long_data, TLS_RECORD_MAX, 0}}, TLS_WANT_INPUT, 2 * TLS_RECORD_MAX},
    {"a longer one", {{1, DATA, long_data, TLS_RECORD_MAX + 1, 0}}, TLS_FAILED, 0},
    {"nothing but padding", {{1, 0, "", 0, 100}}, TLS_FAILED, 0},
    {"empty ones", {{32, DATA, "", 0, 0}, {1, DATA, "x", 1, 0}}, TLS_WANT_INPUT, 1},
    {"empty ones without end", {{40, DATA, "", 0, 0}}, TLS_FAILED, 0},
    {"empty and padded without end", {{40, DATA, "", 0, 1000}}, TLS_FAILED, 0},
    {"no content type", {{1, 99, "x", 1, 0}}, TLS_FAILED, 0},
    {"heartbeat", {{1, 24, "\1\100\0", 3, 0}}, TLS_FAILED, 0},
    {"change_cipher_spec", {{1, CHANGE_CIPHER_SPEC, "\1", 1, 0}}, TLS_FAILED, 0},

    {"close_notify", {{1, DATA, "x", 1, 0}, {1, ALERT, "\1\0", 2, 0}}, TLS_CLOSED, 1},
    {"data behind close_notify", {{1, ALERT, "\1\0", 2, 0}, {1, DATA, "x", 1, 0}}, TLS_CLOSED, 0},
    {"fatal alert", {{1, ALERT, "\2\50", 2, 0}}, TLS_FAILED, 0},
    {"alert that is fatal in 1.3", {{1, ALERT, "\1\50", 2, 0}}, TLS_FAILED, 0},
    {"user_canceled", {{1, ALERT, "\1\132", 2, 0}, {1, DATA, "x", 1, 0}}, TLS_WANT_INPUT, 1},
    {"user_canceled without end", {{20, ALERT, "\1\132", 2, 0}}, TLS_FAILED, 0},
    {"half an alert", {{1, ALERT, "\1", 1, 0}, {1, DATA, "x", 1, 0}}, TLS_FAILED, 0},
    {"two alerts in one", {{1, ALERT, "\1\132\1\132", 4, 0}}, TLS_FAILED, 0},
    {"empty alert", {{1, ALERT, "", 0, 0}}, TLS_FAILED, 0},

    {"ClientHello", {{1, HANDSHAKE, "\1\0\0\2\3\3", 6, 0}}, TLS_FAILED, 0},
    {"Finished", {{1, HANDSHAKE, "\24\0\0\1x", 5, 0}}, TLS_FAILED, 0},
    {"Certificate", {{1, HANDSHAKE, "\13\0\0\4\0\0\0\0", 8, 0}}, TLS_FAILED, 0},
    {"a message of 16 MiB", {{1, HANDSHAKE, "\30\377\377\377\0", 5, 0}}, TLS_FAILED, 0},
    {"key update of a third kind", {{1, HANDSHAKE, "\30\0\0\1\2", 5, 0}}, TLS_FAILED, 0},
    {"key update that is too long", {{1, HANDSHAKE, "\30\0\0\2\0\0", 6, 0}}, TLS_FAILED, 0},
    {"key update with more behind it", {{1, HANDSHAKE, "\30\0\0\1\0\30", 6, 0}}, TLS_FAILED, 0},
    {"data in a message", {{1, HANDSHAKE, "\30\0", 2, 0}, {1, DATA, "x", 1, 0}}, TLS_FAILED, 0},
    {"empty handshake record", {{1, HANDSHAKE, "", 0, 0}}, TLS_FAILED, 0},
};

static bool goes_as_it_should(size_t i, size_t split)
{
    uint64_t seq = 0;

    connect_1_3();
    w.split = split;
    for (const struct step *s = cases[i].steps; s->count; s++) {
        write_records(seq, s->count, s->type, s->data, s->len, s->zeros);
        seq += s->count;
    }
    w.split = SPLIT_ALL;
    bool ok = w.status == cases[i].status && w.got_len == cases[i].got;
    if (!ok)
        print_error("%s: status %d (%s), %zu bytes\n", cases[i].name, w.status, tls_reason(),
                    w.got_len);
    if (w.status == TLS_FAILED) {
        assert_true(*tls_reason());
        assert_int_equal(tls_write(&w.server, "x", 1), -EPIPE);
    }
    world_disconnect(&w);
    return ok;
}

static void test_records(void **state)
{
    unsigned bad = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        bad += !goes_as_it_should(i, 7) + !goes_as_it_should(i, SPLIT_ALL);
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
