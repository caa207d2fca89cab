# SPDX-License-Identifier: MIT
"""merge and export: saved runs as one table, for people and for other programs."""
import csv
import io
import os

from . import metrics, plots, tables
from .errors import BenchError

CSV_HEADER = (
    "folder",
    "begun",
    "kernel",
    "cpu",
    "cpus",
    "generator",
    "profile",
    "connections",
    "rate",
    "server",
    "metric",
    "median",
    "baseline",
    "ratio",
    "low",
    "high",
    "pairs",
    "verdict",
)


def csv_text(header, rows):
    """RFC 4180, but with plain newlines; None is an empty field."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(["" if c is None else c for c in r] for r in rows)
    return out.getvalue()


def short_name(folder):
    return os.path.basename(os.path.normpath(folder)) or folder


def plain_rows(folder, results):
    """Rows for CSV_HEADER: every metric of every server in every cell, unrounded."""
    m = results["machine"]
    generator = f"{results['generator']['name']} {results['generator']['version']}"
    head = [short_name(folder), results["begun"], m["kernel"], m["cpu"], m["cpus"], generator]
    first = results["servers"][0]["name"]
    out = []
    for cell in results["cells"]:
        for name, medians in cell.get("medians", {}).items():
            verdicts = {v["metric"]: v for v in cell.get("verdicts", {}).get(name, [])}
            for key, value in medians.items():
                if value is None:
                    continue
                v = verdicts.get(key, {})
                out.append(
                    head
                    + [cell["profile"], cell["conns"], cell.get("rate"), name, key, value]
                    + [first if v else None]
                    + [v.get(k) for k in ("ratio", "low", "high", "pairs", "verdict")]
                )
    return out


def export_csv(runs):
    return csv_text(CSV_HEADER, [r for folder, run in runs for r in plain_rows(folder, run)])


def rows_of_cpu(runs):
    """[(label, verdict on CPU time per request)] of every server against the first, in every cell."""
    out = []
    cells = [c for _, run in runs for c in run["cells"]]
    for _, run in runs:
        for cell in run["cells"]:
            same = [c for c in cells if (c["profile"], c["rate"]) == (cell["profile"], cell["rate"])]
            what = cell["profile"] + (f" {cell['conns']}" if len(same) > 1 else "")
            what += f" {plots.short_number(cell['rate'])}/s" if cell["rate"] else ""
            for name in [s["name"] for s in run["servers"]][1:]:
                row = metrics.verdict_of(cell.get("verdicts", {}), name)
                if row:
                    out.append((f"{name}: {what}", row))
    return out


def summary(runs):
    """(header, rows): a line for each cell, with the CPU time per request of all servers."""
    names = [s["name"] for s in runs[0][1]["servers"]]
    for folder, run in runs:
        if [s["name"] for s in run["servers"]] != names:
            raise BenchError(f"{folder}: its servers are not those of {runs[0][0]}")
    header = ["profile", "connections", f"{names[0]}, µs"]
    for name in names[1:]:
        header += [f"{name}, µs", f"to {names[0]} [95 %]", "verdict"]
    rows = []
    for _, run in runs:
        for cell in run["cells"]:
            row = [tables.cell_name(cell, run), f"{cell['conns']:,}"]
            for name in names:
                us = (cell.get("medians", {}).get(name) or {}).get("cpu_us")
                row.append("-" if us is None else metrics.small_text(us))
                if name != names[0]:
                    v = metrics.verdict_of(cell.get("verdicts", {}), name)
                    row += [tables.ratio_text(v), v["verdict"]] if v else ["-", "not measured"]
            rows.append(row)
    return header, rows


def plot(runs, title="server CPU time per request"):
    """summary()'s ratios as an SVG file's text."""
    why = plots.missing()
    if why:
        raise BenchError(why)
    svg = plots.ratios("cpu", title, metrics.BY_KEY["cpu_us"], rows_of_cpu(runs))
    return plots.standalone(svg)


def cpu_name(m):
    return f"{m['cpu']}, {m['cpus']} CPUs"


def merged(runs):
    """(header, rows): a line for each cell, server and run, those of one cell and server beside each
    other. `runs`: [(folder, results)]."""
    places = [(r["machine"]["kernel"], cpu_name(r["machine"])) for _, r in runs]
    with_folder = len(set(places)) < len(places)
    cells, names = [], []
    for _, run in runs:
        for cell in run["cells"]:
            key = tables.cell_name(cell, run), cell["conns"], is_derived(cell, run)
            cells += [(*key, cell)] if key_in(cells, key) is None else []
        names += [s["name"] for s in run["servers"] if s["name"] not in names]
    header = ["profile", "connections", "server", "kernel", "CPU"]
    header += ["run"] if with_folder else []
    header += ["requests/s", "CPU µs/request", "p50", "p99", "CPU, ratio to", "[95 %]", "verdict"]
    rows = []
    for title, conns, derived, _ in cells:
        for name in names:
            for (folder, run), (kernel, cpu) in zip(runs, places):
                cell = find_cell(run, title, conns, derived)
                if cell is None or not any(s["name"] == name for s in run["servers"]):
                    continue
                where = [kernel, cpu] + ([short_name(folder)] if with_folder else [])
                shown = tables.cell_name(cell, run)
                rows.append([shown, conns, name] + where + figures(cell, name, run))
    return header, rows


def is_derived(cell, run):
    """A row whose rate follows from what was measured: that of another run belongs beside it."""
    derived = cell.get("derived", bool(cell.get("rate")) and not run["rate"])
    return cell["profile"] if derived else None


def same_key(a, b):
    return a[1] == b[1] and (a[2] == b[2] if a[2] or b[2] else a[0] == b[0])


def key_in(cells, key):
    return next((c for c in cells if same_key(c, key)), None)


def find_cell(run, title, conns, derived):
    for cell in run["cells"]:
        key = tables.cell_name(cell, run), cell["conns"], is_derived(cell, run)
        if same_key(key, (title, conns, derived)):
            return cell
    return None


def figures(cell, name, run):
    medians = cell.get("medians", {}).get(name)
    if not medians:
        return ["-"] * 6 + ["failed" if cell["failed"] else "not measured"]
    out = []
    for key in ("rps", "cpu_us", "p50", "p99"):
        value = medians.get(key)
        out.append("-" if value is None else metrics.BY_KEY[key].form(value))
    first = run["servers"][0]["name"]
    row = metrics.verdict_of(cell.get("verdicts", {}), name)
    if not row:
        return out + ["-", "-", "the baseline" if name == first else "-"]
    ratio, _, interval = tables.ratio_text(row).partition(" ")
    return out + [f"{first} {ratio}", interval or "-", row["verdict"]]
