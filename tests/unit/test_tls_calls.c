/* SPDX-License-Identifier: MIT */
/*
 * test_tls_calls.c - every call of OpenSSL fails in its turn, with a reason and without: while contexts are made,
 * of both roles, and trial certificates; and in a client's connections. (In a server's: tests/sim/test_tls_faults.c.)
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
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/ssl.h>

#include "tls_calls.h"
#include "tls_world.h"

/* A failure that was reported, in one line that says what it was if OpenSSL did. */
static void check_error(const char *error, bool says_why)
{
    if (!*error || strchr(error, '\n'))
        fail_msg("%s: \"%s\"", tls_calls_reason(), error);
    if (says_why && !strstr(error, tls_calls_reason()))
        fail_msg("\"%s\" hides that %s", error, tls_calls_reason());
    assert_null(strstr(error, "somebody else"));
}

static void check_queue(void)
{
    if (ERR_peek_error())
        fail_msg("%s, and leaves: %s", tls_calls_reason(),
                 ERR_reason_error_string(ERR_peek_error()));
}

/* Something went well without this call, which has to be one of `calls`, by their names with blanks. */
static void check_needless(const char *calls)
{
    if (!tls_calls_failed_of(calls))
        fail_msg("nobody cares that %s", tls_calls_reason());
}

/* ---- contexts of a server ---- */

struct contexts {
    struct world w;
    struct tls_context *before;
};

static void try_context(void *arg, bool says_why)
{
    struct contexts *x = arg;
    struct tls_context *c;
    char error[TLS_ERROR_MAX] = "";

    tls_calls_leave_error();
    tls_calls_on(true);
    int rc = tls_context_open(&c, &x->w.cfg, x->before, error);
    tls_calls_on(false);
    check_queue();
    if (rc < 0) {
        assert_null(c);
        check_error(error, says_why);
        return;
    }
    if (tls_calls_failed()) /* a mode that saves memory; what is only warned of: dates, whose OCSP response it is */
        check_needless(" CRYPTO_set_mem_functions SSL_CTX_ctrl X509_check_issued "
                       "X509_cmp_current_time X509_verify ");
    x->w.context = c;
    world_connect(&x->w);
    SSL_set_tlsext_host_name(x->w.client, "b.test");
    assert_int_equal(shake(&x->w), 1);
    world_disconnect(&x->w);
    tls_context_free(c);
}

static void test_contexts(void **state)
{
    static struct contexts x;
    char ocsp[64];

    (void)state;
    file_name(ocsp, "ocsp");
    write_ocsp(ocsp, ec_cert, ec_cert, V_OCSP_CERTSTATUS_GOOD, 3600);
    world_init(&x.w);
    x.w.cfg.pairs[0].ocsp = ocsp;
    unsigned tries = tls_calls_fail_each(try_context, &x);
    print_message("# a context: %u failures\n", tries);
    assert_true(tries > 100);
    world_serve(&x.w);
    x.before = x.w.context; /* a reload, with other ciphers */
    x.w.cfg.pair_count = 1;
    x.w.cfg.ciphers = "TLS_AES_128_GCM_SHA256";
    tls_calls_fail_each(try_context, &x);
    x.w.context = x.before;
    world_close(&x.w);
}

/* ---- contexts of a client ---- */

static void try_client_context(void *arg, bool says_why)
{
    struct tls_context *c;
    char error[TLS_ERROR_MAX] = "";

    tls_calls_leave_error();
    tls_calls_on(true);
    int rc = tls_client_context_open(&c, arg, error);
    tls_calls_on(false);
    check_queue();
    if (rc == 0 && tls_calls_failed())
        check_needless(" CRYPTO_set_mem_functions SSL_CTX_ctrl ");
    if (rc < 0)
        check_error(error, says_why);
    assert_int_equal(rc < 0, c == NULL);
    tls_context_free(c);
}

static void test_client_contexts(void **state)
{
    struct tls_client_config cases[] = {
        {.host = "a.test", .ca_file = ec_cert, .resume = true, .version = 12},
        {.host = "127.0.0.1"},
        {.host = "a.test", .insecure = true},
    };

    (void)state;
    setenv("SSL_CERT_FILE", ec_cert, 1); /* the system's are many */
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
        assert_true(tls_calls_fail_each(try_client_context, &cases[i]) > 10);
}

/* ---- certificates that are made ---- */

static void try_make(void *arg, bool says_why)
{
    char cert[64], key[64], error[TLS_ERROR_MAX] = "";

    file_name(cert, "made.pem");
    file_name(key, "made.key");
    tls_calls_leave_error();
    tls_calls_on(true);
    int rc = tls_make_cert(cert, key, "DNS:localhost", false, error);
    tls_calls_on(false);
    (void)arg;
    check_queue();
    assert_int_equal(rc < 0, tls_calls_failed());
    if (rc < 0)
        check_error(error, says_why);
    assert_int_equal(unlink(cert), rc < 0 ? -1 : 0);
    assert_int_equal(unlink(key), rc < 0 ? -1 : 0);
}

