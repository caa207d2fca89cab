# SPDX-License-Identifier: MIT
"""The HTML page of a results folder: one file, nothing fetched from anywhere, no script."""
import os
import sys
from html import escape

from . import counters, figures, metrics, plots, tables, text
from .errors import BenchError

STYLE = (
    plots.COLOURS
    + """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--bg); color: var(--fg);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; text-wrap: balance; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); padding-bottom:
  .25rem; }
p { max-width: 46rem; } .dim { color: var(--dim); }
.scroll { overflow-x: auto; margin: .5rem 0 1rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem .3rem 0; text-align: right; white-space: nowrap; }
tr.next > * { border-top: 1px solid var(--line); }
th { font-weight: 600; } th.w, td.w { text-align: left; }
table.words td:last-child, table.words th:last-child { text-align: left; white-space: normal;
  min-width: 9rem; }
table.env td, table.env th { text-align: left; white-space: normal; overflow-wrap: anywhere;
  vertical-align: top; }
table.env td:first-child { white-space: nowrap; color: var(--dim); }
.good { color: var(--good); } .bad { color: var(--bad); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap:
  1rem; }
figure { margin: 0; padding: .5rem; background: var(--card); border-radius: .5rem; }
figcaption { font-size: .85rem; font-weight: 600; padding: 0 .25rem .25rem; }
figcaption .dim { font-weight: 400; }
svg.plot { display: block; width: 100%; height: auto; stroke-linejoin: round; }
svg.plot text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif !important; }
details { margin: .5rem 0; } summary { cursor: pointer; padding: .3rem 0; } li { margin: .25rem 0;
  max-width: 52rem; }
@media (max-width: 600px) { body { padding: .75rem; } th, td { white-space: normal; padding-right:
  .35rem; }
  table { font-size: .75rem; } table.words td:last-child, table.words th:last-child { min-width:
  4.5rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; }
  .grid { grid-template-columns: 1fr 1fr; } .scroll { overflow: visible; }
  figure, tr, li { break-inside: avoid; } h1, h2, summary, figcaption { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; } }
"""
)
NAME, TABLE_NAME = "report.html", "table.md"


def html_table(header, rows, cls="words"):
    """`cls` is "env" where all is words, "words" where the last column is, else ""."""
    of_words = [cls == "env" or tables.left(header, i) for i in range(len(header))]
    head = "".join(
        f'<th class="w">{escape(str(h))}</th>' if w else f"<th>{escape(str(h))}</th>"
        for h, w in zip(header, of_words)
    )
    body = "".join(
        ('<tr class="next">' if r[0] else "<tr>")
        + "".join(cell_html(c, "w" if w else "") for c, w in zip(r, of_words))
        + "</tr>"
        for r in rows
    )
    return f'<div class="scroll"><table class="{cls}"><tr>{head}</tr>{body}</table></div>'


def narrow_table(header, rows):
    """The same with profile and connections in one column, named once: on a phone every column
    counts."""
    labels = [f"{r[0]} {r[1]}" for r in rows]
    return ["profile, connections"] + header[2:], [
        [label if i == 0 or labels[i - 1] != label else ""] + r[2:]
        for i, (label, r) in enumerate(zip(labels, rows))
    ]


def cell_html(c, cls=""):
    word = str(c).split(" (")[0]
    if word in ("faster", "less"):
        cls += " good"
    elif word in ("slower", "more", "failed"):
        cls += " bad"
    shown = escape(str(c))
    if shown.endswith("]"):
        shown = shown.replace(", ", ",\u00a0")  # an interval stays whole where a ratio's cell is narrow
    return f'<td class="{cls.strip()}">{shown}</td>' if cls else f"<td>{shown}</td>"


def compare_parts(results, plotting):
    names = [s["name"] for s in results["servers"]]
    parts = []
    for key in text.CHIEF:
        parts.append(f"<h2>{escape(metrics.BY_KEY[key].label)}</h2>")
        parts.append(html_table(*narrow_table(*tables.short_table(results, key))))
    if plotting:
        parts += [
            "<h2>Ratios with their 95 % intervals</h2>",
            '<p class="dim">Filled: the interval excludes 1. Open: no difference shown.</p>',
            '<div class="grid">',
            *figures.ratio_plots(results),
            "</div>",
        ]
    if results["idle"] and results["idle"]["verdicts"]:
        parts.append(f"<h2>Memory of {results['idle']['connections']} idle connections</h2>")
        parts.append(html_table(*tables.idle_table(results["idle"], names)))
    if results["counts"]:
        parts += [
            "<h2>Counted per request</h2>",
            html_table(*tables.counts_table(results["counts"])),
            list_html(text.counts_notes(results["counts"])),
        ]
    if results.get("counters"):
        header, rows = counters.table(results["counters"])
        parts.append("<h2>Counters per request</h2>")
        parts += [html_table(header, rows, cls="")] if rows else []
        parts.append(list_html(counters.notes(results["counters"])))
    return parts


