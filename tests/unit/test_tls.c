/* SPDX-License-Identifier: MIT */
/*
 * test_tls.c - TLS against OpenSSL's own client, all in memory: every split of the bytes, both
 * versions, what is offered and what is refused, tickets, both ends, OpenSSL without memory.
 */
#include "config.h"

#include <errno.h>
#include <malloc.h>
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
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "log.h"
#include "tls.h"
#include "tls_ticket.h"

#define BLOCK     16256
#define SPLIT_ALL ((size_t)-1)

/* OpenSSL's memory for an idle connection; 7624 bytes of it are the SSL itself, in 3.0. */
#if OPENSSL_VERSION_NUMBER < 0x30200000L
#define IDLE_MAX 12000
#else
#define IDLE_MAX (16 * 1024)
#endif

/* ---- OpenSSL's memory ---- */

static long memory_fail_at; /* the allocation that fails, and all after it; 0: none does */
static long memory_calls;
static size_t memory_held;

static bool memory_fails(void)
{
    return ++memory_calls >= memory_fail_at && memory_fail_at;
}

/* With what malloc(3) needs for itself. */
static size_t memory_of(void *p)
{
    return p ? malloc_usable_size(p) + sizeof(size_t) : 0;
}

static void *memory_alloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    void *p = memory_fails() ? NULL : malloc(size);
    memory_held += memory_of(p);
    return p;
}

static void *memory_realloc(void *old, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    if (memory_fails())
        return NULL;
    memory_held -= memory_of(old);
    void *p = realloc(old, size);
    memory_held += memory_of(p);
    return p;
}

static void memory_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    memory_held -= memory_of(p);
    free(p);
}

/* ---- certificates, made once ---- */

static char dir[] = "/tmp/bivalve-tls-XXXXXX";
static char ec_cert[64], ec_key[64], rsa_cert[64], rsa_key[64], other_cert[64], other_key[64];

static void file_name(char out[64], const char *name)
{
    snprintf(out, 64, "%s/%s", dir, name);
}

