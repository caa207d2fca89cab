/* SPDX-License-Identifier: MIT */
/*
 * option_docs.c - see option_docs.h. No part of the server: tests and `make update-docs` use it.
 */
#include "config.h"

#include "option_docs.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "option_table.h"
#include "options.h"
#include "util.h"

static const char *docs_lower(char *out, size_t out_size, const char *text)
{
    size_t i = 0;

    for (; text[i] && i + 1 < out_size; i++)
        out[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
    out[i] = '\0';
    return out;
}

/* Is it shown by --help and offered by shells? */
static bool docs_is_offered(const struct option_spec *spec)
{
    return spec->help != NULL;
}

/* ---- man pages ---- */

/* An option as the command line has it: "Fl w Ar n , Fl Fl workers Ar n". */
static void docs_man_flag(FILE *out, const struct option_spec *spec)
{
    char arg[32] = "";

    if (spec->arg)
        docs_lower(arg, sizeof(arg), spec->arg);
    if (spec->letter)
        fprintf(out, "Fl %c%s%s , ", spec->letter, *arg ? " Ar " : "", arg);
    fprintf(out, "Fl Fl %s%s%s", spec->name, *arg ? " Ar " : "", arg);
}

/* ... and as a line of a file. */
static void docs_man_key(FILE *out, const struct option_spec *spec)
{
    char arg[32];

    fprintf(out, "Cm %s", spec->name);
    if (spec->arg)
        fprintf(out, " Ar %s", docs_lower(arg, sizeof(arg), spec->arg));
}

static void docs_man(FILE *out, bool file)
{
    static struct options o;
    int section = -1;
    const char *sep = ".It ";
    char preset[80] = "";

    options_init(&o);
    for (size_t i = 0; i < option_table_len; i++) {
        const struct option_spec *spec = &option_table[i];
        if (file && spec->line_only)
            continue;
        if (section != (int)spec->section) {
            if (section >= 0)
                fputs(".El\n", out);
            section = (int)spec->section;
            fprintf(out, ".Ss %s\n%s.Bl -tag -width Ds\n", option_sections[section].title,
                    option_sections[section].man);
        }
        fputs(sep, out);
        (file ? docs_man_key : docs_man_flag)(out, spec);
        if (!preset[0])
            option_default(&o, spec, preset, sizeof(preset));
        sep = " , ";
        if (!spec->man)
            continue;
        fprintf(out, "\n%s", spec->man);
        if (preset[0])
            fprintf(out, "Default: %s.\n", preset);
        preset[0] = '\0';
        sep = ".It ";
    }
    fputs(".El\n", out);
}

static void docs_man_options(FILE *out)
{
    docs_man(out, false);
}

static void docs_man_file(FILE *out)
{
    docs_man(out, true);
}

/* ---- completions ---- */

/* The options' names, each with `before` in front. */
static void docs_names(FILE *out, const char *before)
{
    for (size_t i = 0; i < option_table_len; i++)
        if (docs_is_offered(&option_table[i]))
            fprintf(out, "%s--%s", before, option_table[i].name);
}

/* A word in the quotes of a shell: `quote` is what a single one inside is written as. */
static void docs_quote(FILE *out, const char *text, const char *quote)
{
    fputc('\'', out);
    for (; *text; text++) {
        if (*text == '\'')
            fputs(quote, out);
        else
            fputc(*text, out);
    }
    fputc('\'', out);
}

/* A pattern for `case`: "-l | --listen". */
static void docs_bash_pattern(FILE *out, const struct option_spec *spec)
{
    if (spec->letter)
        fprintf(out, "-%c | ", spec->letter);
    fprintf(out, "--%s", spec->name);
}

static void docs_bash_values(FILE *out, const struct option_spec *spec)
{
    static const struct {
        const char *name, *how;
    } kinds[] = {{"@file", "-f"}, {"@dir", "-d"}, {"@user", "-u"}, {"@group", "-g"}};

    fputs("    ", out);
    docs_bash_pattern(out, spec);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (!strcmp(kinds[i].name, spec->values)) {
            fprintf(out, ") how='%s' ;;\n", kinds[i].how);
            return;
        }
    fprintf(out, ") words='%s' ;;\n", spec->values);
}

static void docs_bash(FILE *out)
{
    const char *sep = "    ";

    fputs("_bivalve()\n"
          "{\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} how='' "
          "words=''\n"
          "    # bash takes --name=value for three words\n"
          "    [ \"$cur\" != = ] || cur=''\n"
          "    [ \"$prev\" != = ] || prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
          "    COMPREPLY=()\n"
          "    case $prev in\n",
          out);
    for (size_t i = 0; i < option_table_len; i++)
        if (docs_is_offered(&option_table[i]) && option_table[i].values)
            docs_bash_values(out, &option_table[i]);
    for (size_t i = 0; i < option_table_len; i++)
        if (docs_is_offered(&option_table[i]) && option_table[i].arg && !option_table[i].values) {
            fputs(sep, out);
            docs_bash_pattern(out, &option_table[i]);
            sep = " | \\\n        ";
        }
    fputs(") return ;; # for nobody else to guess\n"
          "    *) words='",
          out);
    docs_names(out, "\n        ");
    fputs("' ;;\n"
          "    esac\n"
          "    if [ -n \"$how\" ]; then\n"
          "        mapfile -t COMPREPLY < <(compgen \"$how\" -- \"$cur\")\n"
          "    else\n"
          "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
          "    fi\n"
          "}\n"
          "complete -o filenames -F _bivalve bivalve\n",
          out);
}

/* zsh: what _arguments takes is ended by a bracket and split at colons. */
static void docs_zsh_escape(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '[' || *text == ']' || *text == ':' || *text == '\\')
            fputc('\\', out);
        if (*text == '\'')
            fputs("'\\'", out);
        fputc(*text, out);
    }
}

