/* SPDX-License-Identifier: MIT */
/*
 * test_options.c - the command line: what is taken, what is refused and in which words, the edges
 * of every range; and that --help, the defaults and the man page say the same.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "access_log.h"
#include "log.h"
#include "options_parse.h"
#include "registry.h"
#include "sandbox.h"

static struct options o;
static char error[OPTIONS_ERROR_MAX];

/* Parse the words; NULL ends them. */
static int parse(const char *first, ...)
{
    char *argv[64] = {(char *)"bivalve"};
    int argc = 1;
    va_list ap;

    va_start(ap, first);
    for (const char *word = first; word; word = va_arg(ap, const char *)) {
        assert_true(argc < 63);
        argv[argc++] = (char *)word;
    }
    va_end(ap);
    strcpy(error, "nothing");
    return options_parse(argc, argv, &o, error);
}

/* One line, printable, that ends in the way out. */
static void check_error(const char *wanted)
{
    if (!strstr(error, wanted))
        fail_msg("\"%s\" does not say \"%s\"", error, wanted);
    for (const char *p = error; *p; p++)
        assert_in_range(*p, ' ', '~');
}

#define refused(wanted, ...)                                 \
    do {                                                     \
        assert_int_equal(parse(__VA_ARGS__, NULL), -EINVAL); \
        check_error(wanted);                                 \
    } while (0)
#define taken(...)                          \
    do {                                    \
        if (parse(__VA_ARGS__, NULL) != 0)  \
            fail_msg("refused: %s", error); \
    } while (0)

static void test_defaults(void **state)
{
    struct settings set;

    (void)state;
    assert_int_equal(parse(NULL), 0);
    settings_init(&set);
    assert_memory_equal(&o.set, &set, sizeof(set));
    assert_int_equal(o.action, OPTIONS_SERVE);
    assert_int_equal(o.workers, OPTIONS_AUTO);
    assert_string_equal(o.backend, BIVALVE_DEFAULT_BACKEND);
    assert_int_equal(o.listen_count, 1);
    assert_string_equal(o.listen[0].text, "127.0.0.1:8080");
    assert_true(o.pin);
    assert_false(o.allow_root);
    assert_null(o.user);
    assert_null(o.group);
    assert_int_equal(o.sandbox, OPTIONS_SANDBOX_TRY);
    assert_int_equal(o.log_level, LOG_LEVEL_NOTICE);
}

static void test_spellings(void **state)
{
    (void)state;
    taken("-w", "3");
    assert_int_equal(o.workers, 3);
    taken("-w4");
    assert_int_equal(o.workers, 4);
    taken("--workers=5");
    assert_int_equal(o.workers, 5);
    taken("--workers", "6");
    assert_int_equal(o.workers, 6);
    taken("--workers", "6", "--workers", "auto"); /* the last one counts */
    assert_int_equal(o.workers, OPTIONS_AUTO);
    taken("-d", "x.json", "--user", "u", "--group", "g", "--allow-root", "--no-pin");
    assert_string_equal(o.dataset, "x.json");
    assert_string_equal(o.user, "u");
    assert_string_equal(o.group, "g");
    assert_true(o.allow_root);
    assert_false(o.pin);
    taken("--no-pin", "--pin");
    assert_true(o.pin);
    taken("--log-level", "debug");
    assert_int_equal(o.log_level, LOG_LEVEL_DEBUG);
    taken("--");
}

static void test_actions(void **state)
{
    (void)state;
    taken("-t");
    assert_int_equal(o.action, OPTIONS_TEST);
    taken("--probe");
    assert_int_equal(o.action, OPTIONS_PROBE);
    taken("-V");
    assert_int_equal(o.action, OPTIONS_VERSION);
    taken("--help", "--test");
    assert_int_equal(o.action, OPTIONS_HELP);
    refused("--workers", "--help", "--workers",
            "x"); /* wrong is wrong, whatever else is asked for */
}

