/* SPDX-License-Identifier: MIT */
/*
 * respond.c - see request.h, what handlers do with a request, and respond.h.
 */
#include "config.h"

#include "respond.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "exchange_pool.h"
#include "stream.h"
#include "util.h"

/* ---- the head ---- */

bool request_head_field(const struct request_head *head, const char *name, const char **at,
                        const char **value, size_t *len)
{
    const char *s = *at ? *at : head->fields, *end = head->fields + head->fields_len;
    size_t name_len = strlen(name);

    while (s < end) {
        /* every line is complete: the parser has seen to that */
        const char *line = s, *cr = memchr(s, '\r', (size_t)(end - s));
        s = cr + 2;
        if ((size_t)(cr - line) <= name_len || line[name_len] != ':' ||
            strncasecmp(line, name, name_len))
            continue;
        const char *from = line + name_len + 1, *to = cr;
        while (from < to && (*from == ' ' || *from == '\t'))
            from++;
        while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
            to--;
        *at = s;
        *value = from;
        *len = (size_t)(to - from);
        return true;
    }
    return false;
}

int64_t request_body_length(const struct request *r)
{
    const struct http_parser *p = &exchange_of(r)->parser;

    if (!(r->flags & REQUEST_BODY))
        return 0;
    return p->flags & HTTP_F_CHUNKED ? -1 : (int64_t)p->left;
}

bool request_accepts(const struct request *r)
{
    return exchange_of(r)->parser.flags & HTTP_F_ACCEPT;
}

unsigned request_codings(const struct request *r, const struct request_head *head,
                         unsigned available, uint8_t order[CODINGS])
{
    struct coding_accept accept;
    const char *at = NULL, *value;
    size_t len;

    if (!request_accepts(r)) {
        order[0] = CODING_IDENTITY;
        return 1;
    }
    coding_accept_init(&accept);
    while (request_head_field(head, "accept-encoding", &at, &value, &len))
        coding_accept_add(&accept, value, len);
    return coding_order(&accept, available, order);
}

/* ---- responding ---- */

/* What is left of the body cannot be dropped: there may be much of it, or none. */
static bool request_body_endless(const struct exchange *x)
{
    const struct http_parser *p = &x->parser;

    return (p->flags & (HTTP_F_CHUNKED | HTTP_F_EXPECT)) ||
           p->left > x->request.http->loop.set->max_linger_bytes;
}

/* The fields that every response has: whether the connection persists is settled here. */
static inline __attribute__((always_inline)) void
request_head_init(struct request *r, struct response_head *h, int status)
{
    struct exchange *x = exchange_of(r);
    const struct loop *l = &r->http->loop;

    assert(!(r->flags & REQUEST_RESPONDED));
    /* At the end everything that has arrived is answered, and the last answer says close. */
    if (unlikely(l->draining || (x->slot->flags & (STREAM_EOF | STREAM_SHUT_IN))) && !x->unparsed)
        r->flags &= (uint16_t)~REQUEST_KEEP;
    /*
     * An answer given before the body was read: what is left of it is dropped if that is little and
     * certain to come; a client that waits for 100 Continue may send it or not (RFC 9110 section
     * 10.1.1).
     */
    if (unlikely(r->flags & REQUEST_BODY) && !((r->flags & REQUEST_BEGUN) && r->handler->streams) &&
        request_body_endless(x))
        r->flags &= (uint16_t)~REQUEST_KEEP;
    r->flags |= REQUEST_RESPONDED;
    memset(h, 0, sizeof(*h));
    h->status = status;
    x->status = (uint16_t)status;
    h->close = !(r->flags & REQUEST_KEEP);
    h->keep_alive = (r->flags & REQUEST_HTTP10) && !h->close;
    if (likely(status < 400))
        l->stats->responses_2xx += status < 300, l->stats->responses_3xx += status >= 300;
    else if (status < 500)
        l->stats->responses_4xx++;
    else
        l->stats->responses_5xx++;
}

static inline __attribute__((always_inline)) int
request_reply_head(struct request *r, struct response_head *h, const char *body, size_t len)
{
    struct http *http = r->http;

    h->has_length = true;
    h->length = len;
    int rc = response_small(&exchange_of(r)->slot->out, &http->loop.out_pool, &http->loop.clock, h,
                            body, len, r->flags & REQUEST_HEAD_ONLY);
    return unlikely(rc < 0) ? rc : HANDLER_DONE;
}

/*
 * Is it the plain case: a complete request of HTTP/1.1, not HEAD, on a connection that persists,
 * whatever the server and the client are about to do?
 */
