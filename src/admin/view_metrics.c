/* SPDX-License-Identifier: MIT */
/*
 * view_metrics.c - the counters as Prometheus has them: names end in their unit and, where they
 * only grow, in _total; what is one thing of several kinds is one metric with a label. A counter
 * that is in no line of the table below is shown as bivalve_NAME_total.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "usage.h"
#include "view.h"

struct metric {
    const char *field; /* of struct stats */
    const char *name;  /* bivalve_NAME; lines of the same stand together */
    const char *label; /* NULL: none */
    const char *help;
};

static const struct metric metrics[] = {
    {"requests", "requests_total", NULL, "Complete requests answered by a handler."},
    {"responses_2xx", "responses_total", "code=\"2xx\"", "Responses, by class of status."},
    {"responses_3xx", "responses_total", "code=\"3xx\"", NULL},
    {"responses_4xx", "responses_total", "code=\"4xx\"", NULL},
    {"responses_5xx", "responses_total", "code=\"5xx\"", NULL},
    {"continues", "responses_continue_total", NULL, "100 Continue sent."},
    {"log_lines", "access_log_lines_total", NULL, "Lines handed to the access log."},
    {"log_dropped", "access_log_dropped_total", NULL, "Lines for which the log had no room."},
    {"messages_dropped", "messages_dropped_total", NULL,
     "Lines of the workers that standard error had no room for."},
    {"handler_errors", "handler_errors_total", NULL, "Requests that their handler failed."},
    {"cancelled", "requests_cancelled_total", NULL,
     "Requests that ended before their answer was written."},
    {"bytes_in", "received_bytes_total", NULL, "Bytes received from clients."},
    {"bytes_out", "sent_bytes_total", NULL, "Bytes of answers that the kernel has taken."},
    {"accepted", "connections_accepted_total", NULL, "Connections accepted."},
    {"closed", "connections_closed_total", NULL, "Connections closed."},
    {"slots_used", "connections", NULL, "Connections open now."},
    {"rejected", "connections_rejected_total", NULL,
     "Connections closed at once: no slot for them."},
    {"proxy_refused", "proxy_refused_total", NULL,
     "Connections closed for want of a PROXY header or of trust."},
    {"resets", "connection_resets_total", NULL, "Connections ended by an error of the kernel's."},
    {"eof_mid_request", "connections_cut_total", NULL, "Clients that closed inside a request."},
    {"lingers", "connection_lingers_total", NULL,
     "Connections half-closed and emptied before their end."},
    {"accept_aborted", "accept_failures_total", "cause=\"client\"",
     "Failed accepts: the client was gone already, or the server lacked something."},
    {"accept_errors", "accept_failures_total", "cause=\"server\"", NULL},
    {"accept_empty", "accept_empty_total", NULL,
     "Wake-ups for a client that another worker had taken already."},
    {"accept_pauses", "accept_pauses_total", NULL, "Times that accepting was suspended."},
    {"timeout_header", "timeouts_total", "limit=\"header\"", "Time limits that ran out."},
    {"timeout_body", "timeouts_total", "limit=\"body\"", NULL},
    {"timeout_idle", "timeouts_total", "limit=\"idle\"", NULL},
    {"timeout_write", "timeouts_total", "limit=\"write\"", NULL},
    {"timeout_linger", "timeouts_total", "limit=\"linger\"", NULL},
    {"timeout_handshake", "timeouts_total", "limit=\"handshake\"", NULL},
    {"limit_uri", "limits_hit_total", "limit=\"uri\"", "Limits other than of time that were hit."},
    {"limit_header", "limits_hit_total", "limit=\"header\"", NULL},
    {"limit_body", "limits_hit_total", "limit=\"body\"", NULL},
    {"limit_chunk_ext", "limits_hit_total", "limit=\"chunk_ext\"", NULL},
    {"limit_trailer", "limits_hit_total", "limit=\"trailer\"", NULL},
    {"limit_requests", "limits_hit_total", "limit=\"requests\"", NULL},
    {"limit_linger", "limits_hit_total", "limit=\"linger\"", NULL},
    {"limit_buffers", "limits_hit_total", "limit=\"buffers\"", NULL},
    {"limit_drain", "limits_hit_total", "limit=\"drain\"", NULL},
    {"tls_handshakes", "tls_handshakes_total", NULL, "TLS handshakes completed."},
    {"tls_resumed", "tls_resumptions_total", NULL, "... of them by a ticket."},
    {"tls_failed", "tls_failures_total", "cause=\"protocol\"",
     "TLS connections that were refused, failed, or were cut off."},
    {"tls_plain", "tls_failures_total", "cause=\"plain\"", NULL},
    {"tls_truncated", "tls_failures_total", "cause=\"truncated\"", NULL},
    {"tls_deferred", "tls_handshakes_deferred_total", NULL,
     "TLS handshakes that waited for a later iteration."},
    {"tls_ktls", "tls_ktls_connections_total", "result=\"kernel\"",
     "TLS connections whose output the kernel was to encrypt."},
    {"tls_ktls_refused", "tls_ktls_connections_total", "result=\"refused\"", NULL},
    {"paused", "receive_pauses_total", NULL, "Times that a connection's input had to wait."},
    {"yields", "connection_yields_total", NULL,
     "Connections put back in the queue after their share of an iteration."},
    {"tails_stored", "input_copies_total", NULL, "Incomplete input copied to a block."},
    {"short_sends", "short_sends_total", NULL, "Sends of which the kernel took a part."},
    {"no_block", "buffer_failures_total", NULL, "Connections closed for want of a buffer."},
    {"pages_returned", "memory_returned_bytes_total", NULL,
     "Address space given back to the kernel."},
    {"blocks_used", "buffers", NULL, "Buffers that connections hold now."},
    {"block_bytes", "buffer_bytes", NULL, "Memory mapped for buffers."},
    {"waiting", "requests_waiting", NULL, "Requests that wait for their time."},
    {"in_flight", "operations_in_flight", NULL, "Operations the backend has in flight."},
    {"iterations", "loop_iterations_total", NULL, "Returns from waiting for events."},
    {"enters", "io_system_calls_total", NULL, "System calls that wait for or submit I/O."},
    {"events", "io_events_total", NULL, "Completions or readiness events."},
    {"recv_calls", "receives_total", NULL, "Receives reported or issued."},
    {"send_calls", "sends_total", NULL, "Sends issued."},
    {"send_pending", "sends_pending_total", NULL, "Sends that had to wait."},
    {"stale", "stale_events_total", NULL, "Events of a connection that was gone: a bug if not 0."},
    {"backend_errors", "backend_errors_total", NULL,
     "Unexpected errors of the backend's system calls."},
    {"restarts", "worker_restarts_total", NULL, "Times that workers were started again."},
    {"stuck", "worker_stuck_total", NULL, "Times that workers made no progress and were killed."},
};

