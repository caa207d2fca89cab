/* SPDX-License-Identifier: MIT */
/*
 * stats.h - the counters of a worker. One block a worker, cache-aligned, in a mapping shared with
 * the supervisor: the worker alone writes its block, with plain stores; readers see values that are
 * each correct, not a snapshot.
 *
 * To add a counter, add a line to STATS_COUNTERS: it is then printed, summed and tested by name.
 */
#ifndef BIVALVE_STATS_H
#define BIVALVE_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

#define STATS_BACKEND_MAX 16 /* counters a backend may have of its own */
#define STATS_NAME_MAX    24 /* bytes of the name of one */

/* X(name): totals since the worker's block was created (they survive the worker's restart). */
#define STATS_COUNTERS(X)                                                                       \
    /* connections */                                                                           \
    X(accepted)        /* connections handed over by the backend */                             \
    X(closed)          /* connections whose fd has been closed */                               \
    X(accept_aborted)  /* accept failed for the client's sake: it was gone already */           \
    X(accept_errors)   /* accept failed: EMFILE, ENFILE, ENOMEM, ... */                         \
    X(accept_empty)    /* woken for a client that another worker had taken already */           \
    X(accept_pauses)   /* times accepting was suspended (errors, --max-connections) */          \
    X(rejected)        /* accepted but closed at once: no slot for the fd */                    \
    X(resets)          /* connections ended by an error from the kernel */                      \
    X(proxy_refused)   /* closed: no PROXY header, or from an address that is not trusted */    \
    X(eof_mid_request) /* client closed inside a request */                                     \
    /* requests */                                                                              \
    X(requests)       /* complete requests answered by a handler */                             \
    X(handler_errors) /* 500, or cut off: a handler failed */                                   \
    X(cancelled)      /* requests that ended before their answer was written */                 \
    X(responses_2xx)                                                                            \
    X(responses_3xx)                                                                            \
    X(responses_4xx)                                                                            \
    X(responses_5xx)                                                                            \
    X(log_lines)        /* of --access-log */                                                   \
    X(log_dropped)      /* ... that found no room: whoever writes the log is too slow */        \
    X(messages_dropped) /* lines of its own that a worker found no room for on stderr */        \
    X(continues)        /* 100 Continue sent */                                                 \
    X(bytes_in)                                                                                 \
    X(bytes_out) /* accepted by the kernel */                                                   \
    /* limits */                                                                                \
    X(timeout_header) /* 408: request head too slow */                                          \
    X(timeout_body)   /* 408: body too slow */                                                  \
    X(timeout_idle)                                                                             \
    X(timeout_write) /* client stopped reading */                                               \
    X(timeout_linger)                                                                           \
    X(timeout_handshake) /* of TLS: --header-timeout */                                         \
    X(limit_uri)         /* 414 */                                                              \
    X(limit_header)      /* 431 */                                                              \
    X(limit_body)        /* 413 */                                                              \
    X(limit_chunk_ext)   /* 400: chunk extensions too long */                                   \
    X(limit_trailer)     /* 431: trailers too long */                                           \
    X(limit_requests)    /* closed after --max-requests */                                      \
    X(limit_linger)      /* closed while a client kept sending after its last answer */         \
    X(limit_buffers)     /* closed without progress: --max-buffer-bytes */                      \
    X(compressed)        /* answers that were */                                                \
    X(limit_compress)    /* ... that were not, for too many at once, or want of memory */       \
    X(limit_files)       /* 503: no file could be opened for want of fds or memory */           \
    X(limit_drain)       /* listeners closed at the drain with clients left waiting */          \
    /* TLS */                                                                                   \
    X(tls_handshakes)   /* completed */                                                         \
    X(tls_resumed)      /* ... of them by a ticket */                                           \
    X(tls_failed)       /* handshakes and connections: alerts, no TLS, an end in a handshake */ \
    X(tls_plain)        /* 400: HTTP without TLS where TLS is wanted */                         \
    X(tls_truncated)    /* ended by the client without close_notify */                          \
    X(tls_deferred)     /* handshakes that waited for a later iteration */                      \
    X(tls_ktls)         /* connections whose output the kernel encrypts */                      \
    X(tls_ktls_refused) /* ... for which it would not: OpenSSL does */                          \
    /* back-pressure and memory */                                                              \
    X(paused)         /* receiving suspended: output above the high-water mark */               \
    X(yields)         /* connections put back in the queue after their share of an iteration */ \
    X(tails_stored)   /* incomplete input copied to a block */                                  \
    X(short_sends)    /* the kernel took less than offered */                                   \
    X(no_block)       /* no buffer to be had: connection closed */                              \
    X(file_reads)     /* ranges of files that were read before they could be sent */            \
    X(file_waits)     /* ... that could not: the loop may have waited for the disk */           \
    X(lingers)        /* half-closed and drained before closing */                              \
    X(pages_returned) /* bytes of slot table given back to the kernel */                        \
    /* --open-file-cache */                                                                     \
    X(file_cache_hits)      /* files that were open */                                          \
    X(file_cache_misses)    /* ... that were opened */                                          \
    X(file_cache_evictions) /* ... that were closed to have room for another */                 \
    /* backend: what all of them have; more are its own, stats.backend[] */                     \
    X(iterations)     /* returns from wait() */                                                 \
    X(enters)         /* system calls that wait for or submit I/O */                            \
    X(events)         /* io_uring completions, epoll events */                                  \
    X(recv_calls)     /* receives reported or issued */                                         \
    X(send_calls)     /* sends issued */                                                        \
    X(send_pending)   /* sends that had to wait */                                              \
    X(stale)          /* events whose generation did not match: a bug if not 0 */               \
    X(backend_errors) /* unexpected errors from the backend's system calls */

