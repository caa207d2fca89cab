/* SPDX-License-Identifier: MIT */
/*
 * access_log.c - see access_log.h.
 *
 * Combined, the format of Apache httpd and nginx:
 *   192.0.2.1 - - [28/Nov/2026:17:08:00 +0000] "GET / HTTP/1.1" 200 2 "-" "curl/8"
 * Combined-tls: the same, and behind it what Apache calls %{SSL_PROTOCOL}x %{SSL_CIPHER}x:
 *   TLSv1.3 TLS_AES_128_GCM_SHA256
 * JSON lines: an object with all of it and the duration.
 */
#include "config.h"

#include "access_log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "integer.h"
#include "log.h"
#include "stream.h"
#include "stream_tls.h"
#include "wakeup.h"

/* Bytes of a text in a line, escaped, at most; what is longer ends in "...". */
#define ACCESS_LOG_REQUEST_MAX 1664
#define ACCESS_LOG_FIELD_MAX   960
#define ACCESS_LOG_TLS_MAX     48 /* of each of the two names, which are OpenSSL's */

/* All else of a line: address, date, numbers, and the names and quotes of the members of JSON. */
static_assert(ACCESS_LOG_REQUEST_MAX + 2 * ACCESS_LOG_FIELD_MAX + PEER_TEXT_MAX +
                      2 * ACCESS_LOG_TLS_MAX + 352 <=
                  ACCESS_LOG_LINE_MAX,
              "the longest line fits");

int access_log_init(struct access_log *log, const struct access_log_config *cfg, uint32_t fds)
{
    *log = (struct access_log){.cfg = *cfg};
    assert(cfg->ring->record_max >= ACCESS_LOG_LINE_MAX);
    return peer_table_init(&log->peers, fds);
}

void access_log_destroy(struct access_log *log)
{
    peer_table_destroy(&log->peers);
}

/* ---- the head ---- */

/* The value of a field's line, `name_len` bytes of name before it, without white space around it. */
static const char *access_log_value(const char *line, const char *cr, size_t name_len, size_t *len)
{
    const char *from = line + name_len + 1, *to = cr;

    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    *len = (size_t)(to - from);
    return from;
}

static inline bool access_log_is(const char *line, size_t len, const char *lower, size_t name_len)
{
    if (len <= name_len || line[name_len] != ':')
        return false;
    for (size_t i = 0; i < name_len; i++)
        if ((line[i] | 0x20) != lower[i] && line[i] != lower[i])
            return false;
    return true;
}

/* A complete head, which the parser has accepted: every line ends in CRLF. */
static void access_log_read(struct access_log_head *head, const char *s, size_t len)
{
    const char *end = s + len;

    memset(head, 0, sizeof(*head));
    while (s < end && (*s == '\r' || *s == '\n')) /* empty lines before it */
        s++;
    const char *cr = memchr(s, '\r', (size_t)(end - s));
    head->line = s;
    head->line_len = (size_t)(cr - s);
    while ((s = cr + 2) < end && *s != '\r') {
        cr = memchr(s, '\r', (size_t)(end - s));
        size_t line_len = (size_t)(cr - s);
        if (access_log_is(s, line_len, "user-agent", 10))
            head->agent = access_log_value(s, cr, 10, &head->agent_len);
        else if (access_log_is(s, line_len, "referer", 7))
            head->referer = access_log_value(s, cr, 7, &head->referer_len);
    }
}

void access_log_begin(struct access_log *log, struct exchange *x, const char *text, size_t len)
{
    log->current = x;
    log->text = text;
    log->text_len = len;
    if (x->in) /* it lies in a block that may be given back before the request is done */
        access_log_keep(log, x);
}

/* Copy at most `max` bytes of a span to *at. */
static void access_log_copy(char **at, const char **span, size_t *len, size_t max)
{
    if (!*span)
        return;
    *len = MIN(*len, max);
    memcpy(*at, *span, *len);
    *span = *at;
    *at += *len;
}

void access_log_keep(struct access_log *log, struct exchange *x)
{
    struct access_log_head head;

    if (log->current != x)
        return;
    log->current = NULL;
    access_log_read(&head, log->text, log->text_len);
    /* A byte more than is shown, so that it is seen when something is missing. */
    size_t room = MIN(head.line_len, ACCESS_LOG_REQUEST_MAX + 1) +
                  MIN(head.referer_len, ACCESS_LOG_FIELD_MAX + 1) +
                  MIN(head.agent_len, ACCESS_LOG_FIELD_MAX + 1);
    struct access_log_note *note = malloc(sizeof(*note) + room);
    if (!note)
        return; /* the line will show no request */
    char *at = note->data;
    note->head = head;
    access_log_copy(&at, &note->head.line, &note->head.line_len, ACCESS_LOG_REQUEST_MAX + 1);
    access_log_copy(&at, &note->head.referer, &note->head.referer_len, ACCESS_LOG_FIELD_MAX + 1);
    access_log_copy(&at, &note->head.agent, &note->head.agent_len, ACCESS_LOG_FIELD_MAX + 1);
    x->note = note;
}

