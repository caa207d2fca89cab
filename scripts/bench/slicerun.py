# SPDX-License-Identifier: MIT
"""One slice: a run of the load against one server, and what it cost. The numbers of a comparison
come from here."""
import math
import os

from . import apart, sampler
from .errors import BenchError
from .load import Job, Unreadable

BYTES_TOLERANCE = 0.01  # of the bytes per response that the check predicts
FULL = 0.95  # share of its CPUs at which a side counts as full
CROWD_S = 0.001  # to open an idle connection, at most
RATE_MET = 0.99  # a fixed rate that is not reached to this share is marked


class Spoilt(BenchError):
    """The slice was run but its result cannot stand: errors, wrong answers, unreadable output."""


class Side:
    """A server that runs, the profile as it is asked for, and what its answers are to be."""

    def __init__(self, server, profile, predicted):
        self.server, self.profile, self.predicted = server, profile, predicted


def run_slices(lab, sides, conns, seconds, rate=None, turn_s=None):
    """Run the load once against each of `sides`: `turn_s` seconds against one, then the next, and so on
    until each has had about `seconds`. Returns their slices' figures, a dict each
    (doc/bench-results.md, "slices"). A single side has the load all the time.
    """
    jobs = []
    for i, side in enumerate(sides):
        lab.slices += 1
        jobs.append(
            Job(
                side.profile,
                side.server.port,
                conns,
                whole_rounds(seconds, turn_s, len(sides)),
                len(lab.load_cpus),
                lab.load_dir,
                f"slice-{lab.slices}",
                rate,
                lab.address,
                (turn_s, i, len(sides)) if len(sides) > 1 else None,
            )
        )
    limit_s = jobs[0].seconds * 2 + 20 + CROWD_S * sum(s.profile.idle for s in sides)
    watched = watch(lab, sides, jobs, limit_s)
    outs = []
    for i, (side, job, (load, seen)) in enumerate(zip(sides, jobs, watched)):
        others = [w for j, (_, w) in enumerate(watched) if j != i]
        outs.append(read(lab, side, job, load, seen, others))
    return outs


def whole_rounds(seconds, turn_s, sides):
    """How long the load goes on, so that each of `sides` has `seconds` of it, in whole turns."""
    return seconds if sides == 1 else math.ceil(seconds / turn_s) * turn_s * sides


def watch(lab, sides, jobs, limit_s):
    """Run the loads; [(the load's Child, Watch)]."""
    commands = [lab.generator.module.command(lab.generator.path, job) for job in jobs]
    if lab.apart:
        try:
            return apart.watch_runs(lab, sides, commands, jobs, limit_s)
        except TimeoutError:
            raise hangs(lab, commands) from None
    spawned = []

    def starter(command, job):
        def start():
            argv, env = command
            base = os.path.join(lab.load_dir, job.tag)
            spawned.append(lab.nursery.spawn(argv, base, cpus=lab.load_cpus, env=env))
            return spawned[-1]

        return start

    runs = [sampler.Run(s.server, starter(c, j), j) for s, c, j in zip(sides, commands, jobs)]
    try:
        sampler.watch_runs(runs, lab.server_cpus | lab.load_cpus, limit_s)
    except TimeoutError:
        raise hangs(lab, commands) from None
    finally:
        for child in spawned:
            lab.nursery.stop(child, grace_s=0.2)
    return [(run.load, run.watch) for run in runs]


def hangs(lab, commands):
    lines = "; ".join(" ".join(argv) for argv, _ in commands)
    return Spoilt(f"{lab.generator.name} did not end: {lines}")


def read(lab, side, job, load, watch, others):
    """The slice's figures, from what the load has printed and what was watched."""
    side.server.check_alive()
    text = load.stdout()
    lab.generator.learn_version(text)
    try:
        result = lab.generator.module.parse(text, job, watch.seen)
    except Unreadable as e:
        command = " ".join(lab.generator.module.command(lab.generator.path, job)[0])
        raise Spoilt(f"{e}: {command}\n{load.tail()}") from None
    load.forget_output()
    out = figures(lab, result, watch, job, others)
    out["problems"] = problems(result, out, side.predicted, side.profile, job.conns)
    return out


