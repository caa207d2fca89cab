# SPDX-License-Identifier: MIT
"""What the tests of bivalve-bench share."""
import json
import os
import shutil
import subprocess
import sys
import time

import pytest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.normpath(os.path.join(HERE, "..", "..", "scripts"))
TOOL = os.path.join(SCRIPTS, "bivalve-bench")
TINY = os.path.join(HERE, "tiny_server.py")
sys.path.insert(0, SCRIPTS)

from bench import procfs  # noqa: E402


def recorded(name):
    """The text of a recorded output."""
    with open(os.path.join(HERE, "recorded", name), encoding="utf-8") as f:
        return f.read()


def tiny(*words):
    """--server's command for the small server of these tests."""
    return " ".join([sys.executable, TINY, "{port}", *words])


def comparison(*servers, **options):
    """The words for a comparison of NAME=COMMAND...: an option by its name, True where it takes no value, a list
    where it is given more than once. Without idle connections, and with its results in out/, unless they say
    something else."""
    words = ["compare"]
    for name, values in {"server": list(servers), "idle": 0, "out": "out", **options}.items():
        for value in values if isinstance(values, list) else [values]:
            words.append("--" + name.replace("_", "-"))
            if value is not True:
                words.append(str(value))
    return words


def bench(*argv, cwd, timeout=240, env=None):
    """Run the tool in `cwd`. Slices count however busy the machine is: nothing here depends on
    their speed."""
    if argv[:1] == ("compare",):
        argv += ("--max-foreign", "1000")
    return subprocess.run(
        [sys.executable, TOOL, *argv],
        cwd=cwd,
        timeout=timeout,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
    )


def need(program, package):
    if not shutil.which(program):
        pytest.skip(f"{program} is not on the PATH (Debian: apt install {package})")


@pytest.fixture
def wrk():
    need("wrk", "wrk")
    if len(os.sched_getaffinity(0)) < 2:
        print("one CPU: server and load share it")


@pytest.fixture(scope="session")
def bivalve():
    path = os.environ.get("BIVALVE")
    if not path:
        pytest.skip("BIVALVE does not name the server to compare (make check does)")
    return path


@pytest.fixture(scope="session")
def backends(bivalve):
    """Backends compiled in that this machine runs, or those of them that $BACKENDS has."""
    compiled = (os.environ.get("BIVALVE_BACKENDS") or "epoll libev io_uring").split()
    compiled = os.environ.get("BACKENDS", "").split() or compiled
    probe = subprocess.run(
        [bivalve, "--probe"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    out = [e for e in compiled if f"{e}: runs here" in probe.stdout]
    if not out:
        pytest.fail(f"{bivalve} runs none of {compiled}:\n{probe.stdout}")
    return out


@pytest.fixture
def dataset():
    return os.path.normpath(os.path.join(HERE, "..", "..", "data", "dataset.json"))


def results(folder):
    with open(os.path.join(folder, "results.json"), encoding="utf-8") as f:
        return json.load(f)


def assert_nothing_left(marker):
    """No process whose command line or environment mentions the marker is alive."""
    end = time.monotonic() + 20
    while True:
        left = [
            p
            for p in procfs.list_pids()
            if p != os.getpid()
            and marker in procfs.read_text(f"/proc/{p}/cmdline")
            and (procfs.process(p) or {"state": "Z"})["state"] not in "ZX"
        ]
        if not left:
            return
        assert time.monotonic() < end, [procfs.read_text(f"/proc/{p}/cmdline") for p in left]
        time.sleep(0.1)
