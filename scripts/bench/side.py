# SPDX-License-Identifier: MIT
"""One side of a measurement on two machines: what is done where the servers run, or where the load
does.

A Side starts and ends processes, hands out ports, and samples what only its own machine can tell:
CPU time, memory, who else used the CPUs. Its methods take and return what JSON has, because on another machine
they are called over a pipe: main() answers one request a line on standard input, until that
ends; then every process that it started is ended, too. far.py is the other end.
"""
import base64
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time

from . import cgroup, children, generators, machine, procfs, sampler, servers
from .errors import BenchError

PLACES = ("/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin")
READY = "bivalve-bench side ready"


class SideWatch(threading.Thread):
    """Samples one process tree of this machine until it is told to stop; rows as in sampler.Watch,
    times in this machine's CLOCK_MONOTONIC."""

    def __init__(self, pid, group, cpus, fds):
        super().__init__(daemon=True)
        self.group, self.cpus = group, set(cpus)
        self.fds = fds  # descriptors more than now that mean "all connections stand", or None
        self.watch = sampler.Watch()
        self.clock = procfs.CpuClock(pid)
        self.connected = self.threads_up = None
        self.started = time.monotonic()
        self.ending = threading.Event()
        self.start()

    def run(self):
        pids = self.clock.pids()
        wanted = procfs.open_fds(pids) + self.fds if self.fds else None
        next_slow = next_memory = self.started
        while not self.ending.is_set():
            now = time.monotonic()
            self.watch.server.add(now, self.clock.read_ns())
            if wanted and self.connected is None and procfs.open_fds(pids) >= wanted:
                self.connected = now
            if self.threads_up is None and self.clock.threads() > 1:
                self.threads_up = now
            if now >= next_slow or self.threads_up is None:
                self.clock.refresh()
            if now >= next_slow:
                pids = self.clock.pids()
                sampler.sample_slow(self.watch, now, pids, self.cpus)
                next_slow = now + sampler.SLOW_S
            if wanted and now >= next_memory and now - self.started > 0.1:
                sampler.sample_memory(self.watch, pids, self.group)
                next_memory = now + sampler.MEMORY_S
            self.ending.wait(max(0.0, sampler.FAST_S - (time.monotonic() - now)))
        now = time.monotonic()
        self.watch.server.add(now, self.clock.read_ns())
        sampler.sample_slow(self.watch, now, pids, self.cpus)

    def end(self):
        """All that was sampled."""
        self.ending.set()
        self.join()
        self.clock.close()
        w = self.watch
        return {
            "started": self.started,
            "ended": time.monotonic(),
            "connected": self.connected,
            "threads_up": self.threads_up,
            "epoch_offset": time.time() - time.monotonic(),
            "exact": self.clock.exact,
            "cpu": w.server.rows,
            "split": w.split.rows,
            "switches": w.switches.rows,
            "opens": w.opens.rows,
            "own": w.own.rows,
            "busy": {str(cpu): series.rows for cpu, series in w.busy.items()},
            "pss_peak": w.pss_peak,
            "group_peak": w.group_peak,
        }


