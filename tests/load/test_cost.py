# SPDX-License-Identifier: MIT
"""What bivalve-load costs, as far as it can be counted: memory, and system calls."""

import platform
import re
import resource
import shutil
import socket
import subprocess
import threading
import time

import pytest
import wire
from conftest import program, start

FEW, MANY = 1000, 11000
BYTES_MAX = 256  # a connection


class Holder:
    """Takes connections, and says nothing on them."""

    def __init__(self):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(4096)
        self.port = self.sock.getsockname()[1]
        self.held = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                self.held.append(self.sock.accept()[0])
            except OSError:
                return

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for sock in self.held:
            sock.close()


def memory(pid):
    """Bytes that it wrote to. Pages of libraries are shared, and its share grows when others end."""
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
        return 1024 * sum(map(int, re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB", f.read(), re.M)))


def child(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as f:
        return int(f.read().split()[0])


def memory_of(backend, connections):
    """Memory of the process that has them, open and idle."""
    holder = Holder()
    proc = start(
        "-q", "-d60s", "-c", connections, "-R", "0.05", "--arrivals=uniform", "--backend", backend,
        "http://127.0.0.1:%d/" % holder.port,
    )
    try:
        deadline = time.monotonic() + 60
        while len(holder.held) < connections and time.monotonic() < deadline:
            assert proc.poll() is None, proc.communicate()
            time.sleep(0.05)
        assert len(holder.held) >= connections  # more: one was tried again
        time.sleep(0.3)
        return memory(child(proc.pid))
    finally:
        proc.kill()
        proc.communicate()
        holder.close()


def test_memory_of_a_connection(backend):
    if wire.sanitized():
        pytest.skip("sanitizers have memory of their own")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < MANY + 200:
        pytest.skip("%d fds are not allowed here (the hard limit is %d)" % (MANY + 200, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MANY + 200), hard))
    try:
        few, many = (memory_of(backend, n) for n in (FEW, MANY))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    each = (many - few) / (MANY - FEW)
    assert 0 < each <= BYTES_MAX, "%.0f bytes a connection" % each


def test_it_sleeps_between_requests(server, backend):
    """Timers, not a loop that looks again and again: so many system calls for each request. Where a
    timer fires early there is a second look or two."""
    if not shutil.which("strace") or wire.sanitized():
        pytest.skip("strace is missing" if not wire.sanitized() else "sanitizers trace by themselves")
    argv = ["-R200", "--arrivals=uniform", "-d1s", "-c1", "-q", "--backend", backend]
    done = subprocess.run(
        ["strace", "-f", "-c", "-U", "name,calls", program(), *argv,
         "http://127.0.0.1:%d/pipeline" % server.addr[1][1]],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )
    if "ptrace" in done.stderr and done.returncode:
        pytest.skip("strace may not trace here")
    calls = {m[0]: int(m[1]) for m in re.findall(r"^(\w+)\s+(\d+)$", done.stderr, re.M)}
    waits = sum(calls.get(n, 0) for n in ("epoll_wait", "epoll_pwait", "epoll_pwait2", "io_uring_enter"))
    assert done.returncode == 0 and 0 < waits <= 200 * 5 + 100, calls
    if backend.startswith("epoll"):
        assert calls.get("epoll_pwait2", 0) > 0 or platform.release() < "5.11", calls
