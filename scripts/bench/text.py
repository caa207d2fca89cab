# SPDX-License-Identifier: MIT
"""Tables and sentences for the terminal, for Markdown and for the HTML page: one source for all
three."""
import unicodedata

from . import intervals, machine, metrics

MANY_PAIRS = 1000  # more are not worth a figure
CHIEF = ("rps", "cpu_us")
CGROUP_PARTS = ("anon", "sock", "slab", "kernel")


def width(text):
    """Columns on a terminal."""
    return sum(
        2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1
        for c in text
    )


def table(header, rows, markdown=False):
    """A table; the first column to the left, figures to the right, a last column of words to the
    left."""
    rows = [[str(c) for c in r] for r in rows]
    if markdown:
        lines = [
            "| " + " | ".join(header) + " |",
            "|" + "|".join("---" if i == 0 else "--:" for i in range(len(header))) + "|",
        ]
        return "\n".join(
            lines + ["| " + " | ".join(c.replace("|", "\\|") for c in r) + " |" for r in rows]
        )
    widths = [max(width(r[i]) for r in [list(header)] + rows) for i in range(len(header))]
    out = []
    for r in [list(header)] + rows:
        cells = [
            c + " " * (w - width(c)) if i == 0 or i == len(r) - 1 else " " * (w - width(c)) + c
            for i, (c, w) in enumerate(zip(r, widths))
        ]
        out.append("  ".join(cells).rstrip())
    return "\n".join(out)


def ratio_text(row):
    """ "0.871 [0.862, 0.880]"."""
    if row["ratio"] is None:
        return "-"
    if row["low"] is None:
        return f"{row['ratio']:.3f}"
    low = f"{row['low']:.3f}" if row["low"] >= 0.01 else "<0.01"
    high = f"{row['high']:.3f}" if row["high"] <= 100 else ">100"
    return f"{row['ratio']:.3f} [{low}, {high}]"


def verdict_text(row):
    """The word, and how many more pairs would resolve 3 % where too few were run."""
    more = row["more_pairs"]
    if row["low"] is None:
        return f"{row['verdict']} (an interval needs {intervals.MIN_PAIRS} pairs)"
    if not more:
        return row["verdict"]
    many = f"{more:,}" if more <= MANY_PAIRS else f"over {MANY_PAIRS:,}"
    return f"{row['verdict']} ({many} more pair{'s' if more != 1 else ''} to resolve 3 %)"


def value_text(row, side):
    metric = metrics.BY_KEY.get(row["metric"]) or next(
        m for m in metrics.IDLE_METRICS if m.key == row["metric"]
    )
    return metric.form(row[side])


def short_table(results, other, key):
    """(header, rows): one metric, one line a cell."""
    first = results["servers"][0]["name"]
    header = ["profile", "connections", first, other, f"{other}/{first} [95 %]", "verdict"]
    rows = []
    for cell in results["cells"]:
        v = next((v for v in cell.get("verdicts", {}).get(other, []) if v["metric"] == key), None)
        rows.append(
            [cell_name(cell, results), cell["conns"]]
            + (
                [value_text(v, "a"), value_text(v, "b"), ratio_text(v), v["verdict"]]
                if v
                else ["-", "-", "-", "failed" if cell["failed"] else "not measured"]
            )
        )
    return header, rows


def cell_table(cell, other, first):
    """(header, rows): every metric of one cell; without whole pairs, what each side showed."""
    rows = [
        [v["label"], value_text(v, "a"), value_text(v, "b"), ratio_text(v), verdict_text(v)]
        for v in cell["verdicts"].get(other, [])
    ]
    if not rows:
        rows = [
            [m.label.strip()]
            + [median_text(cell, name, m) for name in (first, other)]
            + ["-", "no whole pair"]
            for m in metrics.METRICS
            if any(median_text(cell, n, m) != "-" for n in (first, other))
        ]
    return ["metric", first, other, f"{other}/{first} [95 %]", "verdict"], rows


def median_text(cell, name, metric):
    value = cell["medians"].get(name, {}).get(metric.key)
    return "-" if value is None else metric.form(value)


