# SPDX-License-Identifier: MIT
"""What connections cost in user memory, and that it is given back.  The bounds are promises of the
README; they are measured by the kernel's own accounting, for the whole process tree."""

import os
import resource
import time

import pytest

import wire
from wire import request

GET = request("GET /pipeline HTTP/1.1")


@pytest.fixture(autouse=True)
def measurable(server):
    if wire.sanitized():
        pytest.skip("built with AddressSanitizer: its shadow memory is in every figure")
    if not server.readable():
        pytest.skip("/proc/PID of a server that is not dumpable is closed to all but root")


# Connections of the trials of one connection's memory; of more than 10,000 every 5000 have another address.
MANY = int(os.environ.get("BIVALVE_MANY", "9000"))
PORTS_EACH = 5000


def room_for(n):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < n + 200:
        return hard - 200
    if soft != resource.RLIM_INFINITY and soft < n + 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (n + 200, hard))
    return n


def open_idle(server, n, ask=True):
    """n connections, each with one request answered and then idle."""
    clients = []
    for base in range(0, n, 200):
        source = "127.0.0.%d" % (1 + base // PORTS_EACH) if MANY > PORTS_EACH * 2 else None
        batch = [server.connect(source=source) for _ in range(min(200, n - base))]
        if ask:
            for c in batch:
                c.send(GET)
            for c in batch:
                assert c.response().status == 200
        clients += batch
    return clients


def settled_memory(server, seconds=3):
    """The memory when what is cached for a burst has gone: the least of some seconds' readings."""
    low = server.memory()
    for _ in range(int(seconds / 0.25)):
        time.sleep(0.25)
        low = min(low, server.memory())
    return low


def close_all(server, clients):
    for c in clients:
        c.reset()
    wire.wait_until("all slots to be free", lambda: server.stats().get("slots_used", 0) == 0)
    time.sleep(0.3)          # pages are given back with hysteresis, from the loop


@pytest.mark.parametrize("workers", [1, 2])
def test_memory_comes_back(backend, workers):
    n = room_for(10000)
    assert n >= 5000, "the fd limit leaves room for %d connections only" % n
    with wire.Server(backend, workers=workers) as s:
        close_all(s, open_idle(s, 100))
        before = s.memory()
        clients = open_idle(s, n)
        peak = s.memory()
        fds = s.fds()
        close_all(s, clients)
        after = wire.wait_until(
            "memory within 512 KiB of %d KiB (peak %d, now %d)" % (before // 1024, peak // 1024,
                                                               s.memory() // 1024),
            lambda: s.memory() - before <= 512 * 1024 and s.memory(), timeout=5, step=0.2)
        print("%s, %d workers, %d connections: %d KiB, peak %d, then %d" %
              (backend, workers, n, before // 1024, peak // 1024, after // 1024))
        assert fds - s.fds() >= n, "file descriptors were not given back"
        assert s.stats()["accepted"] >= n + 100


def test_memory_per_idle_connection(backend):
    """Between 1000 and n connections open and idle, so that what a process costs alone cancels."""
    n = room_for(MANY)
    bound = 160 if backend.startswith("io_uring") else 264
    with wire.Server(backend, "--idle-timeout", 900, workers=1) as s:
        clients = open_idle(s, 1000)
        for _ in range(30):       # the buffers that all connections share are in use from now on
            for c in clients:
                c.send(GET)
            for c in clients:
                assert c.response().status == 200
        low = settled_memory(s)
        clients += open_idle(s, n - 1000)
        high = settled_memory(s)
        each = (high - low) / (n - 1000.0)
        print("%s: %.1f bytes of user memory per idle connection (%d of them)" % (backend, each, n))
        assert each <= bound, "%.1f bytes per idle connection, promised %d" % (each, bound)
        stats = s.stats()
        assert stats["slots_used"] == n
        assert stats.get("blocks_used", 0) == 0, "idle connections hold buffers"
        close_all(s, clients)


def test_memory_of_a_worker(backend):
    """With 512 connections, which have asked again and again. The pages of its libraries are shared
    with the others: there are four."""
    bound = 0.9 if backend.startswith("io_uring") else 0.6
    with wire.Server(backend, workers=4) as s:
        clients = open_idle(s, room_for(4 * 512))
        for _ in range(5):
            for c in clients:
                c.send(GET)
            for c in clients:
                assert c.response().status == 200
        each = sum(wire.pss_bytes(p) for p in s.workers()) / 4 / 2**20
        print("%s: %.2f MiB" % (backend, each))
        assert each <= bound, "%.2f MiB, promised %.1f" % (each, bound)
        close_all(s, clients)


def test_connections_that_never_asked_hold_no_buffer(backend):
    with wire.Server(backend, workers=1) as s:
        clients = open_idle(s, 500, ask=False)
        wire.wait_until("500 accepted", lambda: s.stats().get("slots_used", 0) == 500)
        wire.wait_until("no block in use", lambda: s.stats()["blocks_used"] == 0)
        close_all(s, clients)


def test_a_tail_is_given_back_once_consumed(backend):
    with wire.Server(backend, workers=1) as s:
        clients = [s.connect() for _ in range(100)]
        for c in clients:
            c.send(GET[:20])
        wire.wait_until("tails stored", lambda: s.stats().get("blocks_used", 0) > 0)
        for c in clients:
            assert c.request(GET[20:]).status == 200
        wire.wait_until("the blocks to be given back", lambda: s.stats()["blocks_used"] == 0)
        for c in clients:
            c.close()


def test_churn_leaves_nothing(backend):
    """Many short connections one after the other, each kind of end."""
    with wire.Server(backend, workers=1) as s:
        def churn(n):
            for i in range(n):
                c = s.connect()
                if i % 5:
                    c.send(GET if i % 5 != 4 else GET[:30])
                if i % 5 in (1, 2):
                    assert c.response().status == 200
                if i % 3:
                    c.reset()
                else:
                    c.close()
        churn(500)
        wire.wait_until("free slots", lambda: s.stats().get("slots_used", 0) == 0)
        before, fds = s.memory(), s.fds()
        churn(4000)
        wire.wait_until("free slots", lambda: s.stats().get("slots_used", 0) == 0)
        assert s.fds() == fds
        assert s.memory() - before <= 512 * 1024
        stats = s.stats()
        assert stats["accepted"] == stats["closed"], stats
