/* SPDX-License-Identifier: MIT */
/*
 * tls_context.c - certificates, keys and policy: an SSL_CTX for each host, one for all of its
 * certificates, and which of them a client gets (SNI, RFC 6066 section 3).
 */
#include "config.h"

#include "tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "clock.h"
#include "log.h"
#include "tls_internal.h"

/* Of TLS 1.2: ephemeral keys, AEAD, and what every client of the last ten years has. */
#define TLS_CIPHERS_1_2                                          \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define TLS_CIPHERS_1_3 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

/* The cheap ones: a client does not choose what its handshake costs. */
#define TLS_GROUPS "X25519:P-256:P-384"

#define TLS_CIPHERS_MAX 1024 /* bytes of --tls-ciphers */

#define TLS_NAME_MAX 256 /* of a host: RFC 1035 section 2.3.4 allows 255 */

struct tls_host {
    SSL_CTX *ctx;
    X509 *leaf;              /* the first certificate: whose names count. Owned by ctx. */
    char name[TLS_NAME_MAX]; /* the first of them, "": none */
};

SSL_CTX *tls_context_default(const struct tls_context *c)
{
    return c->client ? tls_client_ctx(c->client) : c->hosts[0].ctx;
}

/* ---- choices during the handshake ---- */

/* Application protocols: http/1.1, for whoever names any (RFC 7301). */
static int context_on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* The host that the client names. */
static int context_on_host(SSL *ssl, int *alert, void *arg)
{
    const struct tls_context *c = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert;
    for (unsigned i = 0; name && i < c->host_count; i++) {
        if (X509_check_host(c->hosts[i].leaf, name, strlen(name), 0, NULL) != 1)
            continue;
        if (i > 0 && !SSL_set_SSL_CTX(ssl, c->hosts[i].ctx))
            return SSL_TLSEXT_ERR_ALERT_FATAL;
        return SSL_TLSEXT_ERR_OK;
    }
    ERR_clear_error();           /* a name that could not be compared is none of ours */
    return SSL_TLSEXT_ERR_NOACK; /* the default one, which the client may refuse */
}

/* ---- policy ---- */

/* Names by colons into those of TLS 1.3 and of 1.2, which OpenSSL sets by two functions. */
static bool context_split_ciphers(const char *names, char *old, char *new)
{
    char copy[TLS_CIPHERS_MAX], *rest = copy, *name;

    *old = *new = '\0';
    if (snprintf(copy, sizeof(copy), "%s", names) >= (int)sizeof(copy))
        return false;
    while ((name = strsep(&rest, ":")) != NULL) {
        char *to = strncmp(name, "TLS_", 4) ? old : new;
        if (*to)
            strcat(to, ":");
        strcat(to, name);
    }
    return true;
}

static const SSL_CIPHER *context_find_cipher(const SSL_CTX *ctx, const char *name)
{
    const STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(ctx);

    for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++)
        if (strcmp(SSL_CIPHER_get_name(sk_SSL_CIPHER_value(ciphers, i)), name) == 0)
            return sk_SSL_CIPHER_value(ciphers, i);
    return NULL;
}

/* OpenSSL passes over names that it does not know, which would be those that were misspelled. */
static int context_check_ciphers(const SSL_CTX *ctx, const char *names, char *error)
{
    char copy[TLS_CIPHERS_MAX], *rest = copy, *name;

    snprintf(copy, sizeof(copy), "%s", names);
    while ((name = strsep(&rest, ":")) != NULL) {
        const SSL_CIPHER *cipher = context_find_cipher(ctx, name);
        int kx = cipher ? SSL_CIPHER_get_kx_nid(cipher) : 0;
        if (cipher && SSL_CIPHER_is_aead(cipher) && (kx == NID_kx_any || kx == NID_kx_ecdhe))
            continue;
        snprintf(error, TLS_ERROR_MAX,
                 cipher ? "--tls-ciphers: %s is refused: only AEAD ciphers with ephemeral keys are "
                          "served (the default is fine for every current client)"
                        : "--tls-ciphers: OpenSSL knows no %s here (openssl ciphers -v prints the "
                          "names that there are)",
                 name);
        return -EINVAL;
    }
    return 0;
}

static int context_set_ciphers(SSL_CTX *ctx, const struct tls_config *cfg, char *error)
{
    char old[TLS_CIPHERS_MAX], new[TLS_CIPHERS_MAX];
    const char *names = cfg->ciphers ? cfg->ciphers : TLS_CIPHERS_1_3 ":" TLS_CIPHERS_1_2;

    if (!context_split_ciphers(names, old, new) ||
        SSL_CTX_set_cipher_list(ctx, *old ? old : TLS_CIPHERS_1_2) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, new) != 1) {
        snprintf(error, TLS_ERROR_MAX,
                 "--tls-ciphers %s: %s (names are those that openssl ciphers prints, by colons)",
                 names, tls_take_error());
        return -EINVAL;
    }
    /* Of which version none is named, it is not served. */
    if ((!*old && SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1) ||
        (!*new &&SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION) != 1))
        return tls_setup_error(error);
    return context_check_ciphers(ctx, names, error);
}

