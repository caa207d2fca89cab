/* SPDX-License-Identifier: MIT */
/*
 * fuzz_load.c - what bivalve-load is told. The input is the words of a command line, each ended by a
 * newline, and behind a form feed what the file of --raw has. What is taken is within its range; what
 * is refused is refused in one printable line; requests of a file are its bytes, all of them and in
 * order, and no request is longer than it was said to be.
 */
#include "config.h"

#include "fuzz/fuzz.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "load_options.h"
#include "load_request.h"
#include "load_target.h"

#define FUZZ_WORDS_MAX 100

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void require_printable(const char *error)
{
    size_t len = strlen(error);

    require(len > 5 && len < LOAD_ERROR_MAX);
    for (size_t i = 0; i < len; i++)
        require(error[i] >= ' ' && error[i] <= '~');
}

static void check_options(const struct load_options *o)
{
    require(o->connections >= 1 && o->connections <= 1000000);
    require(o->processes <= LOAD_PROCESSES_MAX);
    require(o->pipeline >= 1 && o->pipeline <= LOAD_PIPELINE_MAX);
    require(o->duration_us >= 1000 && o->duration_us <= UINT64_C(3600000000));
    require(o->warmup_us <= UINT64_C(3600000000) && o->ramp_us <= UINT64_C(3600000000));
    require(o->timeout_us >= 1000 && o->timeout_us <= UINT64_C(1800000000));
    require(o->rate_from >= 0 && o->rate_from <= 1e8 && o->rate_to >= 0 && o->rate_to <= 1e8);
    require((o->rate_from > 0) == (o->rate_to > 0));
    require(o->slo_p99_us >= 0 && o->max_error_rate <= 1 && o->backend[0]);
    require(o->header_count <= LOAD_HEADERS_MAX && o->raw_count <= LOAD_RAW_MAX);
    for (unsigned i = 0; i < 600; i++)
        require(o->expect_status[i] <= 1 && (i >= 100 || !o->expect_status[i]));
    require(o->action == LOAD_HELP || o->action == LOAD_VERSION || o->url);
}

static void check_requests(const struct load_requests *r, const struct load_options *o,
                           const uint8_t *file, size_t len)
{
    struct prng prng = {.state = 1};
    char *out = malloc(r->longest);
    size_t sum = 0;

    require(out && r->count >= 1);
    for (unsigned i = 0; i < r->count; i++) {
        const struct load_request *q = &r->list[i];
        require(load_request_write(q, &prng, out) <= r->longest);
        if (o->raw_count && !o->random_query) {
            require(q->len <= len - sum && !memcmp(q->bytes, file + sum, q->len));
            sum += q->len;
        }
    }
    require(!o->raw_count || o->random_query || sum == len);
    free(out);
}

/* Make the requests, with `file` in the place of the first --raw; other files are none of ours. */
static void make_requests(struct load_options *o, const uint8_t *file, size_t len)
{
    char error[LOAD_ERROR_MAX], name[40];
    struct load_requests r;
    struct load_target t;
    int fd = -1;

    if ((o->body && *o->body == '@') || (o->expect_body && *o->expect_body == '@'))
        return;
    /* An address is looked up nowhere. */
    if (load_target_parse(o->url, "/unix", &t, error) < 0) {
        require_printable(error);
        return;
    }
    if (o->raw_count) {
        fd = memfd_create("raw", MFD_CLOEXEC);
        require(fd >= 0 && write(fd, file, len) == (ssize_t)len);
        snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
        o->raw[0] = name;
        o->raw_count = 1;
    }
    if (load_requests_make(&r, o, &t, error) == 0) {
        check_requests(&r, o, file, len);
        load_requests_free(&r);
    } else {
        require_printable(error);
        require(!r.list && !r.body && !r.count);
    }
    if (fd >= 0)
        close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct load_options o;
    char *argv[FUZZ_WORDS_MAX + 2] = {(char *)"bivalve-load"};
    const uint8_t *feed = size ? memchr(data, '\f', size) : NULL;
    size_t words = feed ? (size_t)(feed - data) : size, file_len = feed ? size - words - 1 : 0;
    const uint8_t *file = feed ? feed + 1 : data;
    char error[LOAD_ERROR_MAX], *text = malloc(words + 1), *next = text;
    int argc = 1;

    require(text);
    memcpy(text, data, words);
    text[words] = '\0';
    for (char *nul = text; nul < text + words; nul++)
        if (!*nul)
            *nul = '\n'; /* no word has a NUL */
    while (argc <= FUZZ_WORDS_MAX && next && *next) {
        argv[argc++] = next;
        next = strchr(next, '\n');
        if (next)
            *next++ = '\0';
    }
    if (load_options_parse(argc, argv, &o, error) < 0) {
        require_printable(error);
    } else {
        check_options(&o);
        if (o.url)
            make_requests(&o, file, file_len);
    }
    free(text);
    return 0;
}
