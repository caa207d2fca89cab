/* SPDX-License-Identifier: MIT */
/*
 * io_uring_ring.c - see io_uring_ring.h. What a kernel can do is found out by asking it for the
 * feature and taking the next best when it refuses, never by its version.
 */
#include "config.h"

#include "batch.h"
#include "io_uring_ring.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util.h"

/*
 * Defaults. Queues: a full submission queue costs one more system call, a full completion queue a
 * little time, so they are as small as measuring shows no difference. Buffers: incremental ones are
 * filled to the last byte, so a few are enough; large, since a large body fills each by a receive of
 * its own, but no more than stay in the cache (doc/performance.md). The others hold one receive each,
 * however small, so there must be as many as receives may complete in an iteration. They begin with
 * what a worker needs that has a few dozen connections. Sends are submitted early from so many bytes
 * on that the blocks of output they are sent from stay in the first cache: half as many cost 1 to 3 %
 * more system calls' time (json and pipelined, 64 and 512 connections).
 */
#define URING_ENTRIES             256
#define URING_CQ_FACTOR           4
#define URING_SUBMIT_BYTES        16384
#define URING_INC_BUFFERS         4
#define URING_INC_BUFFERS_LEAST   2
#define URING_INC_BUFFER_BYTES    65536
#define URING_INC_LENT_LEAST      16384
#define URING_WHOLE_BUFFERS       256
#define URING_WHOLE_BUFFERS_LEAST 32
#define URING_WHOLE_BUFFER_BYTES  4096

#define URING_ENTRIES_MAX      4096
#define URING_CQ_MAX           65536
#define URING_SUBMIT_BYTES_MAX (1u << 20)
#define URING_BUFFERS_MAX      32768
#define URING_BUFFER_BYTES_MIN 64
#define URING_BUFFER_BYTES_MAX (1u << 20)

static const char *const uring_taskrun_names[] = {"defer", "coop", "none"};

PRINTF_LIKE(2, 3) static void uring_reason(struct uring_failure *why, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(why->reason, sizeof(why->reason), format, ap);
    va_end(ap);
    why->hint[0] = '\0';
}

/* ---- options ---- */

/* A decimal number of [min, max] as all of `text`. */
static bool uring_number(const char *text, size_t len, unsigned min, unsigned max, unsigned *out)
{
    uint64_t n = 0;

    if (len == 0 || len > 9)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        n = n * 10 + (unsigned)(text[i] - '0');
    }
    *out = (unsigned)n;
    return n >= min && n <= max;
}

static bool uring_word(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(text, word, len) == 0;
}

static bool uring_choice(const char *text, size_t len, const char *const *words, unsigned count,
                         unsigned *out)
{
    for (*out = 0; *out < count; ++*out)
        if (uring_word(text, len, words[*out]))
            return true;
    return false;
}

/* One KEY=VALUE. Returns what the value must be like when it is not, "" when there is no such key,
 * NULL when all is well. */
