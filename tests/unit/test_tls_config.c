/* SPDX-License-Identifier: MIT */
/*
 * test_tls_config.c - what a server's context is made of: hosts, tickets and their keys, the options and
 * what is said of wrong ones, OCSP responses.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ocsp.h>
#include <openssl/ssl.h>

#include "tls_ticket.h"
#include "tls_world.h"

/* ---- hosts ---- */

static void served(struct world *w, const char *host, const char *sigalgs, const char *path)
{
    FILE *f = fopen(path, "r");
    X509 *want = PEM_read_X509(f, NULL, NULL, NULL);

    fclose(f);
    world_connect(w);
    if (host)
        SSL_set_tlsext_host_name(w->client, host);
    if (sigalgs)
        SSL_set1_sigalgs_list(w->client, sigalgs);
    assert_int_equal(shake(w), 1);
    X509 *got = SSL_get1_peer_certificate(w->client);
    if (X509_cmp(got, want))
        fail_msg("%s got another certificate than %s", host ? host : "nobody", path);
    X509_free(got);
    X509_free(want);
    world_disconnect(w);
}

static void test_hosts(void **state)
{
    static struct world w;

    (void)state;
    world_init(&w);
    world_serve(&w);
    served(&w, NULL, NULL, ec_cert);
    served(&w, "a.test", NULL, ec_cert);
    served(&w, "unknown.test", NULL, ec_cert);
    served(&w, "b.test", NULL, other_cert);
    served(&w, "B.TEST", NULL, other_cert);
    served(&w, "x.c.test", NULL, other_cert);
    served(&w, "x.y.c.test", NULL, ec_cert);
    /* who knows no ECDSA gets the RSA one of the same name */
    served(&w, "a.test", "rsa_pss_rsae_sha256", rsa_cert);
    world_close(&w);
}

/* ---- tickets ---- */

static SSL_SESSION *kept;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(kept);
    kept = session;
    return 1;
}

static bool resumes(struct world *w)
{
    world_connect(w);
    if (kept)
        SSL_set_session(w->client, kept);
    assert_int_equal(shake(w), 1);
    echo(w, 10); /* reads the tickets, too */
    bool resumed = tls_is_resumed(&w->server);
    assert_int_equal(resumed, SSL_session_reused(w->client));
    world_disconnect(w);
    return resumed;
}

