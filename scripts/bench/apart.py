# SPDX-License-Identifier: MIT
"""Server and load on machines of their own: which address, which CPUs, and one run of the load that
both sides watch, each its own processes by its own clock."""
import time

from . import far, machine, sampler
from .errors import BenchError
from .load import Seen

POLL_S = 0.05
GENERATORS = ("bivalve-load", "wrk", "gcannon")  # h2load's figures are in a file over there


def check_options(options):
    """What two machines cannot do."""
    if options.counts or options.counters:
        raise BenchError(
            "--counts and --counters are for one machine: count where the servers run"
        )
    if options.generator and options.generator not in GENERATORS:
        raise BenchError(f"--generator {options.generator}: not on two machines")


class Pair:
    """The two sides; made by Lab where a prefix is given."""

    def __init__(self, options, log_dir, near_dir):
        self.server = self.load = None
        near = None
        try:
            sides = []
            for what in ("server", "load"):
                prefix = getattr(options, what + "_prefix", None)
                if prefix:
                    sides.append(far.Far(prefix, f"--{what}-prefix", f"{log_dir}/{what}-side.err"))
                else:
                    near = near or far.Near(near_dir)
                    sides.append(near)
                setattr(self, what, sides[-1])
            self.about = {"server": self.server.call("describe"), "load": self.load.call("describe")}
            self.address = options.address or self._address()
        except BaseException:
            self.close()
            raise

    def _address(self):
        """Where the load finds the servers: ssh has told the far side."""
        server = self.about["server"]["ssh_connection"]
        load = self.about["load"]["ssh_connection"]
        if self.server.prefix and len(server) == 4:
            return server[2]
        if not self.server.prefix and len(load) == 4:
            return load[0]
        raise BenchError(
            "--address ADDRESS is needed: at which address of the server's machine the load's"
            " reaches it (ssh would have told)"
        )

    def cpus(self, text):
        """(server's CPUs, load's CPUs): all of each machine that may be used, or as told."""
        allowed = [
            {c for core in self.about[s]["cores"] for c in core} for s in ("server", "load")
        ]
        return machine.parse_split(text, allowed) if text else tuple(allowed)

    def describe(self):
        """For results.json."""
        return {
            "address": self.address,
            "server_prefix": self.server.prefix,
            "load_prefix": self.load.prefix,
            "load_machine": self.about["load"]["machine"],
        }

    def close(self):
        for side in {id(s): s for s in (self.server, self.load) if s}.values():
            side.close()


def start_load(lab, argv, env, job):
    """Start the load generator where it runs; its files go there first."""
    there = lab.apart.about["load"]["folder"]
    far.send_folder(lab.apart.load, lab.load_dir, there)
    argv = [w.replace(lab.load_dir, there) for w in argv]
    if env:
        env = {k: v.replace(lab.load_dir, there) for k, v in env.items() if lab.load_dir in v}
    return lab.load_nursery.spawn(argv, job.tag, cpus=lab.load_cpus, env=env)


def check_reach(lab, server):
    """The load's machine must reach the server's."""
    why = lab.apart.load.call("reaches", lab.address, server.port)
    if why:
        raise BenchError(
            f"the load's machine cannot connect to {lab.address}:{server.port}, where {server.name}"
            f" listens: {why}; is --address right, and no packet filter between them?"
        )


def watch_runs(lab, sides, commands, jobs, limit_s):
    """sampler.watch_runs() on two machines: [(the load's child, Watch)], all times in the load's clock,
    which is the one that the generator's own figures have."""
    pair = lab.apart
    pair.server.sync()
    pair.load.sync()
    servers, loads = [s.server for s in sides], []
    try:
        for server, job in zip(servers, jobs):
            share = sampler.CONNECTED_LIMITED if job.profile.per_connection else sampler.CONNECTED
            pair.server.call("watch_begin", server.pid, sorted(lab.server_cpus), job.conns * share)
        for (argv, env), job in zip(commands, jobs):
            loads.append(start_load(lab, argv, env, job))
            pair.load.call("watch_begin", loads[-1].pid, sorted(lab.load_cpus), None)
        wait_for(servers, loads, time.monotonic() + limit_s)
        of_loads = [pair.load.call("watch_end", load.pid) for load in loads]
        of_servers = [pair.server.call("watch_end", server.pid) for server in servers]
    except BaseException:
        for server in servers:
            pair.server.call("watch_end", server.pid)
        for load in loads:
            pair.load.call("watch_end", load.pid)
            lab.load_nursery.stop(load, 0.2)
        raise
    shift = pair.load.offset - pair.server.offset
    return [
        (load, put_together(of_server, of_load, shift, job))
        for load, of_server, of_load, job in zip(loads, of_servers, of_loads, jobs)
    ]


def wait_for(servers, loads, end):
    """Until all loads have ended; TimeoutError at CLOCK_MONOTONIC second `end`."""
    while any(load.running() for load in loads):
        for server in servers:
            server.check_alive()
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(POLL_S)


def put_together(of_server, of_load, shift, job):
    """One Watch of both sides' samples; `shift` turns the server's clock into the load's."""
    watch = sampler.Watch()
    for series, rows in (
        (watch.server, of_server["cpu"]),
        (watch.split, of_server["split"]),
        (watch.switches, of_server["switches"]),
        (watch.own, of_server["own"]),
    ):
        series.rows = moved(rows, shift)
    watch.load.rows = moved(of_load["cpu"], 0)
    watch.opens.rows = moved(of_load["opens"], 0)
    watch.load_own.rows = moved(of_load["own"], 0)
    for side, got, by in (("server", of_server, shift), ("load", of_load, 0)):
        for cpu, rows in got["busy"].items():
            series = watch.busy.setdefault((side, int(cpu)), sampler.Series())
            series.rows = moved(rows, by)
    watch.load_keys = {key for key in watch.busy if key[0] == "load"}
    watch.pss_peak, watch.group_peak = of_server["pss_peak"], of_server["group_peak"]
    watch.server_exact = of_server["exact"]
    watch.all_connected = of_server["connected"] is not None
    started = of_load["started"]
    connected = started + sampler.WAIT_SHARE * job.seconds
    if watch.all_connected:
        connected = of_server["connected"] + shift
    watch.seen = Seen(
        started, connected, of_load["threads_up"], of_load["ended"], of_load["epoch_offset"]
    )
    return watch


def moved(rows, by):
    return [(row[0] + by, *row[1:]) for row in rows]
