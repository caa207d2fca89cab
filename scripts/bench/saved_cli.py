# SPDX-License-Identifier: MIT
"""The commands that measure nothing: diff, merge and export, on folders that were saved."""
import argparse
import re

from . import export, metrics, results, saved, tables, text
from .errors import BenchError

COMMANDS = ("diff", "merge", "export")
EXIT_FAILED, EXIT_REGRESSION = 1, 3


def share(value):
    m = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value)
    if not m or float(m.group(1)) >= 100:
        raise argparse.ArgumentTypeError(f"{value!r}: a share such as 3% is needed")
    return float(m.group(1)) / 100


def add_parsers(sub):
    d = sub.add_parser(
        "diff",
        help="two saved runs: what has become better or worse",
        description="Compare each server with itself in an older run, with intervals.",
    )
    d.add_argument("old", metavar="OLD")
    d.add_argument("new", metavar="NEW")
    d.add_argument(
        "--fail-over",
        type=share,
        metavar="W%%",
        help=f"end with status {EXIT_REGRESSION} where a server is shown to be worse, by more than W",
    )
    d.add_argument(
        "--metric",
        action="append",
        choices=[m.key for m in metrics.METRICS],
        metavar="METRIC",
        help="what is judged, may be repeated; default cpu_us: CPU time per request",
    )
    d.add_argument(
        "--reference",
        metavar="NAME",
        help="a server that is the same in both runs: drift of the machine is divided out by it",
    )
    d.add_argument(
        "--across-machines",
        action="store_true",
        help="judge, and fail, although the runs are from different machines or kernels",
    )
    d.add_argument("--markdown", action="store_true", help="a table to paste")
    m = sub.add_parser(
        "merge",
        help="saved runs of several kernels or machines in one table",
        description="One table over several runs, with kernel and CPU as columns.",
    )
    e = sub.add_parser(
        "export",
        help="saved runs as CSV or Markdown",
        description="The figures of saved runs for other programs (CSV), or to paste (Markdown).",
    )
    for p, needed in ((m, False), (e, True)):
        p.add_argument("dirs", nargs="+", metavar="DIR")
        form = p.add_mutually_exclusive_group(required=needed)
        form.add_argument("--csv", action="store_true", help="comma-separated values, with a header")
        form.add_argument("--markdown", action="store_true", help="a table to paste")
        if p is e:
            form.add_argument(
                "--summary",
                action="store_true",
                help="one Markdown table: CPU time per request in every row, of all servers",
            )
            form.add_argument(
                "--plot", metavar="FILE", help="the same as a picture (SVG), each server to the first"
            )


def run(options):
    """Do what the command says; returns the exit status."""
    if options.command == "diff":
        return diff(options)
    runs = [(folder, results.read(folder)) for folder in options.dirs]
    if options.command == "merge":
        merge(options, runs)
    elif options.csv:
        print(export.export_csv(runs), end="")
    elif options.summary:
        print(tables.table(*export.summary(runs), markdown=True))
    elif options.plot:
        write_plot(options.plot, export.plot(runs))
    else:
        print("\n".join(text.markdown(r) for _, r in runs), end="")
    return 0


def write_plot(path, svg):
    try:
        with open(path, "w", encoding="utf-8") as f:
            f.write(svg)
    except OSError as e:
        raise BenchError(f"cannot write {path}: {e.strerror}") from None


def merge(options, runs):
    header, rows = export.merged(runs)
    if options.csv:
        print(export.csv_text(header, rows), end="")
        return
    print(tables.table(header, rows, markdown=options.markdown))
    print()
    for folder, r in runs:
        m = r["machine"]
        line = (
            f"{export.short_name(folder)}: Linux {m['kernel']} ({m['distribution']}),"
            f" {export.cpu_name(m)}{', virtual' if m['virtual'] else ''};"
            f" {r['generator']['name']} {r['generator']['version']}; {r['begun']}"
        )
        print(("- " if options.markdown else "") + line)


