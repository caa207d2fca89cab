/* SPDX-License-Identifier: MIT */
/*
 * load_json.c - see load_json.h.
 */
#include "config.h"

#include "load_json.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "hist_export.h"
#include "load_report.h"

#define LOAD_JSON_DIGITS 15 /* times since the machine was started, to a microsecond */

/* Integers of ours are below 2^63. */
static json_int_t json_count(uint64_t n)
{
    return (json_int_t)n;
}

static json_t *json_hist(const struct hist *h)
{
    if (h->total == 0)
        return json_null();
    return json_pack(
        "{s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "count", json_count(h->total), "mean",
        hist_mean(h), "min", json_count(h->min), "p50", json_count(hist_percentile(h, 50)), "p75",
        json_count(hist_percentile(h, 75)), "p90", json_count(hist_percentile(h, 90)), "p99",
        json_count(hist_percentile(h, 99)), "p99.9", json_count(hist_percentile(h, 99.9)), "p99.99",
        json_count(hist_percentile(h, 99.99)), "max", json_count(h->max));
}

/* All of it, as other programs exchange it; null where this program has no zlib. */
static json_t *json_encoded(const struct hist *h)
{
    char *text = hist_encode(h);
    json_t *encoded = text ? json_string(text) : json_null();

    free(text);
    return encoded;
}

static json_t *json_failures(const struct load_results *r)
{
    json_t *all = json_object();

    for (unsigned i = 0; i < LOAD_FAILURE_KINDS; i++)
        if (r->failures[i])
            json_object_set_new(
                all, load_failure_name((enum load_failure)i),
                json_pack("{s:I, s:s}", "count", json_count(r->failures[i]), "first", r->first[i]));
    return all;
}

static json_t *json_load(const struct load_setup *s, const struct load_run *run)
{
    const struct load_options *o = &s->options;

    return json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:s, s:f, s:f, s:s, s:I, s:I}", "url", o->url,
                     "address", s->target.text, "connections", (int)o->connections, "pipeline",
                     (int)o->pipeline, "requests_per_connection", (int)o->per_connection,
                     "processes", (int)s->processes, "loop", run->rate_from > 0 ? "open" : "closed",
                     "rate_from", run->rate_from, "rate_to", run->rate_to, "arrivals",
                     run->rate_from == 0 ? "as answered"
                     : o->uniform        ? "uniform"
                                         : "poisson",
                     "seed", json_count(o->seed & INT64_MAX), "timeout_us",
                     json_count(o->timeout_us));
}

static json_t *json_generator(const struct load_setup *s, const struct load_results *r)
{
    struct utsname kernel;

    uname(&kernel);
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", "bivalve-load", "version",
                     PACKAGE_VERSION, "backend", s->backend.ops->name, "features", r->features,
                     "kernel", kernel.release);
}

/* Takes `all`. */
static int json_out(FILE *out, json_t *all, size_t flags)
{
    if (!all)
        return -ENOMEM;
    int rc =
        json_dumpf(all, out, flags) == 0 && fputc('\n', out) != EOF && fflush(out) == 0 ? 0 : -EIO;
    json_decref(all);
    return rc;
}

static json_t *json_statuses(const struct load_results *r)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "2xx", json_count(r->status_2xx), "3xx",
                     json_count(r->status_3xx), "4xx", json_count(r->status_4xx), "5xx",
                     json_count(r->status_5xx));
}

static json_t *json_connections(const struct load_results *r)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "opened", json_count(r->connects), "resent",
                     json_count(r->resent), "ports_used_up", json_count(r->ports_used_up), "idle",
                     json_count(r->idle), "idle_lost", json_count(r->idle_lost));
}

static json_t *json_tls(const struct load_results *r)
{
    if (!*r->tls)
        return json_null();
    return json_pack("{s:I, s:I, s:s}", "handshakes", json_count(r->tls_handshakes), "resumed",
                     json_count(r->tls_resumed), "first", r->tls);
}

static json_t *json_rate(const struct load_results *r, const struct load_verdict *v)
{
    return json_pack("{s:f, s:f, s:b, s:I}", "wanted", v->wanted_rps, "got", v->rps, "held",
                     v->rate_held, "backlog_us_max", json_count(r->backlog_us_max));
}

