# SPDX-License-Identifier: MIT
"""Watches one run of the load: samples the server's and the generator's CPU time, memory and the
machine's idle time.

Everything is sampled with its time, so that it can be read off at the two ends of the window that
the generator counted. The sampling itself costs about one percent of a CPU, on the load's side.
"""
import time

from . import procfs
from .load import Seen

FAST_S = 0.01  # CPU time
SLOW_S = 0.05  # user/system split, context switches, the machine
MEMORY_S = 0.2  # PSS takes a page-table walk of the server
CONNECTED = 0.99  # share of the connections that the server holds when all are said to stand,
CONNECTED_LIMITED = 0.8  # and where connections are limited: some are always between two
WAIT_SHARE = 0.5  # of the slice may pass before all connections stand


class Series:
    """Samples (time, values...), read off between samples in proportion."""

    def __init__(self):
        self.rows = []

    def add(self, t, *values):
        self.rows.append((t,) + values)

    def at(self, t):
        rows = self.rows
        if t <= rows[0][0]:
            return rows[0][1:]
        if t >= rows[-1][0]:
            return rows[-1][1:]
        low, high = 0, len(rows) - 1
        while high - low > 1:
            mid = (low + high) // 2
            if rows[mid][0] <= t:
                low = mid
            else:
                high = mid
        a, b = rows[low], rows[high]
        share = (t - a[0]) / (b[0] - a[0])
        return tuple(x + (y - x) * share for x, y in zip(a[1:], b[1:]))

    def delta(self, begin, end):
        """What was added between the two times, one figure for each value."""
        return tuple(y - x for x, y in zip(self.at(begin), self.at(end)))


class Watch:
    """All that was sampled during one run; `seen` is for the generator's parser."""

    def __init__(self):
        self.server = Series()  # cpu_ns
        self.load = Series()  # cpu_ns
        self.split = Series()  # user_ns, system_ns
        self.switches = Series()  # voluntary, involuntary
        self.opens = Series()  # TCP connections opened by this machine
        self.busy = {}  # cpu: Series of busy_ns, steal_ns
        self.own = Series()  # cpu_ns of this tool
        # On two machines (apart.py) the keys of `busy` are (side, cpu), and these are the load's;
        self.load_keys = set()
        self.load_own = Series()  # and what of this tool runs on the load's.
        self.extra = Series()  # what the caller counts
        self.pss_peak = None
        self.group_peak = None
        self.all_connected = False
        self.server_exact = True
        self.seen = None


def sample_slow(watch, t, pids, cpus):
    watch.split.add(t, *procfs.user_system_ns(pids))
    watch.switches.add(t, *procfs.switches(pids))
    watch.own.add(t, time.process_time_ns())
    opens = procfs.parse_active_opens(procfs.read_text("/proc/net/snmp"))
    if opens is not None:
        watch.opens.add(t, opens)
    for cpu, figures in procfs.parse_cpus(procfs.read_text("/proc/stat")).items():
        if cpu in cpus:
            watch.busy.setdefault(cpu, Series()).add(t, *figures)


def sample_memory(watch, pids, group):
    pss = procfs.pss_bytes(pids)
    if pss is not None:
        watch.pss_peak = max(pss, watch.pss_peak or 0)
    usage = group.usage() if group else None
    if usage and (watch.group_peak is None or usage["used"] > watch.group_peak["used"]):
        watch.group_peak = usage


def watch_run(server, start_load, job, cpus, limit_s, check_alive, extra=None):
    """Start the load, sample until it ends; returns (the load's Child, Watch). check_alive() raises
    when the server died.

    `cpus`: those whose busy time counts, server's and load's. `limit_s`: when the load is given up
    as hanging. `extra`: () -> figures to sample along with the rest.
    """
    watch = Watch()
    clock = procfs.CpuClock(server.pid)
    watch.server_exact = clock.exact
    pids = clock.pids()
    fds_all = procfs.open_fds(pids) + job.profile.idle + job.conns * (
        CONNECTED_LIMITED if job.profile.per_connection else CONNECTED
    )
    load = start_load()
    load_clock = procfs.CpuClock(load.pid)
    started = now = time.monotonic()
    next_slow = next_memory = now
    connected = threads_up = None
    try:
        while load.running():
            now = time.monotonic()
            watch.server.add(now, clock.read_ns())
            watch.load.add(now, load_clock.read_ns())
            if connected is None:
                if procfs.open_fds(pids) >= fds_all:
                    connected, watch.all_connected = now, True
                elif now - started > WAIT_SHARE * job.seconds:
                    connected = now
            if threads_up is None and load_clock.threads() > 1:
                threads_up = now
            if now >= next_slow or threads_up is None:
                load_clock.refresh()
            if now >= next_slow:
                clock.refresh()
                pids = clock.pids()
                sample_slow(watch, now, pids, cpus)
                if extra:
                    watch.extra.add(time.monotonic(), *extra())
                check_alive()
                next_slow = now + SLOW_S
            if now >= next_memory and now - started > 0.1:
                sample_memory(watch, pids, server.group)
                next_memory = now + MEMORY_S
            if now - started > limit_s:
                raise TimeoutError
            time.sleep(max(0.0, FAST_S - (time.monotonic() - now)))
        ended = time.monotonic()
        watch.server.add(ended, clock.read_ns())
        sample_slow(watch, ended, pids, cpus)
        if extra:
            watch.extra.add(ended, *extra())
    finally:
        clock.close()
        load_clock.close()
    watch.seen = Seen(
        started,
        connected if connected is not None else ended,
        threads_up,
        ended,
        time.time() - time.monotonic(),
    )
    return load, watch