def detail_parts(results):
    names = [s["name"] for s in results["servers"]]
    parts = ["<h2>Every figure</h2>"]
    for cell in results["cells"]:
        parts.append(f"<details><summary>{escape(tables.cell_head(cell))}</summary>")
        header, rows = tables.cell_table(cell, names)
        parts += [html_table(header, rows)] if rows else []
        parts += [list_html(text.cell_notes(cell)), "</details>"]
    return parts


def list_html(notes):
    if not notes:
        return ""
    items = "".join(f"<li>{escape(n)}</li>" for n in notes).replace(" %", "\u00a0%")
    return f"<ul>{items}</ul>"


def page(results, no_plots=""):
    """The whole page; `no_plots` says why it has to do without them."""
    names = [s["name"] for s in results["servers"]]
    title = tables.enumerated(names) + (" compared" if len(names) > 1 else " measured")
    m = results["machine"]
    generator = f"{results['generator']['name']} {results['generator']['version']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        (
            f'<p class="dim">{escape(m["cpu"])},'
            f' {m["cpus"]} CPUs{", virtual" if m["virtual"] else ""}; Linux {escape(m["kernel"])};'
            f" {escape(generator)};"
            f' {escape(results["begun"])}{"; interrupted" if results["interrupted"] else ""}</p>'
        ),
    ]
    by_mark = {}
    for c in results["cells"]:
        for n in c.get("marks", []) + (["FAILED: " + c["failed"]] if c["failed"] else []):
            by_mark.setdefault(n, []).append(tables.cell_head(c))
    marks = [f"{'; '.join(heads)}: {n}" for n, heads in by_mark.items()]
    if no_plots:
        parts.append(f'<p class="bad" id="no-plots">{escape(no_plots)}</p>')
    if results["command"] == "compare":
        parts += compare_parts(results, not no_plots)
    else:
        parts.append(
            html_table(
                *tables.run_table(results["rows"], any("rps_delta" in r for r in results["rows"])),
                cls="",
            )
        )
        if results["scores"]:
            parts.append(
                "<h2>Score, 150 at best, among "
                + escape(", ".join(results["score_field"]))
                + "</h2>"
            )
            parts.append(
                html_table(
                    ["profile", "score"],
                    [[p, f"{s:.1f}"] for p, s in results["scores"].items()],
                    cls="",
                )
            )
    concluded = [
        f"{tables.cell_head(c)}: " + "; ".join(c["concluded"])
        for c in results["cells"]
        if c.get("concluded")
    ]
    if concluded:
        parts += [
            "<h2>What can be concluded although the load's CPU was full</h2>",
            f"<p>{escape(text.CONCLUDE)}</p>",
            list_html(concluded),
        ]
    if marks:
        parts += ["<h2>To be read with these figures</h2>", list_html(marks)]
    if not no_plots:
        parts += [
            "<h2>CPU time, latency, memory</h2>",
            '<div class="grid">',
            *figures.other_plots(results),
            "</div>",
        ]
    if results["command"] == "compare":
        parts += detail_parts(results)
    parts += [
        "<h2>Machine and servers</h2>",
        html_table(["what", "here"], text.environment(results), cls="env"),
        "<h2>How it was measured</h2>",
        list_html(text.method_notes(results)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
        ' content="width=device-width, initial-scale=1"><link rel="icon"'
        f' href="data:,"><title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>'
        + "\n".join(parts)
        + "</body></html>\n"
    )


def write(results, folder):
    """Write report.html and table.md; returns the page's path. Says it when there are no plots."""
    path = os.path.join(folder, NAME)
    no_plots = plots.missing()
    if no_plots:
        print(f"bivalve-bench: {no_plots}", file=sys.stderr)
    try:
        with open(path, "w", encoding="utf-8") as f:
            f.write(page(results, no_plots))
        with open(os.path.join(folder, TABLE_NAME), "w", encoding="utf-8") as f:
            f.write(text.markdown(results))
    except OSError as e:
        raise BenchError(f"cannot write {path}: {e.strerror}") from None
    return path
