/* SPDX-License-Identifier: MIT */
/*
 * test_log.c - the bottom: log lines as they arrive on stderr, the calendar against the C
 * library's, the counters of stats.h.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "log.h"
#include "stats.h"

/* ---- log ---- */

static int captured = -1, original = -1;

/* From now on stderr is a pipe that captured_text() reads. */
static void capture(void)
{
    int fds[2];

    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    original = dup(STDERR_FILENO);
    assert_true(original >= 0);
    assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
    close(fds[1]);
    captured = fds[0];
}

/* What was written since the last call. */
static const char *captured_text(void)
{
    static char text[4 * LOG_LINE_MAX];
    ssize_t n = read(captured, text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void release(void)
{
    dup2(original, STDERR_FILENO);
    close(original);
    close(captured);
}

/* cmocka prints failures on stderr: put it back before a test is judged. */
static int teardown(void **state)
{
    (void)state;
    if (captured >= 0)
        release();
    captured = -1;
    log_set_level(LOG_LEVEL_NOTICE);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    capture();
    return 0;
}

static bool matches(const char *text, const char *pattern)
{
    regex_t re;
    bool match;

    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    match = regexec(&re, text, 0, NULL, 0) == 0;
    regfree(&re);
    return match;
}

static unsigned count_lines(const char *text)
{
    unsigned n = 0;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

#define PREFIX "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z "

static void test_line(void **state)
{
    char want[256];

    (void)state;
    errno = ENOTTY;
    log_warn("%s has %d legs", "a dog", 4);
    assert_int_equal(errno, ENOTTY);
    snprintf(want, sizeof(want), PREFIX "warn \\[%ld\\] a dog has 4 legs\n$", (long)getpid());
    assert_true(matches(captured_text(), want));
    log_error("x");
    assert_true(matches(captured_text(), PREFIX "error \\[[0-9]+\\] x\n$"));
    errno = EACCES;
    log_notice("%m");
    assert_non_null(strstr(captured_text(), strerror(EACCES)));
}

/* time(2) may be a tick behind the clock that the log reads, and so in the second before. */
static time_t now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

static void test_time_is_now(void **state)
{
    char before[CLOCK_ISO_LEN + 1], after[CLOCK_ISO_LEN + 1], text[64];

    (void)state;
    clock_format_iso(before, now_s());
    log_notice("x");
    clock_format_iso(after, now_s());
    memcpy(text, captured_text(), CLOCK_ISO_LEN);
    text[CLOCK_ISO_LEN] = '\0';
    assert_true(strcmp(before, text) <= 0 && strcmp(text, after) <= 0);
}

static void test_levels(void **state)
{
    static const char *const names[] = {"error", "warn", "notice", "info", "debug"};
    static struct log_site site;

    (void)state;
    assert_int_equal(log_get_level(), LOG_LEVEL_NOTICE);
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        assert_int_equal(log_level_parse(names[level]), level);
        log_set_level(level);
        assert_int_equal(log_get_level(), level);
        log_error("e");
        log_warn("w");
        log_notice("n");
        log_info("i");
        log_debug("d");
        const char *text = captured_text();
        assert_int_equal(count_lines(text), level + 1);
        for (int i = 0; i <= LOG_LEVEL_DEBUG; i++)
            assert_true(!strstr(text, names[i]) == (i > level));
    }
    log_set_level(LOG_LEVEL_ERROR);
    log_write_limited(&site, LOG_LEVEL_WARN, "x");
    assert_string_equal(captured_text(), "");
    assert_int_equal(site.count, 0); /* what is not wanted is not counted either */
    assert_int_equal(log_level_parse("Error"), -EINVAL);
    assert_int_equal(log_level_parse("warning"), -EINVAL);
    assert_int_equal(log_level_parse(""), -EINVAL);
}

/* Nothing that is written can begin a line of its own or reach the terminal. */
static void test_line_is_printable(void **state)
{
    (void)state;
    log_notice("a\nb\r\033[31mc\177\200\377\td");
    const char *text = captured_text();
    assert_non_null(strstr(text, "] a\\x0ab\\x0d\\x1b[31mc\\x7f\\x80\\xff\\x09d\n"));
    assert_int_equal(count_lines(text), 1);
    log_notice("C:\\x0a"); /* escaped before: not once more */
    assert_non_null(strstr(captured_text(), "] C:\\x0a\n"));
    log_notice("%s", "");
    assert_true(matches(captured_text(), "\\] \n$"));
}

static void test_long_lines(void **state)
{
    static char text[3 * LOG_LINE_MAX];

    (void)state;
    for (int fill = 0; fill < 2; fill++) {
        for (size_t len = LOG_LINE_MAX - 80; len < sizeof(text);
             len += len < LOG_LINE_MAX ? 1 : 997) {
            memset(text, fill ? 1 : 'x', len);
            text[len] = '\0';
            log_notice("%s", text);
            const char *line = captured_text();
            size_t n = strlen(line);
            assert_true(n <= LOG_LINE_MAX);
            assert_int_equal(count_lines(line), 1);
            assert_int_equal(line[n - 1], '\n');
            const char *at = strstr(line, "] ");
            assert_non_null(at);
            at += 2;
            if ((size_t)(at - line) + (fill ? 4 * len : len) + 2 <= LOG_LINE_MAX) {
                assert_int_equal(line + n - at, len + 1);
            } else {
                assert_memory_equal(line + n - 4, "...\n", 4);
                assert_true(n > LOG_LINE_MAX - 8); /* cut no earlier than need be */
            }
        }
    }
    /* All counters at their largest in one line. */
    struct stats s;
    char counters[STATS_TEXT_MAX];
    memset(&s, 0xff, sizeof(s));
    assert_true(stats_format(counters, sizeof(counters), &s, NULL, 1) < sizeof(counters));
    log_notice("%s", counters);
    assert_non_null(strstr(captured_text(), counters));
}

/* What the journal reads the priority from stands before a line if stderr is its stream, and only then. */
static void test_journal(void **state)
{
    static const char *const wanted[] = {"<3>", "<4>", "<5>", "<6>", "<7>"};
    struct stat st;
    char stream[64];

    (void)state;
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    log_set_level(LOG_LEVEL_DEBUG);
    for (int wrong = 0; wrong <= 1; wrong++) {
        snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
                 (unsigned long long)st.st_ino + (unsigned)wrong);
        setenv("JOURNAL_STREAM", stream, 1);
        log_open();
        for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
            log_write((enum log_level)level, "text");
            const char *text = captured_text();
            if (wrong)
                assert_in_range(text[0], '0', '9');
            else
                assert_memory_equal(text, wanted[level], 3);
            assert_non_null(strstr(text, " text\n"));
        }
    }
    unsetenv("JOURNAL_STREAM");
    log_open();
    log_set_level(LOG_LEVEL_NOTICE);
}

