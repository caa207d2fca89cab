/* SPDX-License-Identifier: MIT */
/*
 * test_load_input.c - what bivalve-load is told: its command line, URLs and addresses, and the
 * requests that are made of them.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load_options.h"
#include "load_request.h"
#include "load_target.h"
#include "tls.h"
#include "util.h"

#define WORDS_MAX 300

static struct load_options options;
static char error[LOAD_ERROR_MAX];

/* Parse words up to NULL, behind a program's name. */
static int parse_list(const char *const *words)
{
    char *argv[WORDS_MAX + 2] = {(char *)"bivalve-load"};
    int argc = 1;

    while (*words)
        argv[argc++] = (char *)*words++;
    memset(&options, 0xa5, sizeof(options)); /* what is there must not matter */
    strcpy(error, "none");
    return load_options_parse(argc, argv, &options, error);
}
#define parse(...) parse_list((const char *const[]){__VA_ARGS__, NULL})

/* ---- the command line ---- */

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(parse("http://x/"), 0);
    assert_string_equal(options.url, "http://x/");
    assert_int_equal(options.action, LOAD_RUN);
    assert_int_equal(options.connections, 64);
    assert_int_equal(options.processes, 1);
    assert_int_equal(options.pipeline, 1);
    assert_int_equal(options.duration_us, 10000000);
    assert_int_equal(options.timeout_us, 10000000);
    assert_true(options.requests == 0 && options.rate_from == 0 && options.per_connection == 0);
    assert_true(options.max_error_rate < 0 && options.seed == 1 && !options.uniform);
    for (unsigned i = 0; i < ARRAY_LEN(options.expect_status); i++)
        assert_int_equal(options.expect_status[i], i >= 200 && i < 400);
}

static void test_every_option(void **state)
{
    (void)state;
    assert_int_equal(parse("-c2k", "-n1m", "-tauto", "-p1024", "-k3", "-R10k", "--arrivals=uniform",
                           "--seed=0", "--warmup=1500us", "--ramp", "2m", "--timeout=30m",
                           "--backend=x", "--unix", "/p", "--source=1.2.3.4", "-XPUT", "-HA: b",
                           "-H", "C:", "-bx", "--chunked", "--random-query",
                           "--expect-status=204,5xx", "--expect-body=y", "--slo-p99=1ms",
                           "--max-error-rate=0.25", "--json=-", "--hdr=h", "--timeseries=t", "-q",
                           "--cacert=f", "--tls-resume", "--tls-version=1.2", "http://x/"),
                     0);
    assert_true(!strcmp(options.ca_file, "f") && options.tls_resume && options.tls_version == 12);
    assert_false(options.insecure);
    assert_int_equal(options.connections, 2000);
    assert_int_equal(options.requests, 1000000);
    assert_int_equal(options.processes, LOAD_AUTO);
    assert_int_equal(options.pipeline, 1024);
    assert_int_equal(options.per_connection, 3);
    assert_true(options.rate_from == 10000 && options.rate_to == 10000 && options.uniform);
    assert_int_equal(options.warmup_us, 1500);
    assert_int_equal(options.ramp_us, 120000000);
    assert_int_equal(options.timeout_us, 1800000000);
    assert_true(options.seed == 0 && options.slo_p99_us == 1000 && options.max_error_rate == 0.25);
    assert_string_equal(options.method, "PUT");
    assert_int_equal(options.header_count, 2);
    assert_true(options.chunked && options.random_query && options.quiet);
    assert_true(options.expect_status[204] && !options.expect_status[200]);
    assert_true(options.expect_status[500] && options.expect_status[599]);
    assert_int_equal(parse("--insecure", "--tls-version", "1.3", "https://x/"), 0);
    assert_true(options.insecure && options.tls_version == 13);
    assert_int_equal(parse("-R1.5:2m", "http://x/"), 0);
    assert_true(options.rate_from == 1.5 && options.rate_to == 2e6);
    assert_int_equal(parse("--find-max", "--slo-p99=5", "http://x/"), 0);
    assert_true(options.action == LOAD_FIND_MAX && options.slo_p99_us == 5e6);
    assert_int_equal(parse("--help", "--nonsense"), 0);
    assert_int_equal(options.action, LOAD_HELP);
    assert_int_equal(parse("-V"), 0);
    assert_int_equal(options.action, LOAD_VERSION);
}

