/* SPDX-License-Identifier: MIT */
/*
 * llhttp_oracle.h - every message that our parser takes, read by llhttp as well (the parser of
 * Node.js, generated from a description: as independent as they come). One way only: what we take,
 * it must take and read the same way. What we refuse it may take; being stricter is the point.
 *
 * Debian has its C sources in node-llhttp. Only fuzz_parser and fuzz_reply ask for it, and only when
 * told:
 *
 *     apt-get install node-llhttp
 *     (cd BUILD && cc -O2 -c -DLLHTTP_STRICT_MODE=1 -I/usr/share/include/llhttp
 * /usr/share/llhttp/?*.c && ar rcs libllhttp.a api.o http.o llhttp.o)
 *     ./configure CPPFLAGS='-DWITH_LLHTTP -I/usr/share/include/llhttp' LIBS=BUILD/libllhttp.a ...
 */
#ifndef BIVALVE_TESTS_LLHTTP_ORACLE_H
#define BIVALVE_TESTS_LLHTTP_ORACLE_H

#include "http_parser.h"
#include "reply.h"
#include "trace.h"

/* Its enumerators have the names of ours: ours are declared, now these are something else. */
#define HTTP_GET     oracle_HTTP_GET
#define HTTP_HEAD    oracle_HTTP_HEAD
#define HTTP_POST    oracle_HTTP_POST
#define HTTP_PUT     oracle_HTTP_PUT
#define HTTP_DELETE  oracle_HTTP_DELETE
#define HTTP_CONNECT oracle_HTTP_CONNECT
#define HTTP_OPTIONS oracle_HTTP_OPTIONS
#define HTTP_TRACE   oracle_HTTP_TRACE
#define HTTP_PATCH   oracle_HTTP_PATCH
#include <llhttp.h>
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST
#undef HTTP_PUT
#undef HTTP_DELETE
#undef HTTP_CONNECT
#undef HTTP_OPTIONS
#undef HTTP_TRACE
#undef HTTP_PATCH

struct oracle {
    llhttp_t parser; /* first: callbacks get its address */
    const char *url;
    size_t url_len;
    uint64_t body_len;
    uint32_t body_hash;
    bool keep, both, upgrade, complete, no_body;
};

static int oracle_on_url(llhttp_t *p, const char *at, size_t len)
{
    struct oracle *o = (struct oracle *)p;

    if (!o->url)
        o->url = at;
    o->url_len += len;
    return 0;
}

static int oracle_on_body(llhttp_t *p, const char *at, size_t len)
{
    struct oracle *o = (struct oracle *)p;

    for (size_t i = 0; i < len; i++)
        o->body_hash = (o->body_hash ^ (unsigned char)at[i]) * 16777619u;
    o->body_len += len;
    return 0;
}

/* At the end of the head: later it takes options from a Connection field among the trailers too. */
static int oracle_on_headers(llhttp_t *p)
{
    struct oracle *o = (struct oracle *)p;

    /* It reads a body behind a 304 that has a length, which none has (RFC 9112 section 6.3). */
    if (p->type == HTTP_RESPONSE && p->status_code == 304)
        o->no_body = true;
    if (o->no_body)
        p->flags |= F_SKIPBODY; /* as returning 1 does, too late for the next line */
    o->keep = llhttp_should_keep_alive(p);
    o->both = (p->flags & F_CONNECTION_CLOSE) && (p->flags & F_CONNECTION_KEEP_ALIVE);
    return o->no_body;
}

static int oracle_on_complete(llhttp_t *p)
{
    struct oracle *o = (struct oracle *)p;

    o->complete = true;
    o->upgrade = p->upgrade;
    return HPE_PAUSED;
}

static void oracle_differs(const char *what, const struct trace *t, const struct trace_message *m,
                           const struct oracle *o)
{
    fprintf(stderr,
            "llhttp sees another %s in the message at %zu to %zu\nours: %s\nllhttp: %s %s\n", what,
            m->start, m->end, t->text, llhttp_errno_name(o->parser.error),
            o->parser.reason ? o->parser.reason : "");
    fprintf(stderr, "method %s, url %.*s, body %" PRIu64 ", keep %d\n",
            llhttp_method_name((llhttp_method_t)o->parser.method), (int)o->url_len,
            o->url ? o->url : "", o->body_len, o->keep);
    abort();
}

/*
 * Chunk extensions that llhttp 8.1 does not read as RFC 9112 section 7.1.1 has them: white space, a
 * quoted-pair, and another one behind a value, where it goes on reading a chunk size.
 */
static bool oracle_odd_extension(const char *s, size_t len)
{
    bool semicolon = false, value = false;

    for (size_t i = 0; i < len; i++) {
        if (s[i] == '\n')
            semicolon = value = false;
        if ((s[i] == ';' && value) ||
            (semicolon && (s[i] == '\\' || s[i] == ' ' || s[i] == '\t')) ||
            (s[i] == ';' && i && (s[i - 1] == ' ' || s[i - 1] == '\t')))
            return true;
        semicolon |= s[i] == ';';
        value |= semicolon && s[i] == '=';
    }
    return false;
}