static void test_rate_limit(void **state)
{
    static struct log_site a, b;
    const char *text;

    (void)state;
    /* The site's window is put where the clock is, again if a second ended meanwhile. */
    do {
        memset(&a, 0, sizeof(a));
        captured_text();
        for (int i = 0; i < LOG_LINES_PER_SECOND + 3; i++)
            log_write_limited(&a, LOG_LEVEL_WARN, "flood %d", i);
    } while (a.count != LOG_LINES_PER_SECOND + 3);
    text = captured_text();
    assert_int_equal(count_lines(text), LOG_LINES_PER_SECOND);
    assert_non_null(strstr(text, "flood 4\n"));
    assert_null(strstr(text, "flood 5"));
    assert_int_equal(a.suppressed, 3);
    log_write_limited(&b, LOG_LEVEL_WARN, "another site");
    assert_non_null(strstr(captured_text(), "] another site\n"));

    a.window_s--; /* a second later */
    log_write_limited(&a, LOG_LEVEL_WARN, "flood again");
    text = captured_text();
    assert_true(matches(text, "\\(3 like this were not logged\\) flood again\n$"));
    assert_int_equal(a.suppressed, 0);
    a.window_s--;
    log_write_limited(&a, LOG_LEVEL_WARN, "flood again");
    assert_true(matches(captured_text(), "\\] flood again\n$"));

    /* The macro: a site of its own for each place, shared by its calls. */
    unsigned lines = 0;
    for (int i = 0; i < 1000; i++) {
        log_limited(LOG_LEVEL_WARN, "in a loop");
        lines += count_lines(captured_text());
    }
    assert_true(lines >= LOG_LINES_PER_SECOND && lines < 500);
}

