/* SPDX-License-Identifier: MIT */
/*
 * load_report.c - see load_report.h.
 */
#include "config.h"

#include "load_report.h"

#include <inttypes.h>
#include <string.h>

#include "util.h"

static const double report_percentiles[] = {50, 75, 90, 99, 99.9, 99.99};

const char *load_duration_text(char out[LOAD_DURATION_TEXT_MAX], double us)
{
    const char *unit = us < 1e3 ? "us" : us < 1e6 ? "ms" : "s";
    double value = us < 1e3 ? us : us < 1e6 ? us / 1e3 : us / 1e6;
    int decimals = us < 1e3 || value >= 100 ? 0 : value >= 10 ? 1 : 2;

    snprintf(out, LOAD_DURATION_TEXT_MAX, "%.*f %s", decimals, value, unit);
    return out;
}

static const char *report_plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

void load_report_begin(FILE *out, const struct load_setup *s, const struct load_run *run)
{
    const struct load_options *o = &s->options;

    fprintf(out, "bivalve-load %s: %s, %" PRIu32 " connection%s", PACKAGE_VERSION, s->target.text,
            o->connections, report_plural(o->connections));
    if (o->pipeline > 1)
        fprintf(out, ", %" PRIu32 " requests in flight on each", o->pipeline);
    if (o->per_connection)
        fprintf(out, ", closed after %" PRIu32 " request%s", o->per_connection,
                report_plural(o->per_connection));
    fprintf(out, ", %" PRIu32 " process%s, ", s->processes, s->processes == 1 ? "" : "es");
    if (run->rate_from == 0)
        fputs("closed loop\n", out);
    else if (run->rate_from == run->rate_to)
        fprintf(out, "%.10g requests/s\n", run->rate_from);
    else
        fprintf(out, "%.10g to %.10g requests/s\n", run->rate_from, run->rate_to);
}

void load_report_moment(FILE *out, const struct load_moment *m)
{
    char p50[LOAD_DURATION_TEXT_MAX], p99[LOAD_DURATION_TEXT_MAX];

    if (m->elapsed_us == 0) {
        fputs("  warming up\n", out);
    } else {
        fprintf(out, "%5.0f s  %10.0f requests/s  %" PRIu64 " error%s  p50 %s  p99 %s\n",
                (double)m->elapsed_us / 1e6, (double)m->requests / ((double)m->interval_us / 1e6),
                m->failures, report_plural(m->failures),
                load_duration_text(p50, (double)hist_percentile(&m->response, 50)),
                load_duration_text(p99, (double)hist_percentile(&m->response, 99)));
    }
    fflush(out);
}

static void report_hist(FILE *out, const char *name, const struct hist *h)
{
    char text[LOAD_DURATION_TEXT_MAX];

    if (h->total == 0)
        return;
    fprintf(out, "  %-10s%10s", name, load_duration_text(text, hist_mean(h)));
    for (unsigned i = 0; i < ARRAY_LEN(report_percentiles); i++)
        fprintf(out, "%10s",
                load_duration_text(text, (double)hist_percentile(h, report_percentiles[i])));
    fprintf(out, "%10s\n", load_duration_text(text, (double)h->max));
}

static void report_latencies(FILE *out, const struct load_run *run, const struct load_results *r)
{
    fprintf(out, "\n  %-10s%10s", "", "mean");
    for (unsigned i = 0; i < ARRAY_LEN(report_percentiles); i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%g", report_percentiles[i]);
        fprintf(out, "%10s", name);
    }
    fprintf(out, "%10s\n", "max");
    report_hist(out, "response", &r->response);
    if (run->rate_from > 0) /* in the closed loop they are the same */
        report_hist(out, "service", &r->service);
    report_hist(out, "connect", &r->connect);
    report_hist(out, "lag", &r->lag);
}

static void report_failures(FILE *out, const struct load_results *r)
{
    static const char *const meanings[] = {
#define LOAD_FAILURE_TEXT_(sym, name, text) text,
        LOAD_FAILURES(LOAD_FAILURE_TEXT_)
#undef LOAD_FAILURE_TEXT_
    };

    for (unsigned i = 0; i < LOAD_FAILURE_KINDS; i++)
        if (r->failures[i])
            fprintf(out, "    %12" PRIu64 "  %s: %s; the first: %s\n", r->failures[i],
                    load_failure_name((enum load_failure)i), meanings[i], r->first[i]);
}

static void report_tls(FILE *out, const struct load_results *r, double seconds)
{
    if (*r->tls)
        fprintf(out,
                "\n  TLS: %" PRIu64 " handshakes (%.1f/s), %" PRIu64 " of them full, %" PRIu64
                " resumed; %s\n",
                r->tls_handshakes, (double)r->tls_handshakes / seconds,
                r->tls_handshakes - r->tls_resumed, r->tls_resumed, r->tls);
}

static void report_idle(FILE *out, const struct load_results *r)
{
    if (r->idle)
        fprintf(out,
                "\n  %" PRIu64 " idle connections beside them, %" PRIu64
                " of which the server has closed\n",
                r->idle, r->idle_lost);
}

static void report_conclusions(FILE *out, const struct load_setup *s, const struct load_run *run,
                               const struct load_results *r, const struct load_verdict *v)
{
    char text[LOAD_DURATION_TEXT_MAX];

    fputc('\n', out);
    if (!v->rate_held)
        fprintf(out,
                "  The rate was not held: %.0f requests/s were due, %.0f were answered (%.1f %%); "
                "the longest wait for a free connection was %s.\n",
                v->wanted_rps, v->rps, 100 * v->rps / v->wanted_rps,
                load_duration_text(text, r->backlog_us_max));
    if (v->full)
        fputs("  The load's own CPU was full: the server may have been able to do more.\n", out);
    else if (run->rate_from == 0)
        fputs("  The load's own CPU was not full: the server was the limit, or the wait between "
              "two requests.\n",
              out);
    if (r->ports_used_up)
        fprintf(out, "  Source ports were used up %" PRIu64 " time%s: see --source.\n",
                r->ports_used_up, report_plural(r->ports_used_up));
    if (!v->slo_ok)
        fprintf(out, "  The 99th percentile is beyond --slo-p99 %s.\n",
                load_duration_text(text, s->options.slo_p99_us));
}

void load_report_end(FILE *out, const struct load_setup *s, const struct load_run *run,
                     const struct load_results *r, const struct load_verdict *v)
{
    uint64_t failures = load_results_failures(r);
    double seconds = (double)MAX(r->own_us, 1) / 1e6;

    fprintf(out, "\n  %" PRIu64 " requests in %.2f s: %.1f requests/s, %.2f MB/s\n", r->requests,
            seconds, v->rps, (double)r->bytes_in / seconds / 1e6);
    fprintf(out, "  %" PRIu64 " error%s\n", failures, report_plural(failures));
    report_failures(out, r);
    report_latencies(out, run, r);
    report_tls(out, r, seconds);
    report_idle(out, r);
    fprintf(out,
            "\n  CPU of the load: %.2f us a request (%.0f %% in user space), busiest process "
            "%.0f %%; %s (%s)\n",
            v->cpu_us,
            100.0 * (double)r->cpu_user_us / (double)MAX(r->cpu_user_us + r->cpu_system_us, 1),
            100 * r->busiest, s->backend.ops->name, r->features);
    report_conclusions(out, s, run, r, v);
}