/* ---- the line ---- */

static inline char *access_log_put(char *p, const char *text, size_t len)
{
    memcpy(p, text, len);
    return p + len;
}

#define PUT(p, literal) access_log_put((p), (literal), sizeof(literal) - 1)

/* Bytes of 8 that are no plain text: controls, quotes, backslashes, and beyond 0x7e. */
static inline uint64_t access_log_special(uint64_t v)
{
    const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
    uint64_t quote = v ^ 0x2222222222222222, backslash = v ^ 0x5c5c5c5c5c5c5c5c;
    uint64_t del = v ^ 0x7f7f7f7f7f7f7f7f;

    /* Each term may find too much behind what it has found rightly, which is looked at by byte. */
    return (v | (v - ones * 0x20) | (quote - ones) | (backslash - ones) | (del - ones)) & high;
}

/* The bytes of `in`, if they are plain and no more than `max`; NULL: they are not. */
static char *access_log_plain(char *p, const char *in, size_t len, size_t max)
{
    uint64_t v, special = 0;

    if (len < 8 || len > max)
        return NULL;
    for (size_t i = 0; i + 8 < len; i += 8) {
        memcpy(&v, in + i, 8);
        memcpy(p + i, &v, 8);
        special |= access_log_special(v);
    }
    memcpy(&v, in + len - 8, 8); /* some bytes twice */
    memcpy(p + len - 8, &v, 8);
    return special | access_log_special(v) ? NULL : p + len;
}

/* `in` escaped, at most `max` bytes of it. */
static char *access_log_escape(char *p, const char *in, size_t len, size_t max, bool json)
{
    static const char hex[] = "0123456789abcdef";
    char *end = p + max - 3, *plain = access_log_plain(p, in, len, max);

    if (likely(plain != NULL))
        return plain;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)in[i];
        if (end - p < 6)
            return PUT(p, "...");
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            *p++ = (char)c;
        else if (json)
            p = access_log_put(p, (const char[6]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]},
                               6);
        else
            p = access_log_put(p, (const char[4]){'\\', 'x', hex[c >> 4], hex[c & 15]}, 4);
    }
    return p;
}

static char *access_log_quote(char *p, const char *in, size_t len, size_t max)
{
    *p++ = '"';
    p = in && len ? access_log_escape(p, in, len, max, false) : PUT(p, "-");
    *p++ = '"';
    return p;
}

static char *access_log_member(char *p, const char *in, size_t len, size_t max)
{
    if (!in)
        return PUT(p, "null");
    *p++ = '"';
    p = access_log_escape(p, in, len, max, true);
    *p++ = '"';
    return p;
}

/* The names of the version and the cipher; NULL: the connection has no TLS. */
struct access_log_tls {
    const char *protocol, *cipher;
};

static struct access_log_tls access_log_tls(const struct loop *l, const struct exchange *x)
{
    const struct tls *t = tls_stream_of(l, x->slot);

    if (!t || !t->ssl || !t->established)
        return (struct access_log_tls){NULL, NULL};
    return (struct access_log_tls){tls_protocol_name(t), tls_cipher_name(t)};
}

static char *access_log_name(char *p, const char *name)
{
    return name ? access_log_put(p, name, strnlen(name, ACCESS_LOG_TLS_MAX)) : PUT(p, "-");
}

static char *access_log_combined(char *p, const struct access_log *log,
                                 const struct access_log_head *head, const char *peer,
                                 size_t peer_len, int status, uint64_t bytes,
                                 const struct access_log_tls *tls)
{
    p = access_log_put(p, peer, peer_len);
    p = PUT(p, " - - [");
    p = access_log_put(p, log->date, CLOCK_CLF_LEN);
    p = PUT(p, "] ");
    p = access_log_quote(p, head->line, head->line_len, ACCESS_LOG_REQUEST_MAX);
    *p++ = ' ';
    p = integer_put(p, status);
    *p++ = ' ';
    p = integer_put(p, (int64_t)bytes);
    *p++ = ' ';
    p = access_log_quote(p, head->referer, head->referer_len, ACCESS_LOG_FIELD_MAX);
    *p++ = ' ';
    p = access_log_quote(p, head->agent, head->agent_len, ACCESS_LOG_FIELD_MAX);
    if (log->cfg.format == ACCESS_LOG_COMBINED_TLS) {
        *p++ = ' ';
        p = access_log_name(p, tls->protocol);
        *p++ = ' ';
        p = access_log_name(p, tls->cipher);
    }
    *p++ = '\n';
    return p;
}

