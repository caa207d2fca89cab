/* SPDX-License-Identifier: MIT */
/*
 * tls_certs.h - certificates in files, for tests.
 */
#ifndef BIVALVE_TESTS_TLS_CERTS_H
#define BIVALVE_TESTS_TLS_CERTS_H

#include <stdbool.h>

/* For a.test and 127.0.0.1 with a key of P-256, for a.test with one of RSA, for b.test and *.c.test. */
extern char ec_cert[64], ec_key[64], rsa_cert[64], rsa_key[64], other_cert[64], other_key[64];

/* Of the group: they are made once, and removed with all that is in their folder. */
int tls_certs_setup(void **state);
int tls_certs_teardown(void **state);

/* The name of another file there. */
void file_name(char out[64], const char *name);

/* A certificate for ec_key that the authority of other_cert has issued, and with the chain that one behind it. */
void write_issued(const char *path, bool with_chain);

/* An OCSP response about a certificate of this issuer's, by ec_key, that says `status` (V_OCSP_CERTSTATUS_*) for so many
 * seconds. */
void write_ocsp(const char *path, const char *about, const char *issuer, int status, long seconds);

#endif
