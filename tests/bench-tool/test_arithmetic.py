# SPDX-License-Identifier: MIT
"""Intervals, ratios, percentiles, the score: arithmetic with known results."""
import math
import random
import types

import pytest
from bench import (
    agree,
    compare,
    intervals,
    metrics,
    options,
    profiles,
    score,
    servers,
    single,
    tables,
    text,
)
from bench.errors import BenchError


def test_percentile_is_the_nearest_rank():
    values = list(range(1, 101))
    assert [intervals.percentile(values, f) for f in (0.5, 0.9, 0.99, 0.999, 1.0)] == [
        50,
        90,
        99,
        100,
        100,
    ]
    assert intervals.percentile([7], 0.5) == 7
    assert intervals.percentile([1, 2, 3, 4], 0.25) == 1
    with pytest.raises(ValueError):
        intervals.percentile([], 0.5)


def test_median():
    assert intervals.median([3, 1, 2]) == 2
    assert intervals.median([4, 1, 2, 3]) == 2.5


def test_trimmed_mean_and_its_error():
    mean, se = intervals.trimmed([1.0, 2.0, 3.0, 4.0, 5.0])  # too few to trim
    assert mean == 3 and se == pytest.approx(math.sqrt(2.5 / 5))
    mean, se = intervals.trimmed([1.0] * 4 + [2.0] * 4 + [100.0, -100.0])
    assert mean == pytest.approx(1.5)
    # winsorized: five 1s and five 2s; spread 2.5, over h(h-1) = 8*7
    assert se == pytest.approx(math.sqrt(2.5 / 56))


def test_ratio_interval_of_equal_ratios_is_a_point():
    got = intervals.ratio_interval([1.25] * 6, seed=3)
    assert got["ratio"] == pytest.approx(1.25) and got["low"] == pytest.approx(1.25) == got["high"]


def test_too_few_pairs_give_no_interval():
    got = intervals.ratio_interval([1.2, 1.3, 1.1], seed=1)
    assert got["low"] is None and got["pairs"] == 3 and intervals.excludes_one(got) == 0
    assert intervals.more_pairs(got) is None
    assert intervals.relative_width(got) == math.inf
    assert intervals.ratio_interval([], seed=1)["ratio"] is None


def test_nearly_equal_ratios_still_give_a_finite_interval():
    got = intervals.ratio_interval([1.0, 1.0, 1.0, 1.0, 1.01], seed=1)
    assert 0.9 < got["low"] <= got["ratio"] <= got["high"] < 1.1


def test_few_pairs_do_not_blow_the_interval_up():
    got = intervals.ratio_interval([1.0, 1.1, 1.0, 1.1], seed=1)
    # Student's t for four values: 3.18 standard errors of log 1.1 / sqrt(12); half again at most.
    most = 1.5 * 3.18 * math.log(1.1) / math.sqrt(12)
    assert 0 < math.log(got["high"] / got["low"]) / 2 <= most + 1e-9


def test_interval_is_the_same_for_a_seed_and_with_numpy():
    rng = random.Random(5)
    ratios = [math.exp(rng.gauss(0.02, 0.05)) for _ in range(17)]
    plain = intervals.ratio_interval(ratios, seed=11, numpy=None)
    assert plain == intervals.ratio_interval(ratios, seed=11, numpy=None)
    assert plain != intervals.ratio_interval(ratios, seed=12, numpy=None)
    np = pytest.importorskip(
        "numpy", reason="numpy is not installed: nothing to compare the plain bootstrap with"
    )
    fast = intervals.ratio_interval(ratios, seed=11, numpy=np)
    for key in ("ratio", "low", "high"):
        assert fast[key] == pytest.approx(plain[key], rel=1e-9)


@pytest.mark.parametrize("pairs", [4, 5, 10, 20])
@pytest.mark.parametrize("shape", ["even", "disturbed"])
def test_interval_covers_the_truth_as_often_as_it_says(pairs, shape):
    rng = random.Random(f"{pairs}{shape}")
    truth, missed, times = 1.07, 0, 250
    for i in range(times):
        noise = [
            rng.gauss(0, 0.04) * (5 if shape == "disturbed" and rng.random() < 0.1 else 1)
            for _ in range(pairs)
        ]
        got = intervals.ratio_interval([truth * math.exp(x) for x in noise], seed=i, resamples=400)
        missed += not got["low"] <= truth <= got["high"]
    # 5 % are expected; more than 10 % of 250 would be a broken promise (beyond 3.5 standard
    # deviations).
    assert missed <= 0.10 * times