static void test_words_that_are_none(void **state)
{
    (void)state;
    refused("unknown or ambiguous option --nonsense;", "--nonsense");
    refused("unknown or ambiguous option --nonsense=1;", "--nonsense=1");
    refused("unknown or ambiguous option --max;", "--max");
    refused("unknown option -Z;", "-Z");
    refused("unknown option -Z;", "-tZ");
    refused("\"stray\" is no option", "stray");
    refused("\"stray\" is no option", "-t", "stray", "-V");
    refused("\"stray\" is no option", "--", "stray");
    refused("\"\" is no option", "");
    refused("option --workers needs N|auto", "--workers");
    refused("option --workers needs N|auto", "-w");
    refused("option --pin takes no value", "--pin=yes");
    refused("see bivalve --help", "--a\x1b[31m\n");
    refused("unknown option -\\x1b", "-\x1b");
}

static void test_numbers(void **state)
{
    static const char *const bad[] = {"",
                                      " ",
                                      "x",
                                      "-1",
                                      "+1",
                                      "1x",
                                      " 1",
                                      "1 ",
                                      "0x10",
                                      "1.5",
                                      "1e3",
                                      "k",
                                      "1kk",
                                      "1g",
                                      "18446744073709551616",
                                      "99999999999999999999999999",
                                      "\xff"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        refused("option --max-requests:", "--max-requests", bad[i]);
        refused("is not a number from 0 to 4294967295", "--max-requests", bad[i]);
        refused("option --max-body-bytes:", "--max-body-bytes", bad[i]);
    }
    refused("--max-requests", "--max-requests", "1k"); /* a count has no unit */
    taken("--max-requests", "4294967295");
    assert_int_equal(o.set.max_requests, UINT32_MAX);
    refused("from 0 to 4294967295", "--max-requests", "4294967296");
    taken("--max-requests", "00000000000000000000000000007");
    assert_int_equal(o.set.max_requests, 7);
    taken("--workers", "1024");
    refused("\"1025\" is not a number from 0 to 1024 or auto", "--workers", "1025");
    refused("from 1 to 65535", "--max-pipeline", "0");
    taken("--max-connections", "0");
    refused("1048576", "--max-connections", "1048577");
}

static void test_sizes(void **state)
{
    (void)state;
    taken("--max-body-bytes", "10k");
    assert_int_equal(o.set.max_body_bytes, 10240);
    taken("--max-body-bytes", "3M");
    assert_int_equal(o.set.max_body_bytes, 3 << 20);
    taken("--max-body-bytes", "9223372036854775807");
    assert_int_equal(o.set.max_body_bytes, INT64_MAX);
    refused("--max-body-bytes", "--max-body-bytes", "9223372036854775808");
    refused("--max-body-bytes", "--max-body-bytes", "9007199254740992k");
    taken("--max-body-bytes", "9007199254740991k");
    refused("from 64 to 1048576", "--max-header-bytes", "63");
    taken("--max-header-bytes", "1m");
    refused("from 64 to 1048576", "--max-header-bytes", "1025k");
    refused("from 16 to", "--recv-buffer", "0");
}