/* A log that cannot be written to is no reason to stop. */
static void test_no_stderr(void **state)
{
    (void)state;
    int pipe_full = fcntl(STDERR_FILENO, F_GETPIPE_SZ);
    assert_true(pipe_full > 0);
    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK), 0);
    for (int i = 0; i < pipe_full / 50 + 10; i++) {
        errno = ENOTTY;
        log_notice("filling the pipe with lines of more than fifty bytes");
        assert_int_equal(errno, ENOTTY);
    }
    close(STDERR_FILENO);
    errno = ENOTTY;
    log_notice("x");
    assert_int_equal(errno, ENOTTY);
}

static void test_escape(void **state)
{
    static const char in[] = "ab\\c\n\377 ~\177z";
    static const char want[] = "ab\\x5cc\\x0a\\xff ~\\x7fz";
    char out[64];

    (void)state;
    assert_ptr_equal(log_escape(out, sizeof(out), in, sizeof(in) - 1), out);
    assert_string_equal(out, want);
    assert_string_equal(log_escape(out, sizeof(out), "a\0b", 3), "a\\x00b");
    assert_string_equal(log_escape(out, sizeof(out), "", 0), "");
    /* Every size of output: a whole prefix and dots, or everything; never half an escape. */
    for (size_t size = 0; size <= sizeof(want) + 1; size++) {
        memset(out, '#', sizeof(out));
        log_escape(out, size, in, sizeof(in) - 1);
        assert_int_equal(out[size], '#');
        if (size == 0)
            continue;
        size_t n = strnlen(out, size);
        assert_true(n < size);
        if (size >= sizeof(want)) {
            assert_string_equal(out, want);
            continue;
        }
        size_t dots = MIN(size - 1, (size_t)3);
        assert_memory_equal(out + n - dots, "...", dots);
        assert_memory_equal(out, want, n - dots);
        assert_true(n + 4 >= size); /* cut no earlier than need be */
        /* where it was cut is the end of an escape or none: decode it */
        for (size_t i = 0; i < n - dots; i++) {
            if (out[i] != '\\')
                continue;
            assert_true(i + 4 <= n - dots);
            i += 3;
        }
    }
}

/* ---- clock ---- */

static void check_date(time_t t)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    char got[CLOCK_DATE_LEN + 1], iso[CLOCK_ISO_LEN + 1], want[128];
    struct tm tm;

    assert_non_null(gmtime_r(&t, &tm));
    clock_format_date(got, t);
    snprintf(want, sizeof(want), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
             tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    assert_string_equal(got, want);
    clock_format_iso(iso, t);
    strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%SZ", &tm);
    assert_string_equal(iso, want);
}

