/* SPDX-License-Identifier: MIT */
/*
 * tls_conn.c - a connection: OpenSSL between two ends of memory.
 *
 * Its BIO reads what was fed where it lies, and writes into blocks of output: the only copies are
 * OpenSSL's own. A write of the BIO always takes all, or there is no memory; so OpenSSL never wants
 * to write, and a record is never half written.
 */
#include "config.h"

#include "tls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "tls_internal.h"

/* ---- the two ends ---- */

static int tls_bio_read(BIO *b, char *to, size_t size, size_t *n)
{
    struct tls *t = BIO_get_data(b);

    BIO_clear_retry_flags(b);
    if (unlikely(t->restless))
        return 0;
    *n = MIN(size, t->len);
    if (*n == 0) {
        BIO_set_retry_read(b);
        return 0;
    }
    memcpy(to, t->data, *n);
    t->data += *n;
    t->len -= *n;
    return 1;
}

static int tls_bio_write(BIO *b, const char *data, size_t len, size_t *n)
{
    struct tls *t = BIO_get_data(b);

    BIO_clear_retry_flags(b);
    if (unlikely(t->in_kernel)) { /* by a key and a number that are not the kernel's */
        *n = len;
        return 1;
    }
    if (out_append(&t->out, t->pool, data, len) < 0) {
        t->no_memory = true;
        return 0;
    }
    *n = len;
    return 1;
}

static long tls_bio_ctrl(BIO *b, int command, long number, void *arg)
{
    return command == BIO_CTRL_FLUSH ? 1 : tls_ktls_ctrl(BIO_get_data(b), command, number, arg);
}

static int tls_bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

/*
 * No type of its own: nobody looks for it by BIO_find_type(3), and BIO_get_new_index(3) has 127 for a
 * process (later than 3.0 it keeps to that), which as many reloads would use up.
 */
BIO_METHOD *tls_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_NONE | BIO_TYPE_SOURCE_SINK, "bivalve");

    if (m && BIO_meth_set_read_ex(m, tls_bio_read) && BIO_meth_set_write_ex(m, tls_bio_write) &&
        BIO_meth_set_ctrl(m, tls_bio_ctrl) && BIO_meth_set_create(m, tls_bio_create))
        return m;
    BIO_meth_free(m);
    return NULL;
}

/* SSL_CTX_set_msg_callback(3): for each header and each message, either way. */
static void tls_on_message(int sent, int version, int type, const void *data, size_t len, SSL *ssl,
                           void *arg)
{
    struct tls *t = BIO_get_data(SSL_get_rbio(ssl));

    (void)version;
    (void)arg;
    if (sent && unlikely(t->context->ktls))
        tls_ktls_sent(t, type, data, len);
    if (likely(type != (sent ? SSL3_RT_ALERT : SSL3_RT_HANDSHAKE)))
        return;
    if (t->established && ++t->messages > TLS_IDLE_MESSAGES)
        t->restless = true;
}

void tls_watch(SSL_CTX *ctx)
{
    SSL_CTX_set_msg_callback(ctx, tls_on_message);
}

/* ---- errors ---- */

static const char *tls_last_reason = "";
static enum tls_blame tls_last_blame;

const char *tls_take_error(void)
{
    unsigned long e = ERR_peek_error(); /* the first is the cause of the others */
    const char *reason = e ? ERR_reason_error_string(e) : NULL;

    ERR_clear_error();
    return reason ? reason : "unknown error";
}

int tls_setup_error(char *error)
{
    snprintf(error, TLS_ERROR_MAX, "OpenSSL cannot be set up: %s", tls_take_error());
    return -EIO;
}

const char *tls_reason(void)
{
    return tls_last_reason;
}

enum tls_blame tls_blame(void)
{
    return tls_last_blame;
}

/* Take note of why it has failed. */
static void tls_note_failure(struct tls *t)
{
    unsigned long e = ERR_peek_error();
    long verified = SSL_get_verify_result(t->ssl);

    if (ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE)
        t->no_memory = true;
    tls_last_blame = ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) > SSL_AD_REASON_OFFSET
                         ? TLS_BLAME_ALERT
                         : TLS_BLAME_PROTOCOL;
    tls_last_reason = tls_take_error();
    if (ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK) {
        tls_last_blame = TLS_BLAME_CERTIFICATE;
        tls_last_reason = X509_verify_cert_error_string(verified);
    }
    if (t->no_memory)
        tls_last_reason = "no memory";
    else if (t->restless)
        tls_last_reason = "too many messages that bring no data";
}

