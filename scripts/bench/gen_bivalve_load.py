# SPDX-License-Identifier: MIT
"""bivalve-load, the project's own load generator: closed loop, or open loop at a fixed rate; every
answer is checked."""
import json
import math
import os

from .load import Load, Unreadable, run_for_text

NAME = "bivalve-load"
PACKAGE = "it is built and installed with bivalve-bench"
EXTRAS = True
SERVER_CLOSES = False
RATED = True
GET_ONLY = False
TURNS = True
NOTES = [
    (
        "bivalve-load reads every answer; without --rate it is a closed loop: a connection sends its"
        " next request when one was answered."
    ),
    (
        "With --rate it is an open loop: requests are due at random moments (Poisson), the same for"
        " every side, and a latency counts from the moment at which a request was due."
    ),
]
PERCENTS = {"50": "p50", "75": "p75", "90": "p90", "99": "p99", "99.9": "p99.9", "99.99": "p99.99"}
RATE_TIMEOUT_S = 5  # a rate that is not reached leaves requests that were never sent
SHORT = 1000  # bytes that a command line may have
SOURCE_CONNS = 25000  # connections from one address to another: there are 28,000 ports
WARM_UP_S = 0.1
WARM_UP_CONN_S = 0.00005  # for each connection


def version(path):
    words = run_for_text([path, "--version"]).split()
    return words[1] if len(words) > 1 and words[0] == NAME else "of unknown version"


def command(path, job):
    p = job.profile
    argv = [
        path,
        "--quiet",
        "--json=-",
        f"--connections={job.conns}",
        f"--processes={job.threads}",
        f"--duration={job.seconds}s",
        f"--warmup={warm_up_s(job):.3f}s",
        f"--pipeline={p.pipeline}",
        f"--requests-per-connection={p.per_connection}",
        "--expect-status=2xx",
    ]
    if job.turns:
        length, which, count = job.turns
        argv.append(f"--turns={length * 1000:.0f}ms:{which + 1}/{count}")
    if p.idle:
        argv.append(f"--idle={p.idle}")
    if job.conns + p.idle > SOURCE_CONNS and job.address == "127.0.0.1":
        argv.append("--source=127.0.0.1,127.0.0.2,127.0.0.3,127.0.0.4")
    if p.tls:
        argv.append("--insecure")  # the certificate was made for this measurement
    expected = {r.expect for r in p.requests}
    if len(expected) == 1 and None not in expected:
        body = expected.pop()
        short = len(body) <= SHORT and not body.startswith("@")
        argv.append("--expect-body=" + (body if short else "@" + kept(job, p, body)))
    if job.rate:
        argv += [f"--rate={job.rate:.10g}", f"--timeout={RATE_TIMEOUT_S}s"]
    for r in p.requests:
        name = os.path.join(job.folder, f"{p.name}-{r.name}.raw")
        if not os.path.exists(name):
            with open(name, "wb") as f:
                f.write(r.raw())
        argv.append(f"--raw={name}")
    return argv + [job.base() + "/"], None


def warm_up_s(job):
    """Of whole rounds of turns, so that each load has had as much of it as the others."""
    wanted = WARM_UP_S + WARM_UP_CONN_S * job.conns
    if not job.turns:
        return wanted
    length, _, count = job.turns
    return math.ceil(wanted / length) * length * count


def kept(job, profile, body):
    """A file with the expected body: it may be longer than a command line."""
    name = os.path.join(job.folder, f"{profile.name}.expected")
    if not os.path.exists(name):
        with open(name, "w", encoding="utf-8") as f:
            f.write(body)
    return name


def parse(text, job, seen):
    try:
        j = json.loads(text[text.index("{") :])
        begin, seconds, answered = float(j["begin_s"]), float(j["seconds"]), int(j["answered"])
        errors = {k: int(v["count"]) for k, v in j["errors"].items()}
        h = j["latency_us"] or {}
        latency = {p: h[name] for p, name in PERCENTS.items() if name in h}
        if job.rate and not j["rate"]["held"]:
            errors.pop("timeout", None)  # the achieved rate says it
        size, opened = int(j["bytes"]["in"]), int(j["connections"]["opened"])
    except (ValueError, KeyError, TypeError) as e:
        raise Unreadable(f"bivalve-load's output is not its JSON: {e!r}") from None
    if not answered:
        raise Unreadable("bivalve-load had no right answer: " + json.dumps(j["errors"]))
    latency["100"] = h["max"]
    return Load(
        (begin, begin + seconds),
        answered,
        answered,
        size,
        latency,
        {k: n for k, n in errors.items() if k != "status"},
        errors.get("status", 0),
        reconnects=max(0, opened - job.conns),
        own_rps=float(j["rps"]),
        own_s=float(j["own_seconds"]),
        # The mix goes on over all connections of a process; what is in flight at both ends counts.
        rotations=job.threads + 2 * job.conns * job.profile.pipeline // len(job.profile.requests),
    )