class Side:
    """See the head of this file. `folder` is for what its processes write and for files sent here."""

    def __init__(self, folder):
        self.folder = folder
        self.nursery = children.Nursery()
        self.groups = cgroup.Maker()
        self.ports = None
        self.children = {}
        self.watches = {}

    def describe(self):
        """What the other end has to know first."""
        return {
            "machine": machine.describe(),
            "cores": machine.cores(),
            "folder": self.folder,
            "root": os.geteuid() == 0,
            "cgroup_version": self.groups.version if self.groups.parent else None,
            "cgroup_reason": self.groups.reason,
            # "CLIENT PORT SERVER PORT", see ssh(1): how the two machines call each other.
            "ssh_connection": os.environ.get("SSH_CONNECTION", "").split(),
        }

    def monotonic(self):
        return time.monotonic()

    def stay_off(self, cpus):
        """Keep this process off these CPUs, if there are others."""
        away = os.sched_getaffinity(0) - set(cpus)
        if away:
            os.sched_setaffinity(0, away)

    def need_fds(self, connections):
        machine.need_fds(connections)

    def find_program(self, name):
        """Its path here, or None."""
        path = os.pathsep.join((os.environ.get("PATH", ""),) + PLACES)
        return shutil.which(name, path=path)

    def find_generator(self, wanted, rate, given):
        """Name, path and version of the load generator that is to be used here."""
        if given and os.access(given, os.X_OK):
            os.environ.setdefault("BIVALVE_LOAD", given)
        os.environ["PATH"] = os.pathsep.join((os.environ.get("PATH", ""),) + PLACES)
        got = generators.find(wanted, rate)
        return {"name": got.name, "path": got.path, "version": got.version}

    def open_ports(self, base, address):
        if not servers.address_is_here(address):
            raise BenchError(
                f"{address} is not an address of the machine that the servers run on:"
                " --address names the one at which the load reaches them"
            )
        self.ports = servers.Ports(base, address)

    def take_port(self, which):
        return self.ports.take(which)

    def reserve_ports(self, count):
        self.ports.reserve(count)

    def port_free(self, port):
        return servers.wait_port_free(port, self.ports.address)

    def reaches(self, address, port):
        """ "" if a connection from here succeeds, else why not."""
        try:
            socket.create_connection((address, port), 5).close()
            return ""
        except OSError as e:
            return e.strerror or str(e)

    def spawn(self, argv, tag, cpus, with_group, env):
        """Start a process; returns its number for the other methods."""
        group = self.groups.make() if with_group else None
        base = os.path.join(self.folder, tag)
        own = dict(os.environ, **env) if env else None
        try:
            child = self.nursery.spawn(argv, base, cpus=set(cpus), group=group, env=own)
        except OSError as e:
            if group:
                group.remove()
            raise BenchError(f"cannot run {argv[0]}: {e.strerror}") from None
        self.children[child.pid] = child
        return child.pid

    def state(self, pid):
        """[whether it runs, its exit status if not]"""
        child = self.children[pid]
        return [child.running(), child.popen.returncode]

    def stop(self, pid, grace_s):
        return self.nursery.stop(self.children[pid], grace_s)

    def output(self, pid):
        child = self.children[pid]
        return [child.stdout(), child.stderr()]

    def forget(self, pid):
        """Its output is not wanted any more."""
        self.children.pop(pid).forget_output()

    def listens(self, pid, port):
        return self.children[pid].listens(port)

    def pss(self, pid):
        return self.children[pid].pss()

    def usage(self, pid):
        group = self.children[pid].group
        return group.usage() if group else None

    def put(self, files):
        """Write files, {name: base64 of its bytes}."""
        for name, content in files.items():
            with open(os.path.join(self.folder, os.path.basename(name)), "wb") as f:
                f.write(base64.b64decode(content))

    def watch_begin(self, pid, cpus, fds):
        self.watches[pid] = SideWatch(pid, self.children[pid].group, cpus, fds)

    def watch_end(self, pid):
        watch = self.watches.pop(pid, None)
        return watch.end() if watch else None

    def close(self):
        for pid in list(self.watches):
            self.watch_end(pid)
        self.nursery.close()


def answer(side, line):
    """The answer to one request, as a dict with the request's number."""
    number = None
    try:
        request = json.loads(line)
        name, number = request["do"], request["number"]
        if name.startswith("_"):
            raise BenchError(f"no such thing to do: {name}")
        return {"ok": getattr(side, name)(*request["with"]), "number": number}
    except BenchError as e:
        return {"error": str(e), "number": number}
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as e:
        return {"error": f"{type(e).__name__}: {e}", "number": number}


def on_signal(_number, _frame):
    raise KeyboardInterrupt


def main(folder):
    """Answer requests until standard input ends."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    side = Side(folder)
    try:
        print(READY, flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(side, line)), flush=True)
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    finally:
        side.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0
