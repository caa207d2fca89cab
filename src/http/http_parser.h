/* SPDX-License-Identifier: MIT */
/*
 * http_parser.h - an incremental HTTP/1.x request parser that knows no I/O (RFC 9112, RFC 9110).
 *
 * Two phases. The head is parsed where it lies: the caller keeps a request's bytes contiguous from
 * its first byte until the head is complete, and calls again with the same bytes and more. Every
 * byte is looked at once. The body is parsed as a stream: bytes given are consumed at once and
 * never asked for again.
 *
 * Any split of the input gives the same events, spans and errors as one piece; tests hold it to
 * that at every byte. It is strict where leniency would let two parties read one request in two
 * ways.
 */
#ifndef BIVALVE_HTTP_PARSER_H
#define BIVALVE_HTTP_PARSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HTTP_LINE_REST 11 /* what follows the target on its line: SP, version, CRLF */

struct settings;

/* Methods of RFC 9110 section 9 and RFC 5789. Others are unknown: 501. */
enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_CONNECT,
    HTTP_OPTIONS,
    HTTP_TRACE,
    HTTP_PATCH,
    HTTP_METHODS
};

/* X(symbol, status, one line for the client). Order is not significant. */
#define HTTP_ERRORS(X)                                                     \
    X(NONE, 0, "")                                                         \
    X(METHOD_SYNTAX, 400, "malformed method")                              \
    X(METHOD_UNKNOWN, 501, "method not implemented")                       \
    X(TARGET_SYNTAX, 400, "malformed request target")                      \
    X(TARGET_ESCAPE, 400, "malformed percent-encoding in request target")  \
    X(TARGET_SCHEME, 421, "https request on a connection without TLS")     \
    X(TARGET_TOO_LONG, 414, "request target too long")                     \
    X(VERSION_SYNTAX, 400, "malformed HTTP version")                       \
    X(VERSION_UNSUPPORTED, 505, "HTTP version not supported")              \
    X(LINE_END, 400, "bare CR or LF")                                      \
    X(HEADER_NAME, 400, "malformed header field name")                     \
    X(HEADER_VALUE, 400, "forbidden character in header field value")      \
    X(HEADER_FOLD, 400, "folded header field")                             \
    X(HEADER_TOO_LARGE, 431, "header section too large")                   \
    X(HEADER_TOO_MANY, 431, "too many header fields")                      \
    X(HOST_MISSING, 400, "missing Host header field")                      \
    X(HOST_REPEATED, 400, "repeated Host header field")                    \
    X(HOST_SYNTAX, 400, "malformed Host header field")                     \
    X(LENGTH_SYNTAX, 400, "malformed Content-Length")                      \
    X(LENGTH_REPEATED, 400, "repeated Content-Length")                     \
    X(LENGTH_AND_CODING, 400, "both Content-Length and Transfer-Encoding") \
    X(CODING_SYNTAX, 400, "malformed Transfer-Encoding")                   \
    X(CODING_NOT_FINAL, 400, "chunked is not the final transfer coding")   \
    X(CODING_UNKNOWN, 501, "transfer coding not implemented")              \
    X(CODING_IN_1_0, 400, "Transfer-Encoding in an HTTP/1.0 request")      \
    X(EXPECT_UNKNOWN, 417, "expectation cannot be met")                    \
    X(CONTENT_CODING, 415, "content coding of a request not supported")    \
    X(BODY_TOO_LARGE, 413, "body too large")                               \
    X(CHUNK_SIZE, 400, "malformed chunk size")                             \
    X(CHUNK_EXTENSION, 400, "malformed chunk extension")                   \
    X(CHUNK_EXTENSION_TOO_LONG, 400, "chunk extensions too long")          \
    X(CHUNK_END, 400, "missing CRLF after chunk data")                     \
    X(TRAILER_SYNTAX, 400, "malformed trailer field")                      \
    X(TRAILER_FORBIDDEN, 400, "field not allowed in a trailer section")    \
    X(TRAILER_TOO_LARGE, 431, "trailer section too large")

enum http_error {
#define HTTP_ERROR_ENUM_(sym, status, text) HTTP_ERROR_##sym,
    HTTP_ERRORS(HTTP_ERROR_ENUM_)
#undef HTTP_ERROR_ENUM_
};

