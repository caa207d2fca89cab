/* SPDX-License-Identifier: MIT */
/*
 * fuzz_tls.c - streams with TLS over the simulated backend: the input is a schedule of what three clients
 * do, two of which speak TLS by OpenSSL, with bytes of theirs that are split, forged, repeated and left
 * out; and of how much the backend delivers, takes and fails.
 *
 * Found are crashes, failed assertions, and anything that has not come back at the end. OpenSSL's random
 * numbers are its own, so an input finds the same states again, but not the same bytes.
 */
#include "config.h"

#include "fuzz/fuzz.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "log.h"
#include "sim/sim_fixture.h"
#include "stream_tls.h"
#include "tls.h"

#define FUZZ_CLIENTS 3
#define FUZZ_STEPS   200

struct schedule {
    const uint8_t *data;
    size_t len, pos;
};

struct fuzz_client {
    int fd;
    SSL *ssl;    /* NULL: raw bytes alone */
    size_t seen; /* of the server's output */
};

static struct tls_context *fuzz_context;
static SSL_CTX *fuzz_client_ctx;

/* Next byte; zeroes when the schedule has ended, on which everything goes well. */
static unsigned schedule_next(struct schedule *s)
{
    return s->pos < s->len ? s->data[s->pos++] : 0;
}

static int schedule_choose(void *arg, int fd, enum sim_choice what, int limit)
{
    unsigned b = schedule_next(arg);

    (void)fd;
    switch (what) {
    case SIM_DETACH: return b < 128 ? 0 : (int)(b - 127) / 16;
    case SIM_SEND:
    case SIM_SENT: return b == 255 ? -ECONNRESET : b >= 200 ? 0 : b == 0 ? limit : (int)b;
    case SIM_INPUT: return b == 0 ? limit : b == 255 ? 0 : (int)b;
    default: return 0;
    }
}

/* Once: keys, and both contexts. */
static void fuzz_init(void)
{
    char dir[] = "/tmp/bivalve-fuzz-XXXXXX", cert[64], key[64], error[TLS_ERROR_MAX];
    struct tls_config cfg = {.pair_count = 1, .min_version = 12};

    log_set_level(LOG_LEVEL_ERROR);
    if (!mkdtemp(dir))
        abort();
    snprintf(cert, sizeof(cert), "%s/cert", dir);
    snprintf(key, sizeof(key), "%s/key", dir);
    cfg.pairs[0] = (struct tls_pair){.cert = cert, .key = key};
    if (tls_make_cert(cert, key, "DNS:x", false, error) < 0 ||
        tls_context_open(&fuzz_context, &cfg, NULL, error) < 0)
        abort();
    unlink(cert);
    unlink(key);
    rmdir(dir);
    fuzz_client_ctx = SSL_CTX_new(TLS_client_method());
}