def diff(options):
    old, new = results.read(options.old), results.read(options.new)
    judged = tuple(options.metric or saved.JUDGED)
    keys = list(dict.fromkeys(saved.SHOWN + judged))
    if options.reference:
        for run_, folder in ((old, options.old), (new, options.new)):
            if options.reference not in [s["name"] for s in run_["servers"]]:
                raise BenchError(f"--reference {options.reference}: no such server in {folder}")
    limit = options.fail_over or 0.0
    rows = saved.rows_of(old, new, keys, judged, limit, options.reference)
    other, rest = saved.surroundings(old, new)
    missing = saved.missing(old, new)
    print("\n".join(diff_text(options, old, new, rows, other, rest, missing)))
    if not rows:
        raise BenchError("the two runs have no row and server in common: nothing was compared")
    if options.fail_over is None:
        return 0
    return verdict(options, rows, other, missing)


def verdict(options, rows, other, missing):
    """The exit status for CI, and why, where it is not 0."""
    if other and not options.across_machines:
        raise BenchError(
            "not judged: the runs are from different machines or kernels (--across-machines judges"
            " all the same)"
        )
    judged = [r for r in rows if r["judged"] and r["same_load"] and r["low"] is not None]
    worse = [r for r in judged if r["verdict"] == saved.REGRESSION]
    if worse:
        print(f"FAILED: {len(worse)} of {len(judged)} rows are worse by over {options.fail_over:.1%}")
        return EXIT_REGRESSION
    if missing:
        raise BenchError("not passed: " + "; ".join(missing))
    if not judged:
        raise BenchError("not passed: no row could be judged, for want of starts")
    print(f"passed: none of {len(judged)} rows is shown to be worse by over {options.fail_over:.1%}")
    return 0


def diff_text(options, old, new, rows, other, rest, missing):
    """Everything but the verdict, as lines."""
    mark = "- " if options.markdown else "  "
    out = []
    if other:
        out += ["!!! NOT THE SAME MACHINE: what differs may be the machine's doing !!!", ""]
        out += [mark + line for line in other] + [""]
    else:
        out += ["The same machine and kernel, as far as can be told.", ""]
    if rest:
        out += ["Not as it was in the old run:", ""] + [mark + line for line in rest] + [""]
    for name, r in (("old", old), ("new", new)):
        if saved.busy(r) > saved.BUSY_SHARE:
            out += [
                f"!!! The machine was busy in the {name} run: others took CPU time in"
                f" {saved.busy(r):.0%} of its slices !!!",
                "",
            ]
    header = ["profile", "connections", "server", "metric", "old", "new", "new/old [95 %]", "verdict"]
    table = []
    for r in rows:
        form = metrics.small_text if options.reference else metrics.BY_KEY[r["metric"]].form
        label = r["label"] + (f", {options.reference} = 1" if options.reference else "")
        rate = f" at {r['rate']:,.0f}/s" if r["rate"] else ""
        rate += f" (was {r['old_rate']:,.0f})" if r["rate"] != r["old_rate"] else ""
        table.append(
            [r["profile"] + rate, r["conns"], r["server"], label, form(r["old"]), form(r["new"])]
            + [tables.ratio_text(r), r["verdict"]]
        )
    out += [tables.table(header, table, markdown=options.markdown), ""]
    out += [mark + line for line in missing] + ([""] if missing else [])
    out += [f"{name}: {r['begun']}: {commands(r)}" for name, r in (("old", old), ("new", new))]
    intervals_shown = sum(r["low"] is not None for r in rows)
    out.append(
        f"{intervals_shown} intervals of 95 % over starts of the servers; were nothing different,"
        f" about {intervals_shown * 0.05:.0f} of them would exclude 1 by chance."
    )
    if not options.reference:
        out.append(
            "The runs were not interleaved: what drifted on the machine between them counts as a"
            " difference, unless --reference names a server that is the same in both."
        )
    return out


def commands(r):
    versions = []
    for s in r["servers"]:
        version = (s.get("about") or {}).get("version")
        versions.append(s["name"] + (f" (bivalve {version})" if version else ""))
    return ", ".join(versions)