static int context_set_policy(struct tls_context *c, SSL_CTX *ctx, const struct tls_config *cfg,
                              char *error)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    tls_watch(ctx);
    if (c->ktls)
        tls_ktls_install(ctx);
    /* An idle connection holds no buffers. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_alpn_select_cb(ctx, context_on_alpn, NULL);
    if (SSL_CTX_set_tlsext_servername_callback(ctx, context_on_host) != 1 ||
        SSL_CTX_set_tlsext_servername_arg(ctx, c) != 1 ||
        SSL_CTX_set_min_proto_version(ctx, cfg->min_version == 13 ? TLS1_3_VERSION
                                                                  : TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, 0) != 1 || SSL_CTX_set_max_early_data(ctx, 0) != 1 ||
        SSL_CTX_set1_groups_list(ctx, TLS_GROUPS) != 1 || !tls_ticket_install(ctx, &c->tickets))
        return tls_setup_error(error);
    return context_set_ciphers(ctx, cfg, error);
}

/* ---- files ---- */

static void context_check_dates(const char *path, const X509 *leaf)
{
    if (X509_cmp_current_time(X509_get0_notAfter(leaf)) < 0)
        log_warn("--tls-cert %s: the certificate has expired: clients will refuse it", path);
    else if (X509_cmp_current_time(X509_get0_notBefore(leaf)) > 0)
        log_warn("--tls-cert %s: the certificate is not valid yet (is the clock right?)", path);
}

/* Certificate, chain and key into ctx. */
static int context_load_pair(struct tls_context *c, SSL_CTX *ctx, const struct tls_pair *pair,
                             char *error)
{
    const char *key_path = pair->key ? pair->key : pair->cert;
    EVP_PKEY *key = NULL;
    struct stat st;

    ERR_clear_error();
    if (stat(pair->cert, &st) < 0) {
        int err = errno;
        snprintf(error, TLS_ERROR_MAX, "--tls-cert %s: %s", pair->cert, strerror(err));
        return -err;
    }
    if (SSL_CTX_use_certificate_chain_file(ctx, pair->cert) != 1) {
        snprintf(error, TLS_ERROR_MAX,
                 "--tls-cert %s: %s (PEM is needed: the server's certificate, then those that lead "
                 "to the root)",
                 pair->cert, tls_take_error());
        return -EINVAL;
    }
    int rc = tls_key_read(c, key_path, &key, error);
    if (rc < 0)
        return rc;
    if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1) {
        snprintf(error, TLS_ERROR_MAX,
                 "--tls-key %s: %s: it is not the key of --tls-cert %s (they are paired in the "
                 "order they are given)",
                 key_path, tls_take_error(), pair->cert);
        rc = -EINVAL;
    }
    EVP_PKEY_free(key);
    if (rc == 0)
        context_check_dates(pair->cert, SSL_CTX_get0_certificate(ctx));
    return rc;
}

/* The pair's OCSP response, for the certificate that was loaded last. */
static int context_load_staple(struct tls_context *c, SSL_CTX *ctx, const struct tls_pair *pair,
                               char *error)
{
    if (!pair->ocsp)
        return 0;
    int rc = tls_staple_read(&c->staples[c->staple_count], pair->ocsp, ctx, error);
    if (rc < 0)
        return rc;
    c->staple_count++;
    return tls_staple_install(ctx, c) ? 0 : tls_setup_error(error);
}

/* ---- hosts ---- */

/* The first name that a certificate is for, or "". False: that cannot be read. */
static bool context_first_name(X509 *leaf, char *out, size_t out_size)
{
    int found = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, &found, NULL);

    *out = '\0';
    if (!names)
        return found == -1; /* there is none */
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !*out; i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        if (n->type == GEN_DNS)
            snprintf(out, out_size, "%.*s", ASN1_STRING_length(n->d.dNSName),
                     (const char *)ASN1_STRING_get0_data(n->d.dNSName));
    }
    GENERAL_NAMES_free(names);
    return true;
}

/*
 * The host that the certificate of this name belongs to: that of an earlier one with the same first name
 * and another kind of key, so that clients get what they can use. NULL: its own.
 */
static struct tls_host *context_find_host(struct tls_context *c, X509 *leaf, const char *name)
{
    for (unsigned i = 0; *name && i < c->host_count; i++) {
        if (strcmp(name, c->hosts[i].name) == 0 &&
            EVP_PKEY_get_base_id(X509_get0_pubkey(leaf)) !=
                EVP_PKEY_get_base_id(X509_get0_pubkey(c->hosts[i].leaf)))
            return &c->hosts[i];
    }
    return NULL;
}

