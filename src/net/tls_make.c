/* SPDX-License-Identifier: MIT */
/*
 * tls_make.c - a key and a certificate that it signs itself: for trials and tests.
 */
#include "config.h"

#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "tls_internal.h"

#define MAKE_DAYS 90

static bool make_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = e && X509_add_ext(cert, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

static bool make_serial(X509 *cert)
{
    uint64_t serial = 0;

    return RAND_bytes((unsigned char *)&serial, sizeof(serial)) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1 | 1) == 1;
}

static bool make_fill(X509 *cert, EVP_PKEY *key, const char *names)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    const unsigned char *who = (const unsigned char *)"bivalve, for trials";

    return X509_set_version(cert, X509_VERSION_3) == 1 && make_serial(cert) &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
           X509_gmtime_adj(X509_getm_notAfter(cert), MAKE_DAYS * 86400L) &&
           X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_ASC, who, -1, -1, 0) == 1 &&
           X509_set_issuer_name(cert, subject) == 1 && X509_set_pubkey(cert, key) == 1 &&
           make_extension(cert, NID_basic_constraints, "critical,CA:TRUE") &&
           make_extension(cert, NID_ext_key_usage, "serverAuth") &&
           make_extension(cert, NID_subject_alt_name, names) &&
           X509_sign(cert, key, EVP_sha256()) > 0;
}

/* A new file, which only its owner may read where `mode` says so. NULL and a message. */
static FILE *make_file(const char *path, mode_t mode, char *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

    if (f)
        return f;
    snprintf(error, TLS_ERROR_MAX, "%s: %s%s", path, strerror(errno),
             errno == EEXIST ? " (what exists is not replaced)" : "");
    if (fd >= 0)
        close(fd);
    return NULL;
}

/* Why a file is not whole: OpenSSL says it, or the system. */
static void make_write_error(const char *path, char *error)
{
    int err = errno;

    snprintf(error, TLS_ERROR_MAX, "%s cannot be written: %s", path,
             ERR_peek_error() ? tls_take_error() : strerror(err));
}

static int make_write(X509 *cert, EVP_PKEY *key, const char *cert_path, const char *key_path,
                      char *error)
{
    FILE *f = make_file(key_path, 0600, error);

    if (!f)
        return -EIO;
    setvbuf(f, NULL, _IONBF, 0);
    bool ok = PEM_write_PKCS8PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1;
    ok = fclose(f) == 0 && ok;
    f = ok ? make_file(cert_path, 0644, error) : NULL;
    if (!ok)
        make_write_error(key_path, error);
    if (f) {
        ok = PEM_write_X509(f, cert) == 1;
        ok = fclose(f) == 0 && ok;
        if (ok)
            return 0;
        make_write_error(cert_path, error);
        unlink(cert_path);
    }
    unlink(key_path);
    return -EIO;
}

int tls_make_cert(const char *cert_path, const char *key_path, const char *names, bool rsa,
                  char *error)
{
    ERR_clear_error();
    EVP_PKEY *key = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    int rc = -EIO;
    if (key && cert && make_fill(cert, key, names))
        rc = make_write(cert, key, cert_path, key_path, error);
    else
        snprintf(error, TLS_ERROR_MAX, "a certificate for %s cannot be made: %s", names,
                 tls_take_error());
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}
