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


class Run:
    """One run of the load against one server, and all that is sampled of the two."""

    def __init__(self, server, start_load, job, extra=None):
        """`start_load`: () -> the load's Child. `extra`: () -> figures to sample along with the rest."""
        self.server, self.start_load, self.job, self.extra = server, start_load, job, extra
        self.watch = Watch()
        self.clock = procfs.CpuClock(server.pid)
        self.watch.server_exact = self.clock.exact
        self.pids = self.clock.pids()
        share = CONNECTED_LIMITED if job.profile.per_connection else CONNECTED
        self.fds_all = procfs.open_fds(self.pids) + job.profile.idle + job.conns * share
        self.load = self.load_clock = self.started = self.ended = None
        self.connected = self.threads_up = None

    def start(self):
        self.load = self.start_load()
        self.load_clock = procfs.CpuClock(self.load.pid)
        self.started = time.monotonic()

    def sample(self, slow, cpus):
        """What is sampled often, and if it is `slow`'s time the rest."""
        now = time.monotonic()
        self.watch.server.add(now, self.clock.read_ns())
        self.watch.load.add(now, self.load_clock.read_ns())
        if self.connected is None:
            if procfs.open_fds(self.pids) >= self.fds_all:
                self.connected, self.watch.all_connected = now, True
            elif now - self.started > WAIT_SHARE * self.job.seconds:
                self.connected = now
        if self.threads_up is None and self.load_clock.threads() > 1:
            self.threads_up = now
        if slow or self.threads_up is None:
            self.load_clock.refresh()
        if slow:
            self.clock.refresh()
            self.pids = self.clock.pids()
            self._sample_slow(now, cpus)
            self.server.check_alive()

    def _sample_slow(self, now, cpus):
        sample_slow(self.watch, now, self.pids, cpus)
        if self.extra:
            self.watch.extra.add(time.monotonic(), *self.extra())

    def end(self, cpus):
        """The load has ended."""
        self.ended = time.monotonic()
        self.watch.server.add(self.ended, self.clock.read_ns())
        self._sample_slow(self.ended, cpus)
        self.watch.seen = Seen(
            self.started,
            self.connected if self.connected is not None else self.ended,
            self.threads_up,
            self.ended,
            time.time() - time.monotonic(),
        )

    def close(self):
        self.clock.close()
        if self.load_clock:
            self.load_clock.close()


def watch_runs(runs, cpus, limit_s):
    """Start the loads of all `runs`, sample until the last has ended; their Watches are complete then.

    `cpus`: those whose busy time counts, servers' and loads'. `limit_s`: when a load is given up as
    hanging.
    """
    try:
        for run in runs:
            run.start()
        begun = next_slow = next_memory = time.monotonic()
        going = list(runs)
        while going:
            now = time.monotonic()
            slow = now >= next_slow
            for run in [r for r in going if not r.load.running()]:
                run.end(cpus)
                going.remove(run)
            for run in going:
                run.sample(slow, cpus)
            if slow:
                next_slow = now + SLOW_S
            if now >= next_memory and now - begun > 0.1:
                for run in going:
                    sample_memory(run.watch, run.pids, run.server.group)
                next_memory = now + MEMORY_S
            if now - begun > limit_s:
                raise TimeoutError
            time.sleep(max(0.0, FAST_S - (time.monotonic() - now)) if going else 0)
    finally:
        for run in runs:
            run.close()


def watch_run(server, start_load, job, cpus, limit_s, extra=None):
    """watch_runs() of one; returns (the load's Child, Watch)."""
    run = Run(server, start_load, job, extra)
    watch_runs([run], cpus, limit_s)
    return run.load, run.watch
