/* SPDX-License-Identifier: MIT */
/*
 * tls_ktls.c - TLS in the kernel (Linux, Documentation/networking/tls.rst) for what is sent: OpenSSL makes
 * the handshake and reads; once a connection is established and all that OpenSSL has written is with the
 * kernel, the kernel is told the key and the number of the next record, and goes on from there.
 *
 * OpenSSL offers the key to a BIO that can do this (SSL_OP_ENABLE_KTLS, BIO_CTRL_SET_KTLS). Ours notes it
 * and declines, so that OpenSSL goes on itself, and counts the records that it writes: the moment at
 * which the kernel takes over can then be chosen, and where it will not, nothing has happened.
 *
 * From then on OpenSSL's records go nowhere. What it has to say - an alert, close_notify - is noted as
 * plain text for the caller to send as a record of its kind. A key update it cannot make (before Linux
 * 6.14 no kernel could): who asks for one is refused by an alert.
 */
#include "config.h"

#include "tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>

#include "tls_internal.h"

#if defined(__linux__) && defined(HAVE_LINUX_TLS_H) && !defined(OPENSSL_NO_KTLS)

#include <linux/tls.h>

#define KTLS_SOL_TLS   282 /* SOL_TLS, of newer headers than some libcs have */
#define KTLS_TCP_ULP   31  /* TCP_ULP */
#define KTLS_SET_KEY   72  /* BIO_CTRL_SET_KTLS: named in a comment of openssl/bio.h alone */
#define KTLS_KEY_AGAIN 24  /* key_update, a message of the handshake: RFC 8446 section 4 */

struct tls_ktls {
    union {
        struct tls_crypto_info info; /* that all of them begin with */
        struct tls12_crypto_info_aes_gcm_128 aes_128;
        struct tls12_crypto_info_aes_gcm_256 aes_256;
        struct tls12_crypto_info_chacha20_poly1305 chacha;
    };
    uint64_t records; /* written by OpenSSL with this key */
};

/* Bytes of the structure for a cipher; 0: it is not one of ours. */
static size_t ktls_size(unsigned cipher)
{
    switch (cipher) {
    case TLS_CIPHER_AES_GCM_128: return sizeof(struct tls12_crypto_info_aes_gcm_128);
    case TLS_CIPHER_AES_GCM_256: return sizeof(struct tls12_crypto_info_aes_gcm_256);
    case TLS_CIPHER_CHACHA20_POLY1305: return sizeof(struct tls12_crypto_info_chacha20_poly1305);
    default: return 0;
    }
}

void tls_ktls_drop(struct tls *t)
{
    if (!t->ktls)
        return;
    OPENSSL_cleanse(t->ktls, sizeof(*t->ktls));
    free(t->ktls);
    t->ktls = NULL;
}

/* OpenSSL will write with this key from now on. */
static void ktls_keep(struct tls *t, const struct tls_crypto_info *info)
{
    size_t size = ktls_size(info->cipher_type);

    tls_ktls_drop(t);
    if (size == 0 || !(t->ktls = calloc(1, sizeof(*t->ktls))))
        return;
    memcpy(&t->ktls->info, info, size);
}

long tls_ktls_ctrl(struct tls *t, int command, long number, void *arg)
{
    if (command == KTLS_SET_KEY && number && t && !t->in_kernel)
        ktls_keep(t, arg);
    return 0; /* OpenSSL is to go on */
}

void tls_ktls_sent(struct tls *t, int type, const void *data, size_t len)
{
    if (type == SSL3_RT_HEADER && t->ktls)
        t->ktls->records++;
    if (type == SSL3_RT_ALERT && len == sizeof(t->alert) && t->in_kernel) {
        memcpy(t->alert, data, len);
        t->alert_due = true;
    }
    if (type == SSL3_RT_HANDSHAKE && len > 0 && *(const unsigned char *)data == KTLS_KEY_AGAIN) {
        tls_ktls_drop(t); /* it was for another key */
        t->rekeyed = true;
    }
}

void tls_ktls_install(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_ENABLE_KTLS);
}

/* A big-endian number of 8 bytes, and `n` more. */
static void ktls_advance(unsigned char *number, uint64_t n)
{
    for (int i = 7; i >= 0; i--, n >>= 8) {
        n += number[i];
        number[i] = (unsigned char)n;
    }
}

/* The number of the next record, and in TLS 1.2 with AES the part of the nonce that goes with it. */
static void ktls_skip(struct tls_ktls *k)
{
    bool explicit_nonce = k->info.version == TLS_1_2_VERSION;

    switch (k->info.cipher_type) {
    case TLS_CIPHER_AES_GCM_128:
        ktls_advance(k->aes_128.rec_seq, k->records);
        if (explicit_nonce)
            ktls_advance(k->aes_128.iv, k->records);
        break;
    case TLS_CIPHER_AES_GCM_256:
        ktls_advance(k->aes_256.rec_seq, k->records);
        if (explicit_nonce)
            ktls_advance(k->aes_256.iv, k->records);
        break;
    default: ktls_advance(k->chacha.rec_seq, k->records); break;
    }
    k->records = 0;
}

bool tls_ktls_begin(struct tls *t, int fd)
{
    struct tls_ktls *k = t->ktls;

    if (!k || t->closed)
        return false;
    ktls_skip(k);
    bool began = setsockopt(fd, IPPROTO_TCP, KTLS_TCP_ULP, "tls", sizeof("tls")) == 0 &&
                 setsockopt(fd, KTLS_SOL_TLS, TLS_TX, &k->info,
                            (socklen_t)ktls_size(k->info.cipher_type)) == 0;
    tls_ktls_drop(t);
    t->rekeyed = false;
    t->in_kernel = began;
    return began;
}

bool tls_ktls_refuses(struct tls *t)
{
    if (likely(!t->in_kernel) ||
        (!t->rekeyed && SSL_get_key_update_type(t->ssl) == SSL_KEY_UPDATE_NONE))
        return false;
    t->alert[0] = SSL3_AL_FATAL;
    t->alert[1] = SSL_AD_INTERNAL_ERROR;
    t->alert_due = true;
    return true;
}

int tls_ktls_probe(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc = 0;

    if (fd < 0)
        return -errno;
    /* Where the kernel has it, it is only that there is no connection yet. */
    if (setsockopt(fd, IPPROTO_TCP, KTLS_TCP_ULP, "tls", sizeof("tls")) < 0 && errno != ENOTCONN)
        rc = -errno;
    close(fd);
    return rc;
}

#else

void tls_ktls_drop(struct tls *t)
{
    (void)t;
}

long tls_ktls_ctrl(struct tls *t, int command, long number, void *arg)
{
    (void)t;
    (void)command;
    (void)number;
    (void)arg;
    return 0;
}

void tls_ktls_install(SSL_CTX *ctx)
{
    (void)ctx;
}

void tls_ktls_sent(struct tls *t, int type, const void *data, size_t len)
{
    (void)t;
    (void)type;
    (void)data;
    (void)len;
}

bool tls_ktls_begin(struct tls *t, int fd)
{
    (void)t;
    (void)fd;
    return false;
}

bool tls_ktls_refuses(struct tls *t)
{
    (void)t;
    return false;
}

int tls_ktls_probe(void)
{
    return -ENOSYS;
}

#endif
