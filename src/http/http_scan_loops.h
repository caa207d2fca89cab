/* SPDX-License-Identifier: MIT */
/*
 * http_scan_loops.h - the scanners of http_scan.h over blocks. Each implementation includes it once,
 * and has defined before:
 *
 *   SCAN(name)                    its own name for `name`
 *   SCAN_BLOCK                    bytes in a block, at most HTTP_SCAN_SAME_MIN
 *   SCAN_VECTOR                   the type of a block
 *   SCAN_BITS                     an unsigned integer, of which each byte of a block has some bits
 *   SCAN_VALUE_CLOSE              so many bytes of a field value, behind its first block, are looked at block
 *                                 by block; only then it is taken for long
 *   SCAN(load)(s)                 the block at `s`, which may be any address
 *   SCAN(first)(bits)             the number of the first byte that has a bit; there is one
 *   SCAN(none_or_first)(bits)     the same, or SCAN_BLOCK if there is none
 *   SCAN(from)(bits, n)           the bits of byte `n` and those behind
 *   SCAN(before_first)(bits)      at least all bits of the bytes before the first that has one, and none of
 *                                 those behind; all, if there is none
 *   SCAN(equal)(block, c)         which bytes are `c`, of ASCII
 *   SCAN(not_value)(block)        which cannot be in a field value: exactly these
 *   SCAN(odd_target)(block)       which are not HTTP_C_TARGET, and some that are, but rarely occur
 *   SCAN(odd_token)(block)        HTTP_C_TOKEN likewise
 *   SCAN(odd_name)(block)         HTTP_C_NAME likewise
 *   SCAN(stride)(s, end)          how far, in long steps, there are only SP to '~' from `s` on; it may stop
 *                                 short of that, never go beyond
 *   SCAN(same_block)(a, b)        the SCAN_BLOCK bytes at `a` and at `b` are the same
 *
 * There is no guard: it is a template, and undefines the macros at its end.
 */

/* The end of the input, shorter than a block: its last block, without what has been seen of it. */
static inline const char *SCAN(value_tail)(const char *buf, const char *s, const char *end)
{
    if (end - buf >= SCAN_BLOCK && s < end) {
        const char *last = end - SCAN_BLOCK;
        SCAN_BITS stop = SCAN(from)(SCAN(not_value)(SCAN(load)(last)), (unsigned)(s - last));
        return stop ? last + SCAN(first)(stop) : end;
    }
    return http_run(s, end, HTTP_C_VALUE);
}

/* value_run() of what has turned out to be long. */
static __attribute__((noinline, unused)) const char *
SCAN(value_run_on)(const char *buf, const char *s, const char *end)
{
    for (s = SCAN(stride)(s, end); end - s >= SCAN_BLOCK; s += SCAN_BLOCK) {
        SCAN_BITS stop = SCAN(not_value)(SCAN(load)(s));
        if (stop)
            return s + SCAN(first)(stop);
    }
    return SCAN(value_tail)(buf, s, end);
}

static inline const char *SCAN(value_run)(const char *buf, const char *s, const char *end)
{
    /* The first block by itself: most values end there. */
    if (likely(end - s >= SCAN_BLOCK)) {
        SCAN_BITS stop = SCAN(not_value)(SCAN(load)(s));
        if (stop)
            return s + SCAN(first)(stop);
        s += SCAN_BLOCK;
        const char *close = end - s > SCAN_VALUE_CLOSE ? s + SCAN_VALUE_CLOSE : end;
        for (; close - s >= SCAN_BLOCK; s += SCAN_BLOCK) {
            stop = SCAN(not_value)(SCAN(load)(s));
            if (stop)
                return s + SCAN(first)(stop);
        }
        if (close != end)
            return SCAN(value_run_on)(buf, s, end);
    }
    return SCAN(value_tail)(buf, s, end);
}

/*
 * How many of the bytes at `s` come before the first that is odd in a target. *query, if NULL,
 * becomes the first '?' of them.
 */
static inline unsigned SCAN(target_block)(const char *s, const char **query)
{
    SCAN_VECTOR x = SCAN(load)(s);
    SCAN_BITS odd = SCAN(odd_target)(x), marks = SCAN(equal)(x, '?') & SCAN(before_first)(odd);

    if (marks && !*query)
        *query = s + SCAN(first)(marks);
    return SCAN(none_or_first)(odd);
}

/* target_run() on from where a block ends, or from a rare byte. */
static __attribute__((noinline, unused)) const char *
SCAN(target_run_on)(const char *s, const char *end, const char **query)
{
    while (end - s >= SCAN_BLOCK) {
        unsigned n = SCAN(target_block)(s, query);
        s += n;
        if (n == SCAN_BLOCK)
            continue;
        if (likely(!http_is(*s, HTTP_C_TARGET)))
            return s;
        s++;
    }
    const char *last = http_run(s, end, HTTP_C_TARGET);

    if (last > s && !*query)
        *query = memchr(s, '?', (size_t)(last - s));
    return last;
}

static inline const char *SCAN(target_run)(const char *s, const char *end, const char **query)
{
    /* As many as most targets need, without a loop: its constants would be loaded first. */
    for (int i = 0; i < 32 / SCAN_BLOCK && likely(end - s > SCAN_BLOCK); i++) {
        unsigned n = SCAN(target_block)(s, query);
        s += n;
        if (n == SCAN_BLOCK)
            continue;
        if (likely(!http_is(*s, HTTP_C_TARGET)))
            return s;
        break;
    }
    return SCAN(target_run_on)(s, end, query);
}

static inline const char *SCAN(token_run)(const char *s, const char *end)
{
    if (likely(end - s >= SCAN_BLOCK))
        s += SCAN(none_or_first)(SCAN(odd_token)(SCAN(load)(s)));
    return http_run(s, end, HTTP_C_TOKEN);
}

static inline const char *SCAN(name_run)(const char *s, const char *end)
{
    if (likely(end - s >= SCAN_BLOCK))
        s += SCAN(none_or_first)(SCAN(odd_name)(SCAN(load)(s)));
    return http_run(s, end, HTTP_C_NAME);
}

static inline bool SCAN(same)(const char *a, const char *b, size_t len)
{
    const char *last = a + len - SCAN_BLOCK;
    ptrdiff_t by = b - a;

    for (; a < last; a += SCAN_BLOCK)
        if (!SCAN(same_block)(a, a + by))
            return false;
    return SCAN(same_block)(last, last + by);
}

#undef SCAN
#undef SCAN_BITS
#undef SCAN_VECTOR
#undef SCAN_BLOCK
#undef SCAN_VALUE_CLOSE