static const char *uring_option_set(struct uring_options *o, const char *key, size_t key_len,
                                    const char *value, size_t len)
{
    unsigned n;

    if (uring_word(key, key_len, "entries"))
        return uring_number(value, len, 2, URING_ENTRIES_MAX, &o->entries) ? NULL : "2 to 4096";
    if (uring_word(key, key_len, "submit-bytes"))
        return uring_number(value, len, 1, URING_SUBMIT_BYTES_MAX, &o->submit_bytes)
                   ? NULL
                   : "1 to 1048576";
    if (uring_word(key, key_len, "batch"))
        return (o->batch_us = batch_parse(value, len)) ? NULL : BATCH_WANT;
    if (uring_word(key, key_len, "cq"))
        return uring_number(value, len, 2, URING_CQ_MAX, &o->cq_entries) ? NULL : "2 to 65536";
    if (uring_word(key, key_len, "buffers"))
        return uring_number(value, len, 1, URING_BUFFERS_MAX, &o->buffers) &&
                       !(o->buffers & (o->buffers - 1))
                   ? NULL
                   : "a power of two, at most 32768";
    if (uring_word(key, key_len, "buffer-bytes"))
        return uring_number(value, len, URING_BUFFER_BYTES_MIN, URING_BUFFER_BYTES_MAX,
                            &o->buffer_bytes)
                   ? NULL
                   : "64 to 1048576";
    if (uring_word(key, key_len, "taskrun")) {
        if (!uring_choice(value, len, uring_taskrun_names, ARRAY_LEN(uring_taskrun_names), &n))
            return "defer, coop or none";
        o->taskrun = (enum uring_taskrun)n;
        return NULL;
    }
    int *flag = uring_word(key, key_len, "inc")        ? &o->inc
                : uring_word(key, key_len, "ring-fd")  ? &o->ring_fd
                : uring_word(key, key_len, "restrict") ? &o->restrict_
                                                       : NULL;
    if (!flag)
        return "";
    if (!uring_number(value, len, 0, 1, &n))
        return "0 or 1";
    *flag = (int)n;
    return NULL;
}

int uring_options_parse(struct uring_options *o, const char *variant, uint32_t connections,
                        struct uring_failure *why)
{
    *o = (struct uring_options){.inc = -1, .ring_fd = -1, .restrict_ = -1};
    for (bool more = variant && *variant; more;) {
        size_t len = strcspn(variant, ",");
        const char *equals = memchr(variant, '=', len);
        size_t key_len = equals ? (size_t)(equals - variant) : len;
        const char *want =
            equals ? uring_option_set(o, variant, key_len, equals + 1, len - key_len - 1) : "";

        if (want) {
            uring_reason(why,
                         *want ? "io_uring option \"%.*s\": must be %s"
                               : "io_uring has no option like \"%.*s\"",
                         (int)MIN(len, 60), variant, want);
            snprintf(
                why->hint, sizeof(why->hint),
                "there are entries, cq, submit-bytes, batch, buffers, buffer-bytes, taskrun, inc, "
                "ring-fd and restrict, each as KEY=VALUE");
            return -EINVAL;
        }
        variant += len;
        more = *variant == ',';
        variant += more;
    }
    if (!o->entries) {
        o->entries = URING_ENTRIES;
        while (connections && o->entries > 16 && o->entries / 2 >= connections)
            o->entries /= 2;
    }
    if (!o->submit_bytes)
        o->submit_bytes = URING_SUBMIT_BYTES;
    if (!o->cq_entries)
        o->cq_entries = o->entries * URING_CQ_FACTOR;
    if (o->cq_entries < o->entries) {
        uring_reason(why,
                     "io_uring option cq=%u: the completion queue is no smaller than the "
                     "submission queue, %u",
                     o->cq_entries, o->entries);
        return -EINVAL;
    }
    return 0;
}

/* ---- why not ---- */

/* The value of the sysctl kernel.io_uring_disabled; -1: there is none. */
static int uring_sysctl(void)
{
    FILE *f = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    int value = -1;

    if (f) {
        if (fscanf(f, "%d", &value) != 1)
            value = -1;
        fclose(f);
    }
    return value;
}

int uring_fail(struct uring_failure *why, const char *call, int err)
{
    const char *hint = "";
    int sysctl;

    uring_reason(why, "%s: %s", call, strerror(err));
    switch (err) {
    case ENOSYS:
        hint = "this kernel has no io_uring (Linux 6.0 or newer is needed), or a seccomp filter "
               "pretends so; use --backend libev";
        break;
    case EPERM:
    case EACCES:
        sysctl = uring_sysctl();
        if (sysctl == 2)
            hint = "the sysctl kernel.io_uring_disabled is 2: set it to 0";
        else if (sysctl == 1)
            hint = "the sysctl kernel.io_uring_disabled is 1: set it to 0, or put the user into "
                   "the group of kernel.io_uring_group";
        else
            hint = "a seccomp filter (a container's default profile has one) or a security module "
                   "forbids it: allow "
                   "io_uring_setup, io_uring_enter and io_uring_register";
        break;
    case ENOMEM:
        hint =
            "raise the limits of locked memory (ulimit -l, LimitMEMLOCK=) and of memory (cgroup)";
        break;
    case EMFILE: hint = "raise the limit of open files (ulimit -n, LimitNOFILE=)"; break;
    case ENFILE: hint = "the machine has no file left: raise the sysctl fs.file-max"; break;
    case EINVAL:
    case ENOTSUP:
        hint = "this kernel is too old (Linux 6.0 or newer is needed); use --backend libev";
        break;
    default: break;
    }
    snprintf(why->hint, sizeof(why->hint), "%s", hint);
    return -err;
}

