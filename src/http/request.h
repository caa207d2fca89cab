/* SPDX-License-Identifier: MIT */
/*
 * request.h - what a handler sees of a request, and what it can do with it: the contract between
 * HTTP and the resources that it serves.
 *
 * A handler is a struct handler. It never blocks, keeps no pointer into the input, and sees a
 * request in steps:
 *
 *   begin    at the end of the head
 *   body     a piece of the body, any number of times
 *   finish   the request is complete
 *   produce  after HANDLER_MORE: there is room for more of the response
 *   resume   after HANDLER_WAIT: the time is over, or request_resume() was called
 *
 * Each returns what is next:
 *
 *   HANDLER_CONTINUE  begin, body, resume: the body comes next, or finish after its end
 *   HANDLER_DONE      the response is written whole; what is left of the body is dropped
 *   HANDLER_MORE      finish, produce, resume: go on with produce when there is room
 *   HANDLER_WAIT      nothing until resume; what the client sends meanwhile is kept or waits
 *   -errno            there will be no response: 500 if none has begun, and the end of the
 *                     connection
 *
 * A response may begin in any step. While more of it is pending than there may be, neither body nor
 * produce is called: that is the back-pressure, both ways. What produce writes, and whether the next
 * request is looked at, has --max-output-bytes for a limit. So has what a handler that streams
 * writes while it reads, but only once the connections of the process hold half of
 * --max-buffer-bytes: a client may have sent all of its body before it reads the first byte.
 *
 * cancel is called exactly once for a request that begin() has been called for and that ends before
 * HANDLER_DONE: the client is gone (an end of its input while the handler waits counts), a body was
 * malformed or too slow, the server gave up. The handler lets go of what it holds; it writes
 * nothing.
 */
#ifndef BIVALVE_REQUEST_H
#define BIVALVE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coding.h"
#include "http_parser.h"
#include "out.h"
#include "response.h"
#include "util.h"

struct http;

enum handler_next { HANDLER_CONTINUE = 0, HANDLER_DONE = 1, HANDLER_MORE = 2, HANDLER_WAIT = 3 };

#define REQUEST_STATE_BYTES  48
#define REQUEST_PARKED_BYTES 8  /* of a handler's that parks */
#define REQUEST_ECHO_MAX     64 /* bytes of a client's value that an error message shows */

/* A request, from begin() to HANDLER_DONE or cancel(). */
struct request {
    struct http *http;
    const struct handler *handler;
    uint16_t flags;                          /* REQUEST_* of exchange.h; not the handler's */
    uint8_t method;                          /* enum http_method */
    uint64_t state[REQUEST_STATE_BYTES / 8]; /* the handler's own; undefined before begin() */
};

/* What the head says. Spans point into the input and die when begin() returns. */
struct request_head {
    const char *path, *query; /* query: NULL when there is none */
    size_t path_len, query_len;
    const char *fields; /* header section, lines with their CRLF */
    size_t fields_len;
};

struct handler {
    const char *allow; /* value of Allow */
    unsigned methods;  /* bit set of 1 << enum http_method */
    bool streams;      /* takes a body of any length, to its end, and may respond meanwhile */
    /*
     * While it waits the first REQUEST_PARKED_BYTES of its state are all that it needs, and there
     * is no cancel(): such a wait takes less memory, and the request may lie elsewhere afterwards.
     */
    bool parks;
    int (*begin)(struct request *r, const struct request_head *head); /* NULL: HANDLER_CONTINUE */
    int (*body)(struct request *r, const char *data, size_t len);     /* NULL: bodies are dropped */
    int (*finish)(struct request *r);
    int (*produce)(struct request *r); /* NULL: HANDLER_MORE is never returned */
    int (*resume)(struct request *r);  /* NULL: HANDLER_WAIT is never returned */
    void (*cancel)(struct request *r); /* NULL: nothing to let go of */
};

struct stats;

/* Where requests go: the program's table of handlers. */
struct routes {
    /* The handler of a path, percent-decoded; NULL: there is no such resource. */
    const struct handler *(*find)(const char *path, size_t len);