def figures(lab, result, watch, job, others=()):
    """The slice's dict from the generator's Load and the sampler's Watch. `others`: the Watches of those
    with whom it took turns."""
    begin, end = result.window
    length, own_s = end - begin, result.own_s
    if length <= 0 or own_s <= 0:
        raise Spoilt(f"{lab.generator.name} has measured no time at all")
    n = result.requests
    cpu_ns = watch.server.delta(begin, end)[0]
    user, system = watch.split.delta(begin, end)
    user_share = user / (user + system) if user + system > 0 else 0.0
    voluntary, involuntary = watch.switches.delta(begin, end)
    load_ns = watch.load.delta(begin, end)[0]
    busy_ns = steal_ns = load_busy_ns = 0.0
    load_keys = watch.load_keys or lab.load_cpus
    for cpu, series in watch.busy.items():
        b, s = series.delta(begin, end)
        busy_ns += b
        steal_ns += s
        load_busy_ns += b if cpu in load_keys else 0
    own_ns = watch.own.delta(begin, end)[0]
    if watch.load_own.rows:
        own_ns += watch.load_own.delta(begin, end)[0]
    theirs_ns = sum(w.server.delta(begin, end)[0] for w in others)
    their_load_ns = sum(w.load.delta(begin, end)[0] for w in others)
    foreign_ns = busy_ns - cpu_ns - load_ns - own_ns - theirs_ns - their_load_ns
    load_busy_ns = (load_busy_ns - load_ns - their_load_ns) * own_s / length + load_ns
    reconnects = result.reconnects
    if reconnects is None and watch.opens.rows:
        # Those of the start were opened before the window, unless not all stood when it began.
        reconnects = (
            max(0, round(watch.opens.delta(begin, end)[0])) if job.profile.per_connection else 0
        )

    def per_request_us(ns):
        return ns / n / 1000 if n else None

    return {
        "window_s": length,
        "own_s": own_s,
        "requests": n,
        "rps": n / own_s,
        "own_rps": result.own_rps,
        "latency_us": result.latency_us,
        "bytes_per_response": result.bytes / result.responses if result.responses else None,
        "bytes_per_s": (
            (result.bytes / result.responses) * n / own_s if result.responses else None
        ),
        "errors": result.errors,
        "not_2xx": result.not_2xx,
        "reconnects": reconnects,
        "cpu_us": per_request_us(cpu_ns),
        "user_us": per_request_us(cpu_ns * user_share),
        "system_us": per_request_us(cpu_ns * (1 - user_share)),
        "server_cpus": cpu_ns / 1e9 / own_s,
        "load_cpus": load_ns / 1e9 / own_s,
        "rps_per_cpu_s": n / (cpu_ns / 1e9) if cpu_ns > 0 else None,
        "switches": (voluntary + involuntary) / n if n else None,
        "voluntary_switches": voluntary / n if n else None,
        "pss_bytes": watch.pss_peak,
        "cgroup": watch.group_peak,
        "foreign_cpus": max(0.0, foreign_ns / 1e9 / length),
        "steal_cpus": steal_ns / 1e9 / length,
        "tool_cpus": own_ns / 1e9 / length,
        "cpu_exact": watch.server_exact,
        "all_connected": watch.all_connected,
        "rate": job.rate,
        "rate_met": None if not job.rate else n / own_s >= RATE_MET * job.rate,
        # This tool may share the load's CPU, so full is what that CPU says, not what the generator
        # got of it.
        "bottleneck": bottleneck(
            cpu_ns / 1e9 / own_s,
            min(len(lab.server_cpus), lab.workers),
            max(load_ns, load_busy_ns * job.threads / len(lab.load_cpus)) / 1e9 / own_s,
            job.threads,
        ),
        "by_request": result.by_request,
    }


def bottleneck(server_cpus, server_has, load_cpus, load_has):
    """Which side's CPUs were full: "server", "generator", "both" or "neither"."""
    server_full, load_full = server_cpus >= FULL * server_has, load_cpus >= FULL * load_has
    if server_full and load_full:
        return "both"
    return "server" if server_full else "generator" if load_full else "neither"


def predicted_bytes(predicted, by_request):
    """Bytes per response that the check promises, weighted by the mix that was sent."""
    if not by_request or not sum(by_request.values()):
        return predicted["bytes_per_response"]
    sizes = predicted["sizes"]
    total = sum(by_request.values())
    return sum(sizes[name] * n for name, n in by_request.items() if name in sizes) / total


def rotation_edge(sizes):
    """The most bytes by which a mix that was broken off within its rotation can be away from its
    mean."""
    mean = sum(sizes) / len(sizes)
    sums = [sum(sizes[:i]) - i * mean for i in range(len(sizes))]
    return max(abs(x) for x in sums)


def problems(result, out, predicted, profile, conns=0):
    """What makes the slice invalid; empty when it stands."""
    found = []
    if not result.requests:
        found.append("no request was answered")
    bad = {k: v for k, v in result.errors.items() if v}
    if bad:
        found.append("errors: " + ", ".join(f"{v} {k}" for k, v in bad.items()))
    if result.not_2xx:
        found.append(f"{result.not_2xx} answers with a status other than 2xx")
    # What TLS makes of it is not predicted; every answer has been checked by the generator there.
    if predicted and out["bytes_per_response"] is not None and not profile.tls:
        want = predicted_bytes(predicted, result.by_request)
        edge = (
            rotation_edge(list(predicted["sizes"].values())) * result.rotations / result.responses
        )
        # On each connection an answer may have been cut in two by the ends of the window.
        edge += conns * max(predicted["sizes"].values()) / result.responses
        if abs(out["bytes_per_response"] - want) > BYTES_TOLERANCE * want + edge:
            found.append(
                f"{out['bytes_per_response']:.1f} bytes per response where the check predicts"
                f" {want:.1f}"
            )
    return found


def disturbed(out, limit):
    """Whether other processes or the host took more than `limit` of a CPU during the slice."""
    return (out["foreign_cpus"] or 0) > limit or (out["steal_cpus"] or 0) > limit
