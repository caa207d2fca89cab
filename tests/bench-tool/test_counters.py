# SPDX-License-Identifier: MIT
"""Counters of perf_event_open(2). Those of the kernel are everywhere where the system call is; the
CPU's are tried where there are any."""
import errno
import os
import struct
import subprocess
import sys

import pytest

from bench import counters, perfevents, procfs

# Waits to be told, then touches so many pages from another thread, and waits again: the thread starts
# after the counters are open. A child that it forks does the same.
PAGES = 600
TOUCH = f"""
import mmap, os, sys, threading
def touch():
    m = mmap.mmap(-1, {PAGES} * mmap.PAGESIZE)
    try: m.madvise(mmap.MADV_NOHUGEPAGE)
    except (AttributeError, OSError): pass
    for i in range({PAGES}): m[i * mmap.PAGESIZE] = 1
print("ready", flush=True)
sys.stdin.readline()
t = threading.Thread(target=touch); t.start(); t.join()
pid = os.fork()
if not pid:
    touch(); os._exit(0)
os.waitpid(pid, 0)
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def toucher():
    child = subprocess.Popen(
        [sys.executable, "-c", TOUCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    yield child
    child.kill()
    child.communicate()


def opened(pid, name, side):
    got = perfevents.Counters(procfs.tasks(pid), [name])
    if (name, side) in got.missing:
        got.close()
        pytest.skip(f"{name}: {got.missing[name, side]}")
    return got


def tell(child):
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "done\n"


def test_a_server_s_threads_and_children_are_counted(toucher):
    got = opened(toucher.pid, "page faults", "user")
    before = dict(zip(got.keys(), got.read()))
    tell(toucher)
    after = dict(zip(got.keys(), got.read()))
    key = ("page faults", "user")
    assert 2 * PAGES <= after[key] - before[key] < 40 * PAGES
    got.close()
    assert got.keys() == []


def test_context_switches_have_a_kernel_side_alone(toucher):
    got = opened(toucher.pid, "context switches", "kernel")
    assert got.keys() == [("context switches", "kernel")]
    before = got.read()
    tell(toucher)
    assert got.read()[0] - before[0] >= 2  # it waited for its thread or its child, and for us
    got.close()


def test_the_cpu_s_own_where_there_are_any(toucher):
    got = opened(toucher.pid, "instructions", "user")
    before = dict(zip(got.keys(), got.read()))
    tell(toucher)
    after = dict(zip(got.keys(), got.read()))
    assert after["instructions", "user"] - before["instructions", "user"] > PAGES * 10
    got.close()


def test_a_thread_that_has_gone_is_no_error():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    got = perfevents.Counters([child.pid], ["page faults"])
    assert got.read() == [0] * len(got.keys())
    got.close()


def test_attributes_and_values():
    raw = perfevents.attributes(1, 2, "user")
    assert len(raw) == 64 and raw[40] == (1 << 1) | (1 << 5) | (1 << 6)
    assert perfevents.attributes(1, 2, "kernel")[40] == (1 << 1) | (1 << 4) | (1 << 6)
    assert perfevents.value_of(struct.pack("=QQQ", 10, 100, 50)) == 20
    assert perfevents.value_of(struct.pack("=QQQ", 0, 0, 0)) == 0


def test_what_is_missing_is_said_plainly(monkeypatch):
    def no(name, side, _tid):
        if name == "cycles" or side == "kernel":
            number = errno.ENOENT if name == "cycles" else errno.EACCES
            raise OSError(number, os.strerror(number))
        return os.open("/dev/null", os.O_RDONLY)

    monkeypatch.setattr(perfevents, "open_event", no)
    got = perfevents.Counters([1], ["instructions", "cycles", "context switches"])
    assert got.keys() == [("instructions", "user")]
    words = perfevents.missing_words(got.missing)
    got.close()
    assert len(words) == 2
    assert words[0].startswith("context switches, instructions (kernel side): ")
    assert words[1].startswith("cycles: this machine has no such counter")
    rows = [
        {"profile": "p", "conns": 4, "server": s, "requests": 9, "notes": words}
        | {"per_request": {"instructions": {"user": 1234.5, "kernel": None}} if s == "a" else {}}
        for s in "ab"
    ]
    assert counters.table(rows)[1] == [["p", "instructions", "a", "1,234", "-"]]
    said = counters.notes(rows)
    assert len(said) == 3 and "at 4 connections" in said[0] and said[1].startswith("not counted: ")


def test_an_unknown_machine(monkeypatch):
    monkeypatch.setattr(perfevents.platform, "machine", lambda: "abacus")
    got = perfevents.Counters([os.getpid()])
    assert not got.keys() and "not known here" in " ".join(perfevents.missing_words(got.missing))