def test_a_difference_of_three_percent_is_found():
    rng = random.Random(9)
    got = intervals.ratio_interval([1.03 * math.exp(rng.gauss(0, 0.02)) for _ in range(30)], seed=1)
    assert intervals.excludes_one(got) == 1 and intervals.more_pairs(got) == 0


def test_more_pairs_follow_the_square_root():
    got = {"low": math.exp(-0.06), "high": math.exp(0.06), "ratio": 1.0, "pairs": 10}
    # Half the width takes four times the pairs.
    assert intervals.more_pairs(got, resolve=math.expm1(0.0301)) == 30
    got = {"low": 0.999, "high": 1.001, "ratio": 1.0, "pairs": 10}
    assert intervals.more_pairs(got) == 0


def slices(values, key="rps"):
    return [{"latency_us": {}, key: v} for v in values]


def test_verdicts_know_which_direction_is_better():
    rps, cpu = metrics.BY_KEY["rps"], metrics.BY_KEY["cpu_us"]
    up = metrics.compare_metric(
        rps, slices([100, 100, 101, 99, 100]), slices([120, 121, 120, 119, 120]), 1
    )
    assert (
        up["verdict"] == "faster"
        and up["ratio"] == pytest.approx(1.2, rel=0.02)
        and (up["a"], up["b"]) == (100, 120)
    )
    more = metrics.compare_metric(
        cpu,
        slices([100, 100, 101, 99, 100], "cpu_us"),
        slices([120, 121, 120, 119, 120], "cpu_us"),
        1,
    )
    assert more["verdict"] == "slower"
    same = metrics.compare_metric(rps, slices([100, 110, 90, 105]), slices([101, 95, 110, 100]), 1)
    assert same["verdict"] == "no difference shown" and same["more_pairs"] > 0
    assert metrics.compare_metric(rps, slices([None]), slices([None]), 1) is None


def test_ratio_is_taken_within_pairs_not_between_medians():
    # The machine slows down threefold half way; within each pair B is 10 % ahead.
    a = [300, 300, 300, 100, 100, 100]
    row = metrics.compare_metric(metrics.BY_KEY["rps"], slices(a), slices([1.1 * x for x in a]), 1)
    assert row["ratio"] == pytest.approx(1.1) and row["verdict"] == "faster"


def cell_slice(server, pair, rps, **more):
    base = {
        "server": server,
        "pair": pair,
        "order": 0,
        "rps": rps,
        "cpu_us": 1e6 / rps,
        "user_us": 1.0,
        "system_us": 2.0,
        "latency_us": {"50": 10, "99": 20},
        "switches": 0.1,
        "pss_bytes": 1 << 20,
        "cgroup": None,
        "bottleneck": "server",
        "rate_met": None,
        "all_connected": True,
        "redone": 0,
        "disturbed": False,
    }
    return dict(base, **more)


def test_a_cell_is_summed_up():
    cell = {
        "profile": "p",
        "conns": 4,
        "rate": None,
        "failed": None,
        "slices": [
            cell_slice(s, i, r, redone=i == 0)
            for i in range(6)
            for s, r in (("A", 100 + i), ("B", 200 + 2 * i))
        ] + [cell_slice("A", 6, 1)],
    }  # an interrupted pair does not count
    metrics.sum_up(cell, ["A", "B"], 1)
    assert cell["pairs"] == 6 and cell["redone"] == 2
    rows = {r["metric"]: r for r in cell["verdicts"]["B"]}
    assert rows["rps"]["ratio"] == pytest.approx(2.0) and rows["rps"]["verdict"] == "faster"
    assert rows["cpu_us"]["ratio"] == pytest.approx(0.5) and rows["cpu_us"]["verdict"] == "faster"
    assert "cgroup" not in rows and rows["p99"]["verdict"] == "no difference shown"
    assert cell["latency"]["A"] == {"50": 10, "99": 20}


