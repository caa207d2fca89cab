# SPDX-License-Identifier: MIT
"""Bytes per idle connection: hold many that have each been answered once, divide what the server's
memory grew by."""
import socket
import time

from . import httpclient, metrics, servers
from .errors import BenchError

CONNECTIONS = 4000
ROUNDS = 5
SHORT_CONNECTIONS, SHORT_ROUNDS = 1500, 4
WARM = 100  # connections opened, used and closed before the first reading
SETTLE_S = 0.25  # between two readings that must agree
SETTLE_MAX = 8
ROUND_S = 1.8  # what one server takes, for the estimate


def estimate_s(plan):
    return plan.idle_rounds * len(plan.names) * ROUND_S if plan.idle else 0


def measure(lab, plan):
    """{"connections", "rounds", "verdicts", "medians"}, or with "failed"; servers fresh in every
    round."""
    out = {"connections": plan.idle, "rounds": [], "failed": None}
    try:
        for i in range(plan.idle_rounds):
            order = plan.contenders if i % 2 == 0 else plan.contenders[::-1]
            for contender in order:
                lab.progress.step(
                    f"idle connections: {contender.name}, round {i + 1} of {plan.idle_rounds}"
                )
                got = one_round(lab, contender, plan.profiles[0], plan.idle)
                out["rounds"].append(dict(got, server=contender.name, round=i))
    except BenchError as e:
        out["failed"] = str(e)
        lab.progress.line(f"idle connections: FAILED: {e}")
    sum_up(out, plan.names, plan.seed)
    return out


def sum_up(out, names, seed):
    by_name = {n: [r for r in out["rounds"] if r["server"] == n] for n in names}
    out["medians"] = {
        n: metrics.medians(by_name[n], metrics.IDLE_METRICS) for n in names if by_name[n]
    }
    out["verdicts"] = {}
    for other in names[1:]:
        rows = [
            metrics.compare_metric(m, by_name[names[0]], by_name[other], seed)
            for m in metrics.IDLE_METRICS
        ]
        out["verdicts"][other] = [r for r in rows if r]


def one_round(lab, contender, profile, connections):
    request = contender.asks(profile).requests[0]
    server = servers.start(contender, lab, profiles=[profile])
    held = []
    try:
        tls = httpclient.anyone() if profile.tls else None
        hold(server, request, WARM, held, tls)
        close_all(held)
        before = settled(server)
        hold(server, request, connections, held, tls)
        after = settled(server)
        server.check_alive()
    finally:
        close_all(held)
        servers.stop(server, lab)
    out = {
        "pss_before": before[0],
        "pss_after": after[0],
        "pss_per_connection": None,
        "cgroup_per_connection": None,
    }
    if before[0] is not None and after[0] is not None:
        out["pss_per_connection"] = (after[0] - before[0]) / connections
    if before[1] is not None and after[1] is not None:
        out["cgroup_per_connection"] = (after[1] - before[1]) / connections
    return out


def hold(server, request, count, held, tls=None):
    """Open `count` connections into `held`; each asks once and is answered. `tls`: an SSLContext."""
    raw = request.raw()
    try:
        for _ in range(count):
            s = socket.create_connection((server.address, server.port), httpclient.TIMEOUT_S)
            if tls:
                s = tls.wrap_socket(s)
            held.append(s)
            s.sendall(raw)
            if not s.recv(4096).startswith(b"HTTP/1.1 2"):
                raise BenchError(f"{server.name}: no answer on connection {len(held)}")
    except OSError as e:
        server.check_alive()
        raise BenchError(
            f"{server.name}: connection {len(held) + 1} of {count}: {e.strerror or e}"
        ) from None


def close_all(held):
    for s in held:
        s.close()
    held.clear()


def settled(server):
    """(PSS, control group's bytes) once two readings agree to 4 KiB, or the last ones."""
    last = None
    for _ in range(SETTLE_MAX):
        time.sleep(SETTLE_S)
        usage = server.group.usage() if server.group else None
        now = (server.child.pss(), usage["used"] if usage else None)
        if last and all(a is None or abs(a - b) <= 4096 for a, b in zip(now, last)):
            return now
        last = now
    return last
