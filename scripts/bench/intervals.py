# SPDX-License-Identifier: MIT
"""Percentiles, and the interval around a ratio of paired runs.

The pairs of a cell give ratios B/A. Their logarithms are averaged with one tenth of the pairs
trimmed at each end (a slice that the host disturbed must not decide), and the interval is a
symmetric bootstrap-t: pairs are drawn anew, the statistic of each draw is divided by that draw's
own standard error (Yuen's, for a trimmed mean), and the 95 % quantile of its size scales the
standard error of the sample. Unlike the plain percentile bootstrap this keeps its promise with few
pairs: the tests draw samples with a known mean and count how often the interval covers it.
"""
import math
import random

MIN_PAIRS = 4  # below this an interval would be guesswork
RESAMPLES = 2000
CONFIDENCE = 0.95
RESOLVE = 0.03  # the difference a comparison is expected to resolve
EVEN = 1e-15  # a standard error of logarithms that is no more than rounding

STUDENT_SLACK = 1.5
# Student's t at 97.5 % for 1, 2, 3, ... values: infinite for one.
STUDENT_975 = (
    math.inf,
    12.71,
    4.30,
    3.18,
    2.78,
    2.57,
    2.45,
    2.36,
    2.31,
    2.26,
    2.23,
    2.20,
    2.18,
    2.16,
    2.14,
    2.13,
)

_index_cache = {}


def percentile(ordered, fraction):
    """Nearest-rank percentile of an ascending list: the smallest value that `fraction` of all do
    not exceed."""
    if not ordered:
        raise ValueError("no values")
    rank = math.ceil(fraction * len(ordered) - 1e-9)
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def median(values):
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    mid = len(ordered) // 2
    return ordered[mid] if len(ordered) % 2 else (ordered[mid - 1] + ordered[mid]) / 2