static void test_resumption(void **state)
{
    static struct world w, stranger;

    (void)state;
    world_init(&w);
    world_serve(&w);
    world_init(&stranger);
    world_serve(&stranger);
    for (int v = 0; v < 2; v++) {
        SSL_CTX *clients[] = {w.client_ctx, stranger.client_ctx};
        for (int i = 0; i < 2; i++) {
            SSL_CTX_set_session_cache_mode(clients[i],
                                           SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
            SSL_CTX_sess_set_new_cb(clients[i], keep_session);
            SSL_CTX_set_max_proto_version(clients[i], v ? TLS1_3_VERSION : TLS1_2_VERSION);
        }
        SSL_SESSION_free(kept);
        kept = NULL;
        assert_false(resumes(&w));
        assert_non_null(kept);
        assert_true(resumes(&w));
        assert_true(resumes(&w));
        /* another process of the same server */
        pid_t pid = fork();
        if (pid == 0)
            _exit(resumes(&w) ? 0 : 1);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        /* after a reload, and one more */
        for (int i = 0; i < 2; i++) {
            struct tls_context *before = w.context;
            char error[TLS_ERROR_MAX];
            assert_int_equal(tls_context_open(&w.context, &w.cfg, before, error), 0);
            tls_context_free(before);
            assert_true(resumes(&w));
        }
        /* another server */
        assert_false(resumes(&stranger));
    }
    SSL_SESSION_free(kept);
    kept = NULL;
    world_close(&stranger);
    world_close(&w);
}

static void test_ticket_keys(void **state)
{
    struct tls_tickets a, b, c;
    struct tls_ticket_key old;

    (void)state;
    assert_true(tls_tickets_init(&a, 5000));
    assert_true(tls_tickets_init(&c, 5000));
    assert_memory_not_equal(&a.current, &c.current, sizeof(a.current));
    b = a; /* another process */
    old = a.current;
    assert_true(tls_tickets_advance(&a, 5000 + 1));
    assert_memory_equal(&a.current, &old, sizeof(old));
    assert_true(tls_tickets_advance(&a, 5000 + TLS_TICKET_ROTATE_S));
    assert_memory_not_equal(&a.current, &old, sizeof(old));
    assert_ptr_equal(tls_tickets_find(&a, old.name), &a.previous);
    assert_memory_equal(tls_tickets_find(&a, old.name), &old, sizeof(old));
    for (uint64_t s = 0; s < 5; s++) /* step by step */
        assert_true(tls_tickets_advance(&a, 5000 + s * TLS_TICKET_ROTATE_S));
    assert_null(tls_tickets_find(&a, old.name));
    assert_true(tls_tickets_advance(&b, 5000 + 4 * TLS_TICKET_ROTATE_S)); /* at once */
    assert_memory_equal(&a.current, &b.current, sizeof(old));
    assert_memory_equal(&a.previous, &b.previous, sizeof(old));
    assert_memory_not_equal(a.current.cipher, a.current.mac, sizeof(old.mac));
    EVP_CIPHER_free(c.cipher);
    tls_tickets_free(&a);
}

/* ---- configuration ---- */

static void config_fails(const struct tls_config *cfg, const char *words)
{
    struct tls_context *c;
    char error[TLS_ERROR_MAX];

    assert_true(tls_context_open(&c, cfg, NULL, error) < 0);
    assert_null(c);
    if (!strstr(error, words))
        fail_msg("\"%s\" does not say \"%s\"", error, words);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    fputs(text, f);
    fclose(f);
}

static void write_sealed_key(const char *path)
{
    FILE *in = fopen(ec_key, "r"), *out = fopen(path, "w");
    EVP_PKEY *key = PEM_read_PrivateKey(in, NULL, NULL, NULL);

    PEM_write_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL);
    EVP_PKEY_free(key);
    fclose(in);
    fclose(out);
}

