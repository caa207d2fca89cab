# SPDX-License-Identifier: MIT
"""System calls that fail: one at a time, each in turn, and many at random.

The server runs with tests/faults/shim.c preloaded.  Whatever fails, a client gets a prefix of the
right answers and then at worst the end of its connection; afterwards the server answers others,
ends with status 0 on SIGTERM, and has everything back.  A start may fail instead, with status 1
and a reason.

BIVALVE_FAULT_STEP=N tries every N-th call only (default 1), BIVALVE_FAULT_SEEDS=N so many random
runs (default 8).  io_uring's operations are not calls of the C library: for them there is
test_uring_faults.py.
"""

import errno
import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

import wire
from shims import environment, fired, shim

PARALLEL = 4
CALLS_MAX = 400    # more than the script below makes
DATE = re.compile(rb"Date: [^\r]*")

SCRIPT = [
    wire.request("GET /baseline11?a=13&b=42 HTTP/1.1") * 2 +
    wire.request("POST /baseline11?a=13&b=42 HTTP/1.1", "Content-Length: 2", body="20"),
    wire.request("GET /pipeline HTTP/1.1") * 16,
    wire.request("GET /json/50?m=3 HTTP/1.1") * 3 + wire.request("GET /nowhere HTTP/1.1"),
    wire.request("POST /baseline11 HTTP/1.1", "Transfer-Encoding: chunked",
                 body="1\r\n7\r\n0\r\n\r\n") + wire.request("BAD\x01 / HTTP/1.1"),
]


@pytest.fixture(scope="session")
def preload():
    with shim("shim") as path:
        yield path


GONE = (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)


def ask(s, addr, data):
    """Connect and send all there is to say, unless the server has gone."""
    s.settimeout(wire.HANG_S)
    try:
        s.connect(addr[1])
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
    except OSError as e:
        if e.errno not in GONE:
            raise


def answer(s):
    """Read until the server is silent or gone; the bytes, without what Date says."""
    got = b""
    try:
        while more := s.recv(65536):
            got += more
    except OSError as e:
        if e.errno not in GONE:
            raise
    return DATE.sub(b"Date: -", got)


def talk(addr, data):
    with socket.socket(addr[0], socket.SOCK_STREAM) as s:
        ask(s, addr, data)
        return answer(s)


def reference(backend):
    with wire.Server(backend, workers=0) as s:
        return [talk(s.addr, data) for data in SCRIPT]


def run_one(backend, env, want, rounds=1):
    """One server with faults.  Returns what the log of the server says, for failures' sake."""
    try:
        s = wire.Server(backend, "--drain-timeout", 5, "--linger-timeout", 1, workers=0, env=env)
    except wire.StartError as e:
        assert e.status == 1, "neither started nor failed in order: %s" % e
        assert re.search(r"\berror\b", e.said), "failed to start without a word: %r" % e.said
        return e.said
    try:
        for _ in range(rounds):
            for data, right in zip(SCRIPT, want):
                got = talk(s.addr, data)
                assert right.startswith(got), "wrong bytes: %r\ninstead of %r" % (got[:3000],
                                                                                right[:3000])
        if "BIVALVE_FAULT_AT" in env:
            # One fault costs at most one connection, so of two tries one is whole.
            tries = [talk(s.addr, SCRIPT[0]) for _ in range(2)]
            assert want[0] in tries, "does not recover: %r" % tries
        return s.stop()
    finally:
        s.kill()


def test_each_call_fails_once(backend, preload, tmp_path):
    want = reference(backend)
    step = int(os.environ.get("BIVALVE_FAULT_STEP", "1"))

    def attempt(n):
        log = str(tmp_path / ("fault-%d" % n))
        try:
            run_one(backend, environment(preload, log, at=n, kind=n), want)
        except Exception as e:  # with the fault, which is what one wants to know
            return n, fired(log), "%s: %s" % (type(e).__name__, e)
        return n, fired(log), None

    problems, tried, n = [], 0, 1
    with ThreadPoolExecutor(PARALLEL) as pool:
        while n < CALLS_MAX:
            batch = list(pool.map(attempt, range(n, n + PARALLEL * step, step)))
            n += PARALLEL * step
            tried += sum(1 for _, faults, _ in batch if faults)
            problems += [b for b in batch if b[2]]
            if not any(faults for _, faults, _ in batch):
                break
    assert tried > 20 / step, "only %d calls could fail: the shim is not in place" % tried
    assert not problems, "\n".join("call %d (%s): %s" % (n, "; ".join(f), why)
                                   for n, f, why in problems[:10])


def test_calls_fail_at_random(backend, preload, tmp_path):
    want = reference(backend)
    seeds = int(os.environ.get("BIVALVE_FAULT_SEEDS", "8"))

    def attempt(seed):
        log = str(tmp_path / ("random-%d" % seed))
        env = environment(preload, log, rate=30, seed=seed,
                          calls="accept4,recv,send,close,shutdown,epoll_ctl,epoll_wait,mmap,"
                                "madvise")
        try:
            run_one(backend, env, want, rounds=10)
        except Exception as e:
            return seed, fired(log)[-20:], "%s: %s" % (type(e).__name__, e)
        return seed, fired(log), None

    with ThreadPoolExecutor(PARALLEL) as pool:
        results = list(pool.map(attempt, range(1, seeds + 1)))
    assert any(faults for _, faults, _ in results), "no fault was drawn: the shim is not in place"
    problems = [r for r in results if r[2]]
    assert not problems, "\n".join("seed %d (%s): %s" % (s, "; ".join(f), why)
                                   for s, f, why in problems[:5])