def trim_count(n):
    """How many values are dropped at each end of n."""
    return 0 if n < 8 else max(1, n // 10)


def trimmed(values):
    """(trimmed mean, its standard error) of the values."""
    n = len(values)
    g = trim_count(n)
    h = n - 2 * g
    s = sorted(values)
    mean = math.fsum(s[g : n - g]) / h
    if n < 2:
        return mean, math.inf
    low, high = s[g], s[n - g - 1]
    winsorized = [min(max(x, low), high) for x in s]
    centre = math.fsum(winsorized) / n
    spread = math.fsum((x - centre) ** 2 for x in winsorized)
    return mean, math.sqrt(spread / (h * (h - 1)))


def _draws(n, seed, resamples):
    """The bootstrap's index lists: the same for every metric of a cell, with and without numpy."""
    key = (n, seed, resamples)
    if key not in _index_cache:
        if len(_index_cache) > 8:
            _index_cache.clear()
        rng = random.Random(seed)
        everyone = range(n)
        _index_cache[key] = [rng.choices(everyone, k=n) for _ in range(resamples)]
    return _index_cache[key]


def _drawn_plain(logs, draws):
    got = [trimmed([logs[i] for i in draw]) for draw in draws]
    return [m for m, _ in got], [se for _, se in got]


def _drawn_numpy(np, logs, draws):
    n = len(logs)
    g = trim_count(n)
    h = n - 2 * g
    s = np.sort(np.asarray(logs)[np.asarray(draws)], axis=1)
    m = s[:, g : n - g].mean(axis=1)
    w = np.clip(s, s[:, g : g + 1], s[:, n - g - 1 : n - g])
    se = np.sqrt(((w - w.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) / (h * (h - 1)))
    return m.tolist(), se.tolist()


def _drawn(logs, seed, resamples, np):
    """(trimmed means, their standard errors) of the bootstrap's draws from the sample."""
    draws = _draws(len(logs), seed, resamples)
    return _drawn_numpy(np, logs, draws) if np else _drawn_plain(logs, draws)


def _reach(distances, errors, values):
    """How many standard errors the interval reaches, from how far each draw's statistic is away
    from the sample's, and that draw's own standard error."""
    pivots = sorted(
        d / se if se > EVEN else (0.0 if d <= EVEN else math.inf)
        for d, se in zip(distances, errors)
    )
    # With very few pairs, or nearly equal ratios (memory in whole pages), many draws have next to
    # no spread and blow the quantile up: never more than half again what normal errors would give.
    student = STUDENT_975[min(values, len(STUDENT_975)) - 1]
    return min(percentile(pivots, CONFIDENCE), STUDENT_SLACK * student)


def load_numpy():
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def ratio_interval(ratios, seed=1, resamples=RESAMPLES, numpy="auto"):
    """The ratio that the pairs show: {"ratio", "low", "high", "pairs"}; low and high None with too
    few pairs."""
    ratios = [r for r in ratios if r is not None and r > 0 and math.isfinite(r)]
    n = len(ratios)
    if n == 0:
        return {"ratio": None, "low": None, "high": None, "pairs": 0}
    logs = [math.log(r) for r in ratios]
    mean, se = trimmed(logs)
    out = {"ratio": math.exp(mean), "low": None, "high": None, "pairs": n}
    if n < MIN_PAIRS:
        return out
    if se <= EVEN:
        out["low"] = out["high"] = out["ratio"]
        return out
    np = load_numpy() if numpy == "auto" else numpy
    means, errors = _drawn(logs, seed, resamples, np)
    reach = se * _reach([abs(m - mean) for m in means], errors, n - 2 * trim_count(n))
    out["low"], out["high"] = math.exp(mean - reach), math.exp(mean + reach)
    return out


def unpaired_interval(first, second, seed=1, resamples=RESAMPLES, numpy="auto"):
    """The ratio second/first of two independent samples of positive values, such as one server's
    starts in two runs of the tool: {"ratio", "low", "high", "starts": [in first, in second]}. The
    bootstrap draws from each of them, and the standard error is Yuen's for two samples."""
    samples = [
        [math.log(x) for x in part if x is not None and x > 0 and math.isfinite(x)]
        for part in (first, second)
    ]
    out = {"ratio": None, "low": None, "high": None, "starts": [len(x) for x in samples]}
    if not all(samples):
        return out
    (m1, se1), (m2, se2) = map(trimmed, samples)
    out["ratio"] = math.exp(m2 - m1)
    if min(out["starts"]) < MIN_PAIRS:
        return out
    se = math.hypot(se1, se2)
    if se <= EVEN:
        out["low"] = out["high"] = out["ratio"]
        return out
    np = load_numpy() if numpy == "auto" else numpy
    one, other = (_drawn(x, f"{seed}/{i}", resamples, np) for i, x in enumerate(samples))
    distances = [abs((b - a) - (m2 - m1)) for a, b in zip(one[0], other[0])]
    errors = [math.hypot(a, b) for a, b in zip(one[1], other[1])]
    values = sum(len(x) - 2 * trim_count(len(x)) for x in samples) - 1
    reach = se * _reach(distances, errors, values)
    out["low"], out["high"] = math.exp(m2 - m1 - reach), math.exp(m2 - m1 + reach)
    return out


def excludes_one(interval):
    """-1 when the whole interval is below 1, 1 when above, else 0."""
    if interval["low"] is None:
        return 0
    return -1 if interval["high"] < 1 else 1 if interval["low"] > 1 else 0


def relative_width(interval):
    """Width of the interval relative to the ratio; infinite while there is none."""
    if interval["low"] is None:
        return math.inf
    return (interval["high"] - interval["low"]) / interval["ratio"]


def more_pairs(interval, resolve=RESOLVE):
    """How many more pairs would make the interval's half-width smaller than `resolve`; 0 if it is,
    None while unknown.

    The width shrinks with the square root of the number of pairs.
    """
    if interval["low"] is None:
        return None
    half = math.log(interval["high"] / interval["low"]) / 2
    aim = math.log1p(resolve)
    if half <= aim:
        return 0
    return max(1, math.ceil(interval["pairs"] * (half / aim) ** 2) - interval["pairs"])
