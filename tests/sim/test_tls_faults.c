/* SPDX-License-Identifier: MIT */
/*
 * test_tls_faults.c - every call of OpenSSL fails in its turn in one client's connection, with a reason and without:
 * that client alone may suffer, it is counted once, everything comes back, and OpenSSL's queue of errors is
 * empty whenever the server waits. (tests/unit/test_tls_calls.c has the start, and the client's side.)
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/ocsp.h>

#include "tls_calls.h"
#include "tls_clients.h"

/* Without these there is no connection, or none more; anything else it can do without. */
static const char necessary[] =
    " BIO_up_ref SSL_do_handshake SSL_new SSL_read_ex SSL_select_next_proto "
    "SSL_set_SSL_CTX SSL_write_ex ";

struct scenario {
    struct world *w;
    int version;
    bool resumes; /* takes up the session of another connection */
    const char *host;
};

/* ---- the queue of errors ---- */

/* As the server leaves it, what was there before aside: each of its calls clears that. */
static void check_queue(bool on)
{
    if (on)
        tls_calls_leave_error();
    else
        while (ERR_peek_error())
            if (strcmp(ERR_reason_error_string(ERR_get_error()), "left by somebody else"))
                fail_msg("an error is left in the queue, since %s", tls_calls_reason());
}

static void victims_turn(bool on)
{
    if (!on)
        tls_calls_on(false);
    check_queue(on);
    if (on)
        tls_calls_on(true);
}

/* ---- one client ---- */

/* A connection with a request, until it is answered and has ended, or is broken. True: it was answered. */
static bool visit(struct world *w, struct client *c)
{
    bool asked = false, answered = false;

    for (int i = 0; i < 20 && !c->broken && !c->ended; i++) {
        client_pull(w, c);
        if (SSL_is_init_finished(c->ssl) && !asked)
            asked = SSL_write(c->ssl, GET_SUM, (int)strlen(GET_SUM)) > 0;
        if (!answered && count(c->got, c->got_len, "HTTP/1.1 200 OK") == 1) {
            answered = true;
            SSL_shutdown(c->ssl);
        }
        client_turn(w, c);
    }
    return answered;
}

/* For SSL_free(3), to which a session is broken whose connection has not ended. */
static void client_part(struct client *c)
{
    SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    client_free(c);
}

static void open_context(void)
{
    struct tls_config cfg = {
        .pairs = {{.cert = ec_cert, .key = ec_key}, {.cert = other_cert, .key = other_key}},
        .pair_count = 2,
        .min_version = 12};
    char ocsp[64], error[TLS_ERROR_MAX];

    file_name(ocsp, "ocsp");
    write_ocsp(ocsp, ec_cert, ec_cert, V_OCSP_CERTSTATUS_GOOD, 3600);
    cfg.pairs[0].ocsp = ocsp;
    tls_context_free(context);
    if (tls_context_open(&context, &cfg, NULL, error) < 0)
        fail_msg("%s", error);
}

/* A connection in which a call fails, between others. */
static void try_visit(void *arg, bool says_why)
{
    const struct scenario *x = arg;
    struct world *w = x->w;
    static struct client before, victim, after;
    const struct stats *stats = &w->f.stats;

    open_context();
    open_tls_world(w);
    server_hook = check_queue;
    SSL_CTX_set_max_proto_version(client_ctx, x->version);
    client_open(w, &before);
    client_shake(w, &before);
    client_ask(w, &before, GET_SUM, 1);

    client_open(w, &victim);
    SSL_set_tlsext_host_name(victim.ssl, x->host);
    SSL_set_tlsext_status_type(victim.ssl, TLSEXT_STATUSTYPE_ocsp);
    SSL_SESSION *session = x->resumes ? SSL_get1_session(before.ssl) : NULL;
    if (session)
        SSL_set_session(victim.ssl, session);
    server_hook = victims_turn;
    bool answered = visit(w, &victim);
    server_hook = check_queue;

    client_ask(w, &before, GET_SUM, 2);
    client_open(w, &after);
    client_shake(w, &after);
    client_ask(w, &after, GET_SUM, 1);

    uint64_t failures = stats->tls_failed + stats->no_block;
    if (failures > 1 || (!answered && failures == 0)) /* it may have been the end that failed */
        fail_msg("%s%s, to %s with TLS %#x%s: %u failures are counted", tls_calls_reason(),
                 says_why ? "" : " without a reason", x->host, (unsigned)x->version,
                 x->resumes ? ", resumed" : "", (unsigned)failures);
    assert_true(stats->tls_handshakes - answered >= 2);
    if (!answered && !tls_calls_failed_of(necessary))
        fail_msg("lost, since %s", tls_calls_reason());
    if (!tls_calls_failed())
        assert_int_equal(stats->tls_resumed, x->resumes);
    SSL_SESSION_free(session);
    client_part(&victim);
    client_part(&before);
    client_part(&after);
    close_tls_world(w);
    server_hook = NULL;
}

static void test_every_call(void **state)
{
    struct scenario scenarios[] = {
        {*state, TLS1_3_VERSION, false, "b.test"},
        {*state, TLS1_3_VERSION, true, "a.test"},
        {*state, TLS1_2_VERSION, false, "a.test"},
        {*state, TLS1_2_VERSION, true, "a.test"},
    };
    unsigned tries = 0;

    SSL_CTX_set_alpn_protos(client_ctx, (const unsigned char *)"\x08http/1.1", 9);
    for (unsigned i = 0; i < ARRAY_LEN(scenarios); i++)
        tries += tls_calls_fail_each(try_visit, &scenarios[i]);
    print_message("# %u calls have failed\n", tries);
    assert_true(tries > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_call, setup, teardown),
    };

    return cmocka_run_group_tests(tests, tls_setup, tls_teardown);
}
