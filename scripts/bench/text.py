# SPDX-License-Identifier: MIT
"""What is said of a run: for the terminal, for Markdown, and the sentences of the HTML page."""
from . import counters, intervals, machine, metrics
from .tables import cell_head, cell_table, counts_table, idle_table, run_table, short_table, table

CHIEF = ("rps", "cpu_us")
CONCLUDE = (
    "Where the load's CPU was full, requests/s is what server and load reach together on this"
    " machine. What a request costs the server is counted on the server's side alone, and holds all"
    " the same:"
)
CGROUP_PARTS = ("anon", "sock", "slab", "kernel")


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
    if cell.get("concluded"):
        out.append(CONCLUDE)
        out += cell["concluded"]
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


def apart_rows(results):
    """Where server and load had a machine each."""
    apart = results.get("apart")
    if not apart:
        return []
    m = apart["load_machine"]
    ways = [
        f"{what} by {apart[what + '_prefix']!r}"
        for what in ("server", "load")
        if apart[what + "_prefix"]
    ]
    return [
        (
            "load's machine",
            f"{m['cpu']}, {m['cpus']} CPUs{', virtual' if m['virtual'] else ''},"
            f" {m['memory_mib']} MiB, kernel {m['kernel']}",
        ),
        ("two machines", f"{', '.join(ways)}; servers on {apart['address']}"),
    ]


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
    rows += apart_rows(results)
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


def slices_note(results):
    """How the slices of a pair lie to each other."""
    turns = {c.get("turn_s") for c in results["cells"]}
    each = f"Slices of {results['seconds']} s"
    one_by_one = f"{each} alternate between servers in pairs of random order"
    lengths = sorted({t * 1000 for t in turns if t})
    if not lengths:
        return one_by_one
    span = f"{lengths[0]:.0f}" + (f" to {lengths[-1]:.0f}" if len(lengths) > 1 else "")
    text = f"{each} for each server are measured side by side, in turns of {span} ms"
    return text + (" or, where answers take longer, one after the other" if None in turns else "")


def method_notes(results):
    """How the figures came about, sentence by sentence."""
    out = [
        (
            f"{slices_note(results)}; a"
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


def markdown(results):
    """The table to paste, with what must stand beside it."""
    lines = []
    names = [s["name"] for s in results["servers"]]
    if results["rows"]:
        lines += [
            table(
                *run_table(results["rows"], any("rps_delta" in r for r in results["rows"])),
                markdown=True,
            ),
            "",
        ]
    if results["command"] == "compare":
        for key in CHIEF:
            lines += [
                metrics.BY_KEY[key].label + ":",
                "",
                table(*short_table(results, key), markdown=True),
                "",
            ]
        if results["idle"]:
            lines += [
                f"{results['idle']['connections']} idle connections:",
                "",
                table(*idle_table(results["idle"], names), markdown=True),
                "",
            ]
        if results["counts"]:
            lines += [table(*counts_table(results["counts"]), markdown=True), ""]
        if results.get("counters"):
            header, rows = counters.table(results["counters"])
            lines += [table(header, rows, markdown=True), ""] if rows else []
            lines += [f"- {n}" for n in counters.notes(results["counters"])] + [""]
    marks = [
        f"- {text_head}: {mark}"
        for cell in results["cells"]
        for text_head in [cell_head(cell)]
        for mark in cell.get("marks", [])
        + cell.get("concluded", [])
        + (["FAILED: " + cell["failed"]] if cell.get("failed") else [])
    ]
    lines += marks + ([""] if marks else [])
    lines += [f"- {what}: {text}" for what, text in environment(results)]
    use = generator_use(results)
    return "\n".join(lines + ([f"- {use}"] if use else [])) + "\n"


def compare_text(results):
    """The terminal's text of a comparison."""
    names = [s["name"] for s in results["servers"]]
    out = []
    for cell in results["cells"]:
        header, rows = cell_table(cell, names)
        out += [cell_head(cell)] + ([table(header, rows)] if rows else [])
        out += ["  " + n for n in cell_notes(cell)] + [""]
    if results["idle"]:
        out += [f"{results['idle']['connections']} idle connections, each answered once"]
        if results["idle"]["verdicts"]:
            out += [table(*idle_table(results["idle"], names))]
        out += [f"  FAILED: {results['idle']['failed']}"] if results["idle"]["failed"] else []
        out += [""]
    if results["counts"]:
        out += (
            [table(*counts_table(results["counts"]))]
            + ["  " + n for n in counts_notes(results["counts"])]
            + [""]
        )
    if results.get("counters"):
        header, rows = counters.table(results["counters"])
        out += ["counters per request"] + ([table(header, rows)] if rows else [])
        out += ["  " + n for n in counters.notes(results["counters"])] + [""]
    if len(results["cells"]) > 1:
        for key in CHIEF:
            out += [metrics.BY_KEY[key].label, table(*short_table(results, key)), ""]
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
        if r["bottleneck"] in metrics.FULL_WORDS:
            out.append(f"{r['profile']} {r['conns']}: {metrics.FULL_WORDS[r['bottleneck']]}")
    out += [f"{what}: {t}" for what, t in environment(results)]
    out += [n for n in (generator_use(results), limited_note(results)) if n] + results["notes"]
    return "\n".join(out)
