# SPDX-License-Identifier: MIT
"""The libraries that make the server's calls fail: where they are, and how they are preloaded."""

import contextlib
import os
import subprocess
import tempfile

import pytest

import wire


@contextlib.contextmanager
def shim(name, needed="C compiler"):
    """The path of tests/faults/NAME.c's library, built by the build system, or here where it was not."""
    built = os.path.join(os.environ.get("BUILDDIR", ""), "tests", "faults", name + ".so")
    if os.path.exists(built):
        yield built
        return
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".c")
    cc = os.environ.get("CC", "cc").split()
    with tempfile.TemporaryDirectory(dir=wire.TMP) as tmp:
        out = os.path.join(tmp, name + ".so")
        if subprocess.run(cc + ["-O1", "-shared", "-fPIC", "-o", out, source, "-ldl"]).returncode:
            pytest.skip("no %s to build tests/faults/%s.c with" % (needed, name))
        yield out


def environment(preload, log, **faults):
    """The server's, with that library, which writes what it does to `log`; `faults`: which, as fault.h has them."""
    env = dict(os.environ, LD_PRELOAD=preload, BIVALVE_FAULT_LOG=log)
    # The sanitizer's runtime wants to be first; the shim calls on to whatever comes next.
    env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    env.update({"BIVALVE_FAULT_" + k.upper(): str(v) for k, v in faults.items()})
    return env


def fired(log):
    """The lines of the log: the faults that there were."""
    try:
        with open(log) as f:
            return f.read().split("\n")[:-1]
    except FileNotFoundError:
        return []