def test_what_can_be_concluded_when_both_are_full():
    """The verdict on CPU time per request stands, and is said in words."""
    full = [cell_slice("A", i, 50, bottleneck="both") for i in range(4)]
    verdict = {"metric": "cpu_us", "ratio": 0.9, "low": 0.88, "high": 0.92, "verdict": "faster"}
    even = dict(verdict, ratio=1.01, low=0.98, high=1.03, verdict="no difference shown")
    more = dict(verdict, ratio=1.2, low=1.1, high=1.3, verdict="slower")
    sides = {n: full for n in "ABCD"}
    said = metrics.conclusion(sides, {"B": [verdict], "C": [even], "D": [more]}, None)
    assert said == [
        "B costs 10.0 % less CPU time per request than A, and at least 8.0 %",
        "C costs as much CPU time per request as A, as far as can be told: they differ by 3.0 % at"
        " most",
        "D costs 20.0 % more CPU time per request than A, and at least 10.0 %",
    ]
    assert metrics.cell_marks(sides, None) == [
        "A, B, C, D: server and generator were both full: a faster generator might show more"
        " requests/s"
    ]
    assert metrics.conclusion(sides, {"B": [verdict]}, 50.0) == []
    free = [cell_slice("A", i, 50, bottleneck="server") for i in range(4)]
    assert metrics.conclusion({"A": free, "B": free}, {"B": [verdict]}, None) == []
    assert metrics.conclusion(sides, {"B": [dict(verdict, low=None)]}, None) == []


def test_the_cells_of_profiles_with_rates_of_their_own():
    names = ["baseline", "latency-10k", "latency-1m"]
    chosen = profiles.load(names)
    o = options.build_parser().parse_args(["compare"])
    sides = [servers.Contender(n, ["{port}"]) for n in "ab"]
    cells = compare.Plan(sides, chosen, [8, 16], o).cells
    assert [(c["profile"].name, c["conns"], c["rate"]) for c in cells] == [
        ("baseline", 8, None),
        ("baseline", 16, None),
        ("latency-10k", 1024, 10_000),
        ("latency-1m", 1024, 1_000_000),
        ("baseline", 8, compare.HALF),
    ]
    o = options.build_parser().parse_args(["compare", "--rate", "200,50", "--conns", "4"])
    plan = compare.Plan(sides, chosen[:2], [4], o)
    assert [(c["conns"], c["rate"]) for c in plan.cells] == [(4, 50), (4, 200)] * 2
    assert plan.rate is None


def turns_of(argv, names, profile, conns, turns=True):
    """How long a turn is, in ms; None: there are none."""
    o = options.build_parser().parse_args(["compare", *argv])
    plan = compare.Plan([servers.Contender(n, ["{port}"]) for n in names], [], [conns], o)
    generator = types.SimpleNamespace(module=types.SimpleNamespace(TURNS=turns))
    turn_s = plan.turn_s(generator, profiles.load([profile])[0], conns)
    return turn_s and turn_s * 1000


def test_how_long_a_turn_is():
    assert turns_of([], "ab", "baseline", 64) == 25
    assert turns_of([], "abc", "baseline", 512) == pytest.approx(38, abs=1)
    assert turns_of([], "ab", "upload", 64) == pytest.approx(340, abs=10)
    assert turns_of(["--turn", "10"], "ab", "baseline", 4096) == 10
    # One after the other: as asked for, by what the generator can do, by the profile, a turn that would
    # be more than half a slice, a server by itself.
    assert turns_of(["--turn", "0"], "ab", "baseline", 64) is None
    assert turns_of([], "ab", "baseline", 64, turns=False) is None
    assert turns_of([], "ab", "delay", 64) is None
    assert turns_of([], "ab", "static-10m", 64) is None
    assert turns_of(["--seconds", "10"], "ab", "static-10m", 64) == pytest.approx(3365, abs=100)
    assert turns_of([], "a", "baseline", 64) is None


def test_the_report_says_how_the_slices_lay():
    def note(*turns):
        return text.slices_note({"seconds": 1, "cells": [{"turn_s": t} for t in turns]})

    assert note(None) == text.slices_note({"seconds": 1, "cells": [{}]})
    assert "pairs of random order" in note(None)
    assert note(0.025) == (
        "Slices of 1 s for each server are measured side by side, in turns of 25 ms"
    )
    assert note(0.025, 0.1, None).endswith(
        "in turns of 25 to 100 ms or, where answers take longer, one after the other"
    )


def test_marks_name_a_full_generator_and_a_missed_rate():
    full = [cell_slice("A", i, 100, bottleneck="generator") for i in range(4)]
    missed = [cell_slice("B", i, 90, rate_met=False) for i in range(4)]
    marks = metrics.cell_marks({"A": full, "B": missed}, 100)
    assert any("generator was the bottleneck" in m and m.startswith("A") for m in marks)
    assert any("90 of 100 requests/s" in m and m.startswith("B") for m in marks)


