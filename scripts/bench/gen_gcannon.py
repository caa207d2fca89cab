# SPDX-License-Identifier: MIT
"""gcannon, HttpArena's load generator: closed loop, raw templates, closes limited connections by
itself."""
import json
import os

from .load import Load, Unreadable

NAME = "gcannon"
PACKAGE = "build https://github.com/MDA2AV/gcannon and put it on the PATH"
EXTRAS = False
SERVER_CLOSES = False
RATED = False
TURNS = False
NOTES = [
    (
        "gcannon is a closed loop; each connection keeps to one request of the mix and takes the"
        " next when it reconnects."
    ),
    (
        "gcannon's window begins 100 ms after its threads start and is placed in the CPU samples to"
        " about 10 ms; the server's CPU time is that of a window of the same length, so an error in"
        " its place is shared by both sides."
    ),
]
WARM_UP_S = 0.1


def version(_path):
    return ""  # told only in a run's output


def version_from_run(text):
    try:
        return str(json.loads(text[text.index("{") :])["version"])
    except (ValueError, KeyError):
        return "of unknown version"


def command(path, job):
    p = job.profile
    files = []
    for r in p.requests:
        name = os.path.join(job.folder, f"{p.name}-{r.name}.raw")
        if not os.path.exists(name):
            with open(name, "wb") as f:
                f.write(r.raw())
        files.append(name)
    argv = [
        path,
        job.base(),
        "--raw",
        ",".join(files),
        "-c",
        str(job.conns),
        "-t",
        str(job.threads),
        "-d",
        f"{job.seconds}s",
        "-p",
        str(p.pipeline),
        "--json",
    ]
    if p.per_connection:
        argv += ["-r", str(p.per_connection)]
    # It keeps a history of runs in the home directory: not in the user's.
    return argv, dict(os.environ, HOME=job.folder)


def parse(text, job, seen):
    try:
        j = json.loads(text[text.index("{") :])
        errors = {k: int(v) for k, v in j["errors"].items()}
        not_2xx = sum(int(v) for k, v in j["status"].items() if k != "2xx")
        latency = {
            "50": j["latency_us"]["p50"],
            "90": j["latency_us"]["p90"],
            "99": j["latency_us"]["p99"],
            "99.9": j["latency_us"]["p999"],
        }
        responses, elapsed = int(j["responses"]), float(j["elapsed_sec"])
        size, reconnects, rps = int(j["bytes_read"]), int(j["reconnects"]), float(j["rps"])
        per_template = [int(t["responses"]) for t in j.get("per_template", [])]
    except (ValueError, KeyError, TypeError) as e:
        raise Unreadable(f"gcannon's output is not its JSON: {e!r}") from None
    if elapsed <= 0:
        raise Unreadable("gcannon measured for no time")
    begin = (seen.threads_up or seen.started) + WARM_UP_S
    by_request = None
    if len(per_template) == len(job.profile.requests):
        by_request = {r.name: n for r, n in zip(job.profile.requests, per_template)}
    return Load(
        (begin, min(begin + elapsed, seen.ended)),
        responses,
        responses,
        size,
        latency,
        errors,
        not_2xx,
        reconnects=reconnects,
        by_request=by_request,
        own_rps=rps,
    )