/* ---- the ring ---- */

static int uring_queue_open(struct uring_ring *r, const struct uring_options *o,
                            struct uring_failure *why)
{
    static const struct {
        enum uring_taskrun taskrun;
        unsigned flags;
    } steps[] = {
        {URING_TASKRUN_DEFER,
         IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN},
        {URING_TASKRUN_COOP,
         IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN},
        {URING_TASKRUN_COOP, IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN},
        {URING_TASKRUN_NONE, IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER},
        {URING_TASKRUN_NONE, 0},
    };
    int rc = -EINVAL;

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        if (steps[i].taskrun < o->taskrun)
            continue;
        struct io_uring_params p = {.flags = steps[i].flags | IORING_SETUP_CQSIZE |
                                             IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED,
                                    .cq_entries = o->cq_entries};
        rc = io_uring_queue_init_params(o->entries, &r->ring, &p);
        if (rc == 0) {
            r->taskrun = steps[i].taskrun;
            r->submit_all = steps[i].flags & IORING_SETUP_SUBMIT_ALL;
            r->single_issuer = steps[i].flags & IORING_SETUP_SINGLE_ISSUER;
            return 0;
        }
        if (rc != -EINVAL)
            break;
    }
    return uring_fail(why, "io_uring_setup", -rc);
}

/*
 * Once restricted, a ring takes what the backend submits and nothing else, not even from whoever
 * has taken the process over: no seccomp filter sees what goes through a ring.
 */
static int uring_restrict(struct uring_ring *r)
{
#define ALLOW_SQE(op)                                       \
    {                                                       \
        .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = (op) \
    }
#define ALLOW_REGISTER(op)                                            \
    {                                                                 \
        .opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = (op) \
    }
    struct io_uring_restriction allowed[] = {
        ALLOW_SQE(IORING_OP_ACCEPT),
        ALLOW_SQE(IORING_OP_RECV),
        ALLOW_SQE(IORING_OP_SEND),
        ALLOW_SQE(IORING_OP_READ), /* of the eventfd that wakes, and of files */
        ALLOW_SQE(IORING_OP_SENDMSG),
        ALLOW_SQE(IORING_OP_CONNECT),
        ALLOW_SQE(IORING_OP_POLL_ADD),
        ALLOW_SQE(IORING_OP_ASYNC_CANCEL),
        {.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
         .sqe_flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS},
        /* the end of the ring, and what the probe asks */
        ALLOW_REGISTER(IORING_UNREGISTER_RING_FDS),
        ALLOW_REGISTER(IORING_REGISTER_SYNC_CANCEL),
        ALLOW_REGISTER(IORING_REGISTER_PROBE),
    };
#undef ALLOW_SQE
#undef ALLOW_REGISTER

    /* liburing 2.3 declares functions of its own for this and does not export them */
    return io_uring_register(r->ring.ring_fd, IORING_REGISTER_RESTRICTIONS, allowed,
                             ARRAY_LEN(allowed));
}

/* The kernel's argument, which liburing 2.3 knows without its flags. */
struct uring_pool_reg {
    uint64_t ring_addr;
    uint32_t ring_entries;
    uint16_t bgid;
    uint16_t flags;
    uint64_t resv[3];
};

