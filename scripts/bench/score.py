# SPDX-License-Identifier: MIT
"""HttpArena's score of a profile: 100 x rps/best + 0.5 x 100 x (sqrt(rps)/MB)/best, means over the
connection counts."""
import math


def efficiency(rps, memory_mib):
    """sqrt(rps) per MiB; 0 where memory is not known."""
    return math.sqrt(rps) / memory_mib if memory_mib else 0.0


def profile_means(rows):
    """{profile: (mean rps, mean memory in MiB or None)} from rows of {"profile", "rps",
    "memory_mib"}."""
    grouped = {}
    for r in rows:
        grouped.setdefault(r["profile"], []).append(r)
    out = {}
    for profile, rs in grouped.items():
        memory = [r["memory_mib"] for r in rs if r["memory_mib"]]
        out[profile] = (
            sum(r["rps"] for r in rs) / len(rs),
            sum(memory) / len(memory) if memory else None,
        )
    return out


def scores(field):
    """{name: {profile: score}} of a field {name: rows}; the best of the field sets 100 for speed
    and 50 for memory."""
    means = {name: profile_means(rows) for name, rows in field.items()}
    out = {name: {} for name in field}
    for profile in {p for m in means.values() for p in m}:
        here = {name: m[profile] for name, m in means.items() if profile in m}
        best_rps = max(rps for rps, _ in here.values())
        best_eff = max(efficiency(*v) for v in here.values())
        for name, (rps, memory) in here.items():
            score = 100 * rps / best_rps if best_rps else 0.0
            if best_eff:
                score += 50 * efficiency(rps, memory) / best_eff
            out[name][profile] = score
    return out
