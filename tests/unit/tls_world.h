/* SPDX-License-Identifier: MIT */
/*
 * tls_world.h - a server's side of TLS (tls.h) and OpenSSL's own client, in memory, for tests.
 */
#ifndef BIVALVE_TESTS_TLS_WORLD_H
#define BIVALVE_TESTS_TLS_WORLD_H

#include <stddef.h>

#include <openssl/ssl.h>

#include "tls.h"
#include "tls_certs.h"

#define SPLIT_ALL ((size_t)-1)

struct world {
    struct bufpool_budget budget;
    struct bufpool pool;
    struct tls_config cfg;
    struct tls_context *context;
    struct tls server;
    SSL_CTX *client_ctx;
    SSL *client; /* memory BIOs */
    size_t split;
    int alert;              /* that the client has got, 0: none */
    enum tls_status status; /* the server's last */
    char got[1 << 17];      /* plain text that the server has read */
    size_t got_len;
};

/* A configuration with all three certificates, and a client that takes anything. */
void world_init(struct world *w);

/* The server's context, as w->cfg has it by now. */
void world_serve(struct world *w);
void world_close(struct world *w);

/* A connection, before its first byte. */
void world_connect(struct world *w);
void world_disconnect(struct world *w);

/* Bytes to the server, in pieces of w->split. */
void server_feed(struct world *w, const char *data, size_t len);

/* What either side has to send reaches the other. */
void to_server(struct world *w);
void to_client(struct world *w);

/* Until nothing moves any more. The client's last result. */
int shake(struct world *w);

/* `len` bytes (to 128 KiB) there and back. */
void echo(struct world *w, size_t len);

/* A handshake that fails, with this alert to the client. */
void refused(struct world *w, int alert);

#endif
