# SPDX-License-Identifier: MIT
"""The quantities that are compared, and how a cell (one profile at one number of connections) is
summed up."""
from . import intervals

SPEED = ("faster", "slower")
AMOUNT = ("less", "more")
NONE_SHOWN = "no difference shown"
FULL_WORDS = {
    "generator": "the generator was the bottleneck (its CPU full, the server's not)",
    "both": "server and generator were both full: a faster generator might show more requests/s",
}
MIB = 1 << 20


class Metric:
    """One quantity of a slice. `better` is "high" or "low"; `words` say B is better, B is worse."""

    def __init__(self, key, label, better, words, value, form):
        self.key, self.label, self.better, self.words = key, label, better, words
        self.value = value  # slice dict -> number or None
        self.form = form  # number -> text


def _plain(key):
    return lambda s: s.get(key)


def _latency(percent):
    return lambda s: s["latency_us"].get(percent)


def _mib(key):
    return lambda s: s[key] / MIB if s.get(key) else None


def _cgroup(part):
    def value(s):
        got = (s.get("cgroup") or {}).get(part)
        return got / MIB if got is not None else None

    return value


def count_text(x):
    return f"{x:,.0f}"


def small_text(x):
    return f"{x:.4f}" if abs(x) < 0.1 else f"{x:.3f}" if abs(x) < 10 else f"{x:.2f}"


def latency_text(us):
    return (
        f"{us:.0f} µs" if us < 1000 else f"{us / 1000:.2f} ms" if us < 1e6 else f"{us / 1e6:.2f} s"
    )


def mib_text(x):
    return f"{x:.2f} MiB"


METRICS = [
    Metric("rps", "requests/s", "high", SPEED, _plain("rps"), count_text),
    Metric("cpu_us", "server CPU µs/request", "low", SPEED, _plain("cpu_us"), small_text),
    Metric("user_us", "  of it user", "low", SPEED, _plain("user_us"), small_text),
    Metric("system_us", "  of it system", "low", SPEED, _plain("system_us"), small_text),
    Metric("p50", "latency p50", "low", SPEED, _latency("50"), latency_text),
    Metric("p90", "latency p90", "low", SPEED, _latency("90"), latency_text),
    Metric("p99", "latency p99", "low", SPEED, _latency("99"), latency_text),
    Metric("p99.9", "latency p99.9", "low", SPEED, _latency("99.9"), latency_text),
    Metric("switches", "context switches/request", "low", AMOUNT, _plain("switches"), small_text),
    Metric("pss", "memory, PSS", "low", AMOUNT, _mib("pss_bytes"), mib_text),
    Metric(
        "cgroup", "memory, control group", "low", AMOUNT, _cgroup("used"), mib_text
    ),
]
BY_KEY = {m.key: m for m in METRICS}
IDLE_METRICS = [
    Metric(
        "idle_pss",
        "bytes/idle connection, PSS",
        "low",
        AMOUNT,
        _plain("pss_per_connection"),
        count_text,
    ),
    Metric(
        "idle_cgroup",
        "bytes/idle connection, control group",
        "low",
        AMOUNT,
        _plain("cgroup_per_connection"),
        count_text,
    ),
]


def verdict_word(metric, interval):
    """The word for B against A."""
    side = intervals.excludes_one(interval)
    if side == 0:
        return NONE_SHOWN
    better = (side > 0) == (metric.better == "high")
    return metric.words[0 if better else 1]


def paired_values(metric, first, second):
    """[(a, b)] of the pairs in which both have it."""
    both = [(metric.value(a), metric.value(b)) for a, b in zip(first, second)]
    return [(a, b) for a, b in both if a is not None and b is not None]


def compare_metric(metric, first, second, seed):
    """One row of verdicts: medians of both sides, ratio with interval, word, pairs wanting. None
    without figures."""
    values = paired_values(metric, first, second)
    if not values:
        return None
    interval = intervals.ratio_interval([b / a for a, b in values if a and b], seed)
    return {
        "metric": metric.key,
        "label": metric.label.strip(),
        "better": metric.better,
        "a": intervals.median([a for a, _ in values]),
        "b": intervals.median([b for _, b in values]),
        "ratio": interval["ratio"],
        "low": interval["low"],
        "high": interval["high"],
        "pairs": interval["pairs"],
        "verdict": verdict_word(metric, interval),
        "more_pairs": intervals.more_pairs(interval),
    }


