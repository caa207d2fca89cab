/* SPDX-License-Identifier: MIT */
/*
 * load_main.c - bivalve-load's first and last word: what to do, where results go, and the exit
 * status.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hist_export.h"
#include "load_json.h"
#include "load_options.h"
#include "load_report.h"
#include "load_run.h"
#include "load_search.h"
#include "load_verdict.h"
#include "registry.h"

/* Where the results go. */
struct main_outputs {
    FILE *human, *json, *hdr, *timeseries; /* NULL: not wanted */
    bool quiet;
    int err; /* of what could not be written */
};

static int main_complain(const char *what, int status)
{
    fprintf(stderr, "bivalve-load: %s\n", what);
    return status;
}

static bool main_open(FILE **f, const char *path)
{
    if (!path)
        return true;
    *f = strcmp(path, "-") ? fopen(path, "we") : stdout;
    if (*f)
        return true;
    fprintf(stderr, "bivalve-load: cannot write %s: %s\n", path, strerror(errno));
    return false;
}

/* Files are opened before the load, not found missing after it. */
static bool main_open_outputs(struct main_outputs *out, const struct load_options *o)
{
    if (!main_open(&out->json, o->json) || !main_open(&out->hdr, o->hdr) ||
        !main_open(&out->timeseries, o->timeseries))
        return false;
    bool taken = out->json == stdout || out->hdr == stdout || out->timeseries == stdout;
    out->human = taken ? stderr : stdout;
    out->quiet = o->quiet || (!isatty(fileno(out->human)) && taken);
    return true;
}

/* 0 if everything has arrived. */
static int main_close_outputs(struct main_outputs *out)
{
    FILE *const files[] = {out->json, out->hdr, out->timeseries};

    for (unsigned i = 0; i < 3; i++)
        if (files[i] && files[i] != stdout && fclose(files[i]) != 0)
            out->err = errno;
    if (fflush(stdout) != 0 || ferror(stdout))
        out->err = EIO;
    if (out->err)
        fprintf(stderr, "bivalve-load: cannot write the results: %s\n", strerror(out->err));
    return out->err ? 2 : 0;
}

static void main_watch(const struct load_moment *moment, bool last, void *arg)
{
    struct main_outputs *out = arg;

    if (!out->quiet && !last)
        load_report_moment(out->human, moment);
    /* What is left at the end is a second or less. */
    if (out->timeseries && (!last || moment->requests || moment->failures))
        if (load_json_moment(out->timeseries, moment) < 0)
            out->err = EIO;
}

static int main_run(const struct load_setup *s, struct main_outputs *out)
{
    static struct load_results r; /* histograms are large */
    struct load_run run = load_run_of(&s->options);
    char error[LOAD_ERROR_MAX];
    bool interrupted;

    if (s->backend.automatic && !out->quiet)
        fprintf(out->human, "%s\n", s->backend.why);
    load_report_begin(out->human, s, &run);
    if (load_run(s, &run, main_watch, out, &r, &interrupted, error) < 0)
        return main_complain(error, 2);
    if (interrupted)
        fputs("  interrupted\n", out->human);
    struct load_verdict v = load_verdict_of(s, &run, &r);
    load_report_end(out->human, s, &run, &r, &v);
    if (out->json && load_json_write(out->json, s, &run, &r, &v) < 0)
        out->err = EIO;
    if (out->hdr && hist_write_text(&r.response, out->hdr, 1000) < 0)
        out->err = EIO;
    return load_verdict_status(&v);
}

static int main_search(const struct load_setup *s, struct main_outputs *out)
{
    struct load_step steps[LOAD_STEPS_MAX];
    char error[LOAD_ERROR_MAX];
    bool interrupted;
    double rate;
    unsigned count;

    if (load_search(s, out->human, steps, &count, &rate, &interrupted, error) < 0)
        return main_complain(error, 2);
    if (out->json && load_json_search(out->json, s, steps, count, rate) < 0)
        out->err = EIO;
    if (rate > 0)
        fprintf(out->human, "\n  %.0f requests/s are the most that was held, and held again.\n",
                rate);
    else
        fputs(interrupted ? "\n  interrupted\n" : "\n  No rate was held.\n", out->human);
    return rate > 0 ? 0 : 3;
}

int main(int argc, char **argv)
{
    static struct load_setup s;
    struct main_outputs out = {0};
    char error[MAX(LOAD_ERROR_MAX, BACKEND_TEXT_MAX)];

    signal(SIGCHLD, SIG_DFL); /* who starts us may have ignored it */
    if (registry_check(error) < 0)
        return main_complain(error, 2);
    if (load_options_parse(argc, argv, &s.options, error) < 0)
        return main_complain(error, 2);
    if (s.options.action == LOAD_HELP) {
        load_options_print_help(stdout);
        return main_close_outputs(&out);
    }
    if (s.options.action == LOAD_VERSION) {
        printf("bivalve-load %s\n", PACKAGE_VERSION);
        registry_print_versions();
        return main_close_outputs(&out);
    }
    if (load_setup_make(&s, error) < 0)
        return main_complain(error, 2);
    if (!main_open_outputs(&out, &s.options))
        return 2;
    int status = s.options.action == LOAD_FIND_MAX ? main_search(&s, &out) : main_run(&s, &out);
    int closed = main_close_outputs(&out);
    load_setup_free(&s);
    return closed ? closed : status;
}
