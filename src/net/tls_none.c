/* SPDX-License-Identifier: MIT */
/*
 * tls_none.c - tls.h without OpenSSL: no context opens, so there is never a connection.
 */
#include "config.h"

#include "tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

bool tls_available(void)
{
    return false;
}

void tls_version(char *out, size_t out_size)
{
    snprintf(out, out_size, "none");
}

int tls_context_open(struct tls_context **c, const struct tls_config *cfg,
                     struct tls_context *before, char *error)
{
    (void)cfg;
    (void)before;
    *c = NULL;
    snprintf(error, TLS_ERROR_MAX,
             "this bivalve was built without OpenSSL: no address can be served by TLS");
    return -ENOTSUP;
}

int tls_client_context_open(struct tls_context **c, const struct tls_client_config *cfg,
                            char *error)
{
    (void)cfg;
    *c = NULL;
    snprintf(error, TLS_ERROR_MAX, "this program was built without OpenSSL: there is no https://");
    return -ENOTSUP;
}

bool tls_is_client(const struct tls_context *c)
{
    (void)c;
    return false;
}

enum tls_blame tls_blame(void)
{
    return TLS_BLAME_PROTOCOL;
}

int tls_ktls_probe(void)
{
    return -ENOSYS;
}

bool tls_ktls_begin(struct tls *t, int fd)
{
    (void)t;
    (void)fd;
    return false;
}

void tls_context_free(struct tls_context *c)
{
    (void)c;
}

void tls_context_forget(struct tls_context *c)
{
    (void)c;
}

int tls_make_cert(const char *cert_path, const char *key_path, const char *names, bool rsa,
                  char *error)
{
    (void)cert_path;
    (void)key_path;
    (void)names;
    (void)rsa;
    snprintf(error, TLS_ERROR_MAX, "this bivalve was built without OpenSSL");
    return -ENOTSUP;
}

int tls_open(struct tls *t, struct tls_context *c, struct bufpool *pool)
{
    (void)t;
    (void)c;
    (void)pool;
    return -ENOTSUP;
}

void tls_free(struct tls *t)
{
    (void)t;
}

enum tls_status tls_handshake(struct tls *t)
{
    (void)t;
    abort();
}

enum tls_status tls_read(struct tls *t, char *to, size_t size, size_t *n)
{
    (void)t;
    (void)to;
    (void)size;
    (void)n;
    abort();
}

bool tls_has_pending(const struct tls *t)
{
    (void)t;
    abort();
}

int tls_write(struct tls *t, const char *data, size_t len)
{
    (void)t;
    (void)data;
    (void)len;
    abort();
}

void tls_close(struct tls *t)
{
    (void)t;
    abort();
}

bool tls_is_resumed(const struct tls *t)
{
    (void)t;
    abort();
}

const char *tls_protocol_name(const struct tls *t)
{
    (void)t;
    abort();
}

const char *tls_cipher_name(const struct tls *t)
{
    (void)t;
    abort();
}

const char *tls_reason(void)
{
    return "built without OpenSSL";
}