static int uring_pool_register(struct uring_ring *r, unsigned group, unsigned count, unsigned flags)
{
    struct uring_pool_reg reg = {.ring_addr = (uintptr_t)r->pool.ring,
                                 .ring_entries = count,
                                 .bgid = (uint16_t)group,
                                 .flags = (uint16_t)flags};
    int rc = io_uring_register(r->ring.ring_fd, IORING_REGISTER_PBUF_RING, &reg, 1);

    return rc < 0 ? rc : 0;
}

/* Is what the kernel calls incremental really so here? It is asked with a pool of one entry that no
 * receive ever uses, in a group of its own: should it stay, it is in nobody's way. */
static bool uring_pool_can_increment(struct uring_ring *r)
{
    int rc = uring_pool_register(r, URING_TRIAL_GROUP, 1, URING_PBUF_RING_INC);

    if (rc < 0)
        return false;
    io_uring_unregister_buf_ring(&r->ring, URING_TRIAL_GROUP);
    return true;
}

/* Have as many spare buffers circulate as are to. */
static void uring_pool_fill(struct uring_pool *p)
{
    while (p->circulating < p->target)
        uring_pool_give_back(p, p->spare[p->count - ++p->circulating]);
}

void uring_pool_grow(struct uring_pool *p)
{
    if (p->lent < p->bytes) {
        p->lent = p->bytes;
        return;
    }
    p->target = MIN(p->count, MAX(p->target, p->circulating) * 2);
    uring_pool_fill(p);
}

static int uring_pool_open(struct uring_ring *r, const struct uring_options *o, uint32_t recv_bytes,
                           struct uring_failure *why)
{
    struct uring_pool *p = &r->pool;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    /* The ring of descriptors may be needed before it is known how many buffers there will be: room
     * for the most. */
    size_t ring_bytes =
        util_round_up(sizeof(struct io_uring_buf) *
                          (o->buffers ? o->buffers : MAX(URING_INC_BUFFERS, URING_WHOLE_BUFFERS)),
                      page);
    int rc;

    p->ring = mmap(NULL, ring_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p->ring == MAP_FAILED) {
        p->ring = NULL;
        return uring_fail(why, "mmap of the buffer ring", errno);
    }
    p->map_bytes = ring_bytes;

    p->incremental = o->inc != 0 && uring_pool_can_increment(r);
    if (o->inc == 1 && !p->incremental) {
        uring_reason(why, "incremental receive buffers (inc=1): this kernel has none");
        return -EINVAL;
    }
    p->count = o->buffers ? o->buffers : p->incremental ? URING_INC_BUFFERS : URING_WHOLE_BUFFERS;
    p->bytes = o->buffer_bytes  ? o->buffer_bytes
               : p->incremental ? URING_INC_BUFFER_BYTES
                                : MIN(URING_WHOLE_BUFFER_BYTES, recv_bytes);

    p->target_least =
        MIN(p->count, p->incremental ? URING_INC_BUFFERS_LEAST : URING_WHOLE_BUFFERS_LEAST);

    p->lent_least = p->incremental && !o->buffer_bytes ? URING_INC_LENT_LEAST : p->bytes;

    p->used = p->incremental ? calloc(p->count, sizeof(*p->used)) : NULL;
    p->spare = calloc(p->count, sizeof(*p->spare));
    p->base = mmap(NULL, (size_t)p->count * p->bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p->base == MAP_FAILED)
        p->base = NULL;
    if (!p->base || !p->spare || (p->incremental && !p->used))
        return uring_fail(why, "memory for the receive buffers", ENOMEM);
    rc = uring_pool_register(r, URING_BUFFER_GROUP, p->count,
                             p->incremental ? URING_PBUF_RING_INC : 0);
    if (rc < 0)
        return uring_fail(why, "io_uring_register of a buffer ring", -rc);