static inline void oracle_message(const struct trace *t, const struct trace_message *m,
                                  const char *s, size_t len)
{
    static llhttp_settings_t callbacks;
    struct oracle o = {.body_hash = 2166136261u};
    const struct http_parser *ours = &m->head;

    callbacks.on_url = oracle_on_url;
    callbacks.on_headers_complete = oracle_on_headers;
    callbacks.on_body = oracle_on_body;
    callbacks.on_message_complete = oracle_on_complete;
    llhttp_init(&o.parser, HTTP_REQUEST, &callbacks);
    llhttp_errno_t e = llhttp_execute(&o.parser, s + m->start, len - m->start);
    if (o.parser.http_major == 1 && o.parser.http_minor > 1)
        return; /* it knows no later minor version; RFC 9110 section 2.5 has them read as 1.1 */
    /* Where it is stricter than RFC 9110: HTAB beside a value. */
    bool tab = memchr(s + m->start, '\t', m->end - m->start);
    if (tab && (e == HPE_INVALID_CONTENT_LENGTH || e == HPE_INVALID_TRANSFER_ENCODING))
        return;
    if (ours->flags & HTTP_F_CHUNKED && oracle_odd_extension(s + m->start, m->end - m->start))
        return;
    if (!o.complete || e != HPE_PAUSED)
        oracle_differs("verdict", t, m, &o);
    if (o.upgrade || o.parser.upgrade)
        return; /* CONNECT and Upgrade end its message at the head; we never switch protocols */
    size_t used = (size_t)(llhttp_get_error_pos(&o.parser) - (s + m->start));
    if (used != m->end - m->start)
        oracle_differs("end", t, m, &o);
    if (strcmp(llhttp_method_name((llhttp_method_t)o.parser.method),
               http_method_name((enum http_method)ours->method)))
        oracle_differs("method", t, m, &o);
    const char *target = s + m->start + ours->target_off;
    if (o.url + o.url_len != target + ours->target_len ||
        (!(ours->flags & HTTP_F_ABSOLUTE) && o.url != target))
        oracle_differs("target", t, m, &o);
    if (ours->flags & HTTP_F_BODY ? o.body_len != m->body_len || o.body_hash != m->body_hash
                                  : o.body_len)
        oracle_differs("body", t, m, &o);
    /* Of both options in 1.0, close wins here and not there; HTAB in a list hides an option there.
     */
    if (o.keep != (bool)http_keeps_alive(ours) && !o.both && !tab)
        oracle_differs("persistence", t, m, &o);
}

static inline void oracle_compare(const struct trace *t, const char *s, size_t len)
{
    for (size_t i = 0; i < t->messages && i < TRACE_KEPT; i++)
        oracle_message(t, &t->kept[i], s, len);
}

/* Reads one response, interim or not, at s[0..len). */
static inline llhttp_errno_t oracle_response(struct oracle *o, const char *s, size_t len)
{
    static llhttp_settings_t callbacks;

    callbacks.on_headers_complete = oracle_on_headers;
    callbacks.on_body = oracle_on_body;
    callbacks.on_message_complete = oracle_on_complete;
    llhttp_init(&o->parser, HTTP_RESPONSE, &callbacks);
    return llhttp_execute(&o->parser, s, len);
}

static inline void oracle_reply(const struct trace *t, const struct trace_message *m, bool to_head,
                                const char *s)
{
    struct oracle o;
    size_t at = m->start;
    const char *ours = s + m->start;
    bool tab = memchr(ours, '\t', m->end - m->start);

    for (unsigned i = 0; i <= m->reply.interim; i++) {
        o = (struct oracle){.body_hash = 2166136261u, .no_body = to_head};
        llhttp_errno_t e = oracle_response(&o, s + at, m->end - at);
        if (e == HPE_INVALID_VERSION && o.parser.http_minor > 1)
            return; /* as with requests */
        /* Where it is stricter than RFC 9110: HTAB beside a value. */
        if (tab && (e == HPE_INVALID_CONTENT_LENGTH || e == HPE_INVALID_TRANSFER_ENCODING))
            return;
        if (oracle_odd_extension(ours, m->end - m->start))
            return;
        if (!o.complete && e == HPE_OK && llhttp_message_needs_eof(&o.parser)) {
            if (tab) /* which hides "chunked" from it, too */
                return;
            e = llhttp_finish(&o.parser); /* its body ends with the connection */
            at = m->end;
            break;
        }
        if (!o.complete || e != HPE_PAUSED)
            oracle_differs("verdict", t, m, &o);
        at = (size_t)(llhttp_get_error_pos(&o.parser) - s);
    }
    if (at != m->end || !o.complete)
        oracle_differs("end", t, m, &o);
    if (o.parser.status_code != m->reply.status)
        oracle_differs("status", t, m, &o);
    if (o.body_len != m->body_len || o.body_hash != m->body_hash)
        oracle_differs("body", t, m, &o);
    if (o.keep != reply_persists(&m->reply) && !o.both && !tab) /* as with requests */
        oracle_differs("persistence", t, m, &o);
}

static inline void oracle_compare_replies(const struct trace *t, bool to_head, const char *s)
{
    for (size_t i = 0; i < t->messages && i < TRACE_KEPT; i++)
        oracle_reply(t, &t->kept[i], to_head, s);
}

#endif
