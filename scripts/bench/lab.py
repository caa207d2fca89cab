# SPDX-License-Identifier: MIT
"""The surroundings of all measurements: CPUs, ports, control groups, folders, children, limits."""
import os
import shutil

from . import apart, assets, cgroup, children, far, generators, machine, servers
from .errors import BenchError


class Lab:
    """Made once; close() ends every child."""

    def __init__(self, options, out_dir, progress):
        self.progress = progress
        self.out_dir = out_dir
        self.notes = []
        self.starts = self.slices = self.busy_slices = 0
        self.busy_said = False
        self.log_dir = os.path.abspath(make_dir(os.path.join(out_dir, "logs")))
        self.load_dir = os.path.abspath(make_dir(os.path.join(out_dir, "load")))
        self.apart = None
        self.assets = assets.Assets()
        self.address = "127.0.0.1"
        if any(getattr(options, name, None) for name in ("server_prefix", "load_prefix")):
            self._on_two_machines(options)
        else:
            self._on_one_machine(options)
        note = generators.stands_in(self.generator, options.generator)
        if note:
            self.notes.append(note)

    def _on_one_machine(self, options):
        if getattr(options, "address", None):
            raise BenchError("--address is for --server-prefix and --load-prefix")
        if options.cpus:
            self.server_cpus, self.load_cpus = machine.parse_split(options.cpus)
            if self.server_cpus & self.load_cpus:
                self.notes.append(
                    "server and load share CPU "
                    + machine.cpu_text(self.server_cpus & self.load_cpus)
                )
        else:
            self.server_cpus, self.load_cpus, note = machine.split_cpus(machine.cores())
            if note:
                self.notes.append(note)
        self.workers = options.workers or len(self.server_cpus)
        self.generator = generators.find(
            options.generator, getattr(options, "rate", None), options.bivalve
        )
        self.ports = servers.Ports(options.port)
        self.groups = cgroup.Maker()
        if not self.groups.parent:
            self.notes.append(f"no control-group memory: {self.groups.reason}")
        # The tool itself stays off the server's CPUs, on a third side's where there is one.
        self.home = os.sched_getaffinity(0)
        away = self.home - self.server_cpus - self.load_cpus or self.home - self.server_cpus
        self.nursery = self.server_nursery = self.load_nursery = children.Nursery()
        self.machine = machine.describe()
        if away:
            os.sched_setaffinity(0, away)

    def _on_two_machines(self, options):
        self.home = os.sched_getaffinity(0)
        self.nursery = children.Nursery()
        near_dir = os.path.abspath(make_dir(os.path.join(self.out_dir, "near")))
        try:
            self.apart = apart.Pair(options, self.log_dir, near_dir)
            self._divide(options)
        except BaseException:
            self.close()
            raise

    def _divide(self, options):
        server, load = self.apart.server, self.apart.load
        self.address = self.apart.address
        self.server_cpus, self.load_cpus = self.apart.cpus(options.cpus)
        self.workers = options.workers or len(self.server_cpus)
        server.call("stay_off", sorted(self.server_cpus))
        for side in (server, load):
            side.call("need_fds", max(n for part in options.conns or [[0]] for n in part))
        found = load.call(
            "find_generator",
            options.generator,
            getattr(options, "rate", None),
            # Where it is here is where it may be over there.
            generators.locate(generators.gen_bivalve_load, options.bivalve),
        )
        module = next(m for m in generators.ALL if m.NAME == found["name"])
        self.generator = generators.Generator(module, found["path"], found["version"])
        self.server_nursery, self.load_nursery = far.FarNursery(server), far.FarNursery(load)
        self.ports = far.FarPorts(server, options.port, self.address)
        self.groups = far.FarGroups(self.apart.about["server"])
        self.machine = self.apart.about["server"]["machine"]
        if not self.groups.parent:
            self.notes.append(f"no control-group memory: {self.groups.reason}")

    def find_program(self, name):
        """Its path where the servers run, or None."""
        return self.apart.server.call("find_program", name) if self.apart else shutil.which(name)

    def check_reach(self, server):
        """The load must be able to connect where the server listens."""
        if self.apart:
            apart.check_reach(self, server)

    def start_load(self, argv, env, job):
        """Start the load generator, on its CPUs."""
        if self.apart:
            return apart.start_load(self, argv, env, job)
        base = os.path.join(self.load_dir, job.tag)
        return self.nursery.spawn(argv, base, cpus=self.load_cpus, env=env)

    def close(self):
        if self.apart:
            self.apart.close()
            shutil.rmtree(os.path.join(self.out_dir, "near"), ignore_errors=True)
        self.nursery.close()
        self.assets.close()
        os.sched_setaffinity(0, self.home)


def make_dir(path):
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as e:
        raise BenchError(
            f"cannot make {path}: {e.strerror}; choose another place with --out"
        ) from None
    return path