static void fuzz_connect(struct sim_fixture *f, struct schedule *s, struct fuzz_client *c, bool tls)
{
    SSL_free(c->ssl);
    *c = (struct fuzz_client){.fd = sim_connect(f->http.loop.be)};
    if (!tls)
        return;
    c->ssl = SSL_new(fuzz_client_ctx);
    SSL_set_bio(c->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(c->ssl);
    if (schedule_next(s) % 2)
        SSL_set_max_proto_version(c->ssl, TLS1_2_VERSION);
}

/* The server's bytes to the client, and the client's to the server, which `forge` says what to do to. */
static void fuzz_move(struct sim_fixture *f, struct schedule *s, struct fuzz_client *c,
                      unsigned forge)
{
    struct backend *be = f->http.loop.be;
    char plain[4096], *data;
    size_t len;
    const char *out = sim_output(be, c->fd, &len);

    if (len > c->seen)
        BIO_write(SSL_get_rbio(c->ssl), out + c->seen, (int)(len - c->seen));
    c->seen = len;
    SSL_do_handshake(c->ssl);
    while (SSL_read(c->ssl, plain, sizeof(plain)) > 0)
        continue;
    long n = BIO_get_mem_data(SSL_get_wbio(c->ssl), &data);
    if (n > 0 && forge == 1)
        data[schedule_next(s) * 3 % (unsigned)n] ^= (char)(1 << schedule_next(s) % 8);
    if (n > 0 && forge != 2 && sim_is_open(be, c->fd)) /* 2: left out */
        sim_input(be, c->fd, data, (size_t)n);
    if (n > 0 && forge == 3 && sim_is_open(be, c->fd)) /* twice */
        sim_input(be, c->fd, data, (size_t)n);
    (void)BIO_reset(SSL_get_wbio(c->ssl));
}

/* What a client has to say by TLS. */
static void fuzz_say(struct fuzz_client *c, unsigned what)
{
    static const char *const texts[] = {
        "GET /pipeline HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /baseline11?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n20",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3000\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4e\r\n",
        "GET /pipeline HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "12345678901234567890",
        "GET /pipeline HTTP/1.1\r\nHo",
    };

    if (!SSL_is_init_finished(c->ssl))
        return;
    if (what < ARRAY_LEN(texts))
        SSL_write(c->ssl, texts[what], (int)strlen(texts[what]));
    else if (what == ARRAY_LEN(texts))
        SSL_shutdown(c->ssl);
    else if (what == ARRAY_LEN(texts) + 1)
        SSL_key_update(c->ssl, SSL_KEY_UPDATE_REQUESTED);
    else
        SSL_renegotiate(c->ssl);
}

static void fuzz_step(struct sim_fixture *f, struct schedule *s, struct fuzz_client *clients)
{
    struct backend *be = f->http.loop.be;
    unsigned who = schedule_next(s) % FUZZ_CLIENTS, what = schedule_next(s);
    struct fuzz_client *c = &clients[who];

    if (c->fd < 0 || !sim_is_open(be, c->fd)) {
        fuzz_connect(f, s, c, who > 0);
    } else if (what >= 250) {
        sim_eof(be, c->fd);
    } else if (what >= 245) {
        sim_error(be, c->fd, ECONNRESET);
    } else if (what >= 240) {
        f->http.loop.timers.base_ms -= schedule_next(s) * 300u; /* time passes */
    } else if (what >= 200 || !c->ssl) {
        char raw[32];
        size_t n = 1 + what % (sizeof(raw) - 1);
        for (size_t i = 0; i < n; i++)
            raw[i] = (char)schedule_next(s);
        sim_input(be, c->fd, raw, n);
    } else {
        if (what >= 100)
            fuzz_say(c, what % 10);
        fuzz_move(f, s, c, what >= 180 ? what % 4 : 0);
    }
    sim_fixture_iterate(f, 1 + (int)(what & 3));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sim_fixture f;
    struct schedule s = {data, size, 0};
    const struct sim_script script = {.choose = schedule_choose, .arg = &s};
    struct fuzz_client clients[FUZZ_CLIENTS] = {{.fd = -1}, {.fd = -1}, {.fd = -1}};

    if (!fuzz_context)
        fuzz_init();
    settings_init(&f.set);
    f.set.max_output_bytes = 64 + schedule_next(&s) * 64;
    f.set.recv_buffer_bytes = 16 + schedule_next(&s) * 16;
    f.set.max_linger_bytes = 512;
    sim_fixture_open(&f);
    f.http.loop.budget.max = 40000u + schedule_next(&s) * 8192u;
    f.http.loop.acceptor.listener[0].tls = true;
    if (tls_streams_open(&f.http.loop, fuzz_context) < 0)
        abort();
    sim_set_script(f.http.loop.be, &script);
    for (int i = 0; i < FUZZ_STEPS && s.pos < s.len; i++)
        fuzz_step(&f, &s, clients);
    for (int i = 0; i < FUZZ_CLIENTS; i++)
        SSL_free(clients[i].ssl);
    if (sim_fixture_close(&f))
        abort();
    tls_streams_close(&f.http.loop);
    return 0;
}