static int context_add(struct tls_context *c, const struct tls_config *cfg,
                       const struct tls_pair *pair, char *error)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    int rc = ctx ? context_set_policy(c, ctx, cfg, error) : tls_setup_error(error);
    char name[TLS_NAME_MAX];

    if (rc == 0)
        rc = context_load_pair(c, ctx, pair, error);
    if (rc == 0 && !context_first_name(SSL_CTX_get0_certificate(ctx), name, sizeof(name))) {
        snprintf(error, TLS_ERROR_MAX, "--tls-cert %s: the names that it is for cannot be read: %s",
                 pair->cert, tls_take_error());
        rc = -EINVAL;
    }
    if (rc == 0) {
        struct tls_host *host = context_find_host(c, SSL_CTX_get0_certificate(ctx), name);
        if (!host) {
            host = &c->hosts[c->host_count++];
            *host = (struct tls_host){.ctx = ctx, .leaf = SSL_CTX_get0_certificate(ctx)};
            memcpy(host->name, name, sizeof(name));
            return context_load_staple(c, ctx, pair, error);
        }
        rc = context_load_pair(c, host->ctx, pair, error);
        if (rc == 0)
            rc = context_load_staple(c, host->ctx, pair, error);
    }
    SSL_CTX_free(ctx);
    return rc;
}

static bool context_open_bio(struct tls_context *c)
{
    c->method = tls_bio_method();
    c->bio = c->method ? BIO_new(c->method) : NULL;
    return c->bio != NULL;
}

static bool context_open_tickets(struct tls_context *c, struct tls_context *before)
{
    uint64_t now_s = clock_monotonic_ms() / 1000;

    return before ? tls_tickets_copy(&c->tickets, &before->tickets, now_s)
                  : tls_tickets_init(&c->tickets, now_s);
}

/* `rc`, and the context if it is 0. What OpenSSL has complained of on the way is nobody's business. */
static int context_opened(struct tls_context *c, int rc, struct tls_context **out)
{
    ERR_clear_error();
    if (rc == 0)
        *out = c;
    else
        tls_context_free(c);
    return rc;
}

/* Whether the kernel encrypts. 0, or -errno and one line in `error`. */
static int context_set_ktls(struct tls_context *c, const struct tls_config *cfg, char *error)
{
    int rc = cfg->ktls == TLS_KTLS_OFF ? 0 : tls_ktls_probe();

    c->ktls = cfg->ktls != TLS_KTLS_OFF && rc == 0;
    if (rc == 0)
        return 0;
    if (cfg->ktls == TLS_KTLS_AUTO) {
        log_notice("--tls-ktls auto: the kernel has no TLS (%s): OpenSSL encrypts", strerror(-rc));
        return 0;
    }
    snprintf(error, TLS_ERROR_MAX,
             "--tls-ktls on: the kernel has no TLS (%s): `modprobe tls` if it is a module, or "
             "--tls-ktls auto",
             strerror(-rc));
    return rc;
}

int tls_context_open(struct tls_context **out, const struct tls_config *cfg,
                     struct tls_context *before, char *error)
{
    struct tls_context *c = calloc(1, sizeof(*c));
    int rc = -ENOMEM;

    *out = NULL;
    snprintf(error, TLS_ERROR_MAX, "no memory for TLS");
    if (!c)
        return rc;
    tls_keys_init();
    ERR_clear_error();
    c->hosts = calloc(cfg->pair_count, sizeof(*c->hosts));
    c->staples = calloc(cfg->pair_count, sizeof(*c->staples));
    c->keys = calloc(cfg->pair_count, sizeof(*c->keys));
    c->before = before;
    if (c->hosts && c->staples && c->keys)
        rc = context_open_bio(c) && context_open_tickets(c, before) ? 0 : tls_setup_error(error);
    if (rc == 0)
        rc = context_set_ktls(c, cfg, error);
    for (unsigned i = 0; rc == 0 && i < cfg->pair_count; i++)
        rc = context_add(c, cfg, &cfg->pairs[i], error);
    c->before = NULL;
    return context_opened(c, rc, out);
}

int tls_client_context_open(struct tls_context **out, const struct tls_client_config *cfg,
                            char *error)
{
    struct tls_context *c = calloc(1, sizeof(*c));
    int rc = -ENOMEM;

    *out = NULL;
    snprintf(error, TLS_ERROR_MAX, "no memory for TLS");
    if (!c)
        return rc;
    ERR_clear_error();
    rc = context_open_bio(c) ? tls_client_open(&c->client, cfg, error) : tls_setup_error(error);
    return context_opened(c, rc, out);
}

bool tls_is_client(const struct tls_context *c)
{
    return c->client != NULL;
}

void tls_context_forget(struct tls_context *c)
{
    if (c)
        tls_tickets_advance(&c->tickets, clock_monotonic_ms() / 1000);
}

void tls_context_free(struct tls_context *c)
{
    if (!c)
        return;
    tls_client_free(c->client);
    for (unsigned i = 0; i < c->host_count; i++)
        SSL_CTX_free(c->hosts[i].ctx);
    free(c->hosts);
    for (unsigned i = 0; i < c->staple_count; i++)
        OPENSSL_free(c->staples[i].der);
    free(c->staples);
    tls_keys_free(c);
    tls_tickets_free(&c->tickets);
    tls_trim_free(c);
    BIO_free(c->bio);
    BIO_meth_free(c->method);
    free(c);
}