/* parser.flags, valid once the head is complete */
enum {
    HTTP_F_HOST = 1 << 0,    /* a Host field was seen */
    HTTP_F_LENGTH = 1 << 1,  /* Content-Length was seen */
    HTTP_F_CODING = 1 << 2,  /* Transfer-Encoding was seen */
    HTTP_F_CHUNKED = 1 << 3, /* its last coding so far is chunked */
    HTTP_F_UNKNOWN_CODING = 1 << 4,
    HTTP_F_CLOSE = 1 << 5,      /* Connection: close */
    HTTP_F_KEEP_ALIVE = 1 << 6, /* Connection: keep-alive */
    HTTP_F_EXPECT = 1 << 7,     /* Expect: 100-continue */
    HTTP_F_HTTP10 = 1 << 8,
    HTTP_F_ABSOLUTE = 1 << 9, /* absolute-form target: its authority replaces Host */
    HTTP_F_BODY = 1 << 10,    /* a body follows: call http_parse_body() until HTTP_DONE */
    HTTP_F_ESCAPED = 1 << 11, /* there are percent-encoded bytes in the target */
    HTTP_F_QUERY = 1 << 12,   /* there is a '?' in it */
    HTTP_F_ACCEPT = 1 << 13,  /* there is Accept-Encoding */
    HTTP_F_ENCODED = 1 << 14, /* Content-Encoding names something: a body is refused */
};

struct http_parser {
    uint64_t left; /* Content-Length, then body bytes left; in chunked, bytes left of this chunk */
    union {
        struct {
            /* origin-form part of the target ("/..." or "*"), from the head's first byte */
            uint32_t target_off;
            /* authority-form: the authority. Absolute-form without a path: 0 */
            uint32_t target_len;
        };
        uint64_t body_room; /* in the body phase of a chunked message: bytes that may come yet */
    };
    union {
        /* head: bytes looked at. chunked: bytes of this extension or of the trailer section */
        uint32_t pos;
        uint32_t
            path_len; /* a head that is complete, HTTP_F_QUERY: bytes of the target before '?' */
    };
    uint32_t mark; /* head: where the current token starts, or the header section started */
    uint8_t state;
    uint8_t method; /* enum http_method */
    uint8_t header; /* which known field the current line is */
    uint8_t error;  /* enum http_error, after HTTP_ERROR */
    uint16_t flags;
    uint16_t fields; /* header fields so far; before the request line: empty lines dropped */
};

enum http_result {
    HTTP_MORE,  /* all input is used up; give more */
    HTTP_READY, /* head: complete. body: *body is a non-empty piece of it */
    HTTP_DONE,  /* body: the message is complete */
    HTTP_FAIL,  /* parser.error says why; no further calls before http_parser_init() */
};

/* Ready for a request's first byte. */
static inline void http_parser_init(struct http_parser *p)
{
    memset(p, 0, sizeof(*p));
}

/* Is it still so? Empty lines before a request line count as a byte of it. */
static inline bool http_parser_is_fresh(const struct http_parser *p)
{
    return p->state == 0 && p->fields == 0;
}

/* The header section of a complete head, from the head's first byte; it ends 2 bytes before the
 * head. */
static inline size_t http_fields_offset(const struct http_parser *p)
{
    return (size_t)p->target_off + p->target_len + HTTP_LINE_REST;
}

/* Bytes of a complete head's target before its '?', or all. */
static inline size_t http_path_len(const struct http_parser *p)
{
    return p->flags & HTTP_F_QUERY ? p->path_len : p->target_len;
}

/*
 * Go on with a head. `buf` is the request from its first byte; `len` >= what the previous call left
 * of it. On HTTP_READY, *consumed is the length of the head; the target lies at buf + target_off.
 * On HTTP_MORE the caller drops *consumed bytes: either 0, or all of them, where there were only
 * empty lines, which may come before a request line (RFC 9112 section 2.2).
 */
enum http_result http_parse_head(struct http_parser *p, const struct settings *set, const char *buf,
                                 size_t len, size_t *consumed);

/* A head announced a body: set the parser up for http_parse_body(). The parser's own. */
void http_body_begin(struct http_parser *p);

/*
 * A head with HTTP_F_BODY is complete: its body may have `max` (> 0) bytes rather than
 * set->max_body_bytes. The target's span dies. False: it has announced more; parser.error is set.
 */
bool http_limit_body(struct http_parser *p, uint64_t max);

/*
 * Go on with the body after a head with HTTP_F_BODY. *consumed bytes of buf are used; on HTTP_READY
 * a piece of the decoded body lies at *body, *body_len long, inside buf; call again with the rest,
 * also when that is empty. HTTP_DONE: the next byte belongs to the next request.
 */
enum http_result http_parse_body(struct http_parser *p, const struct settings *set, const char *buf,
                                 size_t len, size_t *consumed, const char **body, size_t *body_len);

/* Status code and one-line text of an error; its symbol for tests. */
int http_error_status(enum http_error e);
const char *http_error_text(enum http_error e);
const char *http_error_name(enum http_error e);

/* "GET" ... */
const char *http_method_name(enum http_method m);

/*
 * Does the connection persist after this request (RFC 9112 section 9.3), as far as the request
 * says?
 */
static inline bool http_keeps_alive(const struct http_parser *p)
{
    if (p->flags & HTTP_F_CLOSE)
        return false;
    return !(p->flags & HTTP_F_HTTP10) || (p->flags & HTTP_F_KEEP_ALIVE);
}

#endif
