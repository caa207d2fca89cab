# SPDX-License-Identifier: MIT
"""--counters: what a request costs by the counters of the CPU and the kernel, user and kernel apart,
in runs of their own: switching counters along with threads is not free."""
from . import counts, metrics, perfevents, procfs, servers
from .compare import closes, warm
from .errors import BenchError


def measure(lab, plan):
    """[{profile, conns, server, requests, per_request, notes}] for every profile, at the fewest
    connections; per_request: {event: {"user": n, "kernel": n}}, None where it cannot be counted."""
    out = []
    for profile in plan.profiles:
        conns = next(c["conns"] for c in plan.cells if c["profile"] is profile)
        for contender in plan.contenders:
            lab.progress.stage(f"counters: {profile.name}, {contender.name}")
            row = {"profile": profile.name, "conns": conns, "server": contender.name}
            row.update(requests=None, per_request={}, notes=[])
            out.append(row)
            try:
                one(lab, contender, profile, row)
            except BenchError as e:
                row["notes"].append(f"counters: {e}")
    return out


def one(lab, contender, profile, row):
    """Fill in a row from one run of the load."""
    server = servers.start(contender, lab, closes(lab, profile))
    events = None
    try:
        servers.check(server, profile, bool(closes(lab, profile)))
        warm(lab, server, profile, row["conns"], profile.rate)
        # Every worker has started by now; threads that it starts later inherit the counters.
        tids = [t for p in procfs.tree(server.pid) for t in procfs.tasks(p)]
        events = perfevents.Counters(tids)
        row["notes"] += perfevents.missing_words(events.missing)
        if not events.keys():
            return
        load, watch = counts.watched_load(lab, server, profile, row["conns"], events.read)
        row["requests"] = load.requests
        for (name, side), n in zip(events.keys(), watch.extra.delta(*load.window)):
            of_event = row["per_request"].setdefault(name, dict.fromkeys(perfevents.SIDES))
            of_event[side] = n / load.requests
    finally:
        if events:
            events.close()
        servers.stop(server, lab)


def table(rows):
    """(header, rows): one line for each profile, counter and server."""
    out = []
    for profile in dict.fromkeys(r["profile"] for r in rows):
        for event in perfevents.EVENTS:
            for r in rows:
                if r["profile"] != profile or event not in r["per_request"]:
                    continue
                sides = [r["per_request"][event].get(s) for s in perfevents.SIDES]
                out.append([profile, event, r["server"]] + [number(s) for s in sides])
    return ["profile", "counter", "server", "user/request", "kernel/request"], out


def number(x):
    return "-" if x is None else metrics.count_text(x) if x >= 100 else metrics.small_text(x)


def notes(rows):
    """What was counted, and plainly what could not be; the same words once."""
    out = [
        f"Counters of perf_event_open(2) over runs of {counts.SECONDS} s at"
        f" {' and '.join(map(str, dict.fromkeys(r['conns'] for r in rows)))} connections, of all the"
        " server's threads."
    ] if any(r["per_request"] for r in rows) else []
    for words in dict.fromkeys(n for r in rows for n in r["notes"]):
        those = [r for r in rows if words in r["notes"]]
        who = "" if len(those) == len(rows) else ", ".join(
            dict.fromkeys(f"{r['profile']} {r['server']}" for r in those)
        ) + ": "
        out.append(f"{who}not counted: {words}")
    return out