int load_json_write(FILE *out, const struct load_setup *s, const struct load_run *run,
                    const struct load_results *r, const struct load_verdict *v)
{
    double user_us = r->requests ? (double)r->cpu_user_us / (double)r->requests : 0;
    const struct {
        const char *name;
        json_t *value;
    } fields[] = {
        {"schema", json_integer(LOAD_JSON_SCHEMA)},
        {"generator", json_generator(s, r)},
        {"load", json_load(s, run)},
        {"begin_s", json_real((double)r->begin_us / 1e6)},
        {"seconds", json_real((double)r->measured_us / 1e6)},
        {"own_seconds", json_real((double)r->own_us / 1e6)},
        {"requests", json_integer(json_count(r->requests))},
        {"answered", json_integer(json_count(r->answered))},
        {"rps", json_real(v->rps)},
        {"error_count", json_integer(json_count(load_results_failures(r)))},
        {"errors", json_failures(r)},
        {"latency_us", json_hist(&r->response)},
        {"latency_hdr", json_encoded(&r->response)},
        {"service_us", json_hist(&r->service)},
        {"connect_us", json_hist(&r->connect)},
        {"lag_us", json_hist(&r->lag)},
        {"bytes",
         json_pack("{s:I, s:I}", "in", json_count(r->bytes_in), "out", json_count(r->bytes_out))},
        {"parsed_status", json_statuses(r)},
        {"matched", json_integer(json_count(r->matched))},
        {"connections", json_connections(r)},
        {"tls", json_tls(r)},
        {"cpu_us_per_request", json_real(v->cpu_us)},
        {"cpu_user_us_per_request", json_real(user_us)},
        {"cpu_busiest", json_real(r->busiest)},
        {"rate", json_rate(r, v)},
        {"bottleneck", json_string(v->bottleneck)},
        {"errors_ok", json_boolean(v->errors_ok)},
        {"slo_ok", json_boolean(v->slo_ok)},
    };
    json_t *all = json_object();
    bool whole = true;

    for (unsigned i = 0; i < ARRAY_LEN(fields); i++)
        whole &= json_object_set_new(all, fields[i].name, fields[i].value) == 0;
    if (!whole) {
        json_decref(all);
        return -ENOMEM;
    }
    return json_out(out, all, JSON_INDENT(2) | JSON_REAL_PRECISION(LOAD_JSON_DIGITS));
}

int load_json_moment(FILE *out, const struct load_moment *m)
{
    return json_out(out,
                    json_pack("{s:f, s:f, s:I, s:f, s:I, s:o}", "elapsed_s",
                              (double)m->elapsed_us / 1e6, "interval_s",
                              (double)m->interval_us / 1e6, "requests", json_count(m->requests),
                              "rps", (double)m->requests / ((double)m->interval_us / 1e6), "errors",
                              json_count(m->failures), "latency_us", json_hist(&m->response)),
                    JSON_COMPACT | JSON_REAL_PRECISION(LOAD_JSON_DIGITS));
}

int load_json_search(FILE *out, const struct load_setup *s, const struct load_step *steps,
                     unsigned count, double max_rate)
{
    json_t *curve = json_array();

    for (unsigned i = 0; i < count; i++)
        json_array_append_new(curve, json_pack("{s:f, s:f, s:f, s:f, s:I, s:b, s:b, s:b}", "rate",
                                               steps[i].rate, "rps", steps[i].rps, "p50_us",
                                               steps[i].p50_us, "p99_us", steps[i].p99_us, "errors",
                                               json_count(steps[i].failures), "held", steps[i].held,
                                               "generator_full", steps[i].full, "confirms",
                                               steps[i].confirms));
    return json_out(out,
                    json_pack("{s:i, s:s, s:f, s:f, s:o}", "schema", LOAD_JSON_SCHEMA, "url",
                              s->options.url, "slo_p99_us", s->options.slo_p99_us, "max_rate",
                              max_rate, "curve", curve),
                    JSON_INDENT(2) | JSON_REAL_PRECISION(LOAD_JSON_DIGITS));
}