static void view_family(struct text *t, const char *name, const char *type, const char *help)
{
    text_printf(t, "# HELP bivalve_%s %s\n# TYPE bivalve_%s %s\n", name, help, name, type);
}

/* Those of the table, the same with several labels under one heading. */
static void view_table(struct text *t, const struct stats *sum)
{
    const char *family = "";

    for (size_t k = 0; k < ARRAY_LEN(metrics); k++) {
        const struct metric *m = &metrics[k];
        struct stats_field f;
        for (size_t i = 0; (f = stats_field(sum, i)).name; i++)
            if (!strcmp(f.name, m->field))
                break;
        if (!f.name)
            continue;
        if (strcmp(family, m->name))
            view_family(t, family = m->name, strstr(m->name, "_total") ? "counter" : "gauge",
                        m->help);
        text_printf(t, "bivalve_%s%s%s%s %" PRIu64 "\n", m->name, m->label ? "{" : "",
                    m->label ? m->label : "", m->label ? "}" : "", f.value);
    }
}

/* Those that are not in the table. */
static void view_others(struct text *t, const struct stats *sum)
{
    struct stats_field f;

    for (size_t i = 0; (f = stats_field(sum, i)).name; i++) {
        char name[64];
        size_t k = 0;
        while (k < ARRAY_LEN(metrics) && strcmp(metrics[k].field, f.name))
            k++;
        if (k < ARRAY_LEN(metrics))
            continue;
        snprintf(name, sizeof(name), "%s%s", f.name, f.gauge ? "" : "_total");
        view_family(t, name, f.gauge ? "gauge" : "counter", "See bivalve(8).");
        text_printf(t, "bivalve_%s %" PRIu64 "\n", name, f.value);
    }
}

/* What the backend has of its own. */
static void view_backend(const struct view *v, struct text *t, const struct stats *sum)
{
    const struct backend_ops *ops = v->board->ops;

    if (!ops)
        return;
    view_family(t, "backend_info", "gauge", "The I/O backend that serves, and what it found here.");
    text_printf(t, "bivalve_backend_info{backend=\"%s\",features=\"%s\"} 1\n", ops->name,
                v->board->features);
    if (ops->counters && ops->counters[0])
        view_family(t, "backend_events_total", "counter", "What only this backend counts.");
    for (size_t i = 0; ops->counters && ops->counters[i]; i++)
        text_printf(t, "bivalve_backend_events_total{backend=\"%s\",event=\"%s\"} %" PRIu64 "\n",
                    ops->name, ops->counters[i], sum->backend[i]);
}

