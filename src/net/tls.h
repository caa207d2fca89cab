/* SPDX-License-Identifier: MIT */
/*
 * tls.h - TLS 1.2 and 1.3 for either side of a connection, as a transformation of bytes:
 * ciphertext in, plain text out, and the other way round. Nothing here does I/O: what arrives is fed,
 * what is to be sent lies in tls.out, and stream_tls.c moves both through the backends. OpenSSL is
 * called by tls*.c alone.
 *
 *      tls_feed(); tls_handshake() until TLS_OK;
 *      tls_feed(); tls_read() until TLS_WANT_INPUT     } in any order
 *      tls_write(), what it has made is in tls.out     }
 *      tls_close()
 *
 * What a server offers: AEAD ciphers with ephemeral keys, the server's preference, ALPN http/1.1,
 * stateless tickets. What is not: compression, renegotiation, early data (RFC 8446 section 8: it
 * could be replayed), client certificates.
 */
#ifndef BIVALVE_TLS_H
#define BIVALVE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "out.h"

#define TLS_ERROR_MAX  512
#define TLS_PAIRS_MAX  64
#define TLS_RECORD_MAX 16384 /* plain text of a record, RFC 8446 section 5.1 */

/*
 * What a peer may make of work behind its handshake for nothing: key updates, hellos that are refused, warnings.
 * So many for each TLS_IDLE_BYTES of plain text, RFC 8446 section 4.6.3 knows no limit.
 */
#define TLS_IDLE_MESSAGES 32
#define TLS_IDLE_BYTES    65536

#define TLS_RECORD_ALERT 21 /* a record's type, RFC 8446 section 5.1 */

/* ---- what all connections of a process share ---- */

/* Shall the kernel encrypt what is sent? */
enum tls_ktls_use {
    TLS_KTLS_OFF,
    TLS_KTLS_AUTO, /* where it can */
    TLS_KTLS_ON,   /* or there is no context */
};

/* A certificate with its chain, the leaf first, and its key; PEM. */
struct tls_pair {
    const char *cert;
    const char *key;  /* NULL: it stands in the file of the certificate */
    const char *ocsp; /* an OCSP response to staple (RFC 6066 section 8), DER; NULL: none */
};

struct tls_config {
    struct tls_pair pairs[TLS_PAIRS_MAX]; /* the first is for whoever names no host, or another */
    unsigned pair_count;                  /* at least 1 */
    unsigned min_version;                 /* 12 or 13 */
    const char *ciphers; /* names as OpenSSL has them, ciphers(1), by colons; NULL: the default */
    int ktls;            /* enum tls_ktls_use */
};

struct tls_context;

/*
 * Can this kernel encrypt what a socket sends? 0 or -errno: ENOENT, it has no such part (Linux loads it
 * for who may administer the network). Connections may be refused it all the same.
 */
int tls_ktls_probe(void);

/* Was it compiled in? What with, as one line. */
bool tls_available(void);
void tls_version(char *out, size_t out_size);

/*
 * Read certificates and keys, and make ticket keys, which processes that are forked from this one
 * share. Warns (log.h) of a key that others may read, and of a certificate that is not valid now. 0,
 * or -errno with one line in `error` (TLS_ERROR_MAX bytes) that names the file, the cause and the
 * way out, and nothing left behind.
 *
 * `before` (NULL: none) is the context that this one is to replace: clients' tickets stay good, and a
 * key that may not be read any more, since privileges have been given up, stays what it was.
 */
int tls_context_open(struct tls_context **c, const struct tls_config *cfg,
                     struct tls_context *before, char *error);
void tls_context_free(struct tls_context *c);

/* A client's context: whom it wants to talk to, and whose word it takes for that. */
struct tls_client_config {
    const char *host; /* a name, which is sent as well (SNI, RFC 6066 section 3), or an address */
    const char *ca_file; /* certificates to trust, PEM; NULL: those of the system */
    bool insecure;       /* any certificate will do */
    bool resume;         /* take up the session of an earlier connection, as servers allow it */
    unsigned version;    /* 12 or 13 alone; 0: what the server likes better */
};

/*
 * A context for connections to one server, from which a stream becomes the client's side. 0, or -errno
 * with one line in `error` (TLS_ERROR_MAX bytes), and nothing left behind. Freed as any other.
 */
int tls_client_context_open(struct tls_context **c, const struct tls_client_config *cfg,
                            char *error);
bool tls_is_client(const struct tls_context *c);