static void test_made_certificates(void **state)
{
    (void)state;
    assert_true(tls_calls_fail_each(try_make, NULL) > 20);
}

/* ---- a client's connections ---- */

struct talk {
    struct bufpool_budget budget;
    struct bufpool pool;
    struct tls_config server_cfg;
    struct tls_client_config cfg;
    struct tls_context *server_context;
    struct tls server, client;
    bool failed, answered; /* the client */
};

static void feed(struct tls *to, struct tls *from, void (*work)(struct talk *), struct talk *x)
{
    struct backend_segment segment;

    while (out_segments(&from->out, &segment, 1)) {
        tls_feed(to, segment.data, segment.len);
        work(x);
        to->len = 0;
        out_consume(&from->out, segment.len);
    }
}

static void server_work(struct talk *x)
{
    char got[64];
    size_t n;

    if (!x->server.established && tls_handshake(&x->server) != TLS_OK)
        return;
    while (tls_read(&x->server, got, sizeof(got), &n) == TLS_OK)
        tls_write(&x->server, "answer", 6);
}

static void client_work(struct talk *x)
{
    enum tls_status status = TLS_OK;
    char got[64];
    size_t n;

    if (x->failed)
        return;
    tls_calls_on(true);
    if (!x->client.established) {
        status = tls_handshake(&x->client);
        if (status == TLS_OK && tls_write(&x->client, "question", 8) < 0)
            status = TLS_FAILED;
    }
    while (status == TLS_OK)
        if ((status = tls_read(&x->client, got, sizeof(got), &n)) == TLS_OK)
            x->answered = true;
    tls_calls_on(false);
    check_queue();
    x->failed = status != TLS_WANT_INPUT;
}

/* A connection. True: it was answered. */
static bool talk(struct talk *x, struct tls_context *context, bool says_why)
{
    x->failed = x->answered = false;
    assert_int_equal(tls_open(&x->server, x->server_context, &x->pool), 0);
    tls_calls_leave_error();
    tls_calls_on(true);
    int rc = tls_open(&x->client, context, &x->pool);
    tls_calls_on(false);
    check_queue();
    if (rc == 0) {
        client_work(x);
        for (int i = 0; i < 4; i++) {
            feed(&x->server, &x->client, server_work, x);
            feed(&x->client, &x->server, client_work, x);
        }
    }
    if (rc < 0 || x->failed)
        check_error(tls_reason(), says_why && tls_calls_failed());
    tls_calls_on(true);
    tls_close(&x->client);
    tls_calls_on(false);
    check_queue();
    out_clear(&x->client.out);
    out_clear(&x->server.out);
    tls_free(&x->client);
    tls_free(&x->server);
    assert_int_equal(x->pool.used, 0);
    return rc == 0 && x->answered && !x->failed;
}

static void try_talk(void *arg, bool says_why)
{
    struct talk *x = arg;
    struct tls_context *context;
    char error[TLS_ERROR_MAX];

    assert_int_equal(tls_client_context_open(&context, &x->cfg, error), 0);
    bool first = talk(x, context, says_why), second = talk(x, context, says_why);
    /* Once it has failed, one of them at most has anything to suffer; and the next has not. */
    assert_true(first || second);
    if (tls_calls_failed())
        assert_true(talk(x, context, false));
    /* a session that is not kept, an end that is not said */
    if (tls_calls_failed_of(" SSL_SESSION_dup SSL_shutdown "))
        assert_true(first);
    else if (tls_calls_failed())
        assert_false(first && second);
    tls_context_free(context);
}

static void test_client_connections(void **state)
{
    static struct talk x;
    char error[TLS_ERROR_MAX];

    (void)state;
    x.budget.max = SIZE_MAX;
    bufpool_init(&x.pool, 16256, &x.budget);
    x.server_cfg = (struct tls_config){
        .pairs = {{.cert = ec_cert, .key = ec_key}}, .pair_count = 1, .min_version = 12};
    assert_int_equal(tls_context_open(&x.server_context, &x.server_cfg, NULL, error), 0);
    for (unsigned version = 12; version <= 13; version++) {
        x.cfg = (struct tls_client_config){
            .host = "a.test", .ca_file = ec_cert, .resume = true, .version = version};
        assert_true(tls_calls_fail_each(try_talk, &x) > 20);
    }
    tls_context_free(x.server_context);
    bufpool_destroy(&x.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_client_contexts),
        cmocka_unit_test(test_made_certificates),
        cmocka_unit_test(test_client_connections),
    };

    return cmocka_run_group_tests(tests, tls_certs_setup, tls_certs_teardown);
}