static void test_times(void **state)
{
    static const struct {
        const char *text;
        uint64_t us; /* 0: refused */
    } cases[] = {
        {"1", 1000000},
        {"1s", 1000000},
        {"1ms", 1000},
        {"1000us", 1000},
        {"999us", 0},
        {"0.001", 1000},
        {"1.5ms", 1500},
        {"60m", 3600000000},
        {"3600", 3600000000},
        {"60.01m", 0},
        {".5", 500000},
        {"5.", 5000000},
        {".", 0},
        {"", 0},
        {"1.2.3", 0},
        {"-1", 0},
        {"+1", 0},
        {"1e3", 0},
        {"1h", 0},
        {"1 s", 0},
        {"inf", 0},
        {"nan", 0},
        {"0x10", 0},
        {"s", 0},
        {"1000.1us", 1001},
        {"99999999999999999999999999999999999999999s", 0},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        int rc = parse("-d", cases[i].text, "http://x/");
        if (rc != (cases[i].us ? 0 : -EINVAL) || (rc == 0 && options.duration_us != cases[i].us))
            fail_msg("%s: %d, %llu", cases[i].text, rc, (unsigned long long)options.duration_us);
    }
}

static void test_refused(void **state)
{
    static const char *const cases[][5] = {
        {NULL},
        {"http://x/", "http://y/"},
        {"-c0", "http://x/"},
        {"-c1000001", "http://x/"},
        {"-c", "1kk", "http://x/"},
        {"-c", "", "http://x/"},
        {"-c", "18446744073709551617", "http://x/"},
        {"-n", "18446744073709551615g", "http://x/"},
        {"-p1025", "http://x/"},
        {"-t", "257", "http://x/"},
        {"-t", "automatic", "http://x/"},
        {"-k4294967296", "http://x/"},
        {"-R0", "http://x/"},
        {"-R-1", "http://x/"},
        {"-R1:", "http://x/"},
        {"-R:1", "http://x/"},
        {"-R1:2:3", "http://x/"},
        {"-R101m", "http://x/"},
        {"-R1kk", "http://x/"},
        {"--timeout=31m", "http://x/"},
        {"--timeout=0", "http://x/"},
        {"--arrivals=Poisson", "http://x/"},
        {"--expect-status=", "http://x/"},
        {"--expect-status=200,", "http://x/"},
        {"--expect-status=20", "http://x/"},
        {"--expect-status=2x", "http://x/"},
        {"--expect-status=600", "http://x/"},
        {"--expect-status=0xx", "http://x/"},
        {"--expect-status=2xxx", "http://x/"},
        {"--max-error-rate=1.01", "http://x/"},
        {"--max-error-rate=", "http://x/"},
        {"--slo-p99=0", "http://x/"},
        {"-X", "", "http://x/"},
        {"-X", "G T", "http://x/"},
        {"-X", "GET\r\nX:", "http://x/"},
        {"-H", "no colon", "http://x/"},
        {"-H", ":", "http://x/"},
        {"-H", "A: b\r\nC: d", "http://x/"},
        {"-H", "A: b\n", "http://x/"},
        {"--raw=f", "-bx", "http://x/"},
        {"--raw=f", "-HA:b", "http://x/"},
        {"--raw=", "http://x/"},
        {"--chunked", "http://x/"},
        {"-n1", "-d1", "http://x/"},
        {"-n1", "-R1:2", "http://x/"},
        {"-n1", "--find-max", "--slo-p99=1", "http://x/"},
        {"--find-max", "http://x/"},
        {"--find-max", "--slo-p99=1", "-R1", "http://x/"},
        {"--json", NULL},
        {"--unknown", "http://x/"},
        {"-Z", "http://x/"},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        if (parse_list(cases[i]) != -EINVAL)
            fail_msg("%s %s is taken", cases[i][0], cases[i][1]);
        size_t len = strlen(error);
        assert_true(len > 10 && len < LOAD_ERROR_MAX - 1 && strstr(error, "--help"));
        for (size_t n = 0; n < len; n++)
            assert_true(error[n] >= ' ' && error[n] <= '~');
    }
}

