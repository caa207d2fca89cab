# SPDX-License-Identifier: MIT
"""The surroundings of all measurements: CPUs, ports, control groups, folders, children, limits."""
import os
import resource

from . import cgroup, children, generators, machine, servers
from .errors import BenchError

FD_RESERVE = 64


class Lab:
    """Made once; close() ends every child."""

    def __init__(self, options, out_dir, progress):
        self.progress = progress
        self.out_dir = out_dir
        self.notes = []
        self.starts = self.slices = self.busy_slices = 0
        self.busy_said = False
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
        self.log_dir = make_dir(os.path.join(out_dir, "logs"))
        self.load_dir = make_dir(os.path.join(out_dir, "load"))
        self.groups = cgroup.Maker()
        if not self.groups.parent:
            self.notes.append(f"no control-group memory: {self.groups.reason}")
        # The tool itself stays off the server's CPUs, on a third side's where there is one.
        self.home = os.sched_getaffinity(0)
        away = self.home - self.server_cpus - self.load_cpus or self.home - self.server_cpus
        self.nursery = children.Nursery()
        if away:
            os.sched_setaffinity(0, away)

    def close(self):
        self.nursery.close()
        os.sched_setaffinity(0, self.home)


def make_dir(path):
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as e:
        raise BenchError(
            f"cannot make {path}: {e.strerror}; choose another place with --out"
        ) from None
    return path


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
