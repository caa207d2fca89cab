# SPDX-License-Identifier: MIT
"""--counts: what a request costs in countable things, in runs of their own because counting slows a
server down.

System calls by name: perf stat on the system-call tracepoints (counted in the kernel), else strace
-c -f. The backend's own counters (SIGUSR1): enters and SQEs. User instructions: callgrind, as the
difference between a short and a long run, so that starting up cancels out.
"""
import os
import re
import shutil
import signal
import time

from . import httpclient, procfs, sampler, servers
from .compare import closes
from .errors import BenchError
from .load import Job, Unreadable

SECONDS = 2
CALLGRIND_CONNS = 16
CALLGRIND_ROUNDS = (30, 150)  # requests on each connection, short and long run
SHOW_MIN = 0.0005  # system calls rarer than this per request are summed as "others"
BACKEND_KEYS = ("enters", "sqes", "events", "iterations", "recv_calls", "send_calls")


def parse_strace(text):
    """{name: calls} from strace -c."""
    out = {}
    for m in re.finditer(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$", text, re.M):
        if m.group(2) != "total":
            out[m.group(2)] = int(m.group(1))
    return out


def parse_perf_stat(text):
    """{name: calls} from perf stat -x, -e 'syscalls:sys_enter_*'."""
    out = {}
    for line in text.splitlines():
        f = line.split(",")
        m = re.match(r"syscalls:sys_enter_(\w+)$", f[2]) if len(f) > 2 else None
        if m and f[0].isdigit() and int(f[0]):
            out[m.group(1)] = int(f[0])
    return out


def parse_callgrind(text):
    """Instructions of all processes from valgrind's closing words; None where it said nothing."""
    got = [
        int(x.replace(",", "")) for x in re.findall(r"^==\d+== Collected : ([\d,]+)$", text, re.M)
    ]
    return sum(got) if got else None


def per_request(calls, requests):
    """{name: calls per request}, the most frequent first, rare ones summed."""
    out, others = {}, 0.0
    for name, n in sorted(calls.items(), key=lambda kv: -kv[1]):
        if n / requests >= SHOW_MIN:
            out[name] = n / requests
        else:
            others += n / requests
    if others:
        out["others"] = others
    return out


def tracers():
    """Ways to count system calls, best first: (name, argv of pids and output file, parser)."""
    found = []
    if shutil.which("perf") and os.path.isdir("/sys/kernel/tracing/events/syscalls"):
        found.append(
            (
                "perf stat",
                lambda pids, out: [
                    "perf",
                    "stat",
                    "-x,",
                    "-o",
                    out,
                    "-e",
                    "syscalls:sys_enter_*",
                    "-p",
                    ",".join(map(str, pids)),
                ],
                parse_perf_stat,
            )
        )
    if shutil.which("strace"):
        found.append(
            (
                "strace -c -f",
                lambda pids, out: ["strace", "-c", "-f", "-o", out]
                + [w for p in pids for w in ("-p", str(p))],
                parse_strace,
            )
        )
    return found


def measure(lab, plan):
    """[{profile, conns, server, syscalls, backend, instructions, notes}] for every profile, at the
    fewest connections."""
    out = []
    for profile in plan.profiles:
        for contender in plan.contenders:
            row = {
                "profile": profile.name,
                "conns": plan.conns[0],
                "server": contender.name,
                "syscalls": None,
                "syscalls_by": None,
                "backend": None,
                "instructions": None,
                "notes": [],
            }
            out.append(row)
            for what, work in (
                ("system calls", count_syscalls),
                ("user instructions", count_instructions),
            ):
                lab.progress.stage(f"counting {what}: {profile.name}, {contender.name}")
                try:
                    work(lab, contender, profile, row)
                except (BenchError, httpclient.Wrong) as e:
                    row["notes"].append(f"{what}: {e}")
    return out


def plain_load(lab, server, profile, conns):
    """A run of the generator; returns its Load."""
    return watched_load(lab, server, profile, conns)[0]


def watched_load(lab, server, profile, conns, extra=None):
    """A run of the generator, at the profile's own rate where it has one; returns its Load and the
    sampler's Watch, in which `extra` is what extra() returned."""
    lab.slices += 1
    job = Job(
        server.contender.asks(profile),
        server.port,
        conns,
        SECONDS,
        len(lab.load_cpus),
        lab.load_dir,
        f"slice-{lab.slices}",
        profile.rate,
    )
    argv, env = lab.generator.module.command(lab.generator.path, job)
    base = os.path.join(lab.load_dir, job.tag)
    loads = []

    def begin():
        loads.append(lab.nursery.spawn(argv, base, cpus=lab.load_cpus, env=env))
        return loads[0]

    try:
        load, watch = sampler.watch_run(
            server, begin, job, set(), SECONDS * 10 + 20, extra
        )
        return lab.generator.module.parse(load.stdout(), job, watch.seen), watch
    except (Unreadable, TimeoutError) as e:
        raise BenchError(f"the load under counting failed: {e}") from None
    finally:
        for child in loads:
            lab.nursery.stop(child, grace_s=0.2)


def count_syscalls(lab, contender, profile, row):
    """System calls and the backend's counters over a whole run of the load, connecting too."""
    server = servers.start(contender, lab, closes(lab, profile), profiles=[profile])
    try:
        servers.check(server, profile, bool(closes(lab, profile)))
        if contender.backend:
            count_backend(lab, server, profile, row)
        for name, argv, parser in tracers():
            out = os.path.join(lab.load_dir, f"counts-{lab.slices}.txt")
            tracer = lab.nursery.spawn(argv(procfs.tree(server.pid), out), out[:-4] + "-tracer")
            time.sleep(0.7)  # it attaches to every thread first
            if not tracer.running():
                row["notes"].append(f"{name}: {tracer.tail(1).strip() or 'ended at once'}")
                lab.nursery.finished(tracer)
                continue
            try:
                load = plain_load(lab, server, profile, row["conns"])
                os.kill(tracer.pid, signal.SIGINT)
                tracer.popen.wait(20)
            finally:
                lab.nursery.stop(tracer)
            calls = parser(procfs.read_text(out))
            if calls:
                row["syscalls"], row["syscalls_by"] = per_request(calls, load.responses), name
                return
            row["notes"].append(f"{name}: counted nothing")
        if not tracers():
            row["notes"].append(
                "system calls: neither perf nor strace is on the PATH (apt install strace)"
            )
    finally:
        servers.stop(server, lab)


def count_backend(lab, server, profile, row):
    """The backend's own counters per request: enters, SQEs, CQEs."""
    before = server.counters(signal.SIGUSR1)
    plain_load(lab, server, profile, row["conns"])
    after = server.counters(signal.SIGUSR1)
    if not before or not after:
        row["notes"].append("backend counters: the server logged no statistics on SIGUSR1")
        return
    requests = after.get("requests", 0) - before.get("requests", 0)
    if requests > 0:
        row["backend"] = {
            k: (after.get(k, 0) - before.get(k, 0)) / requests for k in BACKEND_KEYS if k in after
        }


def count_instructions(lab, contender, profile, row):
    """User instructions per request from two runs under callgrind."""
    if not shutil.which("valgrind"):
        row["notes"].append("user instructions: valgrind is not on the PATH (apt install valgrind)")
        return
    totals, requests = [], []
    for rounds in CALLGRIND_ROUNDS:
        prefix = [
            "valgrind",
            "--tool=callgrind",
            "--trace-children=yes",
            "--callgrind-out-file=/dev/null",
        ]
        server = servers.start(
            contender,
            lab,
            closes(lab, profile),
            prefix=prefix,
            limit_s=60,
            workers=1,
            profiles=[profile],
        )
        try:
            requests.append(waves(server, profile, rounds, closes(lab, profile)))
        finally:
            lab.nursery.stop(server.child, grace_s=30)
        total = parse_callgrind(server.child.stderr())
        if total is None:
            row["notes"].append("user instructions: callgrind gave no total")
            return
        totals.append(total)
    row["instructions"] = (totals[1] - totals[0]) / (requests[1] - requests[0])


def waves(server, profile, rounds, per_connection):
    """Exactly `rounds` times the profile's pipeline on each of some connections, all asking before
    any is read."""
    def connect():
        return [httpclient.Client(server.port, tls=profile.tls) for _ in range(CALLGRIND_CONNS)]

    clients = connect()
    requests = server.contender.asks(profile).requests
    sent = done = 0
    try:
        for turn in range(rounds):
            if per_connection and turn and turn % per_connection == 0:
                for c in clients:
                    c.sock.close()
                clients = connect()
            for c in clients:
                c.send(requests[sent % len(requests)].raw() * profile.pipeline)
                sent += 1
            for c in clients:
                for _ in range(profile.pipeline):
                    status = c.read().status
                    if not 200 <= status <= 299:
                        raise httpclient.Wrong(f"status {status} under callgrind")
                    done += 1
    finally:
        for c in clients:
            c.sock.close()
    return done