static void docs_zsh_one(FILE *out, const struct option_spec *spec)
{
    static const struct {
        const char *name, *how;
    } kinds[] = {
        {"@file", "_files"}, {"@dir", "_files -/"}, {"@user", "_users"}, {"@group", "_groups"}};
    char arg[32];

    fputs(" \\\n    ", out);
    if (spec->kind == OPTION_LISTEN || spec->kind == OPTION_TLS_CERT ||
        spec->kind == OPTION_TLS_KEY || spec->kind == OPTION_TLS_OCSP)
        fputs("'*'", out);
    else if (spec->letter)
        fprintf(out, "'(-%c --%s)'", spec->letter, spec->name);
    if (spec->letter)
        fprintf(out, "{-%c%s,--%s%s}", spec->letter, spec->arg ? "+" : "", spec->name,
                spec->arg ? "=" : "");
    else
        fprintf(out, "--%s%s", spec->name, spec->arg ? "=" : "");
    fputs("'[", out);
    docs_zsh_escape(out, spec->help);
    fputs("]", out);
    if (spec->arg) {
        const char *how = NULL;
        for (size_t i = 0; spec->values && i < ARRAY_LEN(kinds); i++)
            if (!strcmp(kinds[i].name, spec->values))
                how = kinds[i].how;
        fprintf(out, ":%s:", docs_lower(arg, sizeof(arg), spec->arg));
        if (how)
            fputs(how, out);
        else if (spec->values)
            fprintf(out, "(%s)", spec->values);
    }
    fputc('\'', out);
}

static void docs_zsh(FILE *out)
{
    fputs("_arguments -s -S", out);
    for (size_t i = 0; i < option_table_len; i++)
        if (docs_is_offered(&option_table[i]))
            docs_zsh_one(out, &option_table[i]);
    fputc('\n', out);
}

static void docs_fish(FILE *out)
{
    static const struct {
        const char *name, *how;
    } kinds[] = {{"@file", " -r -F"},
                 {"@dir", " -a '(__fish_complete_directories)'"},
                 {"@user", " -a '(__fish_complete_users)'"},
                 {"@group", " -a '(__fish_complete_groups)'"}};

    for (size_t i = 0; i < option_table_len; i++) {
        const struct option_spec *spec = &option_table[i];
        const char *how = NULL;
        if (!docs_is_offered(spec))
            continue;
        fputs("complete -c bivalve -f", out);
        if (spec->letter)
            fprintf(out, " -s %c", spec->letter);
        fprintf(out, " -l %s%s -d ", spec->name,
                spec->arg && (!spec->values || strcmp(spec->values, "@file")) ? " -x" : "");
        docs_quote(out, spec->help, "\\'");
        for (size_t k = 0; spec->values && k < ARRAY_LEN(kinds); k++)
            if (!strcmp(kinds[k].name, spec->values))
                how = kinds[k].how;
        if (how)
            fputs(how, out);
        else if (spec->values)
            fprintf(out, " -a '%s'", spec->values);
        fputc('\n', out);
    }
}

const struct option_doc option_docs[] = {
    {"man/bivalve.8", docs_man_options},
    {"man/bivalve.conf.5", docs_man_file},
    {"scripts/completions/bivalve", docs_bash},
    {"scripts/completions/_bivalve", docs_zsh},
    {"scripts/completions/bivalve.fish", docs_fish},
};
const size_t option_docs_len = ARRAY_LEN(option_docs);

char *option_docs_renew(const struct option_doc *doc, const char *text)
{
    const char *begin = strstr(text, OPTION_DOCS_BEGIN);
    const char *end = begin ? strstr(begin, OPTION_DOCS_END) : NULL;
    char *out = NULL;
    size_t len = 0;

    if (!end || !(begin = strchr(begin, '\n')) || begin > end)
        return NULL;
    while (end[-1] != '\n')
        end--;
    FILE *f = open_memstream(&out, &len);
    if (!f)
        return NULL;
    fwrite(text, 1, (size_t)(begin + 1 - text), f);
    doc->print(f);
    fputs(end, f);
    if (fclose(f) == 0)
        return out;
    free(out);
    return NULL;
}
