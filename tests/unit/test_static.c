/* SPDX-License-Identifier: MIT */
/*
 * test_static.c - types by name, paths that may be looked up, and opening beneath a directory, with
 * openat2(2) and without.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mime.h"
#include "static_dir.h"
#include "util.h"

/* ---- types ---- */

static void test_types(void **state)
{
    static const struct {
        const char *path, *type;
    } cases[] = {
        {"a.html", "text/html"},
        {"a.HtMl", "text/html"},
        {"a/b.tar.css", "text/css"},
        {"a.x/b", "application/octet-stream"},
        {"html", "application/octet-stream"},
        {".html", "application/octet-stream"},
        {"a/.html", "application/octet-stream"},
        {"a.", "application/octet-stream"},
        {"a.unknown", "application/octet-stream"},
        {"a.abcdefghijklmnopqrstuvwxyz", "application/octet-stream"},
        {"a.own", "text/x-own"},
        {"a.other", "text/x-own"},
        {"a.js", "text/x-js"}, /* the file has the last word */
        {"a.bad", "application/octet-stream"},
    };
    static const char text[] = "# comment\n\ntext/x-own own OTHER # and more bad\n"
                               "text/x-js\t\tjs\nbad bad\n/bad bad\nbad/ bad\ntext/b<d bad\n"
                               "text/alone";
    char name[] = "/tmp/bivalve-mime-XXXXXX";
    int fd = mkstemp(name);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    struct mime *m = mime_load(name);
    unlink(name);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (strcmp(mime_type(m, cases[i].path, strlen(cases[i].path)), cases[i].type))
            fail_msg("%s: %s", cases[i].path, mime_type(m, cases[i].path, strlen(cases[i].path)));
    mime_free(m);
    m = mime_load("/nowhere");
    assert_string_equal(mime_type(m, "a.js", 4), "text/javascript");
    mime_free(m);
}

/* Many of them, whatever their hashes. */
static void test_many_types(void **state)
{
    char name[] = "/tmp/bivalve-mime-XXXXXX";
    int fd = mkstemp(name);
    FILE *f = fdopen(fd, "w");

    (void)state;
    assert_non_null(f);
    for (int i = 0; i < 20000; i++)
        fprintf(f, "x/t%d e%d\n", i, i);
    fclose(f);
    struct mime *m = mime_load(name);
    unlink(name);
    assert_non_null(m);
    for (int i = 0; i < 16000; i++) {
        char path[32], type[32];
        sprintf(path, "f.e%d", i);
        sprintf(type, "x/t%d", i);
        assert_string_equal(mime_type(m, path, strlen(path)), type);
    }
    /* there is a limit */
    assert_string_equal(mime_type(m, "f.e19999", 8), "application/octet-stream");
    mime_free(m);
}

/* ---- paths ---- */

static void test_paths(void **state)
{
    static const char *const good[] = {"a",   "a/b", "...",     "..a", "a..", ".a",
                                       "a.b", "-",   "a/.../b", " ",   "\\",  "a/..b"};
    static const char *const bad[] = {"",    "/",    "/a",  "a/",   "a//b",  ".",      "..",
                                      "./a", "../a", "a/.", "a/..", "a/./b", "a/../b", "//"};
    static char longest[STATIC_PATH_MAX + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(static_path_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (static_path_valid(bad[i], strlen(bad[i])))
            fail_msg("%s", bad[i]);
    assert_false(static_path_valid("a\0b", 3));
    assert_false(static_path_valid("a\0", 2));
    memset(longest, 'x', sizeof(longest));
    assert_true(static_path_valid(longest, STATIC_PATH_MAX));
    assert_false(static_path_valid(longest, STATIC_PATH_MAX + 1));
}

/* ---- opening ---- */

/* What is opened is this text; or the error. */
static void expect(const struct static_dir *d, const char *path, const char *text)
{
    char got[64];
    struct stat st;
    int fd = static_dir_open(d, path, &st);

    if (!text) {
        if (fd >= 0)
            fail_msg("%s is opened", path);
        return;
    }
    if (fd < 0)
        fail_msg("%s: %s", path, strerror(-fd));
    assert_int_equal(read(fd, got, sizeof(got)), strlen(text));
    assert_memory_equal(got, text, strlen(text));
    assert_int_equal(st.st_size, strlen(text));
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

static void put(int dir, const char *name, const char *text)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_open(void **state)
{
    char base[] = "/tmp/bivalve-static-XXXXXX", root[64], error[STATIC_ERROR_MAX], deep[600];
    struct static_dir d;

    (void)state;
    assert_non_null(mkdtemp(base));
    sprintf(root, "%s/root", base);
    int at = open(base, O_RDONLY | O_DIRECTORY);
    assert_int_equal(mkdirat(at, "root", 0755) | mkdirat(at, "root/sub", 0755), 0);
    put(at, "secret", "secret");
    put(at, "root/a", "text of a");
    put(at, "root/sub/b", "text of b");
    assert_int_equal(symlinkat("sub/b", at, "root/in") | symlinkat("../secret", at, "root/out") |
                         symlinkat("/etc/passwd", at, "root/absolute") |
                         symlinkat("sub", at, "root/dir") | symlinkat("..", at, "root/sub/up") |
                         symlinkat("loop", at, "root/loop") | mkfifoat(at, "root/fifo", 0644),
                     0);
    assert_int_equal(static_dir_init(&d, root, error), 0);
    bool has_openat2 = !d.step_by_step;
    memset(deep, 'x', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    int before = dup(0);
    close(before);
    for (int steps = 0; steps < 2; steps++) {
        d.step_by_step = steps || !has_openat2;
        bool follows = !d.step_by_step;
        expect(&d, "a", "text of a");
        expect(&d, "sub/b", "text of b");
        expect(&d, "in", follows ? "text of b" : NULL);
        expect(&d, "dir/b", follows ? "text of b" : NULL);
        expect(&d, "sub/up/a", follows ? "text of a" : NULL);
        expect(&d, "sub/up/up/secret", NULL);
        expect(&d, "out", NULL);
        expect(&d, "absolute", NULL);
        expect(&d, "loop", NULL);
        expect(&d, "sub", NULL);
        expect(&d, "fifo", NULL);
        expect(&d, "nowhere", NULL);
        expect(&d, "a/b", NULL);
        expect(&d, "nowhere/b", NULL);
        expect(&d, deep, NULL);
    }
    int after = dup(0); /* nothing is left open */
    close(after);
    assert_int_equal(after, before);
    static_dir_destroy(&d);
    assert_true(static_dir_init(&d, "/nowhere/at/all", error) < 0);
    assert_non_null(strstr(error, "/nowhere/at/all"));
    sprintf(root, "rm -r %s", base);
    assert_int_equal(system(root), 0);
    close(at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_many_types),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