/*
 * Forget ticket keys whose time is over: for a process that serves nobody itself, but whose children
 * do. Once an hour, and before a context is handed on.
 */
void tls_context_forget(struct tls_context *c);

/*
 * Make a key (P-256, or RSA 2048) in a new file that its owner alone may read, and a certificate that
 * it signs itself for `names`, like "DNS:localhost,IP:127.0.0.1" (x509v3_config(5)): for trials. 0, or
 * -errno with one line in `error` (TLS_ERROR_MAX bytes), and no file left behind.
 */
int tls_make_cert(const char *cert_path, const char *key_path, const char *names, bool rsa,
                  char *error);

/* ---- a connection ---- */

enum tls_status {
    TLS_OK,
    TLS_WANT_INPUT, /* all that was fed is used up */
    TLS_CLOSED,     /* tls_read(): the peer's close_notify: it will send no more */
    TLS_FAILED,     /* tls_reason() says why; out ends in the alert, if there is one to send */
};

struct tls {
    struct ssl_st *ssl;
    struct tls_context *context;
    struct bufpool *pool;
    struct out out;   /* ciphertext to be sent: the caller consumes it */
    const char *data; /* what is left of what was fed */
    size_t len;
    bool established;  /* the handshake is complete */
    bool peer_closed;  /* the peer's close_notify has been read */
    bool closed;       /* nothing can be written any more: close_notify or an alert has been */
    bool no_memory;    /* why it has failed */
    bool restless;     /* ... for TLS_IDLE_MESSAGES: nothing more is read */
    uint16_t messages; /* of them, since */
    uint32_t bytes;    /* ... so many of plain text */
    bool in_kernel;    /* the kernel encrypts: nothing comes into `out` any more */
    bool rekeyed;      /* ... and OpenSSL would have other keys than the kernel */
    bool alert_due;    /* ... and this is to be sent, as a record of type TLS_RECORD_ALERT */
    unsigned char alert[2];
    struct tls_ktls *ktls; /* what the kernel needs for it; NULL: it cannot */
};

/* A new connection; its output comes from `pool`. 0 or -ENOMEM. */
int tls_open(struct tls *t, struct tls_context *c, struct bufpool *pool);

/* All but t->out, which the caller clears when nothing of it is in flight. */
void tls_free(struct tls *t);

/* Ciphertext that has arrived. Borrowed until t->len is 0; not while there is some. */
static inline void tls_feed(struct tls *t, const char *data, size_t len)
{
    t->data = data;
    t->len = len;
}

/* Is it a record of TLS that begins so? Else somebody speaks something else. */
static inline bool tls_is_record(const char *data)
{
    return *data == 22; /* handshake, RFC 8446 section 5.1 */
}

/* Go on with the handshake: TLS_OK when it is complete. Output may be made by any of its steps. */
enum tls_status tls_handshake(struct tls *t);

/* Up to `size` bytes of plain text into `to`, as TLS_OK with *n > 0. */
enum tls_status tls_read(struct tls *t, char *to, size_t size, size_t *n);

/* Does it hold plain text that the next tls_read() can give without input? */
bool tls_has_pending(const struct tls *t);

/* Encrypt `len` (1 to TLS_RECORD_MAX) bytes into t->out. 0, or -errno: the connection has failed. */
int tls_write(struct tls *t, const char *data, size_t len);

/*
 * From now on the kernel encrypts what is sent on `fd`, which is connected by TCP and has been given
 * everything of t->out: true; plain text is sent on it then, tls_write() is over, and what there is to
 * say by way of an alert is in t->alert. False: nothing has changed, and it need not be tried again.
 */
bool tls_ktls_begin(struct tls *t, int fd);

/* Say that nothing more will be written (close_notify), if that can still be said. */
void tls_close(struct tls *t);

/* Has this handshake taken up an earlier session? */
bool tls_is_resumed(const struct tls *t);

/* As OpenSSL names them, constants: "TLSv1.3", "TLS_AES_128_GCM_SHA256". */
const char *tls_protocol_name(const struct tls *t);
const char *tls_cipher_name(const struct tls *t);

/* What kind of failure the last one was. */
enum tls_blame {
    TLS_BLAME_PROTOCOL,    /* no TLS, or broken */
    TLS_BLAME_CERTIFICATE, /* the peer's is not one that is trusted, or another's */
    TLS_BLAME_ALERT,       /* the peer has refused */
};
enum tls_blame tls_blame(void);

/* Why the last call failed, in OpenSSL's words; valid until the next call for any connection. */
const char *tls_reason(void);

#endif