/* What an operation that did not succeed means. */
static enum tls_status tls_judge(struct tls *t, int rc)
{
    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        /* Whoever wants input and takes none would want it for ever. */
        if (!t->no_memory && t->len == 0)
            return TLS_WANT_INPUT;
        break;
    case SSL_ERROR_ZERO_RETURN: t->peer_closed = true; return TLS_CLOSED;
    default: break;
    }
    tls_note_failure(t);
    t->closed = true;
    return TLS_FAILED;
}

/* ---- a connection ---- */

/* Before OpenSSL is called for a connection: what it reads and writes is this one's. */
static void tls_enter(struct tls *t)
{
    BIO_set_data(t->context->bio, t);
    ERR_clear_error();
}

int tls_open(struct tls *t, struct tls_context *c, struct bufpool *pool)
{
    memset(t, 0, sizeof(*t));
    t->context = c;
    t->pool = pool;
    ERR_clear_error();
    t->ssl = SSL_new(tls_context_default(c));
    if (!t->ssl || BIO_up_ref(c->bio) != 1) {
        tls_last_reason = tls_take_error();
        tls_free(t);
        return -ENOMEM;
    }
    SSL_set_bio(t->ssl, c->bio, c->bio);
    if (!c->client) {
        SSL_set_accept_state(t->ssl);
    } else if (!tls_client_begin(c->client, t->ssl)) {
        tls_last_reason = tls_take_error();
        tls_free(t);
        return -ENOMEM;
    }
    return 0;
}

void tls_free(struct tls *t)
{
    tls_ktls_drop(t);
    SSL_free(t->ssl);
    t->ssl = NULL;
}

enum tls_status tls_handshake(struct tls *t)
{
    tls_enter(t);
    int rc = SSL_do_handshake(t->ssl);
    if (rc != 1)
        return tls_judge(t, rc);
    if (!t->context->client) /* who has its session, if it is one that goes on */
        tls_trim(t->context, t->ssl);
    t->established = true;
    return TLS_OK;
}

enum tls_status tls_read(struct tls *t, char *to, size_t size, size_t *n)
{
    tls_enter(t);
    int rc = SSL_read_ex(t->ssl, to, size, n);
    if (unlikely(tls_ktls_refuses(t))) {
        tls_last_blame = TLS_BLAME_PROTOCOL;
        tls_last_reason = "new keys, which the kernel cannot take";
        t->closed = true;
        return TLS_FAILED;
    }
    if (unlikely(rc != 1))
        return tls_judge(t, rc);
    t->bytes += (uint32_t)*n;
    if (unlikely(t->bytes >= TLS_IDLE_BYTES))
        t->bytes = t->messages = 0;
    return TLS_OK;
}

bool tls_has_pending(const struct tls *t)
{
    return SSL_pending(t->ssl) > 0;
}

int tls_write(struct tls *t, const char *data, size_t len)
{
    size_t n;

    if (t->closed)
        return -EPIPE;
    tls_enter(t);
    int rc = SSL_write_ex(t->ssl, data, len, &n);
    if (rc == 1)
        return 0;
    tls_judge(t, rc);
    t->closed = true; /* a renegotiation that wants input has been refused before */
    return t->no_memory ? -ENOMEM : -EPROTO;
}

void tls_close(struct tls *t)
{
    if (t->established && !t->closed) {
        tls_enter(t);
        SSL_shutdown(t->ssl); /* does not wait for the peer's: the bytes are in out, or never */
        ERR_clear_error();
    }
    t->closed = true;
}

bool tls_is_resumed(const struct tls *t)
{
    return SSL_session_reused(t->ssl);
}

const char *tls_protocol_name(const struct tls *t)
{
    return SSL_get_version(t->ssl);
}

const char *tls_cipher_name(const struct tls *t)
{
    return SSL_get_cipher_name(t->ssl);
}

bool tls_available(void)
{
    return true;
}

void tls_version(char *out, size_t out_size)
{
    snprintf(out, out_size, "%s", OpenSSL_version(OPENSSL_VERSION));
}
