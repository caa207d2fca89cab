/* SPDX-License-Identifier: MIT */
/*
 * tls_client.c - the client's role: whose certificate is wanted, and sessions that are taken up again.
 */
#include "config.h"

#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "tls_internal.h"

struct tls_client {
    SSL_CTX *ctx;
    SSL_SESSION *session; /* the newest that the server has given, for the next connection */
    bool resume;
    char name[256]; /* for SNI; "": an address, of which it has none (RFC 6066 section 3) */
};

/* Application protocols: http/1.1 alone (RFC 7301). */
static const unsigned char client_alpn[] = "\x08http/1.1";

static bool client_is_address(const char *host)
{
    struct in6_addr any;

    return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

/*
 * Of TLS 1.3 a session comes after the handshake, RFC 8446 section 4.6.1. It is kept as a copy, as OpenSSL
 * makes its own unusable once it has been taken up, or its connection has ended without a word.
 */
static int client_on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_client *k = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    SSL_SESSION *copy = SSL_SESSION_dup(session);

    if (copy) {
        SSL_SESSION_free(k->session);
        k->session = copy;
    }
    ERR_clear_error(); /* without it the connection is none the worse */
    return 0;          /* it is not ours */
}

/*
 * Take up the session that there is: several connections may. (RFC 8446 appendix C.4 wants a ticket used
 * once, so that nobody on the way can tell who returns; whoever makes load does not hide.)
 */
static bool client_resume(const struct tls_client *k, SSL *ssl)
{
    if (!k->resume || !k->session)
        return true;
    SSL_SESSION *copy = SSL_SESSION_dup(k->session);
    bool taken = copy && SSL_set_session(ssl, copy) == 1;
    SSL_SESSION_free(copy);
    return taken;
}

static int client_set_trust(struct tls_client *k, const struct tls_client_config *cfg, char *error)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(k->ctx);

    if (cfg->insecure) {
        SSL_CTX_set_verify(k->ctx, SSL_VERIFY_NONE, NULL);
        return 0;
    }
    SSL_CTX_set_verify(k->ctx, SSL_VERIFY_PEER, NULL);
    if (*k->name ? X509_VERIFY_PARAM_set1_host(param, cfg->host, 0) != 1
                 : X509_VERIFY_PARAM_set1_ip_asc(param, cfg->host) != 1) {
        snprintf(error, TLS_ERROR_MAX, "no certificate can be for \"%s\": %s", cfg->host,
                 tls_take_error());
        return -EINVAL;
    }
    if (cfg->ca_file ? SSL_CTX_load_verify_file(k->ctx, cfg->ca_file) == 1
                     : SSL_CTX_set_default_verify_paths(k->ctx) == 1)
        return 0;
    snprintf(error, TLS_ERROR_MAX,
             "certificates to trust, %s: %s (a file with PEM is needed: -----BEGIN "
             "CERTIFICATE-----)",
             cfg->ca_file ? cfg->ca_file : "those of the system", tls_take_error());
    return -EINVAL;
}

static int client_set_policy(struct tls_client *k, const struct tls_client_config *cfg, char *error)
{
    int version = cfg->version == 12 ? TLS1_2_VERSION : cfg->version == 13 ? TLS1_3_VERSION : 0;

    SSL_CTX_set_options(k->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    tls_watch(k->ctx);
    SSL_CTX_set_mode(k->ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(k->ctx, k->resume
                                               ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL
                                               : SSL_SESS_CACHE_OFF);
    SSL_CTX_sess_set_new_cb(k->ctx, client_on_session);
    if (SSL_CTX_set_app_data(k->ctx, k) != 1 ||
        SSL_CTX_set_min_proto_version(k->ctx, version ? version : TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(k->ctx, version) != 1 ||
        SSL_CTX_set_alpn_protos(k->ctx, client_alpn, sizeof(client_alpn) - 1) != 0)
        return tls_setup_error(error);
    return client_set_trust(k, cfg, error);
}

int tls_client_open(struct tls_client **out, const struct tls_client_config *cfg, char *error)
{
    struct tls_client *k = calloc(1, sizeof(*k));

    *out = NULL;
    snprintf(error, TLS_ERROR_MAX, "no memory for TLS");
    if (!k)
        return -ENOMEM;
    k->ctx = SSL_CTX_new(TLS_client_method());
    if (!k->ctx) {
        free(k);
        return tls_setup_error(error);
    }
    k->resume = cfg->resume;
    if (!client_is_address(cfg->host))
        snprintf(k->name, sizeof(k->name), "%s", cfg->host);
    int rc = client_set_policy(k, cfg, error);
    if (rc == 0)
        *out = k;
    else
        tls_client_free(k);
    return rc;
}

void tls_client_free(struct tls_client *k)
{
    if (!k)
        return;
    SSL_SESSION_free(k->session);
    SSL_CTX_free(k->ctx);
    free(k);
}

SSL_CTX *tls_client_ctx(const struct tls_client *k)
{
    return k->ctx;
}

bool tls_client_begin(struct tls_client *k, SSL *ssl)
{
    SSL_set_connect_state(ssl);
    return (!*k->name || SSL_set_tlsext_host_name(ssl, k->name) == 1) && client_resume(k, ssl);
}