static int setup(void **state)
{
    char error[TLS_ERROR_MAX];

    (void)state;
    if (!mkdtemp(dir))
        return -1;
    file_name(ec_cert, "ec.pem");
    file_name(ec_key, "ec.key");
    file_name(rsa_cert, "rsa.pem");
    file_name(rsa_key, "rsa.key");
    file_name(other_cert, "other.pem");
    file_name(other_key, "other.key");
    if (tls_make_cert(ec_cert, ec_key, "DNS:a.test,IP:127.0.0.1", false, error) < 0 ||
        tls_make_cert(rsa_cert, rsa_key, "DNS:a.test", true, error) < 0 ||
        tls_make_cert(other_cert, other_key, "DNS:b.test,DNS:*.c.test", false, error) < 0) {
        fprintf(stderr, "%s\n", error);
        return -1;
    }
    log_set_level(LOG_LEVEL_ERROR);
    return 0;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

/* ---- a server and a client ---- */

struct world {
    struct bufpool_budget budget;
    struct bufpool pool;
    struct tls_config cfg;
    struct tls_context *context;
    struct tls server;
    SSL_CTX *client_ctx;
    SSL *client; /* memory BIOs */
    size_t split;
    int alert;              /* that the client has got, 0: none */
    enum tls_status status; /* the server's last */
    char got[1 << 17];      /* plain text that the server has read */
    size_t got_len;
};

static void world_init(struct world *w)
{
    memset(w, 0, offsetof(struct world, got));
    w->got_len = 0;
    w->budget.max = SIZE_MAX;
    bufpool_init(&w->pool, BLOCK, &w->budget);
    w->cfg = (struct tls_config){.pairs = {{.cert = ec_cert, .key = ec_key},
                                           {.cert = rsa_cert, .key = rsa_key},
                                           {.cert = other_cert, .key = other_key}},
                                 .pair_count = 3,
                                 .min_version = 12};
    w->client_ctx = SSL_CTX_new(TLS_client_method());
    w->split = SPLIT_ALL;
}

static void world_serve(struct world *w)
{
    char error[TLS_ERROR_MAX];

    if (tls_context_open(&w->context, &w->cfg, NULL, error) < 0)
        fail_msg("%s", error);
}

static void world_connect(struct world *w)
{
    assert_int_equal(tls_open(&w->server, w->context, &w->pool), 0);
    w->client = SSL_new(w->client_ctx);
    SSL_set_bio(w->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(w->client);
    w->status = TLS_WANT_INPUT;
    w->alert = 0;
    w->got_len = 0;
}

static void world_disconnect(struct world *w)
{
    /* else OpenSSL takes the session for broken */
    SSL_set_shutdown(w->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(w->client);
    tls_free(&w->server);
    out_clear(&w->server.out, &w->pool);
    assert_int_equal(w->pool.used, 0);
}

static void world_close(struct world *w)
{
    tls_context_free(w->context);
    SSL_CTX_free(w->client_ctx);
    bufpool_destroy(&w->pool);
}

/* The server looks at what it was fed. */
static void server_step(struct world *w)
{
    struct tls *t = &w->server;
    size_t n;

    if (!t->established) {
        w->status = tls_handshake(t);
        if (w->status != TLS_OK)
            return;
    }
    do {
        w->status = tls_read(t, w->got + w->got_len, sizeof(w->got) - w->got_len, &n);
        if (w->status == TLS_OK)
            w->got_len += n;
    } while (w->status == TLS_OK);
}

/* Bytes to the server, in pieces. */
static void server_feed(struct world *w, const char *data, size_t len)
{
    while (len > 0 && (w->status == TLS_WANT_INPUT || w->status == TLS_OK)) {
        size_t n = MIN(len, w->split);
        char *copy = malloc(n); /* that nobody reads beyond it */
        memcpy(copy, data, n);
        tls_feed(&w->server, copy, n);
        server_step(w);
        assert_true(w->status != TLS_WANT_INPUT || w->server.len == 0);
        free(copy);
        data += n;
        len -= n;
    }
}

static void to_server(struct world *w)
{
    char *data;
    long len = BIO_get_mem_data(SSL_get_wbio(w->client), &data);
    char *copy = malloc((size_t)MAX(len, 1));

    memcpy(copy, data, (size_t)len);
    (void)BIO_reset(SSL_get_wbio(w->client));
    server_feed(w, copy, (size_t)len);
    free(copy);
}

static void to_client(struct world *w)
{
    struct backend_segment segment;

    while (out_segments(&w->server.out, &segment, 1) > 0) {
        size_t n = MIN(segment.len, w->split);
        BIO_write(SSL_get_rbio(w->client), segment.data, (int)n);
        out_consume(&w->server.out, &w->pool, n);
    }
}

/* The alert that the client has got is the last error of an operation of its. */
static void note_alert(struct world *w)
{
    for (unsigned long e; (e = ERR_get_error()) != 0;)
        if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) > SSL_AD_REASON_OFFSET)
            w->alert = ERR_GET_REASON(e) - SSL_AD_REASON_OFFSET;
}

/* Until nothing moves any more. The client's last result. */
static int shake(struct world *w)
{
    int rc = 0;

    for (int i = 0; i < 8; i++) {
        char byte;
        ERR_clear_error();
        rc = SSL_do_handshake(w->client);
        if (rc == 1)
            SSL_peek(w->client, &byte, 1);
        note_alert(w);
        to_server(w);
        to_client(w);
    }
    return rc;
}

/* `len` bytes there and back. */
static void echo(struct world *w, size_t len)
{
    static char sent[1 << 17], back[1 << 17];
    size_t from = w->got_len = 0, n, off = 0;

    for (size_t i = 0; i < len; i++)
        sent[i] = (char)(i * 7 + len);
    assert_int_equal(SSL_write(w->client, sent, (int)len), (int)len);
    to_server(w);
    assert_int_equal(w->status, TLS_WANT_INPUT);
    assert_int_equal(w->got_len, len);
    assert_memory_equal(w->got, sent, len);
    for (; from < len; from += n) {
        n = MIN(len - from, (size_t)TLS_RECORD_MAX);
        assert_int_equal(tls_write(&w->server, w->got + from, n), 0);
    }
    to_client(w);
    while (off < len) {
        int rc = SSL_read(w->client, back + off, (int)(sizeof(back) - off));
        assert_true(rc > 0);
        off += (size_t)rc;
    }
    assert_memory_equal(back, sent, len);
}

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

static void refused(struct world *w, int alert)
{
    world_connect(w);
    shake(w);
    assert_int_equal(w->status, TLS_FAILED);
    assert_false(w->server.established);
    assert_true(*tls_reason());
    assert_int_equal(tls_write(&w->server, "x", 1), -EPIPE);
    assert_int_equal(w->alert, alert);
    world_disconnect(w);
}

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

/* A response about ec_cert that is good for so many seconds. */
static void write_ocsp(const char *path, long seconds)
{
    FILE *f = fopen(ec_cert, "r");
    X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    f = fopen(ec_key, "r");
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), cert, cert);
    ASN1_TIME *from = X509_gmtime_adj(NULL, -100), *until = X509_gmtime_adj(NULL, seconds);
    OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, NULL, from, until);
    OCSP_basic_sign(basic, cert, key, EVP_sha256(), NULL, 0);
    OCSP_RESPONSE *r = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    unsigned char *der = NULL;
    int len = i2d_OCSP_RESPONSE(r, &der);
    f = fopen(path, "w");
    fwrite(der, 1, (size_t)len, f);
    fclose(f);
    OPENSSL_free(der);
    OCSP_RESPONSE_free(r);
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    OCSP_CERTID_free(id);
    OCSP_BASICRESP_free(basic);
    EVP_PKEY_free(key);
    X509_free(cert);
}

static void test_ocsp(void **state)
{
    static const long seconds[] = {3600, -10};
    static struct world w;
    char path[64];

    (void)state;
    file_name(path, "ocsp");
    for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
        write_ocsp(path, seconds[i]);
        world_init(&w);
        w.cfg.pairs[0].ocsp = path;
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
            assert_int_equal(len > 0, i == 0 && asks == 1);
            world_disconnect(&w);
        }
        world_close(&w);
    }
}

/* ---- memory ---- */

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
    CRYPTO_set_mem_functions(memory_alloc, memory_realloc, memory_free);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splits),     cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_versions),   cmocka_unit_test(test_weak_ciphers),
        cmocka_unit_test(test_preference), cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_forged),     cmocka_unit_test(test_renegotiation),
        cmocka_unit_test(test_key_update), cmocka_unit_test(test_short_records),
        cmocka_unit_test(test_ends),       cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_resumption), cmocka_unit_test(test_ticket_keys),
        cmocka_unit_test(test_config),     cmocka_unit_test(test_one_version_by_ciphers),
        cmocka_unit_test(test_ocsp),       cmocka_unit_test(test_idle_memory),
        cmocka_unit_test(test_no_blocks),  cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
