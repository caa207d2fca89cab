/* SPDX-License-Identifier: MIT */
/*
 * fuzz_options.c - the command line and an options file. The input is the words, each ended by a
 * newline, and behind a form feed what the file says. What is taken is within its range and gives
 * the same when parsed again; what is refused is refused in one printable line.
 */
#include "config.h"

#include "fuzz/fuzz.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "options_parse.h"
#include "registry.h"

#define FUZZ_WORDS_MAX 160

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void check_options(const struct options *o)
{
    const struct settings *s = &o->set;
    const char *colon = strchr(o->backend, ':');
    size_t len = colon ? (size_t)(colon - o->backend) : strlen(o->backend);

    require(o->workers >= OPTIONS_AUTO && o->workers <= OPTIONS_WORKERS_MAX);
    require(o->listen_count >= 1 && o->listen_count <= BACKEND_LISTENERS_MAX);
    require(!strcmp(o->backend, "auto") || registry_find(o->backend, len));
    require(o->dataset[0] && (!o->user || o->user[0]) && (!o->group || o->group[0]));
    require(o->log_level >= LOG_LEVEL_ERROR && o->log_level <= LOG_LEVEL_DEBUG);
    require(s->header_timeout_ms <= 1000000000 && s->drain_timeout_ms <= 1000000000);
    require(s->recv_buffer_bytes >= 16 && s->max_header_bytes >= 64 && s->max_header_fields >= 1 &&
            s->max_pipeline >= 1);
    require(s->max_body_bytes <= INT64_MAX && s->max_output_bytes >= 1);
    require(!o->admin.len || o->admin_remote || o->action == OPTIONS_STATUS ||
            listener_is_local(&o->admin));
    for (unsigned i = 0; i < o->listen_count; i++) {
        struct listener_addr again;
        char error[LISTENER_ERROR_MAX];
        require(listener_parse(o->listen[i].text, &again, error) == 0);
        require(!strcmp(again.text, o->listen[i].text) && again.len == o->listen[i].len);
        require(!memcmp(&again.u, &o->listen[i].u, sizeof(again.u)));
    }
}

/* Behind a form feed is a file, which is copied into `copy` since parsing writes to it. */
static int parse(int argc, char **argv, const uint8_t *file, size_t len, char *copy,
                 struct options *o, char *error)
{
    if (!file)
        return options_parse(argc, argv, o, error);
    memcpy(copy, file, len);
    copy[len] = '\0';
    return options_parse_with(argc, argv, "file", copy, len, o, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct options o, twice;
    char error[OPTIONS_ERROR_MAX], error_twice[OPTIONS_ERROR_MAX];
    char *argv[FUZZ_WORDS_MAX + 2] = {(char *)"bivalve"};
    const uint8_t *feed = size ? memchr(data, '\f', size) : NULL, *file = feed ? feed + 1 : NULL;
    size_t file_len = feed ? size - (size_t)(file - data) : 0;
    char *copy = malloc(file_len + 1);
    int argc = 1;

    if (feed)
        size = (size_t)(feed - data);
    char *text = malloc(size + 1), *next = text;
    require(copy && text);
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *nul = text; nul < text + size; nul++)
        if (!*nul)
            *nul = '\n'; /* no word has a NUL */
    while (argc <= FUZZ_WORDS_MAX && next && *next) {
        argv[argc++] = next;
        next = strchr(next, '\n');
        if (next)
            *next++ = '\0';
    }
    int rc = parse(argc, argv, file, file_len, copy, &o, error);
    require(parse(argc, argv, file, file_len, copy, &twice, error_twice) == rc);
    if (rc == 0) {
        check_options(&o);
        require(!memcmp(&o, &twice, sizeof(o)));
    } else {
        size_t len = strlen(error);
        require(!strcmp(error, error_twice) && len > 10 && len < sizeof(error) - 1);
        for (size_t i = 0; i < len; i++)
            require(error[i] >= ' ' && error[i] <= '~');
    }
    free(copy);
    free(text);
    return 0;
}
