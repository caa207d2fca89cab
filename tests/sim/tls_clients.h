/* SPDX-License-Identifier: MIT */
/*
 * tls_clients.h - world.h with TLS: its server's side over the simulated backend, and OpenSSL's own clients. For
 * cmocka programs of one file.
 */
#ifndef BIVALVE_TESTS_TLS_CLIENTS_H
#define BIVALVE_TESTS_TLS_CLIENTS_H

#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "stream_tls.h"
#include "tls.h"
#include "tls_certs.h"
#include "world.h"

#define GET_SUM "GET /baseline11?a=13&b=42 HTTP/1.1\r\nHost: x\r\n\r\n"

static struct tls_context *context; /* of a.test */
static SSL_CTX *client_ctx;

/* Called before the server goes on, with true, and afterwards. NULL: nothing is. */
static void (*server_hook)(bool on);

static inline int tls_setup(void **state)
{
    struct tls_config cfg = {
        .pairs = {{.cert = ec_cert, .key = ec_key}}, .pair_count = 1, .min_version = 12};
    char error[TLS_ERROR_MAX];

    if (group_setup(state) < 0 || tls_certs_setup(state) < 0)
        return -1;
    if (tls_context_open(&context, &cfg, NULL, error) < 0) {
        fprintf(stderr, "%s\n", error);
        return -1;
    }
    client_ctx = SSL_CTX_new(TLS_client_method());
    return 0;
}

static inline int tls_teardown(void **state)
{
    SSL_CTX_free(client_ctx);
    tls_context_free(context);
    tls_certs_teardown(state);
    return group_teardown(state);
}

/* ---- a client ---- */

struct client {
    int fd;
    SSL *ssl;
    size_t seen; /* of the server's output */
    bool ended;  /* the server's close_notify has come */
    bool broken; /* OpenSSL says that something is wrong */
    char got[1 << 20];
    size_t got_len;
};

static inline struct loop *loop_of(struct world *w)
{
    return &w->f.http.loop;
}

static inline void open_tls_world(struct world *w)
{
    open_world(w);
    loop_of(w)->acceptor.listener[0].tls = true;
    assert_int_equal(tls_streams_open(loop_of(w), context), 0);
}

static inline void close_tls_world(struct world *w)
{
    assert_int_equal(sim_fixture_close(&w->f), 0);
    /* the hot exchange alone */
    assert_in_range(loop_of(w)->budget.used, 0, sizeof(struct exchange) + 64);
    tls_streams_close(loop_of(w));
}

static inline void client_open(struct world *w, struct client *c)
{
    c->fd = sim_connect(loop_of(w)->be);
    assert_true(c->fd >= 0);
    c->ssl = SSL_new(client_ctx);
    SSL_set_bio(c->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(c->ssl);
    c->seen = c->got_len = 0;
    c->ended = c->broken = false;
}

static inline void client_free(struct client *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
}

/* What the client wants to send, to the server. */
static inline void client_push(struct world *w, struct client *c)
{
    char *data;
    long len = BIO_get_mem_data(SSL_get_wbio(c->ssl), &data);

    if (len > 0 && sim_is_open(loop_of(w)->be, c->fd))
        sim_input(loop_of(w)->be, c->fd, data, (size_t)len);
    (void)BIO_reset(SSL_get_wbio(c->ssl));
}

/* What the server has sent, to the client. */
static inline void client_pull(struct world *w, struct client *c)
{
    size_t len;
    const char *data = sim_output(loop_of(w)->be, c->fd, &len);

    if (len > c->seen)
        BIO_write(SSL_get_rbio(c->ssl), data + c->seen, (int)(len - c->seen));
    c->seen = len;
    while (!c->broken && !c->ended) {
        ERR_clear_error();
        int rc = SSL_read(c->ssl, c->got + c->got_len, (int)(sizeof(c->got) - c->got_len));
        if (rc > 0) {
            c->got_len += (size_t)rc;
            continue;
        }
        int error = SSL_get_error(c->ssl, rc);
        c->ended = error == SSL_ERROR_ZERO_RETURN;
        c->broken = error != SSL_ERROR_WANT_READ && !c->ended;
        break;
    }
}

/* An iteration of the server. */
static inline void server_turn(struct world *w)
{
    if (server_hook)
        server_hook(true);
    sim_fixture_iterate(&w->f, 1);
    if (server_hook)
        server_hook(false);
}

static inline void client_turn(struct world *w, struct client *c)
{
    if (!c->broken && !c->ended)
        client_pull(w, c);
    client_push(w, c);
    server_turn(w);
    client_pull(w, c);
}

static inline void client_shake(struct world *w, struct client *c)
{
    for (int i = 0; i < 100000 && !SSL_is_init_finished(c->ssl) && !c->broken; i++)
        client_turn(w, c);
    assert_true(SSL_is_init_finished(c->ssl));
}

/* The client says `text`, and turns until there are `n` answers of 200. */
static inline void client_ask(struct world *w, struct client *c, const char *text, size_t n)
{
    assert_int_equal(SSL_write(c->ssl, text, (int)strlen(text)), (int)strlen(text));
    for (int i = 0; i < 200000 && count(c->got, c->got_len, "HTTP/1.1 200 OK") < n; i++) {
        assert_false(c->broken);
        client_turn(w, c);
    }
    assert_int_equal(count(c->got, c->got_len, "HTTP/1.1 200 OK"), n);
}

#endif
