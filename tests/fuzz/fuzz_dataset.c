/* SPDX-License-Identifier: MIT */
/*
 * fuzz_dataset.c - any bytes as a dataset: refused with one line that names the file, or taken, and
 * then what is written of it is of the length announced, and is a dataset again (without the
 * totals) that is written alike.
 */
#include "config.h"

#include "fuzz/fuzz.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dataset.h"
#include "json_writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

static int load(struct dataset *d, const void *text, size_t len)
{
    char error[DATASET_ERROR_MAX], path[64];
    int fd = memfd_create("dataset", MFD_CLOEXEC);

    require(fd >= 0 && write(fd, text, len) == (ssize_t)len && lseek(fd, 0, SEEK_SET) == 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    memset(error, 'x', sizeof(error));
    int rc = dataset_load(d, path, error);
    close(fd);
    require(memchr(error, '\0', sizeof(error)) != NULL);
    if (rc < 0) {
        require(!strncmp(error, path, strlen(path)) && error[strlen(path)] == ':');
        for (const char *p = error; *p; p++)
            require(*p >= ' ' && *p < 0x7f); /* nothing of the file reaches a terminal as it is */
    }
    return rc;
}

/* The whole body, in memory of the caller's; each call writes little. */
static char *write_body(const struct dataset *d, int64_t m, size_t *len)
{
    struct bufpool p;
    struct out o = {0};
    uint32_t next = 0, bad;
    int64_t length = json_body_length(d, d->count, m, &bad);
    struct bufpool_budget budget = {.max = SIZE_MAX};
    struct backend_segment from;
    size_t n = 0;

    if (length < 0)
        return NULL;
    bufpool_init(&p, DATASET_RECORD_MAX + 64, &budget);
    char *text = malloc((size_t)length + 1);
    require(json_write_open(&o, &p) == 0);
    do
        require(json_write_records(&o, &p, d, &next, d->count, m, 100) == 0);
    while (next < d->count);
    require(json_write_close(&o, &p, d->count) == 0);
    require(out_pending(&o) == (size_t)length);
    while (out_segments(&o, &from, 1)) {
        memcpy(text + n, from.data, from.len);
        n += from.len;
        out_consume(&o, from.len);
    }
    require(p.used == 0);
    bufpool_destroy(&p);
    *len = n;
    text[n] = '\0';
    return text;
}

/* Cut {"items":  ,"count":N} and every ,"total":N} out of a body, so that it is a dataset. */
static size_t strip(char *text, size_t len)
{
    static const char total[] = ",\"total\":";
    const char *from = text + strlen("{\"items\":"), *end = text + len;
    char *to = text;
    bool inside = false;

    while (from < end) {
        char c = *from;
        if (inside && c == '\\') {
            *to++ = *from++;
        } else if (c == '"') {
            inside = !inside;
        } else if (!inside && c == ',' && !strncmp(from, total, strlen(total))) {
            from += strlen(total);
            while (*from == '-' || (*from >= '0' && *from <= '9'))
                from++;
            continue;
        } else if (!inside && c == ']' && !strncmp(from, "],\"count\":", 10)) {
            *to++ = ']'; /* tags are followed by "rating": this is the end of the records */
            break;
        }
        *to++ = *from++;
    }
    return (size_t)(to - text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dataset d;
    size_t len, again_len;

    if (load(&d, data, size) < 0)
        return 0;
    char *text = write_body(&d, 1, &len);
    require(text != NULL); /* price x quantity fits: that was checked */
    char *big = write_body(&d, INT64_MAX, &again_len);
    free(big);
    dataset_free(&d);

    char *copy = malloc(len + 1);
    memcpy(copy, text, len + 1);
    require(load(&d, copy, strip(copy, len)) == 0);
    char *again = write_body(&d, 1, &again_len);
    require(again_len == len && !memcmp(again, text, len));
    dataset_free(&d);
    free(again);
    free(copy);
    free(text);
    return 0;
}