/* X(name): levels, set by the worker; summed over workers where that makes sense. */
#define STATS_GAUGES(X)                                                               \
    X(slots_used)  /* connections now open */                                         \
    X(blocks_used) /* input and output blocks that connections hold */                \
    X(block_bytes) /* bytes mapped for blocks */                                      \
    X(waiting)     /* requests that wait for their time */                            \
    X(files_open)  /* that --open-file-cache keeps */                                 \
    X(in_flight)   /* operations the backend has in flight */                         \
    X(restarts)    /* times this worker has been restarted (set by the supervisor) */ \
    X(stuck)       /* ... because it made no progress: --worker-timeout (the same) */

/*
 * How often a value was how large. Bucket i has those below 2^(shift + i * step), the last all
 * others.
 */
#define STATS_BUCKETS     24
#define STATS_TIME_SHIFT  12 /* of duration_ns: from 4 microseconds, each twice the one before, */
#define STATS_TIME_STEP   1  /* ... to 17 seconds */
#define STATS_BYTES_SHIFT 4  /* of response_bytes: from 16 bytes, each 4 times the one before, */
#define STATS_BYTES_STEP  2  /* ... to 256 TiB */
struct stats_histogram {
    uint64_t bucket[STATS_BUCKETS];
    uint64_t sum;
};

struct stats {
#define STATS_FIELD_(name) uint64_t name;
    STATS_COUNTERS(STATS_FIELD_)
    STATS_GAUGES(STATS_FIELD_)
#undef STATS_FIELD_
    uint64_t backend[STATS_BACKEND_MAX]; /* counters of the backend, named by its ops */
    /* of requests answered, while somebody may look (--admin) */
    struct stats_histogram duration_ns;
    struct stats_histogram response_bytes; /* of the body */
} __attribute__((aligned(CACHE_LINE)));

/*
 * Map `n` zeroed blocks shared between this process and its future children. NULL and errno on
 * failure. stats_unmap() takes the same `n`.
 */
struct stats *stats_map(unsigned n);
void stats_unmap(struct stats *s, unsigned n);

/* `value` was seen `times` times (at least once). */
static inline void stats_observe(struct stats_histogram *h, unsigned shift, unsigned step,
                                 uint64_t value, uint64_t times)
{
    uint64_t above = value >> shift;
    unsigned bits = above ? 64 - (unsigned)__builtin_clzll(above) : 0;

    h->bucket[MIN((bits + step - 1) / step, STATS_BUCKETS - 1)] += times;
    h->sum += value * times;
}

/* sum += s, field by field. */
void stats_add(struct stats *sum, const struct stats *s);

/*
 * Write "name=value name=value ..." of every counter and gauge into `out`, NUL-terminated; those
 * that are 0 are left out unless `zeros`. `names` are those of s->backend[], NULL-terminated, or
 * NULL. Returns the length, as snprintf(3) would. STATS_TEXT_MAX bytes always suffice.
 */
#define STATS_TEXT_MAX 4096
size_t stats_format(char *out, size_t out_size, const struct stats *s, const char *const *names,
                    int zeros);

/*
 * The fields one by one, for whoever shows them: i = 0.. until the name is NULL. A gauge may fall.
 */
struct stats_field {
    const char *name; /* NULL: there are no more */
    uint64_t value;
    bool gauge;
};
struct stats_field stats_field(const struct stats *s, size_t i);

/* Value of the field called `name`, or 0 and *found = 0. For tests. */
uint64_t stats_get(const struct stats *s, const char *name, int *found);

#endif
