# SPDX-License-Identifier: MIT
"""The tables, as headers and rows of words: one source for the terminal, Markdown and the HTML page."""
import unicodedata

from . import intervals, metrics

MANY_PAIRS = 1000  # more are not worth a figure


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
