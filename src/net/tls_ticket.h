/* SPDX-License-Identifier: MIT */
/*
 * tls_ticket.h - the keys that session tickets are sealed with (RFC 5077, RFC 8446 section 4.6.1).
 *
 * The keys change with time, and all processes forked from one have the same without telling each
 * other: each key comes from a chain of hashes, which everybody moves on by the clock. A step
 * cannot be undone, so that keys of the past are nowhere. A ticket is good while its key is the
 * present one or the one before.
 */
#ifndef BIVALVE_TLS_TICKET_H
#define BIVALVE_TLS_TICKET_H

#include <stdbool.h>
#include <stdint.h>

#define TLS_TICKET_ROTATE_S 3600 /* and tickets are good for so long */
#define TLS_TICKET_NAME     16

struct ssl_ctx_st;

struct tls_ticket_key {
    uint8_t name[TLS_TICKET_NAME]; /* at the head of each ticket, in the clear */
    uint8_t cipher[32];            /* AES-256-CBC */
    uint8_t mac[32];               /* HMAC-SHA256 */
};

struct tls_tickets {
    uint64_t period; /* that `current` is for: time divided by TLS_TICKET_ROTATE_S */
    uint8_t chain[32];
    struct tls_ticket_key current, previous;
    struct evp_cipher_st *cipher;
};

/* New random keys for the period of `now_s`, of any clock that the processes share. False: none. */
bool tls_tickets_init(struct tls_tickets *t, uint64_t now_s);

/* The keys that `from` has, which is moved on to `now_s` first. False: OpenSSL fails. */
bool tls_tickets_copy(struct tls_tickets *t, struct tls_tickets *from, uint64_t now_s);
void tls_tickets_free(struct tls_tickets *t);

/* The key to seal with now. False: OpenSSL fails. */
bool tls_tickets_advance(struct tls_tickets *t, uint64_t now_s);

/* The key called `name`, NULL: too old, or of another server. After tls_tickets_advance(). */
const struct tls_ticket_key *tls_tickets_find(const struct tls_tickets *t, const uint8_t *name);

/* Let the sessions of this SSL_CTX be sealed by tickets of `t`. False: OpenSSL refuses. */
bool tls_ticket_install(struct ssl_ctx_st *ctx, struct tls_tickets *t);

#endif
