# SPDX-License-Identifier: MIT
"""Workers that make progress, and those that do not; how many of them there are."""

import os
import re
import signal
import socket

import pytest

import admin
import wire


def test_a_worker_that_is_stuck(start):
    """It is killed and started again, says its last counters, and the idle one beside it is let alone."""
    server = start("--worker-timeout", 4, "--admin", "127.0.0.1:0")
    pids = admin.workers(server)
    with server.connect() as c:
        assert c.get("/pipeline").body == b"ok"
    os.kill(pids[1], signal.SIGSTOP)
    wire.wait_until("another in its place", lambda: pids[1] not in admin.workers(server) and
                    len(admin.workers(server)) == 2, timeout=4 * wire.HANG_S)
    assert re.search(r"worker 1 \[%d\] makes no progress \(--worker-timeout\): killed; its last counters: .*iterations=\d"
                     % pids[1], server.log())
    metrics = admin.metrics(server)
    assert metrics["bivalve_worker_stuck_total", None] == metrics["bivalve_worker_restarts_total", None] == 1
    assert admin.workers(server)[0] == pids[0]
    with server.connect() as c:
        assert c.get("/pipeline").body == b"ok"
    server.kill()  # its log has a death


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp_path / "notify"))
        s.settimeout(wire.HANG_S)
        yield s


def environment(manager, usec):
    return dict(os.environ, NOTIFY_SOCKET=manager.getsockname(), WATCHDOG_USEC=str(usec))


@pytest.mark.parametrize("workers", [0, 1])
def test_the_watchdog(backend, manager, workers):
    """It is served as long as a worker moves, and not for one that does not."""
    with wire.Server(backend, "--worker-timeout", 0, workers=workers, env=environment(manager, 800000)) as server:
        assert manager.recv(100) == b"READY=1"
        for _ in range(5):
            assert manager.recv(100) == b"WATCHDOG=1"
        if not workers:
            return
        worker, = server.workers()
        os.kill(worker, signal.SIGSTOP)
        manager.settimeout(1.6)  # twice what it asks for
        with pytest.raises(socket.timeout):
            for _ in range(8):
                assert manager.recv(100) == b"WATCHDOG=1"
        os.kill(worker, signal.SIGCONT)
        manager.settimeout(wire.HANG_S)
        assert manager.recv(100) == b"WATCHDOG=1"


def test_nobody_asked_for_it(backend, manager):
    env = dict(environment(manager, 100000), WATCHDOG_PID="1")
    with wire.Server(backend, env=env) as server:
        assert manager.recv(100) == b"READY=1"
        assert server.stats() is not None
    assert manager.recv(100) == b"STOPPING=1"


def test_as_many_workers_as_cpus(backend):
    """--workers auto: of the affinity mask, as the start line says."""
    cpus = sorted(os.sched_getaffinity(0))
    for mask in {tuple(cpus[:1]), tuple(cpus[:2])}:
        with wire.Server(backend, workers=None, before_exec=lambda: os.sched_setaffinity(0, mask)) as server:
            said = re.search(r"workers (\d+) \((.*?)\), backend", server.start_line)
            quota = re.search(r"CPU quota (\d+)\.(\d+)", said.group(2))
            wanted = len(mask)
            if quota:
                wanted = min(wanted, -(-int(quota.group(1) + quota.group(2)) // 100))
            assert int(said.group(1)) == wanted
            assert "%d CPU" % len(mask) in said.group(2)


def quota_group():
    """A control group with a quota of half a CPU; its directory, or None where that cannot be had."""
    base = next((b for b in ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup")
                 if os.path.exists(b + "/cgroup.procs")), None)
    if not base:
        return None
    group = "%s/bivalve-test-%d" % (base, os.getpid())
    v1 = os.path.exists(base + "/cpu.shares")
    try:
        os.mkdir(group)
        with open(group + ("/cpu.cfs_quota_us" if v1 else "/cpu.max"), "r+") as f:
            f.write("50000" if v1 else "50000 100000")
    except OSError:
        if os.path.isdir(group):
            os.rmdir(group)
        return None
    return group


def test_a_quota(backend):
    """Half a CPU is one worker, which is not pinned."""
    group = quota_group()
    if not group or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("no control group with a quota can be had here, or there is one CPU only")

    def enter():
        with open(group + "/cgroup.procs", "w") as f:
            f.write(str(os.getpid()))

    try:
        with wire.Server(backend, workers=None, before_exec=enter) as server:
            assert "workers 1 (not pinned; auto: CPU quota 0.50, " in server.start_line
    finally:
        wire.wait_until("its processes to be gone", lambda: not open(group + "/cgroup.procs").read())
        os.rmdir(group)
