/* SPDX-License-Identifier: MIT */
/*
 * tls_internal.h - what the files of tls*.c share.
 */
#ifndef BIVALVE_TLS_INTERNAL_H
#define BIVALVE_TLS_INTERNAL_H

#include <stdint.h>

#include "tls.h"
#include "tls_ticket.h"

struct tls_host; /* an SSL_CTX: the certificates of one host */

/* An OCSP response, for the connections that get `leaf`. */
struct tls_staple {
    struct x509_st *leaf; /* of an SSL_CTX */
    unsigned char *der;
    size_t len;
    bool about_leaf; /* else it is about another certificate, and not sent */
    bool revoked;    /* it says so of the certificate */
    bool unknown;  /* the authority knows no such certificate: not sent, clients would refuse it */
    int64_t until; /* seconds since the epoch: it is good until then; 0: it does not say */
};

/* A private key, and the file that it was read from. */
struct tls_key {
    char *path;
    struct evp_pkey_st *key;
};

#define TLS_BARE_MAX 16 /* ciphers of a version; connections with any other are not trimmed */

/* What connections of a version have in the place of their own, tls_trim.c. */
struct tls_bare {
    struct ssl_ctx_st *ctx;
    struct ssl_st *template;
    struct ssl_session_st *session[TLS_BARE_MAX]; /* one for each cipher that was used */
    unsigned session_count;
};

struct tls_client; /* tls_client.c */

struct tls_context {
    struct tls_client *client; /* NULL: the server's role */
    struct tls_host *hosts;    /* the first is the default */
    unsigned host_count;
    struct tls_staple *staples;
    unsigned staple_count;
    struct tls_key *keys;
    unsigned key_count;
    const struct tls_context *before; /* while it is opened: that of tls_context_open() */
    struct bio_method_st *method;
    struct bio_st *bio; /* of every connection: its data is the one that OpenSSL is called for */
    struct tls_bare bare[2]; /* TLS 1.2, 1.3 */
    bool ktls;               /* the kernel encrypts, where it can */
    struct tls_tickets tickets;
};

/* The SSL_CTX that every handshake begins with. */
struct ssl_ctx_st *tls_context_default(const struct tls_context *c);

/* Before OpenSSL is called for anything else. */
void tls_keys_init(void);

/*
 * Read the private key in `path`, which the caller frees, and warn of permissions. Where the file may
 * not be read (EACCES) it is the key that the context before had from there. 0, or -errno and one line
 * in `error`.
 */
int tls_key_read(struct tls_context *c, const char *path, struct evp_pkey_st **key, char *error);
void tls_keys_free(struct tls_context *c);

/*
 * Read the OCSP response in `path` for connections that get the certificate that was loaded into ctx last.
 * 0, or -errno and one line in `error`, and nothing allocated. One that is about another certificate, by the
 * serial number and, if the chain has it, the issuer, or too old, as after a renewal, is warned of and not sent.
 */
int tls_staple_read(struct tls_staple *s, const char *path, struct ssl_ctx_st *ctx, char *error);

/* Send those of the context with the handshakes of this SSL_CTX. False: OpenSSL will not. */
bool tls_staple_install(struct ssl_ctx_st *ctx, struct tls_context *c);

/* The handshake is complete: let go of what the connection needs no more. It never fails. */
void tls_trim(struct tls_context *c, struct ssl_st *ssl);
void tls_trim_free(struct tls_context *c);

/* The client's role of a context. 0, or -errno and one line in `error`, and nothing allocated. */
int tls_client_open(struct tls_client **k, const struct tls_client_config *cfg, char *error);
void tls_client_free(struct tls_client *k);

/* The SSL_CTX of its connections. */
struct ssl_ctx_st *tls_client_ctx(const struct tls_client *k);

/* A connection is to be a client's: whom it asks for, and the session that it takes up. False: no
 * memory. */
bool tls_client_begin(struct tls_client *k, struct ssl_st *ssl);

/*
 * Count what the peers of this context's connections make OpenSSL do behind their handshakes, and fail those who
 * overdo it.
 */
void tls_watch(struct ssl_ctx_st *ctx);

/* ---- tls_ktls.c: with the BIO and connections of a context ---- */

/* The kernel is to go on with the connections of this SSL_CTX, where it can. */
void tls_ktls_install(struct ssl_ctx_st *ctx);

/* Of SSL_CTX_set_msg_callback(3): OpenSSL has sent this. */
void tls_ktls_sent(struct tls *t, int type, const void *data, size_t len);

/* Of the BIO's ctrl: what it answers to what is not its own. */
long tls_ktls_ctrl(struct tls *t, int command, long number, void *arg);

/* Did the peer ask for what the kernel cannot do? The alert for it is due then. */
bool tls_ktls_refuses(struct tls *t);

/* Forget the key. */
void tls_ktls_drop(struct tls *t);

/* The BIO between a `struct tls` (its data) and OpenSSL. NULL: no memory. */
struct bio_method_st *tls_bio_method(void);

/* The first of OpenSSL's queue of errors, in words; empties the queue. */
const char *tls_take_error(void);

/* -EIO, and the message for something that depends on no option and no file: by tls_take_error(). */
int tls_setup_error(char *error);

#endif
