/* SPDX-License-Identifier: MIT */
/*
 * tls_world.c - see tls_world.h.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "tls_world.h"

#define BLOCK 16256

/* ---- a server and a client ---- */

void world_init(struct world *w)
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

void world_serve(struct world *w)
{
    char error[TLS_ERROR_MAX];

    if (tls_context_open(&w->context, &w->cfg, NULL, error) < 0)
        fail_msg("%s", error);
}

void world_connect(struct world *w)
{
    assert_int_equal(tls_open(&w->server, w->context, &w->pool), 0);
    w->client = SSL_new(w->client_ctx);
    SSL_set_bio(w->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(w->client);
    w->status = TLS_WANT_INPUT;
    w->alert = 0;
    w->got_len = 0;
}

void world_disconnect(struct world *w)
{
    /* else OpenSSL takes the session for broken */
    SSL_set_shutdown(w->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(w->client);
    tls_free(&w->server);
    out_clear(&w->server.out);
    assert_int_equal(w->pool.used, 0);
}

void world_close(struct world *w)
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

void server_feed(struct world *w, const char *data, size_t len)
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

void to_server(struct world *w)
{
    char *data;
    long len = BIO_get_mem_data(SSL_get_wbio(w->client), &data);
    char *copy = malloc((size_t)MAX(len, 1));

    memcpy(copy, data, (size_t)len);
    (void)BIO_reset(SSL_get_wbio(w->client));
    server_feed(w, copy, (size_t)len);
    free(copy);
}

void to_client(struct world *w)
{
    struct backend_segment segment;

    while (out_segments(&w->server.out, &segment, 1) > 0) {
        size_t n = MIN(segment.len, w->split);
        BIO_write(SSL_get_rbio(w->client), segment.data, (int)n);
        out_consume(&w->server.out, n);
    }
}

/* The alert that the client has got is the last error of an operation of its. */
static void note_alert(struct world *w)
{
    for (unsigned long e; (e = ERR_get_error()) != 0;)
        if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) > SSL_AD_REASON_OFFSET)
            w->alert = ERR_GET_REASON(e) - SSL_AD_REASON_OFFSET;
}

int shake(struct world *w)
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

void echo(struct world *w, size_t len)
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

void refused(struct world *w, int alert)
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
