/* SPDX-License-Identifier: MIT */
/*
 * tls_trim.c - what a connection of OpenSSL's keeps after its handshake and needs no more: the
 * session, which the client has as its ticket, the list of the host's certificates, and the two keys
 * of the key exchange. A sixth of its memory, and secrets that need not lie around.
 *
 * OpenSSL frees none of these before the connection. But a connection may be given another session
 * and another SSL_CTX, and a key may be emptied: so all connections of a version and a cipher share a
 * session that holds nothing but these two, and all of a version an SSL_CTX without certificates.
 * SSL_set_session(3) starts a connection over if its SSL_CTX is for other versions than the one that
 * was agreed on, thus one of that very version.
 *
 * The order of these things inside OpenSSL is that of 3.0 and 3.1. Later ones have been built anew
 * there; with those nothing is done.
 */
#include "config.h"

#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

#include "tls_internal.h"

#if OPENSSL_VERSION_NUMBER < 0x30200000L

/* What connections of this version share. NULL: no memory. */
static struct tls_bare *trim_version(struct tls_context *c, SSL *ssl)
{
    struct tls_bare *b = &c->bare[SSL_version(ssl) == TLS1_3_VERSION];

    if (b->template)
        return b;
    if (!b->ctx)
        b->ctx = SSL_CTX_new(SSL_get_ssl_method(ssl));
    if (b->ctx)
        b->template = SSL_new(b->ctx);
    return b->template ? b : NULL;
}

/* The session that connections with this cipher share. NULL: no memory, or too many ciphers. */
static SSL_SESSION *trim_session(struct tls_bare *b, SSL *ssl)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    unsigned i = 0;

    while (i < b->session_count && SSL_SESSION_get0_cipher(b->session[i]) != cipher)
        i++;
    if (i < b->session_count)
        return b->session[i];
    SSL_SESSION *session = i < TLS_BARE_MAX ? SSL_SESSION_new() : NULL;
    if (session && SSL_SESSION_set_protocol_version(session, SSL_version(ssl)) == 1 &&
        SSL_SESSION_set_cipher(session, cipher) == 1) {
        b->session[b->session_count++] = session;
        return session;
    }
    SSL_SESSION_free(session);
    return NULL;
}

/* The key exchange is over: its keys are emptied where OpenSSL holds them. */
static void trim_key(EVP_PKEY *key)
{
    EVP_PKEY_set_type(key, EVP_PKEY_get_base_id(key));
    EVP_PKEY_free(key);
}

void tls_trim(struct tls_context *c, SSL *ssl)
{
    EVP_PKEY *key;

    /* Of a session, this alone is looked at later: how long records may be, RFC 6066 section 4. */
    if (SSL_SESSION_get_max_fragment_length(SSL_get0_session(ssl)) != 0)
        return;
    if (SSL_get_tmp_key(ssl, &key))
        trim_key(key);
    if (SSL_get_peer_tmp_key(ssl, &key))
        trim_key(key);
    struct tls_bare *b = trim_version(c, ssl);
    SSL_SESSION *session = b ? trim_session(b, ssl) : NULL;
    if (session && SSL_set_session(b->template, session) == 1 && SSL_set_SSL_CTX(ssl, b->ctx))
        SSL_copy_session_id(ssl, b->template);
    ERR_clear_error();
}

#else

void tls_trim(struct tls_context *c, SSL *ssl)
{
    (void)c;
    (void)ssl;
}

#endif

void tls_trim_free(struct tls_context *c)
{
    for (size_t v = 0; v < ARRAY_LEN(c->bare); v++) {
        struct tls_bare *b = &c->bare[v];
        SSL_free(b->template);
        for (unsigned i = 0; i < b->session_count; i++)
            SSL_SESSION_free(b->session[i]);
        SSL_CTX_free(b->ctx);
    }
}
