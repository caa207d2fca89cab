/* SPDX-License-Identifier: MIT */
/*
 * tls_staple.c - OCSP stapling from files: what the certificate's authority has said of it lately goes
 * out with the handshake, to clients that ask (RFC 6066 section 8, RFC 8446 section 4.4.2.1). Who
 * fetches the file is not the server: certbot, or openssl ocsp, by the clock.
 */
#include "config.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/ocsp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "log.h"
#include "tls_internal.h"

#define STAPLE_MAX 16384 /* bytes of a response: it goes out with every handshake that asks */

static bool staple_has_issued(X509 *issuer, X509 *leaf)
{
    return X509_check_issued(issuer, leaf) == X509_V_OK &&
           X509_verify(leaf, X509_get0_pubkey(issuer)) == 1;
}

/* Whose certificate has signed the leaf of this SSL_CTX: of its chain. NULL: it is not there. */
static X509 *staple_find_issuer(SSL_CTX *ctx, X509 *leaf)
{
    STACK_OF(X509) *chain = NULL;

    SSL_CTX_get0_chain_certs(ctx, &chain);
    for (int i = 0; chain && i < sk_X509_num(chain); i++)
        if (staple_has_issued(sk_X509_value(chain, i), leaf))
            return sk_X509_value(chain, i);
    return staple_has_issued(leaf, leaf) ? leaf : NULL;
}

/*
 * Is `id` that of s->leaf (RFC 6960 section 4.1.1)? Without its issuer only the serial number is compared,
 * which other authorities may have given as well. -1: it cannot be understood.
 */
static int staple_is_about(const struct tls_staple *s, X509 *issuer, OCSP_CERTID *id)
{
    ASN1_OBJECT *hash = NULL;
    ASN1_INTEGER *serial = NULL;

    if (OCSP_id_get0_info(NULL, &hash, NULL, &serial, id) != 1)
        return -1;
    if (ASN1_INTEGER_cmp(serial, X509_get_serialNumber(s->leaf)) != 0)
        return 0;
    if (!issuer)
        return 1;
    const EVP_MD *md = EVP_get_digestbynid(OBJ_obj2nid(hash));
    OCSP_CERTID *ours = md ? OCSP_cert_to_id(md, s->leaf, issuer) : NULL;
    int is = ours ? OCSP_id_cmp(ours, id) == 0 : -1;
    OCSP_CERTID_free(ours);
    return is;
}

/* What one of its statements says, if it is about s->leaf. False: it cannot be understood. */
static bool staple_read_statement(struct tls_staple *s, X509 *issuer, OCSP_SINGLERESP *single)
{
    ASN1_GENERALIZEDTIME *next = NULL;
    struct tm tm = {0};

    if (!single)
        return false;
    OCSP_CERTID *id =
        (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(single); /* reads it alone */
    int about = staple_is_about(s, issuer, id);
    if (about <= 0)
        return about == 0;
    int status = OCSP_single_get0_status(single, NULL, NULL, NULL, &next);
    if (status < 0 || (next && ASN1_TIME_to_tm(next, &tm) != 1))
        return false;
    s->about_leaf = true;
    s->revoked = status == V_OCSP_CERTSTATUS_REVOKED;
    s->unknown = status == V_OCSP_CERTSTATUS_UNKNOWN;
    s->until = next ? timegm(&tm) : 0;
    return true;
}

/* What the file holds, if it is a response that says something. */
static bool staple_parse(struct tls_staple *s, X509 *issuer, const unsigned char *data, size_t len)
{
    const unsigned char *at = data;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)len);
    OCSP_BASICRESP *basic =
        response && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL
            ? OCSP_response_get1_basic(response)
            : NULL;
    int count = basic ? OCSP_resp_count(basic) : 0;
    bool ok = count > 0;

    for (int i = 0; ok && i < count && !s->about_leaf; i++)
        ok = staple_read_statement(s, issuer, OCSP_resp_get0(basic, i));
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    return ok;
}

static void staple_warn(const struct tls_staple *s, const X509 *issuer, const char *path)
{
    if (s->about_leaf && !issuer)
        log_warn(
            "--tls-ocsp %s: that the response is about this certificate is known by its serial "
            "number alone (put the authority's certificate into the file of --tls-cert)",
            path);
    if (!s->about_leaf)
        log_warn(
            "--tls-ocsp %s: the response is about another certificate: it is not sent (fetch one "
            "about this, and reload; responses are paired with --tls-cert in the order they are "
            "given)",
            path);
    else if (s->until && s->until < time(NULL))
        log_warn(
            "--tls-ocsp %s: the response is too old: it is not sent (fetch it anew, and reload)",
            path);
    else if (s->unknown)
        log_warn("--tls-ocsp %s: the response says that the authority does not know the "
                 "certificate: it is not sent (fetch it anew, and reload)",
                 path);
    else if (s->revoked)
        log_warn(
            "--tls-ocsp %s: the response says that the certificate has been revoked: clients will "
            "refuse it (get another)",
            path);
}

int tls_staple_read(struct tls_staple *s, const char *path, SSL_CTX *ctx, char *error)
{
    X509 *leaf = SSL_CTX_get0_certificate(ctx), *issuer = staple_find_issuer(ctx, leaf);
    unsigned char data[STAPLE_MAX + 1];
    FILE *f = fopen(path, "re");

    if (!f) {
        int err = errno;
        snprintf(error, TLS_ERROR_MAX, "--tls-ocsp %s: %s", path, strerror(err));
        return -err;
    }
    size_t len = fread(data, 1, sizeof(data), f);
    fclose(f);
    ERR_clear_error();
    *s = (struct tls_staple){.leaf = leaf, .len = len};
    if (len > STAPLE_MAX || !staple_parse(s, issuer, data, len)) {
        const char *why = ERR_peek_error() ? tls_take_error() : "";
        snprintf(error, TLS_ERROR_MAX,
                 "--tls-ocsp %s: there is no OCSP response in it that says anything%s%s (DER is "
                 "needed, as openssl ocsp -respout writes it)",
                 path, *why ? ": " : "", why);
        return -EINVAL;
    }
    s->der = OPENSSL_memdup(data, len);
    if (!s->der) {
        snprintf(error, TLS_ERROR_MAX, "--tls-ocsp %s: %s", path, tls_take_error());
        return -ENOMEM;
    }
    staple_warn(s, issuer, path);
    return 0;
}

/* A client asks: SSL_CTX_set_tlsext_status_cb(3). */
static int staple_on_request(SSL *ssl, void *context)
{
    const struct tls_context *c = context;
    const X509 *leaf = SSL_get_certificate(ssl);

    for (unsigned i = 0; i < c->staple_count; i++) {
        const struct tls_staple *s = &c->staples[i];
        if (s->leaf != leaf || !s->about_leaf || s->unknown || (s->until && s->until < time(NULL)))
            continue;
        unsigned char *copy = OPENSSL_memdup(s->der, s->len); /* OpenSSL frees it */
        if (copy && SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)s->len) == 1)
            return SSL_TLSEXT_ERR_OK;
        OPENSSL_free(copy);
        break;
    }
    ERR_clear_error(); /* the handshake goes on without */
    return SSL_TLSEXT_ERR_NOACK;
}

bool tls_staple_install(SSL_CTX *ctx, struct tls_context *c)
{
    return SSL_CTX_set_tlsext_status_cb(ctx, staple_on_request) == 1 &&
           SSL_CTX_set_tlsext_status_arg(ctx, c) == 1;
}