/* What may be repeated has a limit. */
static void test_repeated(void **state)
{
    const char *words[WORDS_MAX] = {"http://x/"};

    (void)state;
    for (unsigned i = 1; i <= LOAD_HEADERS_MAX; i++)
        words[i] = "-HA: b";
    assert_int_equal(parse_list(words), 0);
    assert_int_equal(options.header_count, LOAD_HEADERS_MAX);
    words[LOAD_HEADERS_MAX + 1] = "-HA: b";
    assert_int_equal(parse_list(words), -EINVAL);
    for (unsigned i = 1; i <= LOAD_RAW_MAX; i++)
        words[i] = "--raw=f";
    assert_int_equal(parse_list(words), 0);
    assert_int_equal(options.raw_count, LOAD_RAW_MAX);
    words[LOAD_RAW_MAX + 1] = "--raw=f";
    assert_int_equal(parse_list(words), -EINVAL);
}

/* ---- URLs and addresses ---- */

static void test_urls(void **state)
{
    static const struct {
        const char *url, *unix_path, *text, *authority, *uri; /* text NULL: refused */
    } cases[] = {
        {"http://127.0.0.1:8080/a?b#c", NULL, "127.0.0.1:8080", "127.0.0.1:8080", "/a?b"},
        {"HTTP://127.0.0.1", NULL, "127.0.0.1:80", "127.0.0.1", "/"},
        {"http://127.0.0.1#x", NULL, "127.0.0.1:80", "127.0.0.1", "/"},
        {"http://[::1]:1/x", NULL, "[::1]:1", "[::1]:1", "/x"},
        {"http://[::1]", NULL, "[::1]:80", "[::1]", "/"},
        {"http://127.0.0.1:65535/{", NULL, "127.0.0.1:65535", "127.0.0.1:65535", "/{"},
        {"unix:/a/b:/c/d", NULL, "unix:/a/b", "localhost", "/c/d"},
        {"unix:@abstract", NULL, "unix:@abstract", "localhost", "/"},
        {"http://nowhere.invalid:9/z", "/s", "unix:/s", "nowhere.invalid:9", "/z"},
        {"unix:/a", "/s", NULL, NULL, NULL},
        {"unix:", NULL, NULL, NULL, NULL},
        {"http://", NULL, NULL, NULL, NULL},
        {"http:///x", NULL, NULL, NULL, NULL},
        {"http://:80/", NULL, NULL, NULL, NULL},
        {"http://127.0.0.1:/", NULL, NULL, NULL, NULL},
        {"http://127.0.0.1:0/", NULL, NULL, NULL, NULL},
        {"http://127.0.0.1:65536/", NULL, NULL, NULL, NULL},
        {"http://127.0.0.1:000080/", NULL, NULL, NULL, NULL},
        {"http://127.0.0.1:+80/", NULL, NULL, NULL, NULL},
        {"http://[::1/", NULL, NULL, NULL, NULL},
        {"http://[::1]80/", NULL, NULL, NULL, NULL},
        {"http://a@127.0.0.1/", NULL, NULL, NULL, NULL},
        {"http://127.0.0.1?x", NULL, NULL, NULL, NULL},
        {"http://127.0.0.1/\t", NULL, NULL, NULL, NULL},
        {"http://127.0.0.1/\xc3\xa4", NULL, NULL, NULL, NULL},
        {"ftp://127.0.0.1/", NULL, NULL, NULL, NULL},
        {"127.0.0.1", NULL, NULL, NULL, NULL},
        {"", NULL, NULL, NULL, NULL},
    };
    struct load_target t;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        *error = '\0';
        int rc = load_target_parse(cases[i].url, cases[i].unix_path, &t, error);
        if (rc != (cases[i].text ? 0 : -EINVAL))
            fail_msg("%s: %d %s", cases[i].url, rc, error);
        if (!cases[i].text) {
            assert_true(strlen(error) > 10 && !strchr(error, '\n'));
            continue;
        }
        assert_string_equal(t.text, cases[i].text);
        assert_string_equal(t.authority, cases[i].authority);
        assert_int_equal(t.uri_len, strlen(cases[i].uri));
        assert_memory_equal(t.uri, cases[i].uri, t.uri_len);
    }
}