def cell_name(cell, results):
    """The profile, and the rate where it is not that of all rows."""
    if cell.get("rate") and not results["rate"]:
        return f"{cell['profile']} at {cell['rate']:,.0f}/s"
    return cell["profile"]


def cell_head(cell):
    rate = f", {cell['rate']:,.0f} requests/s offered" if cell.get("rate") else ""
    return f"{cell['profile']}, {cell['conns']} connections{rate}"


def transfer_notes(cell):
    """What each side moved, and what its control group's memory was: one sentence a side."""
    out = []
    for name in dict.fromkeys(s["server"] for s in cell["slices"]):
        slices = [s for s in cell["slices"] if s["server"] == name]
        size = intervals.median([s["bytes_per_response"] or 0 for s in slices])
        rate = intervals.median([s["bytes_per_s"] or 0 for s in slices])
        errors = sum(sum(s["errors"].values()) for s in slices)
        line = f"{name}: {size:.1f} bytes/response, {rate / 1e6:.1f} MB/s, {errors} errors"
        if any(s["reconnects"] for s in slices):
            line += (
                f", {intervals.median([s['reconnects'] or 0 for s in slices]):,.0f} reconnects a"
                " slice"
            )
        peaks = [s["cgroup"] for s in slices if s["cgroup"]]
        if peaks:
            peak = max(peaks, key=lambda c: c["used"])
            parts = [
                f"{k} {peak[k] / metrics.MIB:.2f}" for k in CGROUP_PARTS if peak.get(k) is not None
            ]
            line += (
                f"; control group's peak {peak['used'] / metrics.MIB:.2f} MiB: {', '.join(parts)}"
            )
        out.append(line)
    return out


def cell_notes(cell):
    """Sentences under a cell's table."""
    out = list(cell.get("marks", []))
    if cell.get("failed"):
        out.append("FAILED: " + cell["failed"])
    if cell.get("pairs") is not None:
        line = f"{cell['pairs']} pairs"
        if cell.get("stopped") not in (None, "pairs"):
            line += f" (ended by: {cell['stopped']})"
        if cell.get("redone"):
            line += f"; {cell['redone']} slices redone because others used the CPUs"
        if cell.get("disturbed"):
            line += f"; {cell['disturbed']} of {len(cell['slices'])} slices kept although disturbed"
        out.append(line)
    out += transfer_notes(cell)
    return out


def generator_use(results):
    """The generator's own CPU use over all slices, as a sentence."""
    used = [
        s["load_cpus"]
        for c in results["cells"]
        for s in c["slices"]
        if s.get("load_cpus") is not None
    ]
    if not used:
        return ""
    return (
        f"{results['generator']['name']} {results['generator']['version']} used {min(used):.2f} to"
        f" {max(used):.2f} CPUs of its {len(results['load_cpus'])}"
    )


def limited_note(results):
    """Who ends the connections of limited profiles."""
    limited = [p["name"] for p in results["profiles"] if p["per_connection"]]
    if not limited:
        return ""
    g = results["generator"]
    who = "the server ends" if g["server_closes"] else f"{g['name']} ends"
    return f"{', '.join(limited)}: {who} each connection after its requests"


def server_lines(results):
    out = []
    for s in results["servers"]:
        about = s.get("about") or {}
        backend = (
            f"backend {about['backend']} ({about.get('features', 'no features told')})"
            if about.get("backend")
            else "told nothing about itself at start"
        )
        version = f"bivalve {about['version']}, " if about.get("version") else ""
        out.append(f"{s['name']}: {version}{backend}: {' '.join(s['command'])}")
    return out


def environment(results):
    """[(what, text)] that belongs beside every figure."""
    m = results["machine"]
    weak = [f"{k}: {v}" for k, v in m["mitigations"].items()]
    rows = [
        (
            "machine",
            (
                f"{m['cpu']}, {m['cpus']} CPUs{', virtual' if m['virtual'] else ''},"
                f" {m['memory_mib']} MiB"
            ),
        ),
        ("kernel", f"{m['kernel']} ({m['distribution']})"),
        ("mitigations", "; ".join(weak) or "none needed or none told"),
        ("governor", m["governor"] + (", turbo off" if m["turbo_off"] else "")),
        (
            "CPUs",
            (
                f"server on {machine.cpu_text(results['server_cpus'])}, load on "
                f"{machine.cpu_text(results['load_cpus'])}, {results['workers']} worker"
                f"{'s' if results['workers'] != 1 else ''}"
            ),
        ),
        ("generator", f"{results['generator']['name']} {results['generator']['version']}"),
    ]
    rows += [("server", line) for line in server_lines(results)]
    rows += [
        ("command line", " ".join(results["argv"])),
        (
            "when",
            f"{results['begun']} to {results['ended']}"
            + (" (interrupted)" if results["interrupted"] else ""),
        ),
    ]
    return rows