static void test_config(void **state)
{
    char path[64], error[TLS_ERROR_MAX];
    struct tls_config cfg = {.pair_count = 1, .min_version = 12};
    struct tls_context *c;

    (void)state;
    file_name(path, "broken");
    cfg.pairs[0] = (struct tls_pair){.cert = "/nonexistent", .key = ec_key};
    config_fails(&cfg, "--tls-cert /nonexistent: No such file");
    cfg.pairs[0] = (struct tls_pair){.cert = ec_cert, .key = "/nonexistent"};
    config_fails(&cfg, "--tls-key /nonexistent: No such file");
    cfg.pairs[0] = (struct tls_pair){.cert = ec_cert, .key = other_key};
    config_fails(&cfg, "it is not the key of");
    cfg.pairs[0] = (struct tls_pair){.cert = ec_key, .key = ec_cert};
    config_fails(&cfg, "PEM is needed");
    cfg.pairs[0] = (struct tls_pair){.cert = ec_cert, .key = ec_cert};
    config_fails(&cfg, "there is no private key in it");
    cfg.pairs[0] = (struct tls_pair){.cert = ec_cert};
    config_fails(&cfg, "there is no private key in it");
    write_file(path, "rubbish\n");
    cfg.pairs[0] = (struct tls_pair){.cert = path, .key = ec_key};
    config_fails(&cfg, "PEM is needed");
    write_sealed_key(path);
    cfg.pairs[0] = (struct tls_pair){.cert = ec_cert, .key = path};
    config_fails(&cfg, "sealed by a password");
    cfg.pairs[0] = (struct tls_pair){.cert = ec_cert, .key = ec_key};
    cfg.pairs[0].ocsp = ec_cert;
    config_fails(&cfg, "there is no OCSP response");
    cfg.pairs[0].ocsp = "/nonexistent";
    config_fails(&cfg, "--tls-ocsp /nonexistent: No such file");
    cfg.pairs[0].ocsp = NULL;
    cfg.ciphers = "NOSUCH";
    config_fails(&cfg, "--tls-ciphers NOSUCH: no cipher match");
    cfg.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA257";
    config_fails(&cfg, "knows no ECDHE-ECDSA-AES128-GCM-SHA257");
    cfg.ciphers = "ECDHE-ECDSA-AES128-SHA";
    config_fails(&cfg, "only AEAD ciphers");
    cfg.ciphers = "AES128-GCM-SHA256";
    config_fails(&cfg, "only AEAD ciphers");
    cfg.ciphers = "TLS_AES_128_GCM_SHA256:TLS_NO_SUCH";
    config_fails(&cfg, "knows no TLS_NO_SUCH");
    cfg.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:TLS_AES_256_GCM_SHA384";
    assert_int_equal(tls_context_open(&c, &cfg, NULL, error), 0);
    tls_context_free(c);
    cfg.ciphers = NULL;
    /* nothing that exists is replaced */
    assert_true(tls_make_cert(path, path, "DNS:x", false, error) < 0);
    assert_true(tls_make_cert(ec_cert, ec_key, "DNS:x", false, error) < 0);
    assert_non_null(strstr(error, "not replaced"));
    struct stat st;
    assert_int_equal(stat(ec_key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_one_version_by_ciphers(void **state)
{
    static struct world w;

    (void)state;
    world_init(&w);
    w.cfg.ciphers = "TLS_AES_128_GCM_SHA256";
    world_serve(&w);
    SSL_CTX_set_max_proto_version(w.client_ctx, TLS1_2_VERSION);
    refused(&w, SSL_AD_PROTOCOL_VERSION);
    world_close(&w);
}

/* ---- OCSP ---- */

/* Does the server of this pair staple that response, for who asks and gets its certificate alone? */
static void stapled(const char *cert, const char *ocsp, bool sent)
{
    static struct world w;

    world_init(&w);
    w.cfg.pairs[0].cert = cert;
    w.cfg.pairs[0].ocsp = ocsp;
    world_serve(&w);
    for (int asks = 0; asks < 3; asks++) {
        const unsigned char *der;
        world_connect(&w);
        if (asks)
            SSL_set_tlsext_status_type(w.client, TLSEXT_STATUSTYPE_ocsp);
        if (asks == 2) /* another certificate */
            SSL_set_tlsext_host_name(w.client, "b.test");
        assert_int_equal(shake(&w), 1);
        long len = SSL_get_tlsext_status_ocsp_resp(w.client, &der);
        assert_int_equal(len > 0, sent && asks == 1);
        world_disconnect(&w);
    }
    world_close(&w);
}

static void test_ocsp(void **state)
{
    enum { GOOD = V_OCSP_CERTSTATUS_GOOD };
    char issued[64], alone[64], path[64];

    (void)state;
    file_name(issued, "issued");
    file_name(alone, "alone");
    file_name(path, "ocsp");
    write_issued(issued, true);
    write_issued(alone, false);
    const struct {
        const char *cert, *about, *issuer;
        int status;
        long seconds;
        bool sent;
    } responses[] = {
        {ec_cert, ec_cert, ec_cert, GOOD, 3600, true},
        {ec_cert, ec_cert, ec_cert, GOOD, -10, false},
        {ec_cert, ec_cert, ec_cert, V_OCSP_CERTSTATUS_UNKNOWN, 3600, false},
        {ec_cert, rsa_cert, ec_cert, GOOD, 3600, false},
        {ec_cert, ec_cert, other_cert, GOOD, 3600, false},
        {issued, issued, other_cert, GOOD, 3600, true},
        {issued, issued, ec_cert, GOOD, 3600, false},
        {issued, rsa_cert, other_cert, GOOD, 3600, false},
        /* Whose it is, the chain does not say: the serial number alone counts. */
        {alone, alone, other_cert, GOOD, 3600, true},
        {alone, alone, ec_cert, GOOD, 3600, true},
        {alone, rsa_cert, other_cert, GOOD, 3600, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(responses); i++) {
        write_ocsp(path, responses[i].about, responses[i].issuer, responses[i].status,
                   responses[i].seconds);
        print_message("# response %zu\n", i);
        stapled(responses[i].cert, path, responses[i].sent);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_resumption),
        cmocka_unit_test(test_ticket_keys),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_one_version_by_ciphers),
        cmocka_unit_test(test_ocsp),
    };

    return cmocka_run_group_tests(tests, tls_certs_setup, tls_certs_teardown);
}