static inline bool request_is_plain(const struct request *r)
{
    const unsigned odd = REQUEST_HTTP10 | REQUEST_HEAD_ONLY | REQUEST_BODY | REQUEST_RESPONDED;

    return (r->flags & (REQUEST_KEEP | odd)) == REQUEST_KEEP && !r->http->loop.draining &&
           !(exchange_of(r)->slot->flags & (STREAM_EOF | STREAM_SHUT_IN));
}

/* What is not plain; apart, so that the plain way saves no registers and needs no room for a head. */
static __attribute__((noinline)) int request_reply_any(struct request *r, int status,
                                                       enum response_type type, const char *body,
                                                       size_t len)
{
    struct http *http = r->http;
    struct response_head h;

    if (http->ok.date_s != http->loop.clock.date_s)
        response_ok_make(&http->ok, &http->loop.clock);
    request_head_init(r, &h, status);
    h.type = type;
    return request_reply_head(r, &h, body, len);
}

int request_reply(struct request *r, int status, enum response_type type, const char *body,
                  size_t len)
{
    struct http *http = r->http;

    exchange_of(r)->body_bytes = len;
    if (unlikely(status != 200 || type != RESPONSE_TEXT || !request_is_plain(r) ||
                 !response_ok_now(&http->ok, request_out(r), &http->loop.out_pool,
                                  &http->loop.clock, body, len)))
        return request_reply_any(r, status, type, body, len);
    http->loop.stats->responses_2xx++;
    r->flags |= REQUEST_RESPONDED;
    return HANDLER_DONE;
}

int request_reply_allow(struct request *r, int status, const char *allow, const char *line)
{
    struct http *http = r->http;
    struct response_head h;

    request_head_init(r, &h, status);
    h.allow = allow;
    exchange_of(r)->body_bytes = strlen(line);
    if (status != 204) {
        h.type = RESPONSE_TEXT;
        return request_reply_head(r, &h, line, strlen(line));
    }
    int rc = response_head(&exchange_of(r)->slot->out, &http->loop.out_pool, &http->loop.clock, &h);
    return rc < 0 ? rc : HANDLER_DONE;
}

int request_reply_bad(struct request *r, const char *fmt, ...)
{
    char line[RESPONSE_BODY_MAX];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
    va_end(ap);
    size_t len = MIN((size_t)MAX(n, 0), sizeof(line) - 2);
    line[len++] = '\n';
    return request_reply(r, 400, RESPONSE_TEXT, line, len);
}

int request_refuse(struct request *r, int status, const char *line)
{
    struct response_head h;

    /* It has a body unless this very request is known to be HEAD: the one before does not count. */
    r->flags &= (uint16_t) ~(REQUEST_KEEP | REQUEST_HEAD_ONLY);
    if (exchange_of(r)->parser.method == HTTP_HEAD)
        r->flags |= REQUEST_HEAD_ONLY;
    request_head_init(r, &h, status);
    h.type = RESPONSE_TEXT;
    h.plain_only = status == 415;
    exchange_of(r)->body_bytes = strlen(line);
    return request_reply_head(r, &h, line, strlen(line));
}

int request_respond(struct request *r, const struct request_response *response)
{
    struct http *http = r->http;
    struct response_head h;
    bool bodiless = response->status == 204 || response->status == 304;

    request_head_init(r, &h, response->status);
    h.type = response->type;
    if (unlikely(response->field_count)) {
        h.fields = response->fields;
        h.field_count = response->field_count;
    }
    h.has_length = response->has_length && response->status != 204;
    h.length = response->length;
    exchange_of(r)->body_bytes = bodiless ? 0 : h.length;
    if (bodiless || (r->flags & REQUEST_HEAD_ONLY))
        r->flags |= REQUEST_NO_BODY;
    if (!response->has_length && !bodiless) {
        if (r->flags & REQUEST_HTTP10) {
            r->flags &= (uint16_t)~REQUEST_KEEP; /* the end of the connection is the body's */
            h.close = true;
            h.keep_alive = false;
        } else {
            h.chunked = true;
            r->flags |= REQUEST_CHUNKED;
        }
    }
    int rc = response_head(request_out(r), &http->loop.out_pool, &http->loop.clock, &h);
    if (rc == -EMSGSIZE) /* nothing is written: another response may begin */
        r->flags &= (uint16_t) ~(REQUEST_RESPONDED | REQUEST_CHUNKED | REQUEST_NO_BODY);
    return rc;
}

