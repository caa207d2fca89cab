/* SPDX-License-Identifier: MIT */
/*
 * reply.h - an incremental HTTP/1.x response parser that knows no I/O (RFC 9112, RFC 9110), as
 * strict as the request parser: what two clients might read in two ways is an error.
 *
 * Nothing is kept but where the machine stands, so a response may arrive in any pieces; every split
 * gives the same events and errors. Interim responses (1xx) are read and passed over.
 */
#ifndef BIVALVE_REPLY_H
#define BIVALVE_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http_parser.h"

#define REPLY_HEAD_MAX    65536 /* bytes of a head, its status line included */
#define REPLY_FIELDS_MAX  256
#define REPLY_INTERIM_MAX 16 /* 1xx responses before the final one */
#define REPLY_DATE_LEN    29

/* X(symbol, one line that says what is wrong). What is wrong with a body is HTTP_ERRORS' to say. */
#define REPLY_ERRORS(X)                                                               \
    X(NONE, "")                                                                       \
    X(VERSION, "no \"HTTP/1.x\" at its beginning")                                    \
    X(STATUS, "malformed status code")                                                \
    X(REASON, "forbidden character in the reason phrase")                             \
    X(LINE_END, "bare CR or LF")                                                      \
    X(FIELD_NAME, "malformed field name")                                             \
    X(FIELD_VALUE, "forbidden character in a field value")                            \
    X(FIELD_FOLD, "folded field")                                                     \
    X(TOO_LARGE, "header section too large")                                          \
    X(TOO_MANY, "too many fields")                                                    \
    X(LENGTH, "malformed Content-Length")                                             \
    X(LENGTH_REPEATED, "repeated Content-Length")                                     \
    X(LENGTH_FORBIDDEN, "Content-Length in a response that has no body (1xx, 204)")   \
    X(CODING, "Transfer-Encoding other than chunked, which nobody asked for")         \
    X(CODING_REPEATED, "repeated Transfer-Encoding")                                  \
    X(CODING_FORBIDDEN, "Transfer-Encoding in a response that has no body or in 1.0") \
    X(LENGTH_AND_CODING, "both Content-Length and Transfer-Encoding")                 \
    X(UPGRADE, "101 Switching Protocols, which nobody asked for")                     \
    X(INTERIM, "too many interim responses")                                          \
    X(BODY, "malformed chunked body")

enum reply_error {
#define REPLY_ERROR_ENUM_(sym, text) REPLY_ERROR_##sym,
    REPLY_ERRORS(REPLY_ERROR_ENUM_)
#undef REPLY_ERROR_ENUM_
};

enum reply_result {
    REPLY_MORE, /* all input is used up; give more */
    REPLY_BODY, /* *body is a non-empty piece of the decoded body */
    REPLY_DONE, /* the response is complete: the next byte belongs to the next one */
    REPLY_FAIL, /* reply.error says why; no further calls before reply_init() */
};

struct reply {
    union {
        struct {             /* while the head is read */
            uint64_t length; /* Content-Length */
            uint16_t fields;
            uint8_t field; /* which known one the line may be, and how much of it has been seen */
            uint8_t seen;
            uint8_t
                value; /* where the machine of that field's value stands, and what it has seen */
            uint8_t value_seen;
        };
        struct http_parser body; /* then: the decoder of the body */
    };
    uint32_t head_len; /* bytes of this head so far */
    uint32_t date_off; /* where the value of its one Date begins; 0: no such */
    uint16_t status;
    uint16_t flags;
    uint8_t state;
    uint8_t error;   /* enum reply_error */
    uint8_t interim; /* 1xx so far */
};

/* Ready for the first byte of the answer to a HEAD request, or to another. */
void reply_init(struct reply *r, bool to_head);

/* Has no byte of it been seen? */
static inline bool reply_is_fresh(const struct reply *r)
{
    return r->head_len == 0 && r->interim == 0;
}

/* Is the head complete, so that status and the rest can be relied upon? */
bool reply_has_head(const struct reply *r);

/*
 * Go on with `len` bytes, of which *consumed are used. On REPLY_BODY a piece of the body lies at
 * *body, *body_len long, inside `data`; call again with the rest, also when that is empty.
 */
enum reply_result reply_parse(struct reply *r, const char *data, size_t len, size_t *consumed,
                              const char **body, size_t *body_len);

/*
 * The peer has closed. REPLY_DONE: that was the end of the body; REPLY_FAIL: the response is cut
 * off, or has not begun (reply_is_fresh()).
 */
enum reply_result reply_end(const struct reply *r);

/* Does the connection persist after it (RFC 9112 section 9.3), as far as the response says? */
bool reply_persists(const struct reply *r);

/* What is wrong, for a person. */
const char *reply_error_text(const struct reply *r);

/* The symbol of the error, for tests. */
const char *reply_error_name(const struct reply *r);

#endif
