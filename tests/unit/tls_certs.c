/* SPDX-License-Identifier: MIT */
/*
 * tls_certs.c - see tls_certs.h.
 */
#include "config.h"

#include "tls_certs.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/ocsp.h>
#include <openssl/pem.h>

#include "log.h"
#include "tls.h"

static char dir[] = "/tmp/bivalve-tls-XXXXXX";
char ec_cert[64], ec_key[64], rsa_cert[64], rsa_key[64], other_cert[64], other_key[64];

void file_name(char out[64], const char *name)
{
    snprintf(out, 64, "%s/%s", dir, name);
}

int tls_certs_setup(void **state)
{
    char error[TLS_ERROR_MAX];

    (void)state;
    if (!mkdtemp(dir))
        return -1;
    file_name(ec_cert, "ec.pem");
    file_name(ec_key, "ec.key");
    file_name(rsa_cert, "rsa.pem");
    file_name(rsa_key, "rsa.key");
    file_name(other_cert, "other.pem");
    file_name(other_key, "other.key");
    if (tls_make_cert(ec_cert, ec_key, "DNS:a.test,IP:127.0.0.1", false, error) < 0 ||
        tls_make_cert(rsa_cert, rsa_key, "DNS:a.test", true, error) < 0 ||
        tls_make_cert(other_cert, other_key, "DNS:b.test,DNS:*.c.test", false, error) < 0) {
        fprintf(stderr, "%s\n", error);
        return -1;
    }
    log_set_level(LOG_LEVEL_ERROR);
    return 0;
}

int tls_certs_teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static X509 *read_cert(const char *path)
{
    FILE *f = fopen(path, "r");
    X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    return cert;
}

static EVP_PKEY *read_key(const char *path)
{
    FILE *f = fopen(path, "r");
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    return key;
}

void write_issued(const char *path, bool with_chain)
{
    X509 *cert = read_cert(ec_cert), *issuer = read_cert(other_cert);
    EVP_PKEY *key = read_key(other_key);
    FILE *f = fopen(path, "w");

    X509_set_issuer_name(cert, X509_get_subject_name(issuer));
    X509_sign(cert, key, EVP_sha256());
    PEM_write_X509(f, cert);
    if (with_chain)
        PEM_write_X509(f, issuer);
    fclose(f);
    EVP_PKEY_free(key);
    X509_free(issuer);
    X509_free(cert);
}

void write_ocsp(const char *path, const char *about, const char *issuer_path, int status,
                long seconds)
{
    X509 *cert = read_cert(about), *issuer = read_cert(issuer_path), *signer = read_cert(ec_cert);
    EVP_PKEY *key = read_key(ec_key);
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), cert, issuer);
    ASN1_TIME *from = X509_gmtime_adj(NULL, -100), *until = X509_gmtime_adj(NULL, seconds);
    OCSP_basic_add1_status(basic, id, status, 0, NULL, from, until);
    OCSP_basic_sign(basic, signer, key, EVP_sha256(), NULL, 0);
    OCSP_RESPONSE *r = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    unsigned char *der = NULL;
    int len = i2d_OCSP_RESPONSE(r, &der);
    FILE *f = fopen(path, "w");
    fwrite(der, 1, (size_t)len, f);
    fclose(f);
    OPENSSL_free(der);
    OCSP_RESPONSE_free(r);
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    OCSP_CERTID_free(id);
    OCSP_BASICRESP_free(basic);
    EVP_PKEY_free(key);
    X509_free(signer);
    X509_free(issuer);
    X509_free(cert);
}