bool request_has_body(const struct request *r)
{
    return !(r->flags & REQUEST_NO_BODY);
}

/*
 * From so many bytes on it is tried whether they can be sent where they are: a copy of them costs more
 * than a system call of their own. Smaller ones go together.
 */
#define REQUEST_SEND_NOW 32768

int request_write(struct request *r, const char *data, size_t len)
{
    struct out *o = request_out(r);
    struct bufpool *p = request_out_pool(r);
    int rc = 0;

    assert(r->flags & REQUEST_RESPONDED);
    if (len == 0 || !request_has_body(r))
        return 0;
    if (r->flags & REQUEST_CHUNKED) {
        exchange_of(r)->body_bytes += len;
        rc = response_chunk_begin(o, p, len);
    } else if (len >= REQUEST_SEND_NOW) { /* of a chunk the end would be sent alone */
        size_t sent = stream_send_now(&r->http->loop, exchange_of(r)->slot, data, len);
        data += sent;
        len -= sent;
    }
    if (rc == 0)
        rc = out_append(o, p, data, len);
    if (rc == 0 && (r->flags & REQUEST_CHUNKED))
        rc = response_chunk_end(o, p);
    return rc;
}

/* Of `shared` or, where that is NULL, of `fd`. */
static int request_write_range(struct request *r, int fd, struct file_ref *shared, off_t offset,
                               uint64_t len)
{
    struct out *o = request_out(r);
    struct bufpool *p = request_out_pool(r);
    int rc = 0;

    assert((r->flags & REQUEST_RESPONDED) && len > 0);
    if (request_has_body(r) && (r->flags & REQUEST_CHUNKED)) {
        exchange_of(r)->body_bytes += len;
        rc = response_chunk_begin(o, p, len);
    }
    if (rc < 0 || !request_has_body(r)) {
        if (shared)
            file_ref_put(shared);
        else
            close(fd);
        return rc;
    }
    rc = shared ? out_append_shared_file(o, p, shared, offset, len)
                : out_append_file(o, p, fd, offset, len);
    if (rc == 0 && (r->flags & REQUEST_CHUNKED))
        rc = response_chunk_end(o, p);
    return rc;
}

int request_write_file(struct request *r, int fd, off_t offset, uint64_t len)
{
    return request_write_range(r, fd, NULL, offset, len);
}

int request_write_shared_file(struct request *r, struct file_ref *file, off_t offset, uint64_t len)
{
    return request_write_range(r, file->fd, file, offset, len);
}

int request_end(struct request *r)
{
    if (!(r->flags & REQUEST_CHUNKED) || !request_has_body(r))
        return HANDLER_DONE;
    int rc = response_chunk_last(request_out(r), request_out_pool(r));
    return rc < 0 ? rc : HANDLER_DONE;
}

struct out *request_out(struct request *r)
{
    return &exchange_of(r)->slot->out;
}

struct bufpool *request_out_pool(struct request *r)
{
    return &r->http->loop.out_pool;
}

size_t request_out_max(const struct request *r)
{
    return loop_output_max(&r->http->loop);
}

const void *request_context(const struct request *r)
{
    return r->http->context;
}

/* ---- waiting ---- */

struct request_ref request_reference(const struct request *r)
{
    const struct slot *s = exchange_of(r)->slot;

    return (struct request_ref){
        .fd = stream_fd(&r->http->loop, s), .gen = s->gen, .exchange = s->exchanges};
}

int request_wait(struct request *r, uint32_t delay_ms)
{
    /* A tick more: the millisecond that has begun does not count. */
    exchange_wait(r->http, &exchange_of(r)->wait, MIN(delay_ms, UINT32_MAX / 2) + 1);
    return HANDLER_WAIT;
}

int request_suspend(struct request *r)
{
    (void)r;
    return HANDLER_WAIT;
}

bool request_resume(struct http *http, struct request_ref ref)
{
    if ((uint32_t)ref.fd >= http->loop.slots.cap)
        return false;
    const struct slot *s = slot_get(&http->loop.slots, ref.fd);
    struct exchange *x = s->exchange;
    if (s->gen != ref.gen || !x || s->exchanges != ref.exchange)
        return false;
    if (x->state == EXCHANGE_PARKED) { /* room for all of it is found when it is its turn */
        exchange_wait(http, &x->wait, 1);
        return true;
    }
    if (x->state != EXCHANGE_WAIT)
        return false;
    x->resumed = true;
    exchange_enqueue(http, x);
    return true;
}