    io_uring_buf_ring_init(p->ring);
    for (unsigned i = 0; i < p->count; i++)
        p->spare[i] = (uint16_t)(p->count - 1 - i);
    p->target = p->target_least;
    p->lent = p->lent_least;
    uring_pool_fill(p);
    return 0;
}

static void uring_pool_close(struct uring_pool *p)
{
    free(p->used);
    free(p->spare);
    if (p->base)
        munmap(p->base, (size_t)p->count * p->bytes);
    if (p->ring)
        munmap(p->ring, p->map_bytes);
}

/* All is registered: restrict the ring and let it begin. */
static int uring_ring_enable(struct uring_ring *r, const struct uring_options *o,
                             struct uring_failure *why)
{
    int rc = o->restrict_ == 0 ? -EINVAL : uring_restrict(r);

    r->restricted = rc == 0;
    if (o->restrict_ == 1 && rc < 0)
        return uring_fail(why, "io_uring_register of restrictions (restrict=1)", -rc);
    rc = io_uring_register(r->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    return rc < 0 ? uring_fail(why, "io_uring_register to enable the ring", -rc) : 0;
}

int uring_ring_open(struct uring_ring *r, const struct uring_options *o, uint32_t recv_bytes,
                    struct uring_failure *why)
{
    memset(r, 0, sizeof(*r));
    int rc = uring_queue_open(r, o, why);
    if (rc < 0)
        return rc;
    if ((r->ring.features & (IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP)) !=
        (IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP)) {
        rc = uring_fail(why, "io_uring_setup grants too few features", EINVAL);
    } else {
        rc = uring_pool_open(r, o, recv_bytes, why);
    }
    if (rc == 0 && o->ring_fd != 0) {
        int registered = io_uring_register_ring_fd(&r->ring);
        r->registered = registered == 1;
        if (o->ring_fd == 1 && !r->registered)
            rc = uring_fail(why, "io_uring_register of the ring's fd (ring-fd=1)",
                            registered < 0 ? -registered : EINVAL);
    }
    if (rc == 0)
        rc = uring_ring_enable(r, o, why);
    if (rc < 0)
        uring_ring_close(r);
    return rc;
}

void uring_ring_close(struct uring_ring *r)
{
    /* What is in flight would otherwise end some time after the close, and may still write to
     * buffers. */
    struct io_uring_sync_cancel_reg all = {
        .flags = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY,
        .timeout = {.tv_sec = 1},
    };
    io_uring_register_sync_cancel(&r->ring, &all);
    io_uring_queue_exit(&r->ring);
    uring_pool_close(&r->pool);
}

size_t uring_ring_trim(struct uring_ring *r)
{
    size_t bytes = (size_t)r->pool.count * r->pool.bytes;

    /*
     * Data comes into the buffers while this process waits, and only then, or at any time; and the
     * kernel may keep completions for which the queue had no place.
     */
    if (r->taskrun != URING_TASKRUN_DEFER || io_uring_cq_ready(&r->ring) > 0 ||
        (*(volatile unsigned *)r->ring.sq.kflags & IORING_SQ_CQ_OVERFLOW))
        return 0;
    r->pool.target = r->pool.target_least;
    r->pool.lent = r->pool.lent_least;
    return madvise(r->pool.base, bytes, MADV_DONTNEED) == 0 ? bytes : 0;
}

int uring_ring_describe(const struct uring_ring *r, char *out, size_t out_size)
{
    return snprintf(out, out_size, "%s_taskrun%s%s%s%s%s, %u %sbuffers of %u, queues %u/%u",
                    uring_taskrun_names[r->taskrun], r->single_issuer ? " single_issuer" : "",
                    r->submit_all ? " submit_all" : "",
                    r->ring.flags & URING_SETUP_NO_SQARRAY ? " no_sqarray" : "",
                    r->registered ? " registered_ring" : "", r->restricted ? " restricted" : "",
                    r->pool.count, r->pool.incremental ? "incremental " : "", r->pool.bytes,
                    r->ring.sq.ring_entries, r->ring.cq.ring_entries);
}