static void test_https(void **state)
{
    struct load_target t;

    (void)state;
    if (!tls_available()) {
        assert_int_equal(load_target_parse("https://127.0.0.1/", NULL, &t, error), -EINVAL);
        assert_non_null(strstr(error, "without OpenSSL"));
        return;
    }
    assert_int_equal(load_target_parse("HTTPS://[::1]/x", NULL, &t, error), 0);
    assert_true(t.tls && !strcmp(t.host, "::1") && !strcmp(t.text, "[::1]:443"));
    assert_int_equal(load_target_parse("https://a.test:8443/", "/run/s", &t, error), 0);
    assert_true(t.tls && !strcmp(t.host, "a.test") && !strcmp(t.authority, "a.test:8443"));
    assert_int_equal(load_target_parse("http://127.0.0.1/", NULL, &t, error), 0);
    assert_false(t.tls);
}

static void test_long_urls(void **state)
{
    struct load_target t;
    char url[1000] = "http://";

    (void)state;
    memset(url + 7, 'a', 300);
    assert_int_equal(load_target_parse(url, NULL, &t, error), -EINVAL);
    memset(url + 7, ':', 300);
    assert_int_equal(load_target_parse(url, NULL, &t, error), -EINVAL);
    strcpy(url, "unix:/");
    memset(url + 6, 'a', 120);
    url[126] = '\0';
    assert_int_equal(load_target_parse(url, NULL, &t, error), -EINVAL);
    url[5 + 107] = '\0'; /* the longest that there is */
    assert_int_equal(load_target_parse(url, NULL, &t, error), 0);
}

static void test_sources(void **state)
{
    struct load_addr list[LOAD_SOURCES_MAX];
    char many[LOAD_SOURCES_MAX * 8 + 16] = "";
    struct load_target t;

    (void)state;
    assert_int_equal(load_target_parse("http://127.0.0.5:80/", NULL, &t, error), 0);
    assert_int_equal(load_sources_parse("127.0.0.2,10.0.0.1", &t, list, error), 2);
    assert_int_equal(ntohl(list[1].u.in4.sin_addr.s_addr), 0x0a000001);
    assert_true(list[1].u.in4.sin_port == 0 && list[1].len == sizeof(struct sockaddr_in));
    static const char *const bad[] = {
        "",           ",",
        "127.0.0.2,", "::1",
        "name",       "127.0.0.2 ",
        "1.2.3",      "111111111111111111111111111111111111111111111111111.1.1.1"};
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(load_sources_parse(bad[i], &t, list, error), -EINVAL);
    for (unsigned i = 0; i < LOAD_SOURCES_MAX; i++)
        strcat(many, i ? ",1.2.3.4" : "1.2.3.4");
    assert_int_equal(load_sources_parse(many, &t, list, error), LOAD_SOURCES_MAX);
    strcat(many, ",1.2.3.4");
    assert_int_equal(load_sources_parse(many, &t, list, error), -EINVAL);

    assert_int_equal(load_sources_loopback(&t, list), LOAD_SOURCES_MAX);
    for (unsigned i = 0; i < LOAD_SOURCES_MAX; i++)
        assert_int_equal(ntohl(list[i].u.in4.sin_addr.s_addr), 0x7f000001 + i);
    assert_int_equal(load_target_parse("http://10.0.0.1/", NULL, &t, error), 0);
    assert_int_equal(load_sources_loopback(&t, list), 0);
    assert_int_equal(load_target_parse("http://[::1]/", NULL, &t, error), 0);
    assert_int_equal(load_sources_loopback(&t, list), 0);
    assert_int_equal(load_sources_parse("::1", &t, list, error), 1);
    assert_int_equal(load_target_parse("unix:/x", NULL, &t, error), 0);
    assert_int_equal(load_sources_loopback(&t, list), 0);
    assert_int_equal(load_sources_parse("127.0.0.1", &t, list, error), -EINVAL);
}

