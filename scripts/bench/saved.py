# SPDX-License-Identifier: MIT
"""diff: one server in two saved runs. Is it worse than it was, by how much, and how sure is that?

The unit is a start of the server, as in a comparison. But the two runs are not interleaved: what the
machine did differently between them passes for a difference of the server, and no interval over
starts can know of it. Where both runs have a server that is the same in both, `reference` divides
every figure by that server's of the same pair, and takes that drift out.
"""
from . import intervals, metrics

SHOWN = ("cpu_us", "rps", "p99")
JUDGED = ("cpu_us",)
REGRESSION, IMPROVEMENT = "REGRESSION", "improvement"

# Of results["machine"]: what makes it another machine, and what only another state of it.
MACHINE = (
    ("id", "installation"),
    ("cpu", "CPU"),
    ("cpus", "number of CPUs"),
    ("machine", "architecture"),
    ("memory_mib", "MiB of memory"),
    ("kernel", "kernel"),
)
STATE = (
    ("distribution", "distribution"),
    ("mitigations", "mitigations"),
    ("governor", "governor"),
    ("turbo_off", "turbo off"),
    ("transparent_hugepages", "huge pages"),
    ("clocksource", "clock source"),
    ("io_uring_disabled", "io_uring_disabled"),
)
MANNER = (
    ("server_cpus", "the server's CPUs"),
    ("load_cpus", "the load's CPUs"),
    ("workers", "workers"),
    ("seconds", "seconds of a slice"),
)
RATE_SLACK = 0.10  # rates that follow from what was measured are the same load up to this
BUSY_CPUS = 0.1  # CPUs taken by others or by the host that make a slice a disturbed one
BUSY_SHARE = 0.25  # of a run's slices, from which on that is said
MEMORY_SLACK = 0.01  # of the memory a kernel keeps more or less for itself


def unlike(old, new, members):
    """["what: old, now new"] of the members that differ. One that either lacks says nothing."""
    out = []
    for key, label in members:
        a, b = old.get(key), new.get(key)
        if a is None or b is None or a == b:
            continue
        if key == "memory_mib" and abs(a - b) <= MEMORY_SLACK * max(a, b):
            continue
        out.append(f"{label}: {shown(a)}, now {shown(b)}")
    return out


def shown(value):
    if isinstance(value, dict):
        return "; ".join(f"{k}: {v}" for k, v in sorted(value.items())) or "none"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def surroundings(old, new):
    """(differences that make it another machine, other differences of machine and manner)."""
    other = unlike(old["machine"], new["machine"], MACHINE)
    rest = unlike(old["machine"], new["machine"], STATE) + unlike(old, new, MANNER)
    names = [f"{r['generator']['name']} {r['generator']['version']}" for r in (old, new)]
    if names[0] != names[1]:
        rest.append(f"generator: {names[0]}, now {names[1]}")
    return other, rest


def busy(results):
    """The share of slices during which others, or the host, took CPU time."""
    slices = [s for c in results["cells"] for s in c["slices"]]
    taken = [max(s.get("foreign_cpus") or 0, s.get("steal_cpus") or 0) for s in slices]
    return sum(t > BUSY_CPUS for t in taken) / len(taken) if taken else 0.0


def match_cells(old, new):
    """([(old cell, new cell)], [new cells without an old one], [old cells without a new one]).

    The rate of a row that follows from what was measured differs a little from run to run: such
    rows belong together all the same.
    """
    left = list(old["cells"])
    pairs, alone = [], []
    for cell in new["cells"]:
        same = [c for c in left if key_of(c) == key_of(cell)]
        near = [c for c in left if key_of(c)[:2] == key_of(cell)[:2] and c["rate"] and cell["rate"]]
        near = [c for c in near if c.get("derived", True) and cell.get("derived", True)]
        found = (same or (near if not (old["rate"] or new["rate"]) else []) or [None])[0]
        if found is None:
            alone.append(cell)
        else:
            left.remove(found)
            pairs.append((found, cell))
    return pairs, alone, left


def key_of(cell):
    return cell["profile"], cell["conns"], cell.get("rate")


def per_start(results, cell, name, metric, reference=None):
    """The metric's values of one server, one for each of its starts."""
    own = {s["pair"]: metric.value(s) for s in cell["slices"] if s["server"] == name}
    if reference:
        by = {s["pair"]: metric.value(s) for s in cell["slices"] if s["server"] == reference}
        own = {p: v / by[p] if v and by.get(p) else None for p, v in own.items()}
    values = [v for v in own.values() if v is not None]
    if results["command"] == "run" and values:
        return [intervals.median(values)]  # `run` starts its server once
    return values


def judge(row, limit):
    """The word for a row: what is shown, and what is not ruled out."""
    if not row["same_load"]:
        return "not judged: another rate"
    if row["low"] is None:
        return f"not judged: an interval needs {intervals.MIN_PAIRS} starts in each run"
    ratio, low, high = (row[k] for k in ("ratio", "low", "high"))
    if row["better"] == "high":
        ratio, low, high = 1 / ratio, 1 / high, 1 / low
    if low > 1:
        if not row["judged"]:
            return "worse"
        return REGRESSION if ratio > 1 + limit else f"worse, but not by over {limit:.1%}"
    if high < 1:
        return IMPROVEMENT if row["judged"] else "better"
    return f"no difference shown (worse by {high - 1:.1%} at most)"


def same_load(old_rate, new_rate):
    return old_rate == new_rate or abs(old_rate - new_rate) <= RATE_SLACK * old_rate


def rows_of(old, new, keys, judged, limit, reference=None, seed=1):
    """One row for each cell, server and metric that both runs have."""
    names = {s["name"] for s in old["servers"]}
    out = []
    for was, cell in match_cells(old, new)[0]:
        for name in [s["name"] for s in new["servers"] if s["name"] in names]:
            if name == reference:
                continue
            for key in keys:
                metric = metrics.BY_KEY[key]
                if key == "rps" and cell.get("rate"):
                    continue  # it is what was asked for
                a = per_start(old, was, name, metric, reference)
                b = per_start(new, cell, name, metric, reference)
                if not a or not b:
                    continue
                row = dict(
                    intervals.unpaired_interval(a, b, seed),
                    profile=cell["profile"],
                    conns=cell["conns"],
                    rate=cell.get("rate"),
                    old_rate=was.get("rate"),
                    server=name,
                    metric=key,
                    label=metric.label.strip(),
                    better=metric.better,
                    old=intervals.median(a),
                    new=intervals.median(b),
                    judged=key in judged,
                    same_load=same_load(was.get("rate"), cell.get("rate")),
                )
                row["verdict"] = judge(row, limit)
                out.append(row)
    return out


def missing(old, new):
    """What the new run has not measured and the old one has, in words."""
    out = []
    pairs, _, left = match_cells(old, new)
    for cell in left:
        out.append(f"{cell['profile']}, {cell['conns']} connections: not in the new run")
    for was, cell in pairs:
        if cell["failed"] and not was["failed"]:
            out.append(f"{cell['profile']}, {cell['conns']} connections: failed: {cell['failed']}")
    gone = {s["name"] for s in old["servers"]} - {s["name"] for s in new["servers"]}
    return out + [f"server {name}: not in the new run" for name in sorted(gone)]