static void view_workers(const struct view *v, struct text *t)
{
    const struct board *b = v->board;
    struct usage usage;

    view_family(t, "workers", "gauge", "Workers that there should be.");
    text_printf(t, "bivalve_workers %u\n", b->workers);
    view_family(t, "worker_up", "gauge", "Whether the worker serves.");
    for (unsigned k = 0; k < b->used; k++)
        if (board_shows(b, k))
            text_printf(t, "bivalve_worker_up{worker=\"%u\"} %d\n", k,
                        b->worker[k].pid && b->worker[k].serving);
    view_family(t, "worker_requests_total", "counter", "Requests answered, by worker.");
    for (unsigned k = 0; k < b->used; k++)
        if (board_shows(b, k))
            text_printf(t, "bivalve_worker_requests_total{worker=\"%u\"} %" PRIu64 "\n", k,
                        v->stats[k].requests);
    view_family(t, "worker_resident_memory_bytes", "gauge",
                "Resident memory of the worker, pages shared with others included.");
    for (unsigned k = 0; k < b->used; k++)
        if (b->worker[k].pid && usage_read(b->worker[k].pid, &usage))
            text_printf(t, "bivalve_worker_resident_memory_bytes{worker=\"%u\"} %" PRIu64 "\n", k,
                        usage.resident_bytes);
    view_family(t, "worker_cpu_seconds_total", "counter",
                "CPU time of the worker's process, user and system.");
    for (unsigned k = 0; k < b->used; k++)
        if (b->worker[k].pid && usage_read(b->worker[k].pid, &usage))
            text_printf(t, "bivalve_worker_cpu_seconds_total{worker=\"%u\"} %.2f\n", k,
                        usage.cpu_s);
}

/* `scale`: what one unit of the histogram is in the metric's unit. */
static void view_histogram(struct text *t, const char *name, const char *help,
                           const struct stats_histogram *h, unsigned shift, unsigned step,
                           double scale)
{
    uint64_t below = 0;

    view_family(t, name, "histogram", help);
    for (unsigned i = 0; i + 1 < STATS_BUCKETS; i++) {
        below += h->bucket[i];
        text_printf(t, "bivalve_%s_bucket{le=\"%.9g\"} %" PRIu64 "\n", name,
                    (double)((UINT64_C(1) << (shift + i * step)) - (scale == 1)) * scale, below);
    }
    below += h->bucket[STATS_BUCKETS - 1];
    text_printf(t,
                "bivalve_%s_bucket{le=\"+Inf\"} %" PRIu64 "\nbivalve_%s_sum %.9f\n"
                "bivalve_%s_count %" PRIu64 "\n",
                name, below, name, (double)h->sum * scale, name, below);
}

void view_metrics(const struct view *v, struct text *t)
{
    const struct board *b = v->board;
    struct stats sum = {0};

    for (unsigned k = 0; k < b->used; k++)
        stats_add(&sum, &v->stats[k]);
    view_family(t, "build_info", "gauge", "The version that runs.");
    text_printf(t, "bivalve_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
    view_family(t, "start_time_seconds", "gauge", "When the server was started, since the epoch.");
    text_printf(t, "bivalve_start_time_seconds %lld\n", (long long)b->started_s);
    view_family(t, "healthy", "gauge", "1 while /healthz says 200.");
    text_printf(t, "bivalve_healthy %d\n", board_is_healthy(b));
    view_family(t, "reloads_total", "counter", "Reloads (SIGHUP), by how they ended.");
    text_printf(t, "bivalve_reloads_total{result=\"done\"} %" PRIu64 "\n", b->reloads);
    text_printf(t, "bivalve_reloads_total{result=\"failed\"} %" PRIu64 "\n", b->reload_failures);
    view_family(t, "upgrade_failures_total", "counter",
                "Times that another server was to take over (SIGUSR2) and did not serve.");
    text_printf(t, "bivalve_upgrade_failures_total %" PRIu64 "\n", b->upgrade_failures);
    view_backend(v, t, &sum);
    view_workers(v, t);
    view_table(t, &sum);
    view_others(t, &sum);
    view_histogram(t, "request_duration_seconds",
                   "From when the loop saw that there was input to when the answer was sent.",
                   &sum.duration_ns, STATS_TIME_SHIFT, STATS_TIME_STEP, 1e-9);
    view_histogram(t, "response_size_bytes", "Bytes of the bodies of answers.", &sum.response_bytes,
                   STATS_BYTES_SHIFT, STATS_BYTES_STEP, 1);
}
