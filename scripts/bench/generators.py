# SPDX-License-Identifier: MIT
"""What is common to the load generators: finding them, and the Load that each makes of its output.

A generator module offers NAME, PACKAGE, version(path), command(path, job) -> (argv, env),
parse(text, job, seen) -> Load, NOTES (what a reader must know of its figures), SERVER_CLOSES
(whether, for limited connections, the server has to), EXTRAS (whether it can do profiles.EXTRAS), RATED (whether it keeps a fixed rate), and, if
so, GET_ONLY (whether that is for GET alone), TURNS (whether several of it can take turns).
"""
import os
import shutil
import sys

from . import gen_bivalve_load, gen_gcannon, gen_h2load, gen_wrk
from .errors import BenchError

ALL = (gen_bivalve_load, gen_gcannon, gen_wrk, gen_h2load)  # the first that is found is used
NAMES = tuple(m.NAME for m in ALL)


class Generator:
    """A load generator found on this machine."""

    def __init__(self, module, path, version=None):
        self.module, self.path = module, path
        self.name = module.NAME
        self.version = module.version(path) if version is None else version
        self.notes = module.NOTES
        self.server_closes = module.SERVER_CLOSES

    def describe(self):
        return f"{self.name} {self.version}"

    def learn_version(self, text):
        """gcannon tells its version only in a run's output."""
        if not self.version:
            self.version = self.module.version_from_run(text)


def stands_in(generator, wanted):
    """What there is to be said where another than ours was taken, and nobody wanted that; or None."""
    if wanted or generator.module is gen_bivalve_load:
        return None
    return (
        f"{NAMES[0]} was not found, neither beside this tool and the server nor on the PATH:"
        f" {generator.name} makes the load, and servers do not take turns"
    )


def locate(module, beside=None):
    """The program's path, or None. Ours may be where this tool or the server `beside` is."""
    if module is gen_bivalve_load:
        here = os.path.dirname(os.path.realpath(sys.argv[0]))
        given = os.environ.get("BIVALVE_LOAD")
        if given and not os.access(given, os.X_OK):
            raise BenchError(f"BIVALVE_LOAD={given}: not an executable file")
        for path in (
            given,
            os.path.join(os.path.dirname(os.path.realpath(beside)), NAMES[0]) if beside else None,
            NAMES[0],
            os.path.join(here, "..", NAMES[0]),
            os.path.join(here, NAMES[0]),
        ):
            if path and os.path.isfile(path) and os.access(path, os.X_OK):
                return os.path.abspath(path)
    return shutil.which(module.NAME)


def candidates(rate):
    """The modules that can do it."""
    return [m for m in ALL if (m.RATED if rate else m is not gen_h2load)]


def find_all(beside=None, rate=None):
    """Every generator for the closed loop, or for a fixed rate, that is on this machine."""
    found = [(m, locate(m, beside)) for m in candidates(rate)]
    return [Generator(m, path) for m, path in found if path]


def find(wanted, rate, beside=None):
    """The generator to use: the wanted one, else the first that is found of those that can do it."""
    modules = candidates(rate)
    if wanted:
        modules = [m for m in modules if m.NAME == wanted]
        if not modules:
            able = ", ".join(m.NAME for m in candidates(rate))
            what = "keeps no fixed rate over HTTP/1.1" if rate else "is for --rate alone"
            raise BenchError(f"--generator {wanted}: it {what}; there are {able}")
    for module in modules:
        path = locate(module, beside)
        if path:
            return Generator(module, path)
    raise BenchError(
        "; ".join(f"{m.NAME} was not found: {m.PACKAGE}" for m in modules)
        + (" (or name bivalve-load by the environment: BIVALVE_LOAD)" if not wanted else "")
    )