    /*
     * About once a second, while loop.trim_pending: give up what is not needed any more. True: it is
     * to be called again. NULL: nothing to do. `context` is request_context().
     */
    bool (*trim)(const void *context, uint64_t now_ms, struct stats *stats);
    const char *allow; /* methods that some resource takes: for "OPTIONS *" and for CONNECT */
};

/* The state as the handler's own structure. */
#define REQUEST_STATE(r, type)                                                             \
    (__extension__({                                                                       \
        static_assert(sizeof(type) <= REQUEST_STATE_BYTES, "it has to fit request.state"); \
        (type *)(void *)(r)->state;                                                        \
    }))

/*
 * The next field called `name` (in lower case) behind *at (NULL: from the start): its value without
 * white space around it. False: there is none.
 */
bool request_head_field(const struct request_head *head, const char *name, const char **at,
                        const char **value, size_t *len);

/* In begin(): the length of the body that follows, 0: there is none, -1: it is chunked. */
int64_t request_body_length(const struct request *r);

/*
 * The codings of `available` (CODING_BIT()) that the client takes, the best first, as coding_order():
 * identity alone where it has said nothing.
 */
unsigned request_codings(const struct request *r, const struct request_head *head,
                         unsigned available, uint8_t order[CODINGS]);

/* Has it said something? Then request_codings() is worth a call. */
bool request_accepts(const struct request *r);

/* ---- responding ---- */

/* Write a whole small response. HANDLER_DONE or -errno. */
int request_reply(struct request *r, int status, enum response_type type, const char *body,
                  size_t len);

/*
 * 400 with one line of text, printf-formatted. Client data in it must have gone through
 * log_escape(). HANDLER_DONE or -errno.
 */
int request_reply_bad(struct request *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* What request_respond() is told. */
struct request_response {
    int status;
    enum response_type type;
    bool has_length; /* the body's length is known: exactly so many bytes follow */
    uint64_t length;
    const struct response_field *fields; /* the handler's own; not those that frame the message */
    unsigned field_count;
};

/*
 * Begin a response; its body follows by request_write() and the like. Without a length the body is
 * chunked, or ended by the end of the connection for an HTTP/1.0 client. 0 or -errno.
 */
int request_respond(struct request *r, const struct request_response *response);

/* Does the response that has begun have a body? Not the answer to HEAD, nor 204 and 304. */
bool request_has_body(const struct request *r);

/* Append to the body; nothing is written where it has none. 0 or -errno. */
int request_write(struct request *r, const char *data, size_t len);

/*
 * Append `len` (> 0) bytes of a regular file from `offset` on. The fd is closed when they have been
 * sent, or will not be, or on failure. A file that turns out shorter ends the connection. 0 or
 * -errno.
 */
int request_write_file(struct request *r, int fd, off_t offset, uint64_t len);

/* The same with a reference to a file that others have, too: it is let go of then. */
int request_write_shared_file(struct request *r, struct file_ref *file, off_t offset, uint64_t len);

/* The body is complete: `return request_end(r);`. HANDLER_DONE or -errno. */
int request_end(struct request *r);

/* For writers of their own, into a body of known length: the output, its blocks, the high-water
 * mark of output pending. */
struct out *request_out(struct request *r);
struct bufpool *request_out_pool(struct request *r);
size_t request_out_max(const struct request *r);

/* What the program gave its handlers: http.h. */
const void *request_context(const struct request *r);

/* ---- waiting ---- */

/* A request by name, that may be over when the name is used. */
struct request_ref {
    int fd;
    uint32_t gen;      /* of the connection */
    uint32_t exchange; /* on it */
};

struct request_ref request_reference(const struct request *r);

/*
 * Be resumed `delay_ms` from now, not earlier: `return request_wait(r, ms);`. At once with 0, once
 * others had their turn. HANDLER_WAIT.
 */
int request_wait(struct request *r, uint32_t delay_ms);

/* Be resumed by request_resume() alone: `return request_suspend(r);`. HANDLER_WAIT. */
int request_suspend(struct request *r);

/*
 * Resume a request that waits, in this iteration or the next. False: it is over, or does not wait.
 */
bool request_resume(struct http *http, struct request_ref ref);

#endif