def chance_note(results):
    """How many intervals would exclude 1 by chance alone."""
    n = sum(len(rows) for c in results["cells"] for rows in c.get("verdicts", {}).values())
    if n < 20:
        return ""
    return (
        f"{n} intervals are shown; were there no difference anywhere, about {n * 0.05:.0f} of them"
        " would exclude 1 by chance"
    )


def method_notes(results):
    """How the figures came about, sentence by sentence."""
    out = [
        (
            f"Slices of {results['seconds']} s alternate between servers in pairs of random order; a"
            " ratio is that of the two slices of a pair. All servers are started afresh, and warmed"
            " up, for every pair."
            " Intervals: 95 %, bootstrap over pairs (studentized, trimmed mean of the logarithms),"
            f" seed {results['seed']}."
        ),
        (
            "Server CPU time: all its processes' and threads' time on a CPU"
            " (/proc/PID/task/*/schedstat, sampled every 10 ms, each reading up to a scheduler tick"
            " old); the user and system split is /proc/PID/stat's, in 10 ms ticks."
        ),
        (
            "Requests and CPU time are counted over the same window, which begins when all"
            " connections stand. Memory is the peak during the slices of one start."
        ),
        (
            "A slice is redone when others, or the host, took more than"
            f" {results['max_foreign']:.2f} CPUs during it."
        ),
    ]
    out += results["generator"]["notes"]
    out += [n for n in (limited_note(results), generator_use(results), chance_note(results)) if n]
    return out + results["notes"]


def idle_table(idle, other, first):
    header = ["metric", first, other, f"{other}/{first} [95 %]", "verdict"]
    return header, [
        [v["label"], value_text(v, "a"), value_text(v, "b"), ratio_text(v), verdict_text(v)]
        for v in idle["verdicts"].get(other, [])
    ]


def counts_table(counts):
    """(header, rows) of what was counted per request."""
    header = [
        "profile",
        "server",
        "system calls/request",
        "enters",
        "SQEs",
        "user instructions",
        "by name",
    ]
    rows = []
    for c in counts:
        calls, backend = c["syscalls"] or {}, c["backend"] or {}
        rows.append(
            [
                c["profile"],
                c["server"],
                f"{sum(calls.values()):.3f}" if calls else "-",
                f"{backend['enters']:.3f}" if "enters" in backend else "-",
                f"{backend['sqes']:.3f}" if "sqes" in backend else "-",
                f"{c['instructions']:,.0f}" if c["instructions"] else "-",
                ", ".join(f"{k} {v:.3f}" for k, v in calls.items()) or "; ".join(c["notes"]) or "-",
            ]
        )
    return header, rows


def counts_notes(counts):
    by = sorted({c["syscalls_by"] for c in counts if c["syscalls_by"]})
    out = (
        [
            f"Counted at {counts[0]['conns']} connections in runs of their own"
            + (f"; system calls by {', '.join(by)}, connecting and closing included" if by else "")
            + "; user instructions by callgrind, one worker, 16 connections, start-up subtracted."
        ]
        if counts
        else []
    )
    for c in counts:
        out += [f"{c['profile']}, {c['server']}: {n}" for n in c["notes"]]
    return out


def run_table(rows, with_delta):
    """(header, rows) of `run`: HttpArena's columns."""
    header = ["profile", "conns", "RPS", "CPU %", "memory"] + (
        ["Δ RPS", "Δ memory"] if with_delta else []
    )
    out = []
    for r in rows:
        line = [
            r["profile"],
            r["conns"],
            f"{r['rps']:,.0f}",
            f"{r['cpu_percent']:.0f}",
            f"{r['memory_mib']:.1f} MiB" if r["memory_mib"] else "-",
        ]
        if with_delta:
            line += [delta_text(r.get("rps_delta")), delta_text(r.get("memory_delta"))]
        out.append(line)
    return header, out