static char *access_log_json(char *p, const struct access_log *log,
                             const struct access_log_head *head, const char *peer, size_t peer_len,
                             int status, uint64_t bytes, uint64_t duration_ns,
                             const struct access_log_tls *tls)
{
    const char *line = head->line, *target = NULL, *version = NULL;
    size_t len = head->line_len, method_len = 0, target_len = 0, version_len = 0;

    /* method SP target SP version: the parser takes no other; one that was cut has no version */
    if (line && (target = memchr(line, ' ', len))) {
        method_len = (size_t)(target++ - line);
        target_len = len - method_len - 1;
        version = memchr(target, ' ', target_len);
        if (version) {
            version_len = target_len - (size_t)(++version - target);
            target_len -= version_len + 1;
        }
    }
    p = PUT(p, "{\"time\":\"");
    p = access_log_put(p, log->date, CLOCK_ISO_LEN);
    p = PUT(p, "\",\"client\":\"");
    p = access_log_put(p, peer, peer_len);
    p = PUT(p, "\",\"method\":");
    p = access_log_member(p, target ? line : NULL, method_len, 64);
    p = PUT(p, ",\"target\":");
    p = access_log_member(p, target, target_len, ACCESS_LOG_REQUEST_MAX - 96);
    p = PUT(p, ",\"protocol\":");
    p = access_log_member(p, version, version_len, 32);
    p = PUT(p, ",\"status\":");
    p = integer_put(p, status);
    p = PUT(p, ",\"bytes\":");
    p = integer_put(p, (int64_t)bytes);
    p = PUT(p, ",\"duration_us\":");
    p = integer_put(p, (int64_t)(duration_ns / 1000));
    p = PUT(p, ",\"referer\":");
    p = access_log_member(p, head->referer, head->referer_len, ACCESS_LOG_FIELD_MAX);
    p = PUT(p, ",\"user_agent\":");
    p = access_log_member(p, head->agent, head->agent_len, ACCESS_LOG_FIELD_MAX);
    if (tls->protocol) {
        p = PUT(p, ",\"tls_protocol\":\"");
        p = access_log_name(p, tls->protocol);
        p = PUT(p, "\",\"tls_cipher\":\"");
        p = access_log_name(p, tls->cipher);
        *p++ = '"';
    }
    return PUT(p, "}\n");
}

static void access_log_date(struct access_log *log, time_t now_s)
{
    log->date_s = now_s;
    if (log->cfg.format == ACCESS_LOG_JSON)
        clock_format_iso(log->date, now_s);
    else
        clock_format_clf(log->date, now_s);
}

/* What is known of the request's head. */
static void access_log_head(struct access_log *log, const struct exchange *x,
                            struct access_log_head *head)
{
    if (log->current == x) {
        access_log_read(head, log->text, log->text_len);
        log->current = NULL;
    } else if (x->note) {
        *head = x->note->head;
    } else {
        memset(head, 0, sizeof(*head));
    }
}

static void access_log_wake(const struct access_log *log)
{
    /* It cannot be full: the reader looks every second, whatever happens. */
    wakeup_send(log->cfg.wake_fd);
}

void access_log_end(struct access_log *log, struct loop *l, struct exchange *x, int status,
                    uint64_t duration_ns)
{
    struct access_log_head head;
    size_t peer_len;
    char *line = ring_reserve(log->cfg.ring), *p;

    if (unlikely(!line)) {
        l->stats->log_dropped++;
    } else {
        const char *peer = peer_text(&log->peers, stream_fd(l, x->slot), x->slot->gen, &peer_len);
        bool bodiless = x->request.flags & REQUEST_HEAD_ONLY;
        uint64_t bytes = bodiless ? 0 : x->body_bytes;
        struct access_log_tls tls = {NULL, NULL};
        if (log->cfg.format != ACCESS_LOG_COMBINED)
            tls = access_log_tls(l, x);
        access_log_head(log, x, &head);
        if (unlikely(log->date_s != l->clock.date_s))
            access_log_date(log, l->clock.date_s);
        p = log->cfg.format == ACCESS_LOG_JSON
                ? access_log_json(line, log, &head, peer, peer_len, status, bytes, duration_ns,
                                  &tls)
                : access_log_combined(line, log, &head, peer, peer_len, status, bytes, &tls);
        ring_commit(log->cfg.ring, (size_t)(p - line));
        l->stats->log_lines++;
        if (unlikely(ring_wants_wake(log->cfg.ring)))
            access_log_wake(log);
    }
    log->current = NULL;
    if (x->note) {
        free(x->note);
        x->note = NULL;
    }
}