def test_score_is_httparena_s():
    # The example of HttpArena's documentation of its composite score.
    got = score.scores(
        {
            "A": [{"profile": "x", "rps": 500000, "memory_mib": 50}],
            "B": [{"profile": "x", "rps": 100000, "memory_mib": 20}],
        }
    )
    assert got["A"]["x"] == pytest.approx(144.7, abs=0.05) and got["B"]["x"] == pytest.approx(
        70.0, abs=0.05
    )


def test_score_takes_the_mean_over_connection_counts():
    rows = [
        {"profile": "x", "rps": 100, "memory_mib": 10},
        {"profile": "x", "rps": 300, "memory_mib": 30},
    ]
    assert score.profile_means(rows) == {"x": (200, 20)}
    assert score.scores({"only": rows})["only"]["x"] == pytest.approx(150)
    no_memory = [{"profile": "x", "rps": 100, "memory_mib": None}]
    assert score.scores({"a": rows, "b": no_memory})["b"]["x"] == pytest.approx(50)


def test_changes_against_saved_rows():
    new = [
        {"profile": "x", "conns": 64, "rps": 110, "memory_mib": 5, "memory_is": "PSS"},
        {"profile": "y", "conns": 64, "rps": 110, "memory_mib": 5, "memory_is": "PSS"},
    ]
    old = [{"profile": "x", "conns": 64, "rps": 100, "memory_mib": 10, "memory_is": "PSS"}]
    got = single.against(new, old)
    assert got[0]["rps_delta"] == pytest.approx(10) and got[0]["memory_delta"] == pytest.approx(-50)
    assert got[1]["rps_delta"] is None
    other = single.against(new, [dict(old[0], memory_is="control group")])
    assert other[0]["memory_delta"] is None
    assert [tables.delta_text(x) for x in (None, 0.05, 10, -3.21)] == [
        "new",
        "~0%",
        "+10.0%",
        "-3.2%",
    ]


def test_words_for_a_row():
    row = {
        "verdict": "no difference shown",
        "more_pairs": 12,
        "low": 0.9,
        "high": 1.1,
        "ratio": 1.0,
    }
    assert tables.verdict_text(row) == "no difference shown (12 more pairs to resolve 3 %)"
    assert tables.verdict_text(dict(row, more_pairs=0)) == "no difference shown"
    assert "an interval needs 4 pairs" in tables.verdict_text(dict(row, low=None, more_pairs=None))
    assert tables.ratio_text(row) == "1.000 [0.900, 1.100]"
    assert tables.ratio_text(dict(row, ratio=None)) == "-"


def generator_slice(cpu_us, own, rps):
    return {"cpu_us": cpu_us, "load_cpus": own, "rps": rps, "latency_us": {"50": 100}}


def test_generators_agree_or_not():
    ours = [generator_slice(5 + 0.01 * (i % 3), 0.5, 100000) for i in range(8)]
    same = [generator_slice(5 + 0.01 * ((i + 1) % 3), 1, 100000) for i in range(8)]
    more = [generator_slice(6 + 0.01 * (i % 2), 1, 50000) for i in range(8)]
    rows = agree.sum_up({"ours": ours, "same": same, "more": more}, 1)
    assert [agree.verdict(r) for r in rows] == ["", "agrees", "differs"]
    assert rows[0]["own_cpu_us"] == pytest.approx(5) and rows[2]["own_cpu_us"] == 20
    said = agree.text(rows, "baseline", 64, "a server")
    assert "They do not agree" in said and "more " in said and "1.199 [" in said
    assert "They agree, to 3%," in agree.text(rows[:2], "baseline", 64, "a server")
    wild = [generator_slice(5 * (1.3 if i % 2 else 0.8), 1, 1000) for i in range(8)]
    rows = agree.sum_up({"ours": ours, "wild": wild}, 1)
    assert "cannot be told" in agree.text(rows, "baseline", 64, "a server")


def test_the_half_rate_is_that_of_the_slowest():
    cells = [
        {"profile": "json", "conns": 8, "medians": {"a": {"rps": 1}}},
        {"profile": "baseline", "conns": 8, "medians": {"a": {"rps": 9000}, "b": {"rps": 7300}}},
    ]
    spec = {"profile": profiles.load(["baseline"])[0], "conns": 8, "rate": compare.HALF}
    assert compare.rate_of(spec, cells) == 3600  # two digits are enough, and the same for all
    assert compare.rate_of(dict(spec, rate=50), cells) == 50
    assert compare.rate_of(dict(spec, rate=None), cells) is None
    for without in (cells[:1], [dict(cells[1], medians={})]):
        with pytest.raises(BenchError, match="was not measured"):
            compare.rate_of(spec, without)