static void test_dates(void **state)
{
    static const int64_t edges[] = {0,          1,           59,         60,         86399,
                                    86400,      68169599,    68169600,   951782399,  951782400,
                                    951868799,  951868800,   4107542399, 4107542400, 2147483647,
                                    2147483648, 253402300799};
    static const int64_t beyond[] = {253402300800, INT64_MAX};
    char text[CLOCK_DATE_LEN + 1], first[CLOCK_DATE_LEN + 1];
    uint64_t seed = 3;

    (void)state;
    clock_format_date(text, 784111777); /* the example of RFC 9110 section 5.6.7 */
    assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
    clock_format_clf(text, 784111777);
    assert_string_equal(text, "06/Nov/1994:08:49:37 +0000");
    for (size_t i = 0; i < ARRAY_LEN(edges); i++)
        if ((time_t)edges[i] == edges[i]) /* of 32 bits it ends in 2038 */
            check_date((time_t)edges[i]);
    for (int64_t s = 86399; s < INT64_C(150000) * 86400 && (time_t)s == s; s += 86400)
        check_date((time_t)s); /* every day until 2380: each kind of leap year */
    for (int i = 0; i < 20000; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        int64_t s = (int64_t)((seed >> 20) % UINT64_C(253402300800));
        if ((time_t)s == s)
            check_date((time_t)s);
    }
    /* Clocks that are far off are shown as the nearest that can be. */
    clock_format_date(first, 0);
    clock_format_date(text, -1);
    assert_string_equal(text, first);
    for (size_t i = 0; i < ARRAY_LEN(beyond); i++) {
        if ((time_t)beyond[i] != beyond[i])
            continue;
        clock_format_date(text, (time_t)beyond[i]);
        assert_string_equal(text, "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}

static void test_clock_update(void **state)
{
    struct clock_cache c;
    char want[CLOCK_DATE_LEN + 1];

    (void)state;
    memset(&c, 0, sizeof(c));
    uint64_t before_ms = clock_monotonic_ms();
    clock_update(&c);
    assert_true(c.now_ms <= clock_monotonic_ms());
    assert_true(c.now_ms + 1000 > before_ms); /* coarse, by a kernel tick and not by more */
    assert_true(c.date_s <= now_s());
    clock_format_date(want, c.date_s);
    assert_string_equal(c.date, want);

    /* Written again only in another second, also in an earlier one: clocks are set back. */
    for (int shift = -1; shift <= 1; shift++) {
        struct clock_cache marked, before, after;
        memset(&before, 0, sizeof(before));
        memset(&after, 0, sizeof(after));
        do { /* again if the second ends meanwhile */
            clock_update(&before);
            marked = before;
            memset(marked.date, '#', CLOCK_DATE_LEN);
            marked.date_s += shift;
            marked.now_ms--; /* else it is known that no time has passed */
            clock_update(&marked);
            clock_update(&after);
        } while (before.date_s != after.date_s);
        assert_int_equal(marked.date_s, after.date_s);
        if (shift == 0)
            assert_int_equal(marked.date[0], '#');
        else
            assert_string_equal(marked.date, after.date);
    }
    uint64_t last_ms = 0;
    for (int i = 0; i < 100000; i++) {
        clock_update(&c);
        assert_true(c.now_ms >= last_ms);
        last_ms = c.now_ms;
    }
}

/* ---- stats ---- */

static void test_stats(void **state)
{
    struct stats sum;
    int found, status;

    (void)state;
    struct stats *s = stats_map(3);
    assert_non_null(s);
    for (int i = 0; i < 3; i++) {
        assert_int_equal((uintptr_t)&s[i] % CACHE_LINE, 0);
        assert_int_equal(s[i].accepted, 0);
        assert_int_equal(s[i].restarts, 0);
    }
    pid_t pid = fork(); /* the block is the child's, the parent reads it */
    assert_true(pid >= 0);
    if (pid == 0) {
        s[1].accepted = 17;
        s[1].restarts = UINT64_MAX;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(s[1].accepted, 17);
    assert_int_equal(s[0].accepted, 0);

    s[2].accepted = 5;
    s[2].slots_used = 9;
    s[1].restarts = 1;
    memset(&sum, 0, sizeof(sum));
    for (int i = 0; i < 3; i++)
        stats_add(&sum, &s[i]);
    assert_int_equal(stats_get(&sum, "accepted", &found), 22);
    assert_int_equal(found, 1);
    assert_int_equal(stats_get(&sum, "slots_used", &found), 9);
    assert_int_equal(stats_get(&sum, "restarts", &found), 1);
    assert_int_equal(stats_get(&sum, "stale", &found), 0);
    assert_int_equal(found, 1);
    assert_int_equal(stats_get(&sum, "accepte", &found), 0);
    assert_int_equal(found, 0);
    stats_unmap(s, 3);
}

static void test_stats_histogram(void **state)
{
    struct stats a, sum;

    (void)state;
    memset(&a, 0, sizeof(a));
    memset(&sum, 0, sizeof(sum));
    for (unsigned step = 1; step <= 2; step++) {
        struct stats_histogram h = {.sum = 0};
        stats_observe(&h, 4, step, 0, 1);
        stats_observe(&h, 4, step, 15, 2);
        assert_int_equal(h.bucket[0], 3);
        for (unsigned i = 1; i < STATS_BUCKETS - 1; i++) { /* the edges of every bucket */
            uint64_t below = UINT64_C(1) << (4 + i * step);
            stats_observe(&h, 4, step, below - 1, 1);
            stats_observe(&h, 4, step, below >> step, 5);
            assert_int_equal(h.bucket[i], 6);
            assert_int_equal(h.bucket[i + 1], 0);
        }
        stats_observe(&h, 4, step, UINT64_C(1) << (4 + (STATS_BUCKETS - 2) * step), 1);
        h.sum = 0;
        stats_observe(&h, 4, step, UINT64_MAX, 1);
        assert_int_equal(h.bucket[STATS_BUCKETS - 1], 2);
        assert_int_equal(h.sum, UINT64_MAX);
    }
    stats_observe(&a.duration_ns, STATS_TIME_SHIFT, STATS_TIME_STEP, 5000, 3);
    stats_observe(&a.response_bytes, STATS_BYTES_SHIFT, STATS_BYTES_STEP, 2, 4);
    stats_add(&sum, &a);
    stats_add(&sum, &a);
    assert_int_equal(sum.duration_ns.bucket[1], 6);
    assert_int_equal(sum.duration_ns.sum, 30000);
    assert_int_equal(sum.response_bytes.bucket[0], 8);
    assert_int_equal(sum.response_bytes.sum, 16);
}

static void test_stats_every_field(void **state)
{
    struct stats s, sum;
    uint64_t n = 1;
    int found;

    (void)state;
    memset(&s, 0, sizeof(s));
#define SET(field) s.field = n++;
    STATS_COUNTERS(SET)
    STATS_GAUGES(SET)
#undef SET
    memset(&sum, 0, sizeof(sum));
    stats_add(&sum, &s);
    stats_add(&sum, &s);
    n = 1;
#define CHECK(field)                                            \
    assert_int_equal(stats_get(&sum, #field, &found), 2 * n++); \
    assert_int_equal(found, 1);
    STATS_COUNTERS(CHECK) STATS_GAUGES(CHECK)
#undef CHECK
}

static void test_stats_format(void **state)
{
    struct stats s;
    char whole[STATS_TEXT_MAX], part[STATS_TEXT_MAX];

    (void)state;
    memset(&s, 0, sizeof(s));
    assert_int_equal(stats_format(whole, sizeof(whole), &s, NULL, 0), 0);
    assert_string_equal(whole, "");
    s.accepted = 3;
    s.bytes_out = UINT64_MAX;
    s.restarts = 1;
    size_t len = stats_format(whole, sizeof(whole), &s, NULL, 0);
    assert_int_equal(len, strlen(whole));
    assert_string_equal(whole, "accepted=3 bytes_out=18446744073709551615 restarts=1");
    len = stats_format(whole, sizeof(whole), &s, NULL, 1);
    assert_int_equal(len, strlen(whole));
    assert_non_null(strstr(whole, "accepted=3 closed=0 "));
    assert_non_null(strstr(whole, " stale=0 "));

    /* A backend's own have its names, and only as many as it has. */
    s.backend[0] = 7;
    s.backend[2] = 9;
    len = stats_format(whole, sizeof(whole), &s, (const char *const[]){"sqes", "cancels", NULL}, 0);
    assert_int_equal(len, strlen(whole));
    assert_string_equal(whole, "accepted=3 bytes_out=18446744073709551615 restarts=1 sqes=7");

    memset(&s, 0xff, sizeof(s)); /* the longest there is, into every size of buffer */
    len = stats_format(whole, sizeof(whole), &s, NULL, 0);
    assert_int_equal(len, strlen(whole));
    for (size_t size = 0; size <= len + 1; size++) {
        memset(part, '#', sizeof(part));
        assert_int_equal(stats_format(part, size, &s, NULL, 0), len);
        assert_int_equal(part[size], '#');
        if (size > 0) {
            assert_int_equal(strlen(part), size - 1);
            assert_memory_equal(part, whole, size - 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_is_now, setup, teardown),
        cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_line_is_printable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_journal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rate_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_stderr, setup, teardown),
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_clock_update),
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_stats_histogram),
        cmocka_unit_test(test_stats_every_field),
        cmocka_unit_test(test_stats_format),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
