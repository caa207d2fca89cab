/* SPDX-License-Identifier: MIT */
/*
 * load_request.h - the requests that are sent, as they go on the wire, made before the load begins.
 */
#ifndef BIVALVE_LOAD_REQUEST_H
#define BIVALVE_LOAD_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "load_options.h"
#include "prng.h"

#define LOAD_REQUESTS_MAX 65535
#define LOAD_RANDOM_MAX   8                 /* numbers in one request */
#define LOAD_FILE_MAX     ((size_t)1 << 30) /* bytes of a body, or a file of requests: below 2^32 */

/* A number in a request that is new each time. */
struct load_random {
    size_t at; /* before this byte of load_request.bytes */
    uint64_t from;
    uint64_t count; /* how many different ones; 0: all 2^64 */
};

struct load_request {
    char *bytes;
    size_t len;
    bool to_head; /* its method is HEAD: the answer has no body */
    unsigned random_count;
    struct load_random random[LOAD_RANDOM_MAX];
};

struct load_requests {
    struct load_request *list;
    unsigned count; /* at least 1 */
    size_t longest; /* bytes of the longest there can be */
    char *body;     /* that a right answer has, NULL: any */
    size_t body_len;
};

/*
 * Make the requests that the command line asks for; reads the files that it names. 0, or -errno with
 * one line in `error` (LOAD_ERROR_MAX bytes) and nothing left behind.
 */
int load_requests_make(struct load_requests *r, const struct load_options *o,
                       const struct load_target *t, char *error);
void load_requests_free(struct load_requests *r);

/* Write a request that has random numbers to `out`, which has room for the longest; its length. */
size_t load_request_write(const struct load_request *q, struct prng *prng, char *out);

#endif