static void test_seconds(void **state)
{
    static const struct {
        const char *text;
        uint32_t ms;
    } good[] = {{"0", 0},          {"0.0", 0},
                {"1", 1000},       {"0.5", 500},
                {"1.25", 1250},    {"0.001", 1},
                {"0.0001", 1},     {"0.000000001", 1},
                {"0.0010001", 2},  {"1000000", 1000000000},
                {"3.999999", 4000}};
    static const char *const bad[] = {"",
                                      "x",
                                      "-1",
                                      "1x",
                                      ".5",
                                      "1.",
                                      "1.x",
                                      "1.2.3",
                                      "1 ",
                                      "1000000.1",
                                      "1000001",
                                      "99999999999999999999",
                                      "0.0000000001",
                                      "nan",
                                      "inf",
                                      "1e2",
                                      "1,5"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        taken("--idle-timeout", good[i].text);
        if (o.set.idle_timeout_ms != good[i].ms)
            fail_msg("%s s: %u ms", good[i].text, o.set.idle_timeout_ms);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        refused("is not a number of seconds from 0 to 1000000", "--idle-timeout", bad[i]);
}

static void test_backends(void **state)
{
    char spec[64];

    (void)state;
    taken("-b", "auto");
    for (const struct backend_ops *const *b = registry_list(); *b; b++) {
        taken("-b", (*b)->name);
        assert_string_equal(o.backend, (*b)->name);
        snprintf(spec, sizeof(spec), "%s:nonsense", (*b)->name);
        refused((*b)->name, "-b", spec);
    }
    if (registry_find("libev", 5))
        taken("-b", "libev:poll");
    if (registry_find("io_uring", 8))
        taken("-b", "io_uring:entries=8,taskrun=coop");
    refused("is no backend of this build", "-b", "");
    refused("is no backend of this build", "-b", "nonsense");
    refused("is no backend of this build", "-b", "auto:epoll");
    refused("is no backend of this build", "-b", "sim");
}

static void test_sandbox_option(void **state)
{
    (void)state;
    taken("--no-seccomp");
    assert_int_equal(o.sandbox, OPTIONS_SANDBOX_OFF);
    if (sandbox_available()) {
        taken("--no-seccomp", "--seccomp");
        assert_int_equal(o.sandbox, OPTIONS_SANDBOX_ON);
    } else {
        refused("built without libseccomp", "--seccomp");
    }
}

/* ---- addresses ---- */

static void test_addresses(void **state)
{
    static const struct {
        const char *text, *shown; /* NULL: the same */
        int family;
    } good[] = {
        {"127.0.0.1:8080", NULL, AF_INET},
        {"0.0.0.0:0", NULL, AF_INET},
        {"255.255.255.255:65535", NULL, AF_INET},
        {"1.2.3.4:00080", "1.2.3.4:80", AF_INET},
        {"[::]:80", NULL, AF_INET6},
        {"[::1]:0", NULL, AF_INET6},
        {"[2001:DB8:0:0::1]:1", "[2001:db8::1]:1", AF_INET6},
        {"[::ffff:1.2.3.4]:5", NULL, AF_INET6},
        {"unix:/run/x", NULL, AF_UNIX},
        {"unix:x", NULL, AF_UNIX},
        {"unix:/a:b", NULL, AF_UNIX},
        {"unix:@name", NULL, AF_UNIX},
        {"unix:./@name", NULL, AF_UNIX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        taken("--listen", good[i].text);
        assert_int_equal(o.listen_count, 1);
        assert_string_equal(o.listen[0].text, good[i].shown ? good[i].shown : good[i].text);
        assert_int_equal(o.listen[0].u.sa.sa_family, good[i].family);
        assert_int_equal(o.listen[0].unix_socket, good[i].family == AF_UNIX);
    }
    taken("-l", "1.2.3.4:5", "-l", "unix:y", "-l", "[::]:6");
    assert_int_equal(o.listen_count, 3);
    assert_int_equal(ntohs(o.listen[0].u.in4.sin_port), 5);
    assert_string_equal(o.listen[1].u.un.sun_path, "y");
    assert_int_equal(ntohs(o.listen[2].u.in6.sin6_port), 6);
}

static void test_addresses_that_are_none(void **state)
{
    static const struct {
        const char *text, *wanted;
    } bad[] = {
        {"", "is no ADDRESS:PORT"},
        {"nonsense", "is no ADDRESS:PORT"},
        {"127.0.0.1", "is no ADDRESS:PORT"},
        {"127.0.0.1:", "does not end in a port"},
        {"127.0.0.1:65536", "does not end in a port"},
        {"127.0.0.1:-1", "does not end in a port"},
        {"127.0.0.1:8o", "does not end in a port"},
        {"127.0.0.1:123456", "does not end in a port"},
        {"127.0.0.1: 80", "does not end in a port"},
        {"1.2.3:80", "has no IPv4 address"},
        {"256.1.1.1:80", "has no IPv4 address"},
        {"1.2.3.4.5:80", "has no IPv4 address"},
        {"localhost:80", "names are not looked up"},
        {":80", "all of them are 0.0.0.0:PORT"},
        {"::1:80", "an IPv6 address stands in brackets"},
        {"[::1]", "is no ADDRESS:PORT"},
        {"[::1:80", "is no ADDRESS:PORT"},
        {"[::1]80", "is no ADDRESS:PORT"},
        {"[]:80", "has no IPv6 address"},
        {"[1.2.3.4]:80", "has no IPv6 address"},
        {"[::1%lo]:80", "has no IPv6 address"},
        {"[", "is no ADDRESS:PORT"},
        {"unix:", "has no path"},
        {"unix:@", "has no name"},
        {"1111111111111111111111111111111111111111111111111111111111:80", "is no ADDRESS:PORT"},
    };
    char path[5 + 200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        refused("option --listen: \"", "-l", bad[i].text);
        refused(bad[i].wanted, "-l", bad[i].text);
    }
    memcpy(path, "unix:", 5);
    memset(path + 5, 'x', 107);
    path[5 + 107] = '\0';
    taken("-l", path);
    assert_string_equal(o.listen[0].text, path);
    strcat(path, "x");
    refused("has no path of 1 to 107 bytes", "-l", path);
    refused("\\x0a", "-l", "a\nb");
}

static void test_too_many_addresses(void **state)
{
    char *argv[2 * BACKEND_LISTENERS_MAX + 3] = {(char *)"bivalve"};

    (void)state;
    for (int i = 0; i <= BACKEND_LISTENERS_MAX; i++) {
        argv[2 * i + 1] = (char *)"-l";
        argv[2 * i + 2] = (char *)"127.0.0.1:0";
    }
    assert_int_equal(options_parse(2 * BACKEND_LISTENERS_MAX + 1, argv, &o, error), 0);
    assert_int_equal(o.listen_count, BACKEND_LISTENERS_MAX);
    assert_int_equal(options_parse(2 * BACKEND_LISTENERS_MAX + 3, argv, &o, error), -EINVAL);
    check_error("one address too many");
}

/* ---- a file ---- */

static char file_text[8192];

/* Parse the words, and a file of this text. */
static int parse_file(const char *text, const char *first, ...)
{
    char *argv[16] = {(char *)"bivalve"};
    int argc = 1;
    va_list ap;

    va_start(ap, first);
    for (const char *word = first; word && argc < 15; word = va_arg(ap, const char *))
        argv[argc++] = (char *)word;
    va_end(ap);
    assert_true(strlen(text) < sizeof(file_text));
    strcpy(file_text, text);
    strcpy(error, "nothing");
    return options_parse_with(argc, argv, "/etc/b.conf", file_text, strlen(text), &o, error);
}

static void test_file(void **state)
{
    (void)state;
    assert_int_equal(parse_file("", NULL), 0);
    assert_int_equal(o.listen_count, 1);
    assert_string_equal(o.listen[0].text, "127.0.0.1:8080");
    assert_int_equal(parse_file("# all of it\n\n  listen 1.2.3.4:5 # one\n\tlisten\tunix:/a#b\t\r\n"
                                "no-pin\nidle-timeout 1.5\nidle-timeout 2 #\n"
                                "dataset \"/a \\\"b\\\\ #c\"# x\nworkers auto",
                                NULL),
                     -EINVAL); /* a comment needs a blank before it */
    check_error("/etc/b.conf:8:22: one value is enough");
    assert_int_equal(parse_file("# all of it\n\n  listen 1.2.3.4:5 # one\n\tlisten\tunix:/a#b\t\r\n"
                                "no-pin\nidle-timeout 1.5\nidle-timeout 2 #\n"
                                "dataset \"/a \\\"b\\\\ #c\" # x\nworkers 7",
                                NULL),
                     0);
    assert_int_equal(o.listen_count, 2);
    assert_string_equal(o.listen[1].text, "unix:/a#b");
    assert_false(o.pin);
    assert_int_equal(o.set.idle_timeout_ms, 2000);
    assert_string_equal(o.dataset, "/a \"b\\ #c");
    assert_int_equal(o.workers, 7);
}

static void test_command_line_wins(void **state)
{
    static const char text[] = "listen 1.2.3.4:5\nlisten 1.2.3.4:6\nmax-requests 5\nno-pin\n"
                               "max-uri-bytes 100\n";

    (void)state;
    assert_int_equal(parse_file(text, "--max-requests", "6", "-l", "[::]:1", "--pin", NULL), 0);
    assert_int_equal(o.listen_count, 1); /* in the place of the file's, not beside them */
    assert_string_equal(o.listen[0].text, "[::]:1");
    assert_int_equal(o.set.max_requests, 6);
    assert_int_equal(o.set.max_uri_bytes, 100);
    assert_true(o.pin);
    assert_int_equal(parse_file(text, "--nonsense", NULL), -EINVAL);
    check_error("unknown or ambiguous option --nonsense");
    /* What is overruled is checked all the same. */
    assert_int_equal(parse_file("max-requests x\n", "--max-requests", "6", NULL), -EINVAL);
    check_error("/etc/b.conf:1:14: option --max-requests: \"x\" is not a number");
}

static void test_mistakes_in_a_file(void **state)
{
    static const struct {
        const char *text, *wanted;
    } bad[] = {
        {"nonsense 7", "1:1: there is no option nonsense"},
        {"\n\n  idle-timeouts 7", "3:3: there is no option idle-timeouts"},
        {"--pin", "1:1: options are written without the dashes"},
        {"-l x", "1:1: options are written without the dashes"},
        {"\tidle-timeout=7", "1:14: blanks, and no =,"},
        {"Pin", "1:1: here the long name of an option is expected"},
        {"pin!", "1:4: the name of an option has"},
        {"listen", "1:1: option listen needs ADDRESS"},
        {"listen # 1.2.3.4:5", "1:1: option listen needs ADDRESS"},
        {"pin yes", "1:5: option pin takes no value"},
        {"listen 1.2.3.4", "1:8: option --listen: \"1.2.3.4\" is no ADDRESS:PORT"},
        {"user a b", "1:8: one value is enough"},
        {"user \"a\"b", "1:9: one value is enough"},
        {"user \"a", "1:8: the quote is not closed"},
        {"user \"a\\n\"", "1:8: a backslash between quotes"},
        {"user a\"b\"", "1:7: a quote inside a value"},
        {"user \"\"", "1:6: option --user: \"\" is empty"},
        {"config /x", "1:1: config is for the command line"},
        {"help", "1:1: help is for the command line"},
        {"watch", "1:1: watch is for the command line"},
        {"pin\n\x80", "2:1: here the long name"},
        {"backend \x1b[31m", "1:9: option --backend: \"\\x1b[31m\" is no backend"},
        {"admin 1.2.3.4:5", "--admin-remote insists"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(parse_file(bad[i].text, NULL), -EINVAL);
        check_error(bad[i].wanted);
    }
    memcpy(file_text, "pin\n\0pin", 9);
    char *argv[] = {(char *)"bivalve"};
    assert_int_equal(options_parse_with(1, argv, "f", file_text, 9, &o, error), -EINVAL);
    check_error("f:2:1: a NUL byte");
    memset(file_text, ' ', sizeof(file_text));
    file_text[5000] = '\0';
    assert_int_equal(options_parse_with(1, argv, "f", file_text, 5000, &o, error), -EINVAL);
    check_error("f:1:4097: the line is too long");
    file_text[4096] = '\n';
    assert_int_equal(options_parse_with(1, argv, "f", file_text, 4098, &o, error), 0);
}

static void test_load(void **state)
{
    char path[] = "/tmp/bivalve-conf-XXXXXX";
    char *argv[] = {(char *)"bivalve", (char *)"-c", path};
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "user me\n", 8), 8);
    assert_int_equal(options_load(3, argv, &o, error), 0);
    assert_string_equal(o.user, "me");
    options_free(&o);
    assert_int_equal(pwrite(fd, "usex", 4, 0), 4);
    assert_int_equal(options_load(3, argv, &o, error), -EINVAL);
    check_error(":1:1: there is no option usex");
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    assert_int_equal(options_load(3, argv, &o, error), -EINVAL); /* NULs */
    assert_int_equal(ftruncate(fd, (1 << 20) + 1), 0);
    assert_int_equal(options_load(3, argv, &o, error), -EFBIG);
    check_error("option --config: cannot read /tmp/bivalve-conf-");
    close(fd);
    unlink(path);
    assert_int_equal(options_load(3, argv, &o, error), -ENOENT);
    check_error("No such file");
    assert_int_equal(options_load(1, argv, &o, error), 0);
}

/* ---- what is told ---- */

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = calloc(1, 1 << 20);

    assert_non_null(f);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    return text;
}

