/* SPDX-License-Identifier: MIT */
/*
 * world.h - what the tests of the core share: the core over the simulated backend, with a script
 * whose every answer is a knob, and the words to be a client of it. For cmocka programs of one
 * file.
 */
#ifndef BIVALVE_TESTS_WORLD_H
#define BIVALVE_TESTS_WORLD_H

#include <errno.h>
#include <stdio.h>

#include "dataset.h"
#include "sim_fixture.h"

#define GET_PIPELINE "GET /pipeline HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST_20      "POST /baseline11?a=13&b=42 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n20"
#define POST_CHUNKED                                                        \
    "POST /baseline11?a=13&b=42 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " \
    "chunked\r\n\r\n1\r\n2\r\n1;x=y\r\n0\r\n0\r\n\r\n"

/* A script whose every answer is a field. */
struct knobs {
    int input_max;  /* bytes an upcall, 0: all */
    int send_max;   /* bytes taken at once; 0: all; -1: pend */
    int sent_max;   /* bytes completed; 0: all; -1: never */
    int send_error; /* errno of the next send */
    int detach_in;
    int listen_off_in;
    int attach_error;
};

static inline int knobs_choose(void *arg, int fd, enum sim_choice what, int limit)
{
    const struct knobs *k = arg;

    (void)fd;
    switch (what) {
    case SIM_INPUT: return k->input_max ? MIN(k->input_max, limit) : limit;
    case SIM_SEND:
        if (k->send_error)
            return -k->send_error;
        return k->send_max < 0 ? 0 : k->send_max ? MIN(k->send_max, limit) : limit;
    case SIM_SENT: return k->sent_max < 0 ? 0 : k->sent_max ? MIN(k->sent_max, limit) : limit;
    case SIM_DETACH: return k->detach_in;
    case SIM_ATTACH: return -k->attach_error;
    case SIM_LISTEN_OFF: return k->listen_off_in;
    case SIM_CONNECT: return 0;
    }
    return 0;
}

struct world {
    struct sim_fixture f;
    struct knobs knobs;
    struct sim_script script;
};

static struct dataset shipped;

static inline int group_setup(void **state)
{
    char error[DATASET_ERROR_MAX];
    (void)state;
    if (dataset_load(&shipped, TEST_SRCDIR "/data/dataset.json", error) < 0) {
        fprintf(stderr, "%s\n", error);
        return -1;
    }
    return 0;
}

static inline int group_teardown(void **state)
{
    (void)state;
    dataset_free(&shipped);
    return 0;
}

static inline int setup(void **state)
{
    struct world *w = aligned_alloc(CACHE_LINE, util_round_up(sizeof(*w), CACHE_LINE));
    if (!w)
        return -1;
    memset(w, 0, sizeof(*w));
    settings_init(&w->f.set);
    w->f.data = shipped;
    w->script = (struct sim_script){.choose = knobs_choose, .arg = &w->knobs};
    *state = w;
    return 0;
}

static inline int teardown(void **state)
{
    free(*state);
    return 0;
}

static inline void open_world(struct world *w)
{
    sim_fixture_open(&w->f);
    sim_set_script(w->f.http.loop.be, &w->script);
}

static inline int connect_one(struct world *w)
{
    int fd = sim_connect(w->f.http.loop.be);
    assert_true(fd >= 0);
    sim_fixture_iterate(&w->f, 1);
    return fd;
}

static inline void say(struct world *w, int fd, const char *text)
{
    sim_input(w->f.http.loop.be, fd, text, strlen(text));
}

static inline size_t count(const char *hay, size_t len, const char *needle)
{
    size_t n = 0, nl = strlen(needle);
    for (size_t i = 0; i + nl <= len; i++)
        n += !memcmp(hay + i, needle, nl);
    return n;
}

/* How often `needle` stands in what fd's client got. */
static inline size_t got(struct world *w, int fd, const char *needle)
{
    size_t len;
    const char *out = sim_output(w->f.http.loop.be, fd, &len);
    return count(out, len, needle);
}

static inline bool ends_with(struct world *w, int fd, const char *tail)
{
    size_t len, tl = strlen(tail);
    const char *out = sim_output(w->f.http.loop.be, fd, &len);
    return len >= tl && !memcmp(out + len - tl, tail, tl);
}

/* Let `ms` pass for the timers without waiting for it. */
static inline void pass(struct world *w, uint32_t ms)
{
    w->f.http.loop.timers.base_ms -= ms;
    sim_fixture_iterate(&w->f, 2);
}

#endif
