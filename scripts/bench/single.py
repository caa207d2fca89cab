# SPDX-License-Identifier: MIT
"""run: one server, best of three for every profile and connection count, in HttpArena's table, with
its score."""
import json

from . import metrics, score, servers
from .compare import SLICE_MORE_S, START_S, closes, counted_slice, warm
from .errors import BenchError

BEST_OF = 3
SAVED_FORM = "bivalve-bench run 1"


def measure(lab, plan, results):
    """One row for each profile and connection count; a server started afresh for each."""
    contender = plan.contenders[0]
    each = START_S + BEST_OF * (plan.seconds + SLICE_MORE_S)
    left = len(plan.cells)
    for spec in plan.cells:
        lab.progress.expect(left * each)
        left -= 1
        profile, conns = spec["profile"], spec["conns"]
        cell = {
            "profile": profile.name,
            "conns": conns,
            "rate": spec["rate"],
            "slices": [],
            "failed": None,
        }
        results["cells"].append(cell)
        lab.progress.stage(f"{profile.name}, {conns} connections")
        try:
            run_cell(lab, plan, cell, contender, profile)
        except BenchError as e:
            cell["failed"] = str(e)
        sum_up_single(cell, contender.name)
        row = best_row(cell, len(lab.server_cpus))
        if row:
            results["rows"].append(row)
        lab.progress.line(
            f"{profile.name} {conns}: "
            + (f"FAILED: {cell['failed']}" if cell["failed"] else f"{row['rps']:,.0f} requests/s")
        )


def run_cell(lab, plan, cell, contender, profile):
    server = servers.start(contender, lab, closes(lab, profile), profiles=[profile])
    try:
        predicted = servers.check(server, profile, bool(closes(lab, profile)))
        warm(lab, server, profile, cell["conns"], cell["rate"])
        for i in range(BEST_OF):
            lab.progress.step(
                f"{profile.name}, {cell['conns']} connections: run {i + 1} of {BEST_OF}"
            )
            out = counted_slice(
                lab, plan, server, profile, cell["conns"], predicted, cell["rate"], redo=False
            )
            cell["slices"].append(dict(out, server=contender.name, pair=i, order=0))
    except BaseException:
        lab.server_nursery.stop(server.child)
        raise
    servers.stop(server, lab)


def sum_up_single(cell, name):
    """What the report's plots need of a cell with one side."""
    metrics.sum_up(cell, [name], 1)
    cell["stopped"] = "pairs"


def best_row(cell, cpus):
    """HttpArena's row of the cell: the run with the most requests/s. Memory: the control group's,
    else PSS."""
    if not cell["slices"]:
        return None
    best = max(cell["slices"], key=lambda s: s["rps"])
    group = (best["cgroup"] or {}).get("used")
    memory = group or best["pss_bytes"]
    return {
        "profile": cell["profile"],
        "conns": cell["conns"],
        "rps": best["rps"],
        "cpu_percent": 100 * best["server_cpus"],
        "cpus": cpus,
        "memory_mib": memory / metrics.MIB if memory else None,
        "memory_is": "control group" if group else "PSS",
        "p50_us": best["latency_us"].get("50"),
        "p99_us": best["latency_us"].get("99"),
        "bottleneck": best["bottleneck"],
    }


def save(path, name, rows, about):
    try:
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"form": SAVED_FORM, "name": name, "about": about, "rows": rows}, f, indent=1)
            f.write("\n")
    except OSError as e:
        raise BenchError(f"cannot write {path}: {e.strerror}") from None


def load(path):
    """(name, rows) of a saved file."""
    try:
        with open(path, encoding="utf-8") as f:
            doc = json.load(f)
        if doc["form"] != SAVED_FORM:
            raise ValueError("another form")
        return doc["name"], doc["rows"]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise BenchError(f"{path} is not what bivalve-bench run --save writes: {e}") from None


def delta(new, old):
    """Change in percent, None without an old figure."""
    return 100 * (new - old) / old if new is not None and old else None


def against(rows, saved):
    """The rows with their changes from the saved ones, {"rps_delta", "memory_delta"}."""
    old = {(r["profile"], r["conns"]): r for r in saved}
    out = []
    for r in rows:
        o = old.get((r["profile"], r["conns"]))
        # Memory counted in another way is not comparable.
        same = o and o["memory_is"] == r["memory_is"]
        out.append(
            dict(
                r,
                rps_delta=delta(r["rps"], o["rps"]) if o else None,
                memory_delta=delta(r["memory_mib"], o["memory_mib"]) if same else None,
            )
        )
    return out


def scores(name, rows, others):
    """{profile: score} of this server among the saved results of others."""
    field = {other: rs for other, rs in others if other != name}
    field[name] = rows
    return score.scores(field)[name]
