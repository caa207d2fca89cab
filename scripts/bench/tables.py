# SPDX-License-Identifier: MIT
"""The tables, as headers and rows of words: one source for the terminal, Markdown and the HTML page."""
import unicodedata

from . import intervals, metrics

MANY_PAIRS = 1000  # more are not worth a figure
WORDS = ("profile", "server", "metric", "counter", "verdict", "by name")  # without figures


def width(text):
    """Columns on a terminal."""
    return sum(
        2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1
        for c in text
    )


def enumerated(names):
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def left(header, i):
    """Whether a column has words, not figures: it is set to the left."""
    return i == 0 or header[i] in WORDS


def table(header, rows, markdown=False):
    """The rows below their header, words to the left and figures to the right."""
    rows = [[str(c) for c in r] for r in rows]
    if markdown:
        lines = [
            "| " + " | ".join(header) + " |",
            "|" + "|".join("---" if left(header, i) else "--:" for i in range(len(header))) + "|",
        ]
        return "\n".join(
            lines + ["| " + " | ".join(c.replace("|", "\\|") for c in r) + " |" for r in rows]
        )
    widths = [max(width(r[i]) for r in [list(header)] + rows) for i in range(len(header))]
    out = []
    for r in [list(header)] + rows:
        cells = [
            c + " " * (w - width(c)) if left(header, i) else " " * (w - width(c)) + c
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


def side_rows(names, metric, medians, verdicts, brief=False):
    """A metric, one line a server, the first is the baseline: [[name, value, ratio to the first,
    verdict]]; [] where nobody has a figure.

    medians: {server: {metric key: value}}; verdicts: {server: [verdict]} of all but the first. A
    value is the median of the pairs that were compared, where there are any. `brief`: the word of a
    verdict alone, not how many pairs it wants.
    """
    found = {
        n: next((v for v in verdicts.get(n, []) if v["metric"] == metric.key), None)
        for n in names[1:]
    }
    values = {n: (medians.get(n) or {}).get(metric.key) for n in names}
    for n, v in found.items():
        if v:
            values[n], values[names[0]] = v["b"], v["a"]
    if all(v is None for v in values.values()):
        return []
    shown = ["-" if values[n] is None else metric.form(values[n]) for n in names]
    out = [[names[0], shown[0], "1", "baseline"]]
    for n, value in zip(names[1:], shown[1:]):
        v = found[n]
        said = v and (v["verdict"] if brief else verdict_text(v))
        out.append([n, value] + ([ratio_text(v), said] if v else ["-", "no whole pair"]))
    return out


def side_header(names):
    return ["server", "median", f"to {names[0]} [95 %]", "verdict"]


def grouped(label, lines):
    """The lines with a label before the first of them."""
    return [[label if i == 0 else ""] + line for i, line in enumerate(lines)]


def short_table(results, key):
    """(header, rows) of one metric: all servers of a profile and number of connections below each
    other."""
    names = [s["name"] for s in results["servers"]]
    metric, rows = metrics.BY_KEY[key], []
    for cell in results["cells"]:
        lines = side_rows(names, metric, cell.get("medians", {}), cell.get("verdicts", {}), True)
        lines = lines or [["", "-", "-", "failed" if cell["failed"] else "not measured"]]
        rows += [[cell_name(cell, results), cell["conns"]] + line for line in lines]
    return ["profile", "connections"] + side_header(names), rows


def every_metric(names, some_metrics, entry):
    """(header, rows) of the metrics of a cell, or of the idle connections."""
    rows = []
    for m in some_metrics:
        lines = side_rows(names, m, entry["medians"], entry["verdicts"])
        rows += grouped(m.label.strip(), lines)
    return ["metric"] + side_header(names), rows


def cell_table(cell, names):
    """(header, rows): every metric of one cell."""
    return every_metric(names, metrics.METRICS, cell)


def idle_table(idle, names):
    """(header, rows): memory of idle connections."""
    return every_metric(names, metrics.IDLE_METRICS, idle)


def cell_name(cell, results):
    """The profile, and the rate where it is not that of all rows."""
    if cell.get("rate") and not results["rate"]:
        return f"{cell['profile']} at {cell['rate']:,.0f}/s"
    return cell["profile"]


def cell_head(cell):
    rate = f", {cell['rate']:,.0f} requests/s offered" if cell.get("rate") else ""
    return f"{cell['profile']}, {cell['conns']} connections{rate}"


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
