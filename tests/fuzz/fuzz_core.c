/* SPDX-License-Identifier: MIT */
/*
 * fuzz_core.c - the whole core over the simulated backend. The input is a schedule: first the
 * settings, then what the clients do, and between that every choice the backend is asked for: how
 * much to deliver, to take, to complete, when to fail.
 *
 * Found are crashes, failed assertions of either side of the contract, and anything that has not
 * come back at the end.
 */
#include "config.h"

#include "fuzz/fuzz.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "json_writer.h"
#include "log.h"
#include "sim/sim_fixture.h"

#define FUZZ_CLIENTS 12
#define FUZZ_STEPS   400

struct schedule {
    const uint8_t *data;
    size_t len, pos;
};

/* Next byte; zeroes when the schedule has ended, on which everything goes well. */
static unsigned schedule_next(struct schedule *s)
{
    return s->pos < s->len ? s->data[s->pos++] : 0;
}

static int schedule_choose(void *arg, int fd, enum sim_choice what, int limit)
{
    struct schedule *s = arg;
    unsigned b = schedule_next(s);

    (void)fd;
    switch (what) {
    case SIM_LISTEN_OFF: return b < 128 ? 0 : (int)(b - 127) / 16;
    case SIM_CONNECT: return 0;
    case SIM_ATTACH: return b == 255 ? -ENOMEM : 0;
    case SIM_DETACH: return b < 128 ? 0 : (int)(b - 127) / 16;
    case SIM_SEND:
    case SIM_SENT:
        if (b == 255)
            return -ECONNRESET;
        if (b >= 200)
            return 0;
        return b == 0 ? limit : (int)b;
    case SIM_INPUT: return b == 0 ? limit : b == 255 ? 0 : (int)b;
    }
    return 0;
}

/* Whole requests, so that the fuzzer does not have to find HTTP first; and raw bytes of its own. */
static const char *const fuzz_texts[] = {
    "GET /pipeline HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /baseline11?a=13&b=42 HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /baseline11?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n20",
    ("POST /baseline11 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
     "2\r\n20\r\n0\r\n\r\n"),
    "POST /baseline11 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n",
    "GET /json/3?m=2 HTTP/1.1\r\nHost: x\r\n\r\n",
    "HEAD /json/2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3000\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4e\r\n",
    "GET /delay/0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /delay/60000 HTTP/1.1\r\nHost: x\r\n\r\n",
    "HEAD /delay/1000 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n",
    "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\n\r\n",
    "POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n",
    "12345678901234567890",
    "GET /pipeline HTTP/1.1\r\nHo",
};

static const char fuzz_text[3 + DATASET_TEXT_PAD] = "\"t\"";
static struct dataset_text fuzz_tag = {fuzz_text, 3};
static struct dataset_record fuzz_records[3];
static uint64_t fuzz_lengths[4];

static void fuzz_dataset_init(struct dataset *d)
{
    for (int i = 0; i < 3; i++) {
        char text[8192];
        fuzz_records[i] = (struct dataset_record){.id = i,
                                                  .price = 3,
                                                  .quantity = 4,
                                                  .value = 12,
                                                  .name = fuzz_tag,
                                                  .category = fuzz_tag,
                                                  .tags = fuzz_tag};
        /* without the two digits of its total, with the comma before all but the first */
        fuzz_lengths[i + 1] =
            fuzz_lengths[i] + json_write_record(text, &fuzz_records[i], 1) - 2 + (i > 0);
    }
    *d = (struct dataset){
        .records = fuzz_records, .count = 3, .text_len = fuzz_lengths, .record_max = 256};
}

static void fuzz_step(struct sim_fixture *f, struct schedule *s, int *fds)
{
    unsigned who = schedule_next(s) % FUZZ_CLIENTS, what = schedule_next(s);
    int fd = fds[who];

    if (fd < 0 || !sim_is_open(f->http.loop.be, fd) || what >= 250) {
        if (fd >= 0 && sim_is_open(f->http.loop.be, fd))
            sim_eof(f->http.loop.be, fd);
        else
            fds[who] = sim_connect(f->http.loop.be);
    } else if (what < 128) {
        const char *text = fuzz_texts[what % ARRAY_LEN(fuzz_texts)];
        sim_input(f->http.loop.be, fd, text, strlen(text));
    } else if (what < 200) {
        char raw[32];
        size_t n = what % sizeof(raw);
        for (size_t i = 0; i < n; i++)
            raw[i] = (char)schedule_next(s);
        sim_input(f->http.loop.be, fd, raw, n);
    } else if (what < 210) {
        sim_error(f->http.loop.be, fd, ECONNRESET);
    } else if (what < 220) {
        unsigned ms = schedule_next(s) * 300u; /* time passes */
        f->http.loop.timers.base_ms -= ms;
        f->http.waits.base_ms -= ms;
    }
    sim_fixture_iterate(f, 1 + (int)(what & 3));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sim_fixture f;
    struct schedule s = {data, size, 0};
    const struct sim_script script = {.choose = schedule_choose, .arg = &s};
    int fds[FUZZ_CLIENTS];

    log_set_level(LOG_LEVEL_ERROR);
    for (int i = 0; i < FUZZ_CLIENTS; i++)
        fds[i] = -1;
    settings_init(&f.set);
    f.set.max_pipeline = 1 + schedule_next(&s) % 32;
    f.set.max_output_bytes = 64 + schedule_next(&s) * 64;
    f.set.max_connections = 1 + schedule_next(&s) % FUZZ_CLIENTS;
    unsigned limits = schedule_next(&s);
    f.set.max_requests = limits % 8;
    f.set.max_body_bytes = limits < 128 ? SETTINGS_BODY_BYTES : limits < 192 ? 0 : 100;
    f.set.recv_buffer_bytes = 256 + schedule_next(&s);
    f.set.max_header_bytes = 256;
    f.set.max_uri_bytes = 256;
    f.set.max_linger_bytes = 512;
    fuzz_dataset_init(&f.data);
    sim_fixture_open(&f);
    f.http.loop.budget.max = 40000u + schedule_next(&s) * 8192u;
    sim_set_script(f.http.loop.be, &script);

    for (int i = 0; i < FUZZ_STEPS && s.pos < s.len; i++)
        fuzz_step(&f, &s, fds);
    if (size & 1) {
        f.http.loop.acceptor.listener[0].fd = -1;
        loop_drain(&f.http.loop);
        sim_fixture_iterate(&f, 16);
    }
    if (sim_fixture_close(&f))
        abort();
    return 0;
}
