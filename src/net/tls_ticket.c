/* SPDX-License-Identifier: MIT */
/*
 * tls_ticket.c - see tls_ticket.h.
 */
#include "config.h"

#include "tls_ticket.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "clock.h"

/* HMAC-SHA256 of `label` under the chain: what is derived under different labels is independent. */
static bool tickets_derive(const uint8_t *chain, const char *label, uint8_t out[32])
{
    unsigned len = 32;

    return HMAC(EVP_sha256(), chain, 32, (const unsigned char *)label, strlen(label), out, &len) !=
           NULL;
}

static bool tickets_derive_key(const uint8_t *chain, struct tls_ticket_key *key)
{
    uint8_t name[32];
    bool ok = tickets_derive(chain, "name", name) && tickets_derive(chain, "cipher", key->cipher) &&
              tickets_derive(chain, "mac", key->mac);

    if (ok)
        memcpy(key->name, name, sizeof(key->name));
    return ok;
}

bool tls_tickets_init(struct tls_tickets *t, uint64_t now_s)
{
    memset(t, 0, sizeof(*t));
    t->period = now_s / TLS_TICKET_ROTATE_S;
    t->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (t->cipher && RAND_bytes(t->chain, sizeof(t->chain)) == 1 &&
        RAND_bytes((uint8_t *)&t->previous, sizeof(t->previous)) == 1 && /* nobody's */
        tickets_derive_key(t->chain, &t->current))
        return true;
    tls_tickets_free(t);
    return false;
}

bool tls_tickets_copy(struct tls_tickets *t, struct tls_tickets *from, uint64_t now_s)
{
    if (!tls_tickets_advance(from, now_s) || EVP_CIPHER_up_ref(from->cipher) != 1)
        return false;
    *t = *from;
    return true;
}

void tls_tickets_free(struct tls_tickets *t)
{
    EVP_CIPHER_free(t->cipher);
    OPENSSL_cleanse(t, sizeof(*t));
}

bool tls_tickets_advance(struct tls_tickets *t, uint64_t now_s)
{
    uint64_t period = now_s / TLS_TICKET_ROTATE_S;

    while (t->period < period) {
        struct tls_ticket_key key;
        uint8_t next[32];
        if (!tickets_derive(t->chain, "next", next) || !tickets_derive_key(next, &key))
            return false;
        t->previous = t->current;
        t->current = key;
        memcpy(t->chain, next, sizeof(next));
        OPENSSL_cleanse(&key, sizeof(key));
        OPENSSL_cleanse(next, sizeof(next));
        t->period++;
    }
    return true;
}

const struct tls_ticket_key *tls_tickets_find(const struct tls_tickets *t, const uint8_t *name)
{
    if (memcmp(name, t->current.name, TLS_TICKET_NAME) == 0)
        return &t->current;
    if (memcmp(name, t->previous.name, TLS_TICKET_NAME) == 0)
        return &t->previous;
    return NULL;
}

/* ---- what OpenSSL asks ---- */

static bool ticket_set_mac(EVP_MAC_CTX *mac, const struct tls_ticket_key *key)
{
    char digest[] = "SHA256";
    uint8_t copy[sizeof(key->mac)];
    OSSL_PARAM params[3];

    memcpy(copy, key->mac, sizeof(copy)); /* OSSL_PARAM is not for constants */
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, copy, sizeof(copy));
    params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
    params[2] = OSSL_PARAM_construct_end();
    bool ok = EVP_MAC_CTX_set_params(mac, params) == 1;
    OPENSSL_cleanse(copy, sizeof(copy));
    return ok;
}

/* Name and initialization vector of a new ticket, and what seals it. */
static bool ticket_seal(const struct tls_tickets *t, unsigned char *name, unsigned char *iv,
                        EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    const struct tls_ticket_key *key = &t->current;

    memcpy(name, key->name, TLS_TICKET_NAME);
    return RAND_bytes(iv, EVP_CIPHER_get_iv_length(t->cipher)) == 1 &&
           EVP_EncryptInit_ex2(cipher, t->cipher, key->cipher, iv, NULL) == 1 &&
           ticket_set_mac(mac, key);
}

/*
 * SSL_CTX_set_tlsext_ticket_key_evp_cb(3). To seal: 1, 0: no ticket. To open: 1, 2: open it and seal a new
 * one, 0: a full handshake. So it can do without a ticket whatever fails, if OpenSSL's queue of errors does not
 * say afterwards that the handshake has.
 */
static int ticket_on_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                         EVP_MAC_CTX *mac, int seal)
{
    struct tls_tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    bool ok = tls_tickets_advance(t, clock_monotonic_ms() / 1000);
    const struct tls_ticket_key *key = ok && !seal ? tls_tickets_find(t, name) : NULL;

    if (seal)
        ok = ok && ticket_seal(t, name, iv, cipher, mac);
    else
        ok = key && EVP_DecryptInit_ex2(cipher, t->cipher, key->cipher, iv, NULL) == 1 &&
             ticket_set_mac(mac, key);
    if (!ok)
        ERR_clear_error();
    if (!ok || seal)
        return ok;
    /* Tickets of 1.3 are good for once: who has used one up gets the next. */
    return key == &t->current && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
}

bool tls_ticket_install(SSL_CTX *ctx, struct tls_tickets *t)
{
    static const unsigned char id[] = "bivalve";

    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ctx, TLS_TICKET_ROTATE_S);
    return SSL_CTX_set_app_data(ctx, t) == 1 &&
           SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1) == 1 &&
           SSL_CTX_set_num_tickets(ctx, 1) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_on_key) == 1;
}