def verdict_of(verdicts, name, metric="cpu_us"):
    """The row on one metric of the server named `name`, of a cell's verdicts, or None."""
    return next((v for v in verdicts.get(name, []) if v["metric"] == metric), None)


def medians(slices, metrics=None):
    """{metric key: median} of one side's slices."""
    out = {}
    for metric in metrics or METRICS:
        values = [v for v in map(metric.value, slices) if v is not None]
        out[metric.key] = intervals.median(values) if values else None
    return out


def latency_curve(slices):
    """{percent: median microseconds} over the slices, for the distribution plot."""
    percents = sorted({p for s in slices for p in s["latency_us"] if p != "100"}, key=float)
    return {
        p: intervals.median([s["latency_us"][p] for s in slices if p in s["latency_us"]])
        for p in percents
    }


def cell_marks(slices_by_name, rate):
    """What a reader must know of the row."""
    marks = []
    for full, words in FULL_WORDS.items():
        those = [n for n, slices in slices_by_name.items() if slices and mostly(slices) == full]
        if those:
            marks.append(f"{', '.join(those)}: {words}")
    for name, slices in slices_by_name.items():
        if not slices:
            continue
        half = len(slices) / 2
        if sum(s["bottleneck"] == "neither" for s in slices) > half and not rate:
            marks.append(f"{name}: neither the server's nor the generator's CPU was full")
        missed = [s for s in slices if s["rate_met"] is False]
        if missed:
            worst = min(s["rps"] for s in missed)
            marks.append(
                f"{name}: reached {worst:,.0f} of {rate:,.0f} requests/s in {len(missed)} of"
                f" {len(slices)} slices (under 99 %)"
            )
        if sum(not s["all_connected"] for s in slices) > half:
            marks.append(f"{name}: not all connections stood when the window began")
    return marks


def mostly(slices):
    """Whose CPU was full in more than half of the slices; "" where that differed."""
    for who in ("server", "generator", "both", "neither"):
        if sum(s["bottleneck"] == who for s in slices) > len(slices) / 2:
            return who
    return ""


def conclusion(slices_by_name, verdicts, rate):
    """Sentences, one for each other server: what a row says of its CPU time per request although
    the generator's CPU was full; [] where it was not."""
    names = list(slices_by_name)
    if rate or not any(mostly(s) in FULL_WORDS for s in slices_by_name.values() if s):
        return []
    said = []
    for other in names[1:]:
        row = verdict_of(verdicts, other)
        if not row or row["low"] is None:
            continue
        if row["verdict"] == NONE_SHOWN:
            most = max(row["high"] - 1, 1 - row["low"])
            said.append(
                f"{other} costs as much CPU time per request as {names[0]}, as far as can be told: they"
                f" differ by {100 * most:.1f} % at most"
            )
            continue
        less = row["ratio"] < 1
        least = 1 - row["high"] if less else row["low"] - 1
        said.append(
            f"{other} costs {100 * abs(1 - row['ratio']):.1f} % {'less' if less else 'more'} CPU"
            f" time per request than {names[0]}, and at least {100 * least:.1f} %"
        )
    return said


def sum_up(cell, names, seed):
    """Fill in the cell's medians, latency curves, verdicts and marks from its slices."""
    by_name = {n: [s for s in cell["slices"] if s["server"] == n] for n in names}
    by_pair = {}
    for s in cell["slices"]:
        by_pair.setdefault(s["pair"], {})[s["server"]] = s
    whole = [p for _, p in sorted(by_pair.items()) if len(p) == len(names)]
    cell["pairs"] = len(whole)
    cell["medians"] = {n: medians(by_name[n]) for n in names if by_name[n]}
    cell["latency"] = {n: latency_curve(by_name[n]) for n in names if by_name[n]}
    cell["marks"] = cell_marks(by_name, cell.get("rate"))
    cell["redone"] = sum(s["redone"] for s in cell["slices"])
    cell["disturbed"] = sum(s["disturbed"] for s in cell["slices"])
    cell["verdicts"] = {}
    for other in names[1:]:
        a, b = [p[names[0]] for p in whole], [p[other] for p in whole]
        rows = [compare_metric(m, a, b, seed) for m in METRICS]
        cell["verdicts"][other] = [r for r in rows if r]
    cell["concluded"] = conclusion(by_name, cell["verdicts"], cell.get("rate"))
    return cell
