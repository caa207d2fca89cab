# SPDX-License-Identifier: MIT
"""check-generators: one server under every load generator that is on this machine, in interleaved
rounds. What a request costs the server should not depend on who sends it; where it does, this says
by how much."""
import json
import os
import random

from . import compare, generators, intervals, metrics, servers
from .errors import BenchError

DEFAULT_ROUNDS = 8
NEAR = 0.03  # costs that differ by no more are near enough


def found(options):
    """The generators, ours first; at least two, or there is nothing to compare."""
    all_found = generators.find_all(options.bivalve, options.rate)
    if len(all_found) < 2:
        names = ", ".join(g.name for g in all_found) or "none"
        other = generators.gen_h2load if options.rate else generators.gen_wrk
        raise BenchError(
            f"two load generators are needed, and there is {names}; {other.NAME}: {other.PACKAGE}"
        )
    return all_found


def left_out(options):
    """Who could not be asked, as a sentence; "" where everybody was."""
    names = [m.NAME for m in generators.ALL if generators.locate(m, options.bivalve)]
    asked = [m.NAME for m in generators.candidates(options.rate)]
    missing = [n for n in names if n not in asked]
    if not missing:
        return ""
    how = "cannot keep a rate" if options.rate else "is for a fixed rate alone: see --rate"
    return f"Left out: {' and '.join(missing)}, which {how}."


def same_for_all(profile, who, rate):
    """The profile as every one of them can send it."""
    check_profile(profile)
    for generator in who if rate else ():
        profile, why = profile.for_rate(generator.module)
        if profile is None:
            raise BenchError(why)
    return profile


def check_profile(profile):
    if profile.per_connection:
        raise BenchError(
            f"{profile.name}: not every generator closes connections by itself; choose a profile"
            " without requests-per-connection"
        )


def measure(lab, plan, who):
    """{generator's name: [slice of each round]}"""
    profile, conns = plan.profiles[0], plan.conns[0]
    rng = random.Random(plan.seed)
    out = {g.name: [] for g in who}
    for number in range(plan.pairs):
        running = {}
        order = rng.sample(who, len(who))
        compare.start_all(lab, plan, profile, conns, running, plan.rate)
        server, predicted = running[plan.names[0]]
        try:
            for generator in order:
                lab.progress.step(f"round {number + 1} of {plan.pairs}: {generator.name}")
                lab.generator = generator
                got = compare.counted_slice(
                    lab, plan, server, profile, conns, predicted, plan.rate
                )
                out[generator.name].append(got)
        finally:
            lab.generator = who[0]
            servers.stop(server, lab)
    return out


def sum_up(slices, seed):
    """[{name, cpu_us, ratio, low, high, own_cpu_us, rps, p50_us}], the first is what the others are
    held against."""
    rows = []
    first = next(iter(slices.values()))
    for name, own in slices.items():
        ratios = [b["cpu_us"] / a["cpu_us"] for a, b in zip(first, own)]
        interval = intervals.ratio_interval(ratios, seed)
        rows.append(
            {
                "name": name,
                "cpu_us": intervals.median([s["cpu_us"] for s in own]),
                "ratio": interval["ratio"],
                "low": interval["low"] if own is not first else None,
                "high": interval["high"] if own is not first else None,
                "own_cpu_us": intervals.median([s["load_cpus"] / s["rps"] * 1e6 for s in own]),
                "rps": intervals.median([s["rps"] for s in own]),
                "p50_us": intervals.median([s["latency_us"]["50"] for s in own]),
            }
        )
    return rows


def verdict(row):
    """What a row says of its generator beside the first."""
    if row["low"] is None:
        return ""
    if row["low"] > 1 + NEAR or row["high"] < 1 - NEAR:
        return "differs"
    if row["low"] > 1 - NEAR and row["high"] < 1 + NEAR:
        return "agrees"
    return "cannot be told"


def text(rows, profile, conns, server, rate=None):
    """The table, and a sentence."""
    out = [
        f"{profile}, {conns} connections{f', {rate:,.0f} requests/s' if rate else ''}: what a request costs {server}, by who sends it",
        f"{'generator':<14}{'server µs':>10}{'ratio [95 %]':>24}  {'verdict':<15}"
        f"{'its own µs':>10}{'requests/s':>13}{'p50':>10}",
    ]
    for r in rows:
        ratio = "" if r["low"] is None else f"{r['ratio']:.3f} [{r['low']:.3f}, {r['high']:.3f}]"
        out.append(
            f"{r['name']:<14}{r['cpu_us']:>10.3f}{ratio:>24}  {verdict(r):<15}"
            f"{r['own_cpu_us']:>10.3f}{r['rps']:>13,.0f}{metrics.latency_text(r['p50_us']):>10}"
        )
    words = {verdict(r) for r in rows[1:]}
    if words == {"agrees"}:
        said = f"They agree, to {NEAR:.0%}, on what a request costs the server."
    elif "differs" in words:
        said = (
            "They do not agree: generators that send in larger batches, or that are slower, let the"
            " server do more or less in one turn. Compare servers under one of them."
        )
    else:
        said = "Whether they agree cannot be told from so many rounds: see --pairs."
    return "\n".join(out + ["", said])


def write(rows, out_dir):
    path = os.path.join(out_dir, "generators.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"schema": 1, "generators": rows}, f, indent=1)
    return path
