# SPDX-License-Identifier: MIT
"""h2load over HTTP/1.1 at a fixed rate: every request's start and duration from its log file."""
import os
import re

from .intervals import percentile
from .load import Load, Unreadable, run_for_text

NAME = "h2load"
PACKAGE = (
    "apt install nghttp2-client (Debian), dnf install nghttp2 (Fedora), apk add nghttp2 (Alpine)"
)
EXTRAS = False
SERVER_CLOSES = False
RATED = True
TURNS = False
GET_ONLY = True
WARM_UP_S = 1
NOTES = [
    (
        "h2load sends at a fixed rate: each connection R divided by the connections; percentiles"
        " are those of every request in its log. All connections tick together, so requests arrive"
        " in bursts of up to one for each connection: the same for both sides, and harder on"
        " latency than evenly spread arrivals."
    ),
    (
        "h2load counts latency from when it sent a request, not from when the request was due; a"
        " side that falls behind shows in the achieved rate."
    ),
]
PERCENTS = ("10", "25", "50", "75", "90", "95", "99", "99.5", "99.9", "99.99")


def version(path):
    m = re.search(r"nghttp2/(\S+)", run_for_text([path, "--version"]))
    return m.group(1) if m else "of unknown version"


def log_path(job):
    return os.path.join(job.folder, job.tag + ".h2load.log")


def command(path, job):
    base = job.base()
    if os.path.exists(log_path(job)):
        os.unlink(log_path(job))
    return [
        path,
        "--h1",
        f"--rps={job.rate / job.conns:.6g}",
        f"-c{job.conns}",
        f"-t{job.threads}",
        f"-D{job.seconds}s",
        f"--warm-up-time={WARM_UP_S}s",
        f"--log-file={log_path(job)}",
    ] + [base + r.target for r in job.profile.requests], None


def parse_log(text):
    """[(start in microseconds since 1970, status, microseconds)] in the order of the start."""
    rows = []
    for line in text.splitlines():
        f = line.split("\t")
        if len(f) >= 3:
            rows.append((int(f[0]), int(f[1]), int(f[2])))
    rows.sort()
    return rows


def parse_summary(text):
    """(done, failed, errored, timeout, bytes in all) from what h2load prints."""
    m = re.search(
        r"^requests: \d+ total, \d+ started, (\d+) done, \d+ succeeded, (\d+) failed, (\d+)"
        r" errored, "
        r"(\d+) timeout",
        text,
        re.M,
    )
    b = re.search(r"^traffic: \S+ \((\d+)\) total", text, re.M)
    if not m or not b:
        raise Unreadable("h2load printed no summary")
    return tuple(int(x) for x in m.groups()) + (int(b.group(1)),)


def parse(text, job, seen):
    done, failed, errored, timeout, size = parse_summary(text)
    try:
        with open(log_path(job), encoding="ascii") as f:
            rows = parse_log(f.read())
        os.unlink(log_path(job))
    except (OSError, ValueError) as e:
        raise Unreadable(f"h2load's log file: {e}") from None
    if not rows:
        raise Unreadable("h2load logged no request")
    begin = rows[0][0]
    end = begin + job.seconds * 1_000_000
    inside = [(start, status, us) for start, status, us in rows if start + us <= end]
    durations = sorted(us for _, _, us in inside)
    latency = {p: percentile(durations, float(p) / 100) for p in PERCENTS}
    latency["100"] = durations[-1]
    window = (begin / 1e6 - seen.epoch_offset, end / 1e6 - seen.epoch_offset)
    return Load(
        window,
        len(inside),
        done,
        size,
        latency,
        {"failed": failed, "errored": errored, "timeout": timeout},
        sum(1 for _, status, _ in rows if not 200 <= status <= 299),
        reconnects=0,
        own_rps=len(inside) / job.seconds,
        rotations=job.conns,
    )
