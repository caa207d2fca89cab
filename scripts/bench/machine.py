# SPDX-License-Identifier: MIT
"""The machine that the numbers come from: no number is shown without it."""
import hashlib
import os
import platform
import re
import resource

from . import procfs
from .errors import BenchError

FD_RESERVE = 64
VULNERABILITIES = "/sys/devices/system/cpu/vulnerabilities"


def first_line(path):
    return procfs.read_text(path).split("\n")[0].strip()


def cpu_model():
    m = re.search(
        r"^(?:model name|Model|cpu model)\s*:\s*(.*)$", procfs.read_text("/proc/cpuinfo"), re.M
    )
    return m.group(1) if m else platform.machine()


def distribution():
    m = re.search(r'^PRETTY_NAME="?([^"\n]*)', procfs.read_text("/etc/os-release"), re.M)
    return m.group(1) if m else "unknown"


def mitigations():
    """{vulnerability: state} of those this CPU has."""
    out = {}
    try:
        names = sorted(os.listdir(VULNERABILITIES))
    except OSError:
        return out
    for n in names:
        state = first_line(os.path.join(VULNERABILITIES, n))
        if state and state != "Not affected":
            out[n] = state
    return out


def identity():
    """A short name that is this installation's alone and says nothing about it: a hash of
    machine-id(5), which is not to be published itself; None where there is none."""
    own = first_line("/etc/machine-id")
    return hashlib.sha256(f"bivalve-bench {own}".encode()).hexdigest()[:12] if own else None


def governor():
    base = "/sys/devices/system/cpu/cpu0/cpufreq/"
    return first_line(base + "scaling_governor") or "none (the host decides)"


def describe():
    """Everything that belongs beside the figures, as a dict."""
    memory = re.search(r"^MemTotal:\s+(\d+)", procfs.read_text("/proc/meminfo"), re.M)
    return {
        "id": identity(),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "cpus_allowed": sorted(os.sched_getaffinity(0)),
        "virtual": "hypervisor" in procfs.read_text("/proc/cpuinfo"),
        "memory_mib": int(memory.group(1)) // 1024 if memory else None,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "distribution": distribution(),
        "mitigations": mitigations(),
        "governor": governor(),
        "turbo_off": first_line("/sys/devices/system/cpu/intel_pstate/no_turbo") == "1",
        "transparent_hugepages": first_line("/sys/kernel/mm/transparent_hugepage/enabled"),
        "clocksource": first_line(
            "/sys/devices/system/clocksource/clocksource0/current_clocksource"
        ),
        "io_uring_disabled": first_line("/proc/sys/kernel/io_uring_disabled") or None,
        "somaxconn": first_line("/proc/sys/net/core/somaxconn"),
        "load_average": procfs.read_text("/proc/loadavg").split()[:3],
    }


def cores():
    """CPUs this process may use, grouped by core: [[0, 4], [1, 5], ...]."""
    allowed = os.sched_getaffinity(0)
    seen, out = set(), []
    for cpu in sorted(allowed):
        if cpu in seen:
            continue
        text = first_line(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        siblings = sorted((procfs.parse_cpu_list(text) if text else {cpu}) & allowed) or [cpu]
        seen.update(siblings)
        out.append(siblings)
    return out


def split_cpus(core_list):
    """(server CPUs, load CPUs, note). A third of the cores serve, the rest load; hardware threads
    never share sides."""
    if len(core_list) == 1 and len(core_list[0]) == 1:
        only = set(core_list[0])
        return (
            only,
            only,
            (
                "one CPU: server and load share it, so requests/s and latency say little; CPU per"
                " request stands"
            ),
        )
    if len(core_list) == 1:
        a, b = core_list[0][0], core_list[0][1]
        return {a}, {b}, "one core with two hardware threads: server and load disturb each other"
    n = max(1, len(core_list) // 3)
    load = {cpu for siblings in core_list[n:] for cpu in siblings}
    return {siblings[0] for siblings in core_list[:n]}, load, ""


def parse_split(text, allowed=None):
    """(server CPUs, load CPUs) from SERVER:LOAD, both lists of CPUs. `allowed`: those of each side,
    where the sides are machines of their own."""
    server, colon, load = text.partition(":")
    try:
        sides = procfs.parse_cpu_list(server), procfs.parse_cpu_list(load)
    except ValueError:
        sides = (set(), set())
    if not colon or not all(sides):
        raise BenchError(f"--cpus {text}: SERVER:LOAD is needed, such as 0:1 or 0-1:2-7")
    for side, may in zip(sides, allowed or [os.sched_getaffinity(0)] * 2):
        gone = side - may
        if gone:
            raise BenchError(
                f"--cpus {text}: CPU {', '.join(map(str, sorted(gone)))} may not be used here;"
                f" allowed: {', '.join(map(str, sorted(may)))}"
            )
    return sides


def cpu_text(cpus):
    """ "0-2,5" from a set."""
    out, run = [], []
    for cpu in sorted(cpus) + [None]:
        if run and (cpu is None or cpu != run[-1] + 1):
            out.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
            run = []
        run.append(cpu)
    return ",".join(out)


def need_fds(connections):
    """Raise the soft limit on file descriptors so far that so many connections fit, or say that
    they cannot."""
    need = connections + FD_RESERVE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < need:
        raise BenchError(
            f"{connections} connections need {need} file descriptors and the hard limit is {hard}:"
            " raise it (ulimit -Hn, or LimitNOFILE=, or /etc/security/limits.conf), or give"
            " smaller --conns"
        )
    if soft == resource.RLIM_INFINITY or soft >= need:
        return
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else need, hard)
    )