static void test_proxies(void **state)
{
    char *argv[2 * BACKEND_LISTENERS_MAX + 3] = {(char *)"bivalve"};
    int most = BACKEND_LISTENERS_MAX / 2;

    (void)state;
    taken(NULL);
    assert_false(o.listen[0].proxy);
    assert_int_equal(o.proxy_from.count, 2);
    taken("-l", "127.0.0.1:1,proxy", "--proxy-from", "192.0.2.0/24");
    assert_true(o.listen[0].proxy && !o.listen[0].tls);
    assert_string_equal(o.listen[0].text, "127.0.0.1:1");
    assert_int_equal(o.proxy_from.count, 1);
    refused("no address like", "--proxy-from", "example.org");
    refused("from 0 to 32", "--proxy-from", "192.0.2.0/33");
    refused(
        "longer than", "-l",
        "unix:/"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    for (int i = 0; i <= most; i++) {
        argv[2 * i + 1] = (char *)"-l";
        argv[2 * i + 2] = (char *)"127.0.0.1:0,proxy";
    }
    assert_int_equal(options_parse(2 * most + 1, argv, &o, error), 0);
    assert_int_equal(options_parse(2 * most + 3, argv, &o, error), -EINVAL);
    check_error("counts twice");
}

static void test_access_log(void **state)
{
    (void)state;
    taken(NULL);
    assert_null(o.access_log);
    assert_int_equal(o.access_log_format, ACCESS_LOG_COMBINED);
    taken("--access-log", "-", "--access-log-format", "json");
    assert_string_equal(o.access_log, "-");
    assert_int_equal(o.access_log_format, ACCESS_LOG_JSON);
    taken("--access-log-format", "json", "--access-log-format", "combined");
    assert_int_equal(o.access_log_format, ACCESS_LOG_COMBINED);
    refused("is empty", "--access-log", "");
    refused("combined, combined-tls or json", "--access-log-format", "common");
}

static void test_admin(void **state)
{
    (void)state;
    taken(NULL);
    assert_int_equal(o.admin.len, 0);
    taken("--admin", "127.0.0.1:9");
    assert_string_equal(o.admin.text, "127.0.0.1:9");
    taken("--admin", "127.200.0.1:9");
    taken("--admin", "[::1]:9");
    taken("--admin", "unix:/a");
    taken("--admin", "unix:@a", "--admin", "[::1]:8"); /* the last one counts */
    assert_string_equal(o.admin.text, "[::1]:8");
    refused("nonsense", "--admin", "nonsense");
    refused("--admin-remote", "--admin", "0.0.0.0:9");
    refused("--admin-remote", "--admin", "[::]:9");
    refused("--admin-remote", "--admin", "128.0.0.1:9");
    refused("--admin-remote", "--admin", "[::ffff:127.0.0.1]:9"); /* not what one is told */
    taken("--admin-remote", "--admin", "0.0.0.0:9");
    taken("--status");
    assert_int_equal(o.action, OPTIONS_STATUS);
    assert_string_equal(o.admin.text, OPTIONS_ADMIN_DEFAULT);
    assert_false(o.watch);
    taken("--status", "--watch", "--admin", "192.0.2.1:9"); /* to ask one need not insist */
    assert_string_equal(o.admin.text, "192.0.2.1:9");
    assert_true(o.watch);
}

/* The man page's entry of an option: from its .It line to the next. NULL: there is none. */
static char *man_entry(const char *man, const char *name)
{
    char tag[80];

    snprintf(tag, sizeof(tag), "Fl Fl %s", name);
    for (const char *p = strstr(man, tag); p; p = strstr(p + 1, tag)) {
        const char *line = p;
        while (line > man && line[-1] != '\n')
            line--;
        if (strncmp(line, ".It", 3) || (p[strlen(tag)] != ' ' && p[strlen(tag)] != '\n'))
            continue;
        const char *end = strstr(p, "\n.It");
        const char *list_end = strstr(p, "\n.El");
        if (!end || (list_end && list_end < end))
            end = list_end;
        return end ? strndup(line, (size_t)(end - line)) : strdup(line);
    }
    return NULL;
}

/* --help names every option, and the man page has each of them with the same default. */
static void test_help_and_man_page_agree(void **state)
{
    char *help = NULL, *save, *man = read_file(TEST_SRCDIR "/man/bivalve.8");
    size_t len = 0;
    unsigned options = 0, defaults = 0;
    FILE *f = open_memstream(&help, &len);

    (void)state;
    assert_non_null(f);
    options_print_help(f);
    fclose(f);
    for (char *line = strtok_r(help, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char name[64], value[64], wanted[96];
        char *dashes = strstr(line, "--");
        if (line[0] != ' ' || !dashes || sscanf(dashes, "--%63[a-z-]", name) != 1)
            continue;
        options++;
        char *entry = man_entry(man, name);
        if (!entry)
            fail_msg("--%s is not in the man page", name);
        char *bracket = strrchr(line, '[');
        int used = 0;
        if (bracket && sscanf(bracket, "[%63[0-9.]]%n", value, &used) == 1 && used &&
            !bracket[used]) {
            defaults++;
            snprintf(wanted, sizeof(wanted), "\nDefault: %s.", value);
            if (!strstr(entry, wanted) || (strstr(entry, wanted)[strlen(wanted)] != '\n' &&
                                           strstr(entry, wanted)[strlen(wanted)] != '\0'))
                fail_msg("--%s: the man page does not say \"Default: %s.\" but:\n%s", name, value,
                         entry);
        }
        free(entry);
    }
    char *burn = man_entry(man, "burn-ns"); /* not for users, so not in --help */
    assert_non_null(burn);
    assert_true(options >= 34);
    assert_true(defaults >= 18);
    free(burn);
    free(help);
    free(man);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_actions),
        cmocka_unit_test(test_words_that_are_none),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_backends),
        cmocka_unit_test(test_sandbox_option),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_addresses_that_are_none),
        cmocka_unit_test(test_too_many_addresses),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_command_line_wins),
        cmocka_unit_test(test_mistakes_in_a_file),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_proxies),
        cmocka_unit_test(test_access_log),
        cmocka_unit_test(test_admin),
        cmocka_unit_test(test_help_and_man_page_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
