# SPDX-License-Identifier: MIT
"""What is common to the load generators: finding them, and the Load that each makes of its output.

A generator module offers NAME, PACKAGE, version(path), command(path, job) -> (argv, env),
parse(text, job, seen) -> Load, NOTES (what a reader must know of its figures) and SERVER_CLOSES
(whether, for limited connections, the server has to).
"""
import shutil

from . import gen_gcannon, gen_h2load, gen_wrk
from .errors import BenchError

CLOSED_LOOP = (gen_gcannon, gen_wrk)


class Generator:
    """A load generator found on this machine."""

    def __init__(self, module, path):
        self.module, self.path = module, path
        self.name = module.NAME
        self.version = module.version(path)
        self.notes = module.NOTES
        self.server_closes = module.SERVER_CLOSES

    def describe(self):
        return f"{self.name} {self.version}"

    def learn_version(self, text):
        """gcannon tells its version only in a run's output."""
        if not self.version:
            self.version = self.module.version_from_run(text)


def find(wanted, rate):
    """The generator to use: h2load for a fixed rate, else the wanted one, else gcannon if on the
    PATH, else wrk."""
    if rate:
        if wanted not in (None, "h2load"):
            raise BenchError(f"--rate needs h2load; {wanted} has no fixed rate for HTTP/1.1")
        modules = (gen_h2load,)
    elif wanted:
        modules = [m for m in CLOSED_LOOP if m.NAME == wanted]
        if not modules:
            raise BenchError(f"no generator {wanted}: wrk or gcannon (h2load serves --rate)")
    else:
        modules = CLOSED_LOOP
    for module in modules:
        path = shutil.which(module.NAME)
        if path:
            return Generator(module, path)
    missing = modules[-1]
    raise BenchError(f"{missing.NAME} is not on the PATH; install it: {missing.PACKAGE}")
