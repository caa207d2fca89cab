/* SPDX-License-Identifier: MIT */
/*
 * http1_serve.h - a connection's input and stored input, batch by batch: requests in, responses out.
 * For http1.c.
 *
 * Any of these may end the connection: neither slot nor exchange is touched after it.
 */
#ifndef BIVALVE_HTTP1_SERVE_H
#define BIVALVE_HTTP1_SERVE_H

#include "http.h"
#include "stream.h"

/*
 * Parse, answer, send, and store what is left of data[0..len), which is input that is borrowed, or
 * lies in x->in. Every batch is one stream_flush(), unless a batch's answers exceed the high-water
 * mark and the kernel takes them at once: then it goes on, within its share.
 */
void http1_serve(struct http *h, struct slot *s, struct exchange *x, const char *data, size_t len);

/* Input for an exchange that is under way. */
void http1_serve_more(struct http *h, struct slot *s, struct exchange *x, const char *data,
                      size_t len);

/* Go on with what is stored: unparsed input, a response not wholly written, a wait that is over. */
void http1_go_on(struct http *h, struct exchange *x);

/* The last response is written; `unread`: there is input, or may be, that is not going to be read. */
void http1_end(struct http *h, struct slot *s, struct exchange *x, bool unread);

/* No response, or half of one, and nothing better to do about it. */
void http1_abort(struct http *h, struct slot *s, struct exchange *x);

/* The client's end of input, and all is sent. */
void http1_close_after_eof(struct http *h, struct slot *s);

#endif
