/* SPDX-License-Identifier: MIT */
/*
 * test_option_docs.c - the table of options is whole, and the man pages and completions are what is
 * made from it.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "option_docs.h"
#include "option_table.h"
#include "options.h"
#include "util.h"

static char *read_file(const char *path)
{
    char full[4096];
    char *text = calloc(1, 1 << 20);

    snprintf(full, sizeof(full), "%s/%s", TEST_SRCDIR, path);
    FILE *f = fopen(full, "r");
    if (!f)
        fail_msg("cannot open %s", full);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    return text;
}

/* Where they differ, for the message. */
static void check_same(const char *path, const char *wanted, const char *text)
{
    size_t line = 1, i = 0;

    if (!strcmp(wanted, text))
        return;
    for (; wanted[i] && wanted[i] == text[i]; i++)
        line += wanted[i] == '\n';
    fail_msg("%s:%zu differs from the table of options; run: make update-docs\n--- %.120s", path,
             line, wanted + i);
}

static void test_files_are_as_the_table_says(void **state)
{
    (void)state;
    assert_true(option_docs_len >= 5);
    for (size_t i = 0; i < option_docs_len; i++) {
        char *text = read_file(option_docs[i].path);
        char *wanted = option_docs_renew(&option_docs[i], text);
        if (!wanted)
            fail_msg("%s has no lines that say where the generated part is", option_docs[i].path);
        check_same(option_docs[i].path, wanted, text);
        free(wanted);
        free(text);
    }
}

static void print_word(FILE *out)
{
    fputs("word\n", out);
}

static void test_renew(void **state)
{
    const struct option_doc doc = {"x", print_word};
    static const char *const none[] = {"", OPTION_DOCS_BEGIN "\n", OPTION_DOCS_END "\n",
                                       OPTION_DOCS_END "\n" OPTION_DOCS_BEGIN "\n",
                                       OPTION_DOCS_BEGIN OPTION_DOCS_END};

    (void)state;
    char *now = option_docs_renew(&doc, "a\n# " OPTION_DOCS_BEGIN " (x)\nold\nolder\n# " //
                                  OPTION_DOCS_END "\nb\n");
    assert_string_equal(now, "a\n# " OPTION_DOCS_BEGIN " (x)\nword\n# " OPTION_DOCS_END "\nb\n");
    free(now);
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_null(option_docs_renew(&doc, none[i]));
}

/* What --help, the man pages and the shells need of every entry. */
static void check_entry(const struct option_spec *spec)
{
    assert_true(strlen(spec->name) >= 2 && strlen(spec->name) < 32);
    assert_true(spec->section < OPTION_SECTIONS);
    assert_true(spec->man || spec[1].section == spec->section);
    assert_true(!spec->man || spec->man[strlen(spec->man) - 1] == '\n');
    if (spec->help && (strlen(spec->help) > 90 || strchr(spec->help, '\n')))
        fail_msg("--%s: half a line is enough for --help", spec->name);
    if (spec->values && (!spec->arg || strpbrk(spec->values, "'\"\\:()")))
        fail_msg("--%s: values that shells would misread: %s", spec->name, spec->values);
    bool number = spec->kind <= OPTION_COUNT;
    if (number && !(spec->max > spec->min))
        fail_msg("--%s: no range", spec->name);
    if (number && spec->preset)
        fail_msg("--%s: its default is stated where it is set", spec->name);
    bool word = spec->kind >= OPTION_TRUE;
    if (word != !spec->arg)
        fail_msg("--%s: an argument or not?", spec->name);
    if (spec->kind == OPTION_ACTION && !spec->line_only)
        fail_msg("--%s is for the command line", spec->name);
}

static void test_the_table_is_whole(void **state)
{
    (void)state;
    assert_in_range(option_table_len, 40, OPTION_TABLE_MAX);
    for (size_t i = 0; i < option_table_len; i++) {
        const struct option_spec *spec = &option_table[i];
        check_entry(spec);
        if (i > 0 && spec[-1].section > spec->section)
            fail_msg("--%s stands behind its section", spec->name);
        for (size_t k = 0; k < i; k++) {
            if (!strcmp(option_table[k].name, spec->name))
                fail_msg("--%s is there twice", spec->name);
            if (spec->letter && option_table[k].letter == spec->letter)
                fail_msg("-%c is there twice", spec->letter);
        }
    }
    for (size_t i = 0; i < OPTION_SECTIONS; i++) {
        assert_non_null(option_sections[i].title);
        assert_non_null(option_sections[i].man);
    }
}

/* Every option is in every file that has it to offer: the generator forgets none. */
static void test_no_option_is_left_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < option_docs_len; i++) {
        char *text = read_file(option_docs[i].path);
        bool conf = strstr(option_docs[i].path, ".conf") != NULL;
        bool fish = strstr(option_docs[i].path, ".fish") != NULL;
        for (size_t k = 0; k < option_table_len; k++) {
            const struct option_spec *spec = &option_table[k];
            char wanted[64];
            snprintf(wanted, sizeof(wanted), "%s%s",
                     conf                                 ? "Cm "
                     : fish                               ? "-l "
                     : strstr(option_docs[i].path, "man") ? "Fl Fl "
                                                          : "--",
                     spec->name);
            bool due = conf ? !spec->line_only : spec->help || strstr(option_docs[i].path, "man");
            if (due && !strstr(text, wanted))
                fail_msg("%s: no \"%s\"", option_docs[i].path, wanted);
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table_is_whole),
        cmocka_unit_test(test_renew),
        cmocka_unit_test(test_files_are_as_the_table_says),
        cmocka_unit_test(test_no_option_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