/* A name with several addresses, of which one is served. */
static void test_choice_of_an_address(void **state)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET};
    struct load_target t;
    socklen_t len = sizeof(in4);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char url[64];

    (void)state;
    in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&in4, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in4, &len), 0);
    snprintf(url, sizeof(url), "http://127.0.0.3:%u/", ntohs(in4.sin_port));
    assert_int_equal(load_target_parse(url, NULL, &t, error), 0);
    assert_int_equal(t.count, 1);

    /* Refused (::1 first, as localhost is on most machines), refused, served. */
    t.list[2] = t.list[1] = t.list[0];
    t.list[2].u.in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    t.list[0] = (struct load_addr){.len = sizeof(struct sockaddr_in6)};
    t.list[0].u.in6.sin6_family = AF_INET6;
    t.list[0].u.in6.sin6_addr = in6addr_loopback;
    t.list[0].u.in6.sin6_port = in4.sin_port;
    t.count = 3;
    load_target_choose(&t, NULL, 5000);
    snprintf(url, sizeof(url), "127.0.0.1:%u", ntohs(in4.sin_port));
    assert_string_equal(t.text, url);
    load_target_choose(&t, "127.0.0.9", 5000);
    assert_string_equal(t.text, url);
    close(fd);

    /* None is: the first that it could be. */
    load_target_choose(&t, "127.0.0.9", 5000);
    assert_true(!strncmp(t.text, "127.0.0.3:", 10));
    load_target_choose(&t, NULL, 5000);
    assert_true(!strncmp(t.text, "[::1]:", 6) && t.addr.len == sizeof(struct sockaddr_in6));
}

