# SPDX-License-Identifier: MIT
"""A server that has nothing to do sleeps: counted by strace, of all its workers."""

import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
import wire

WORKERS = 2
CONNECTIONS = 20
WINDOW_S = 2


class Trace:
    """The system calls of `pids`, from now on."""

    def __init__(self, pids):
        self.pids = pids
        self.file = tempfile.NamedTemporaryFile(prefix="strace-", dir=wire.TMP)
        argv = ["strace", "-f", "-qq", "-o", self.file.name]
        for pid in pids:
            argv += ["-p", str(pid)]
        self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.PIPE, text=True)
        wire.wait_until("strace to attach or to end", lambda: self.attached() or self.proc.poll() is not None)
        if self.proc.poll() is not None:
            pytest.skip("strace may not trace here: %s" % self.proc.stderr.read().strip())

    def attached(self):
        def tracer(pid):
            with open("/proc/%d/status" % pid) as f:
                return int(re.search(r"^TracerPid:\s+(\d+)", f.read(), re.M).group(1))
        return all(tracer(pid) for pid in self.pids)

    def lines(self):
        with open(self.file.name, errors="replace") as f:
            return f.read().splitlines()

    def calls(self):
        """How many have ended. One that waits is no line yet, or a line without an end."""
        return sum(" = " in line for line in self.lines())

    def close(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGINT)
        self.proc.communicate(timeout=wire.HANG_S)
        self.file.close()


@pytest.fixture
def traced(backend):
    if not shutil.which("strace"):
        pytest.skip("strace was not found (Debian: apt install strace)")
    if wire.sanitized():
        pytest.skip("with a sanitizer there are threads and calls of its own")
    with wire.Server(backend, workers=WORKERS) as server:
        trace = Trace(server.workers())
        try:
            yield server, trace
        finally:
            trace.close()


def settles_at(trace, most):
    """A window in which there were no more calls than `most`. Whatever had to be done before may take
    its time; a process that looks again and again has no such window, however long one waits."""
    def window():
        before = trace.calls()
        time.sleep(WINDOW_S)
        return trace.calls() - before <= most
    try:
        wire.wait_until("%d s of at most %d system calls" % (WINDOW_S, most), window)
    except AssertionError as e:
        raise AssertionError("%s; the last ones:\n%s" % (e, "\n".join(trace.lines()[-20:]))) from None


def test_sleeps_when_idle(traced):
    """None at all without connections, at most one a second of each worker with idle ones."""
    server, trace = traced
    before = trace.calls()
    clients = [server.connect() for _ in range(CONNECTIONS)]
    try:
        for client in clients:
            assert client.get("/pipeline").status == 200
        assert trace.calls() >= before + WORKERS, "strace counts nothing"
        settles_at(trace, WINDOW_S * WORKERS)
    finally:
        for client in clients:
            client.close()
    settles_at(trace, 0)
    assert all(wire.alive(pid) for pid in trace.pids)
