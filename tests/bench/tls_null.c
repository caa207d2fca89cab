/* SPDX-License-Identifier: MIT */
/*
 * tls_null.c - the least that a TLS server can do: a blocking loop of accept, SSL_accept, SSL_read,
 * SSL_write, SSL_shutdown and close, as openssl s_time wants it, with the policy of src/net/tls_context.c
 * as far as it costs time. The yardstick for handshakes: tests/bench/tls_handshakes.py.
 * usage: tls_null CERTIFICATE KEY; prints its port
 */
#include "config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

static const char answer[] =
    "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
    "Content-Length: 2\r\nConnection: close\r\n\r\nok";

static SSL_CTX *tls_setup(const char *cert, const char *key)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") != 1) {
        ERR_print_errors_fp(stderr);
        return NULL;
    }
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384");
    return ctx;
}

static void serve(SSL_CTX *ctx, int fd)
{
    char in[4096];
    SSL *ssl = SSL_new(ctx);

    if (ssl && SSL_set_fd(ssl, fd) == 1 && SSL_accept(ssl) == 1 &&
        SSL_read(ssl, in, sizeof(in)) > 0) {
        SSL_write(ssl, answer, sizeof(answer) - 1);
        SSL_shutdown(ssl);
        shutdown(fd, SHUT_WR);
        while (read(fd, in, sizeof(in)) > 0)
            continue;
    }
    ERR_clear_error();
    SSL_free(ssl);
    close(fd);
}

int main(int argc, char **argv)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int lfd = socket(AF_INET, SOCK_STREAM, 0), one = 1, fd;
    SSL_CTX *ctx = argc == 3 ? tls_setup(argv[1], argv[2]) : NULL;

    signal(SIGPIPE, SIG_IGN);
    if (!ctx || bind(lfd, (struct sockaddr *)&a, len) < 0 || listen(lfd, 1024) < 0 ||
        getsockname(lfd, (struct sockaddr *)&a, &len) < 0) {
        if (ctx)
            perror("listening on 127.0.0.1");
        else
            fprintf(stderr, "usage: %s CERTIFICATE KEY\n", argv[0]);
        return 1;
    }
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    while ((fd = accept(lfd, NULL, NULL)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        serve(ctx, fd);
    }
    return 1;
}