def delta_text(percent):
    return "new" if percent is None else "~0%" if abs(percent) < 0.1 else f"{percent:+.1f}%"


def markdown(results):
    """The table to paste, with what must stand beside it."""
    lines = []
    first = results["servers"][0]["name"]
    if results["rows"]:
        lines += [
            table(
                *run_table(results["rows"], any("rps_delta" in r for r in results["rows"])),
                markdown=True,
            ),
            "",
        ]
    if results["command"] == "compare":
        for s in results["servers"][1:]:
            for key in CHIEF:
                lines += [
                    metrics.BY_KEY[key].label + ":",
                    "",
                    table(*short_table(results, s["name"], key), markdown=True),
                    "",
                ]
        if results["idle"]:
            for s in results["servers"][1:]:
                lines += [
                    f"{results['idle']['connections']} idle connections:",
                    "",
                    table(*idle_table(results["idle"], s["name"], first), markdown=True),
                    "",
                ]
        if results["counts"]:
            lines += [table(*counts_table(results["counts"]), markdown=True), ""]
    marks = [
        f"- {text_head}: {mark}"
        for cell in results["cells"]
        for text_head in [cell_head(cell)]
        for mark in cell.get("marks", [])
        + (["FAILED: " + cell["failed"]] if cell.get("failed") else [])
    ]
    lines += marks + ([""] if marks else [])
    lines += [f"- {what}: {text}" for what, text in environment(results)]
    use = generator_use(results)
    return "\n".join(lines + ([f"- {use}"] if use else [])) + "\n"


def compare_text(results):
    """The terminal's text of a comparison."""
    first = results["servers"][0]["name"]
    out = []
    for s in results["servers"][1:]:
        other = s["name"]
        for cell in results["cells"]:
            out += [cell_head(cell)]
            header, rows = cell_table(cell, other, first)
            out += [table(header, rows)] if rows else []
            out += ["  " + n for n in cell_notes(cell)] + [""]
        if results["idle"]:
            out += [f"{results['idle']['connections']} idle connections, each answered once"]
            out += (
                [table(*idle_table(results["idle"], other, first))]
                if results["idle"]["verdicts"]
                else []
            )
            out += [f"  FAILED: {results['idle']['failed']}"] if results["idle"]["failed"] else []
            out += [""]
    if results["counts"]:
        out += (
            [table(*counts_table(results["counts"]))]
            + ["  " + n for n in counts_notes(results["counts"])]
            + [""]
        )
    if len(results["cells"]) > 1:
        for s in results["servers"][1:]:
            for key in CHIEF:
                out += [metrics.BY_KEY[key].label, table(*short_table(results, s["name"], key)), ""]
    out += [f"{what}: {text}" for what, text in environment(results)]
    out += [
        n for n in (generator_use(results), limited_note(results), chance_note(results)) if n
    ] + results["notes"]
    return "\n".join(out)


def run_text(results):
    """The terminal's text of `run`."""
    rows = results["rows"]
    out = [table(*run_table(rows, any("rps_delta" in r for r in rows))), ""]
    kinds = sorted({r["memory_is"] for r in rows})
    if kinds:
        out.append(
            f"memory: peak {' or '.join(kinds)}; CPU %: of one CPU; the best of three runs of"
            f" {results['seconds']} s"
        )
    if results["scores"]:
        out.append(
            "score, 150 at best, among "
            + ", ".join(results["score_field"])
            + ": "
            + ", ".join(f"{p} {s:.1f}" for p, s in results["scores"].items())
        )
    for cell in results["cells"]:
        out += [f"{cell_head(cell)}: FAILED: {cell['failed']}"] if cell["failed"] else []
    for r in rows:
        if r["bottleneck"] == "generator":
            out.append(
                f"{r['profile']} {r['conns']}: the generator was the bottleneck (its CPU full, the"
                " server's not)"
            )
    out += [f"{what}: {t}" for what, t in environment(results)]
    out += [n for n in (generator_use(results), limited_note(results)) if n] + results["notes"]
    return "\n".join(out)
