# SPDX-License-Identifier: MIT
"""The static probes: each is one nop in the program, those that the header promises are there, and the
scripts for bpftrace ask for no others."""

import glob
import os
import re
import shutil
import subprocess

import pytest

import wire

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPTS = sorted(glob.glob(os.path.join(TOP, "scripts", "trace", "*.bt")))


def output(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
                          timeout=60).stdout


@pytest.fixture(scope="module")
def probes():
    """[(name, address, arguments)]"""
    if not shutil.which("readelf") or not shutil.which("objdump"):
        pytest.skip("readelf and objdump were not found (Debian: apt install binutils)")
    found = re.findall(r"Provider: bivalve\n\s*Name: (\w+)\n\s*Location: 0x([0-9a-f]+),.*\n\s*Arguments: ?(.*)\n",
                       output("readelf", "-n", wire.binary()))
    if not found:
        pytest.skip("built without probes: sys/sdt.h was not found (Debian: apt install systemtap-sdt-dev)")
    return [(name, int(at, 16), arguments.split()) for name, at, arguments in found]


def promised():
    with open(os.path.join(TOP, "src", "base", "trace.h")) as f:
        rows = re.findall(r"^ \*   ([a-z_]+?)  +((?:slot|exchange)[a-z, ]*?)?  +\S", f.read(), re.M)
    return {name: len(arguments.split(",")) if arguments else 0 for name, arguments in rows}


def test_all_that_are_promised(probes):
    names = promised()
    assert len(names) == 7
    assert {name: len(arguments) for name, _, arguments in probes} == names


def test_each_is_a_nop(probes):
    for name, at, _ in probes:
        code = output("objdump", "-d", "--start-address=%d" % at, "--stop-address=%d" % (at + 1), wire.binary())
        line = [l for l in code.splitlines() if re.match(r"\s*%x:" % at, l)]
        assert len(line) == 1 and line[0].split("\t")[-1].strip() == "nop", (name, line)


def test_the_scripts_know_them():
    assert len(SCRIPTS) >= 3
    for script in SCRIPTS:
        with open(script) as f:
            used = set(re.findall(r"^usdt:\$1:bivalve:(\w+)", f.read(), re.M))
        assert used and used <= set(promised()), script


@pytest.mark.parametrize("script", SCRIPTS, ids=os.path.basename)
def test_the_scripts_compile(probes, script):
    if not shutil.which("bpftrace") or os.geteuid() != 0:
        pytest.skip("bpftrace was not found (Debian: apt install bpftrace), or this is not root")
    done = subprocess.run(["bpftrace", "-d", script, wire.binary()], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60)
    if "tracepoint not found" in done.stdout:
        pytest.skip("the kernel shows no tracepoints")
    assert done.returncode == 0 and "ERROR" not in done.stdout.replace("set RLIMIT_MEMLOCK", "").replace(
        "ERROR: Unknown error -1: couldn't", ""), done.stdout[-2000:]