static void test_sockets(void **state)
{
    struct load_addr list[LOAD_SOURCES_MAX];
    struct load_target t;

    (void)state;
    assert_int_equal(load_target_parse("http://127.0.0.1/", NULL, &t, error), 0);
    assert_int_equal(load_sources_parse("127.0.0.2,203.0.113.1", &t, list, error), 2);
    int fd = load_socket(&t, NULL), bound = load_socket(&t, &list[0]);
    assert_true(fd >= 0 && bound >= 0);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(bound, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(load_socket(&t, &list[1]), -EADDRNOTAVAIL); /* of documents, RFC 5737 */
    close(fd);
    close(bound);
}

/* ---- requests ---- */

static struct load_requests requests;
static char file_name[] = "/tmp/bivalve-test-load-XXXXXX";

static void write_file(const char *data, size_t len)
{
    FILE *f = fopen(file_name, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static int make(const char *url)
{
    struct load_target t;

    assert_int_equal(load_target_parse(url, NULL, &t, error), 0);
    return load_requests_make(&requests, &options, &t, error);
}

static void assert_request(unsigned n, const char *bytes)
{
    assert_true(n < requests.count);
    assert_int_equal(requests.list[n].len, strlen(bytes));
    assert_memory_equal(requests.list[n].bytes, bytes, strlen(bytes));
}

static void test_one_request(void **state)
{
    (void)state;
    assert_int_equal(parse("x"), 0);
    assert_int_equal(make("http://127.0.0.1:81/p?q#f"), 0);
    assert_request(0, "GET /p?q HTTP/1.1\r\nHost: 127.0.0.1:81\r\n\r\n");
    assert_true(requests.count == 1 && requests.longest == requests.list[0].len);
    assert_true(!requests.list[0].to_head && !requests.body);
    load_requests_free(&requests);

    assert_int_equal(parse("-XHEAD", "-Hhost:", "-HHosts: a", "--expect-body=ab", "x"), 0);
    assert_int_equal(make("http://127.0.0.1/"), 0);
    assert_request(0, "HEAD / HTTP/1.1\r\nhost:\r\nHosts: a\r\n\r\n");
    assert_true(requests.list[0].to_head && requests.body_len == 2);
    assert_memory_equal(requests.body, "ab", 2);
    load_requests_free(&requests);

    assert_int_equal(parse("-babc", "x"), 0);
    assert_int_equal(make("unix:/x:/y"), 0);
    assert_request(0, "POST /y HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc");
    load_requests_free(&requests);

    char at[sizeof(file_name) + 1];
    snprintf(at, sizeof(at), "@%s", file_name);
    write_file("a\0b", 3);
    assert_int_equal(parse("-b", at, "--chunked", "-XPUT", "x"), 0);
    assert_int_equal(make("http://127.0.0.1/"), 0);
    const char *end = requests.list[0].bytes + requests.list[0].len;
    assert_memory_equal(end - 17, "\r\n\r\n3\r\na\0b\r\n0\r\n\r\n", 17);
    load_requests_free(&requests);
    write_file("", 0);
    assert_int_equal(make("http://127.0.0.1/"), 0);
    end = requests.list[0].bytes + requests.list[0].len;
    assert_memory_equal(end - 9, "\r\n\r\n0\r\n\r\n", 9);
    load_requests_free(&requests);
}

static void test_large_chunked_body(void **state)
{
    static char body[40000];
    char at[sizeof(file_name) + 1];

    (void)state;
    memset(body, 'x', sizeof(body));
    write_file(body, sizeof(body));
    snprintf(at, sizeof(at), "@%s", file_name);
    assert_int_equal(parse("-b", at, "--chunked", "x"), 0);
    assert_int_equal(make("http://127.0.0.1/"), 0);
    assert_non_null(strstr(requests.list[0].bytes, "\r\n\r\n4000\r\nxxx"));
    const char *end = requests.list[0].bytes + requests.list[0].len;
    assert_memory_equal(end - 9, "xx\r\n0\r\n\r\n", 9);
    load_requests_free(&requests);
}

static void test_raw_requests(void **state)
{
    static const char good[] = "\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n"
                               "HEAD /b HTTP/1.1\r\nHost: x\r\n\r\n"
                               "POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                               "POST /d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "2;x=\"y\"\r\nab\r\n0\r\nT: u\r\n\r\n"
                               "GET /e HTTP/1.0\r\n\r\n";
    static const char *const targets[] = {"\r\nGET /a ", "HEAD /b ", "POST /c ", "POST /d ",
                                          "GET /e "};
    size_t sum = 0;

    (void)state;
    assert_int_equal(parse("--raw", file_name, "x"), 0);
    write_file(good, sizeof(good) - 1);
    assert_int_equal(make("http://127.0.0.1/"), 0);
    assert_int_equal(requests.count, ARRAY_LEN(targets));
    for (unsigned i = 0; i < requests.count; i++) {
        assert_memory_equal(requests.list[i].bytes, targets[i], strlen(targets[i]));
        assert_int_equal(requests.list[i].to_head, i == 1);
        sum += requests.list[i].len;
    }
    assert_int_equal(sum, sizeof(good) - 1);
    load_requests_free(&requests);
    /* Cut anywhere, it is refused, but between two. */
    unsigned taken = 0;
    for (size_t len = 0; len < sizeof(good) - 1; len++) {
        write_file(good, len);
        if (make("http://127.0.0.1/") == 0) {
            taken++;
            load_requests_free(&requests);
        } else {
            assert_true(strstr(error, file_name) && requests.count == 0);
        }
    }
    assert_int_equal(taken, ARRAY_LEN(targets) - 1);
}

static void test_random_numbers(void **state)
{
    struct prng prng = {.state = 1};
    unsigned seen[3] = {0};
    char out[300];

    (void)state;
    assert_int_equal(parse("--random-query", "-HX: {rand:1:2}", "x"), 0);
    assert_int_equal(make("http://127.0.0.1/{{{rand:7:9}}?a={rand:0:18446744073709551615}"), 0);
    const struct load_request *q = &requests.list[0];
    assert_request(0, "GET /{}?a= HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {rand:1:2}\r\n\r\n");
    assert_int_equal(q->random_count, 2);
    assert_int_equal(requests.longest, q->len + 40);
    for (unsigned i = 0; i < 3000; i++) {
        size_t len = load_request_write(q, &prng, out);
        unsigned long long b;
        unsigned a;
        out[len] = '\0';
        assert_true(len <= requests.longest);
        assert_int_equal(sscanf(out, "GET /{%u}?a=%llu HTTP", &a, &b), 2);
        assert_true(a >= 7 && a <= 9);
        seen[a - 7]++;
        assert_non_null(strstr(out, "\r\nX: {rand:1:2}\r\n\r\n"));
    }
    assert_true(seen[0] > 800 && seen[1] > 800 && seen[2] > 800);
    load_requests_free(&requests);
    assert_int_equal(parse("x"), 0); /* without the option braces are braces */
    assert_int_equal(make("http://127.0.0.1/{rand:7:9}"), 0);
    assert_int_equal(requests.list[0].random_count, 0);
    load_requests_free(&requests);
}

#define THREE_TIMES(text) text text text
#define NINE_TIMES(text)  THREE_TIMES(text) THREE_TIMES(text) THREE_TIMES(text)

static void test_templates_that_are_none(void **state)
{
    static const char *const bad[] = {"{",
                                      "{rand",
                                      "{rand:",
                                      "{rand:1",
                                      "{rand:1:",
                                      "{rand:1:2",
                                      "{rand:2:1}",
                                      "{rand:-1:2}",
                                      "{rand:1:+2}",
                                      "{rand::2}",
                                      "{rand:1:2:3}",
                                      "{rand:1,2}",
                                      "{RAND:1:2}",
                                      "{rand:0x1:2}",
                                      "{{{",
                                      "{rand:18446744073709551616:18446744073709551617}",
                                      "{rand:1:18446744073709551616}",
                                      NINE_TIMES("{rand:1:1}")};
    char url[200];

    (void)state;
    assert_int_equal(parse("--random-query", "x"), 0);
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(url, sizeof(url), "http://127.0.0.1/%s", bad[i]);
        if (make(url) != -EINVAL)
            fail_msg("%s is taken", bad[i]);
        assert_true(strstr(error, "{rand:A:B}") && requests.count == 0);
    }
}

/* Templates stand in files, too, though a brace is no byte of a target. */
static void test_raw_random(void **state)
{
    static const char text[] = "GET /{rand:5:5}?{{ HTTP/1.1\r\nHost: x\r\n\r\n"
                               "\r\nGET /{rand:6:6} HTTP/1.1\r\nHost: x\r\n\r\n";
    struct prng prng = {.state = 1};
    char out[100];

    (void)state;
    write_file(text, sizeof(text) - 1);
    assert_int_equal(parse("--random-query", "--raw", file_name, "x"), 0);
    if (make("http://127.0.0.1/") != 0)
        fail_msg("%s", error);
    assert_int_equal(requests.count, 2);
    size_t len = load_request_write(&requests.list[0], &prng, out);
    assert_int_equal(len, 30);
    assert_memory_equal(out, "GET /5?{ HTTP/1.1\r\nHost: x\r\n\r\n", 30);
    len = load_request_write(&requests.list[1], &prng, out);
    assert_memory_equal(out, "\r\nGET /6 HTTP/1.1\r\nHost: x\r\n\r\n", len);
    load_requests_free(&requests);
}

static void test_files_that_cannot_be_read(void **state)
{
    (void)state;
    assert_int_equal(parse("--raw=/no/such", "x"), 0);
    assert_int_equal(make("http://127.0.0.1/"), -ENOENT);
    assert_non_null(strstr(error, "/no/such"));
    assert_int_equal(parse("-b@/", "x"), 0);
    assert_int_equal(make("http://127.0.0.1/"), -EISDIR);
    assert_int_equal(parse("--expect-body=@/no/such", "x"), 0);
    assert_int_equal(make("http://127.0.0.1/"), -ENOENT);
    assert_int_equal(requests.count, 0);
}

static int temporary(void **state)
{
    int fd = mkstemp(file_name);

    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static int gone(void **state)
{
    (void)state;
    return unlink(file_name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_option),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_repeated),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_https),
        cmocka_unit_test(test_long_urls),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_choice_of_an_address),
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_one_request),
        cmocka_unit_test(test_large_chunked_body),
        cmocka_unit_test(test_raw_requests),
        cmocka_unit_test(test_random_numbers),
        cmocka_unit_test(test_templates_that_are_none),
        cmocka_unit_test(test_raw_random),
        cmocka_unit_test(test_files_that_cannot_be_read),
    };

    return cmocka_run_group_tests(tests, temporary, gone);
}
