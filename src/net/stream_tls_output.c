/* SPDX-License-Identifier: MIT */
/*
 * stream_tls_output.c - the output of streams with TLS.
 *
 * slot->out is plain text, as the protocol has written it. When something can be sent, up to TLS_BATCH
 * bytes of it become ciphertext in tls.out, which is what the backend gets; they leave slot->out when the
 * kernel has taken all of that. So what is pending, what is full and what is empty mean what they mean
 * without TLS, and a file is read as far as there is room.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "page_cache.h"
#include "stream_tls_internal.h"

#define TLS_BATCH       65536      /* plain text that is encrypted for one send */
#define TLS_FILE_WINDOW (1u << 20) /* of a file, that is read at once where it is not in memory */

/* Encrypt memory. 0 or -errno. */
static int tls_encrypt(struct tls_stream *t, const char *data, size_t len)
{
    while (len > 0) {
        size_t n = MIN(len, (size_t)TLS_RECORD_MAX);
        int rc = tls_write(&t->tls, data, n);
        if (unlikely(rc < 0))
            return rc;
        t->covers += n;
        data += n;
        len -= n;
    }
    return 0;
}

/* Encrypt of a range of a file what has room. 0 or -errno. */
static int tls_encrypt_file(struct loop *l, struct tls_stream *t,
                            const struct backend_segment *file)
{
    uint64_t off = 0;

    while (off < file->len && t->covers < TLS_BATCH) {
        size_t want = (size_t)MIN(file->len - off, sizeof(l->tls->file));
        ssize_t n = pread(file->file, l->tls->file, want, file->offset + (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO; /* it has become shorter */
        int rc = tls_encrypt(t, l->tls->file, (size_t)n);
        if (rc < 0)
            return rc;
        off += (uint64_t)n;
    }
    return 0;
}

/* May the next piece of this file be read without waiting for the disk? */
static bool tls_file_is_read(const struct loop *l, const struct slot *s,
                             const struct backend_segment *file)
{
    return (s->flags & STREAM_READ) || !l->set->file_readers ||
           page_cache_has(file->file, file->offset, MIN(file->len, TLS_BATCH));
}

/* Encrypt the beginning of slot->out. 0 or -errno. */
static int tls_fill(struct loop *l, struct slot *s, struct tls_stream *t)
{
    struct backend_segment segments[BACKEND_SEGMENTS_MAX];
    unsigned count = out_segments(&s->out, segments, ARRAY_LEN(segments));
    int rc = 0;

    for (unsigned i = 0; i < count && rc == 0 && t->covers < TLS_BATCH; i++) {
        if (segments[i].data) {
            rc = tls_encrypt(t, segments[i].data, segments[i].len);
        } else {
            if (i == 0 || tls_file_is_read(l, s, &segments[i]))
                rc = tls_encrypt_file(l, t, &segments[i]);
            break; /* the range may have been left in the middle */
        }
    }
    s->flags &= (uint16_t)~STREAM_READ;
    if (unlikely(rc < 0)) {
        l->stats->no_block += rc == -ENOMEM;
        l->stats->tls_failed += rc == -EPROTO;
        log_limited(LOG_LEVEL_WARN, "TLS: a connection's output cannot be encrypted: %s",
                    rc == -EPROTO ? tls_reason() : strerror(-rc));
    }
    return rc;
}

/* ---- where the kernel encrypts ---- */

/*
 * All that OpenSSL has written is with the kernel, and there is something to be sent: from here on the
 * kernel can go on, if it will.
 */
static void tls_begin_in_kernel(struct loop *l, struct slot *s, struct tls_stream *t)
{
    if (!tls_ktls_begin(&t->tls, stream_fd(l, s))) {
        l->stats->tls_ktls_refused++;
        return;
    }
    l->stats->tls_ktls++;
    s->flags |= STREAM_DIRECT;
}

/* slot->out goes as it stands; behind it the alert, if there is one. */
static int tls_segments_in_kernel(struct slot *s, struct tls_stream *t,
                                  struct backend_segment *segments, unsigned max)
{
    if (!out_empty(&s->out))
        return (int)out_segments(&s->out, segments, max);
    if (s->state == STREAM_ENDING)
        tls_close(&t->tls);
    if (!t->tls.alert_due)
        return 0;
    *segments = (struct backend_segment){
        .len = sizeof(t->tls.alert), .record = TLS_RECORD_ALERT, .text = (char *)t->tls.alert};
    return 1;
}

static void tls_consume_in_kernel(struct slot *s, struct tls_stream *t, size_t n)
{
    if (n == 0)
        return;
    if (!out_empty(&s->out))
        out_consume(&s->out, n);
    else
        t->tls.alert_due = false;
}

int tls_stream_segments(struct loop *l, struct slot *s, struct backend_segment *segments,
                        unsigned max)
{
    struct tls_stream *t = tls_stream_get(l, s);

    if (!t)
        return 0;
    if (t->tls.ktls && t->tls.established && out_empty(&t->tls.out) && !out_empty(&s->out) &&
        t->covers == 0)
        tls_begin_in_kernel(l, s, t);
    if (t->tls.in_kernel)
        return tls_segments_in_kernel(s, t, segments, max);
    if (t->covers == 0 && !out_empty(&s->out)) {
        out_segments(&s->out, segments, 1);
        if (unlikely(!segments->data) && !tls_file_is_read(l, s, segments)) {
            segments->len = MIN(segments->len, TLS_FILE_WINDOW);
            return 1;
        }
        int rc = tls_fill(l, s, t);
        if (rc < 0)
            return rc;
    }
    if (s->state == STREAM_ENDING && out_pending(&s->out) == t->covers)
        tls_close(&t->tls);
    return (int)out_segments(&t->tls.out, segments, max);
}

void tls_stream_consume(struct loop *l, struct slot *s, size_t n)
{
    struct tls_stream *t = tls_stream_get(l, s);

    if (t->tls.in_kernel) {
        tls_consume_in_kernel(s, t, n);
        return;
    }
    out_consume(&t->tls.out, n);
    if (!out_empty(&t->tls.out) || t->covers == 0)
        return;
    out_consume(&s->out, t->covers);
    t->covers = 0;
}

void tls_stream_say_goodbye(struct loop *l, struct slot *s, struct tls_stream *t)
{
    struct backend_segment segments[2];

    if ((s->flags & (STREAM_SENDING | STREAM_RESET)) || !out_empty(&s->out))
        return;
    tls_close(&t->tls);
    unsigned count = t->tls.in_kernel
                         ? (unsigned)tls_segments_in_kernel(s, t, segments, ARRAY_LEN(segments))
                         : out_segments(&t->tls.out, segments, ARRAY_LEN(segments));
    if (count == 0)
        return;
    /* If it pends, the segments are frozen until the stream is detached, which is next. */
    int rc = backend_send(l->be, stream_fd(l, s), segments, count);
    if (rc > 0 && rc != IO_PENDING)
        l->stats->bytes_out += (uint64_t)rc;
}
