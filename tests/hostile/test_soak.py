# SPDX-License-Identifier: MIT
"""The soak: mixed traffic over very many connections; memory and descriptors stay flat, counters
balance.  BIVALVE_SOAK_CONNECTIONS (default 15000) for each backend; 1000000 is the run before a
release:  BIVALVE_SOAK_CONNECTIONS=1000000 tests/hostile/run -s test_soak.py"""

import multiprocessing
import multiprocessing.connection
import os
import random
import socket
import struct
import time

import wire
from wire import request

CONNECTIONS = int(os.environ.get("BIVALVE_SOAK_CONNECTIONS", "15000"))
GET = request("GET /pipeline HTTP/1.1")
POST = request("POST /baseline11?a=1 HTTP/1.1", "Content-Length: 2", body="20")
CHUNKED = request("POST /baseline11?a=1 HTTP/1.1", "Transfer-Encoding: chunked",
                  body="1\r\n2\r\n1\r\n0\r\n0\r\n\r\n")
JSON = request("GET /json/20?m=3 HTTP/1.1")


def visit(addr, rng):
    """One connection of one kind; what comes back is checked wherever it must come."""
    s = socket.socket(addr[0], socket.SOCK_STREAM)
    s.settimeout(wire.HANG_S)
    s.connect(addr[1])
    c = wire.Client(s)
    kind = rng.randrange(12)
    if kind < 3:
        assert c.request(GET).body == b"ok"
    elif kind == 3:
        for _ in range(5):
            assert c.request(POST).body == b"21"
    elif kind == 4:
        c.send(GET * 16)
        for _ in range(16):
            assert c.response().body == b"ok"
    elif kind == 5:
        cut = rng.randrange(1, len(CHUNKED))
        c.send(CHUNKED[:cut])
        assert c.request(CHUNKED[cut:]).body == b"21"
    elif kind == 6:
        assert c.request(JSON).status == 200
    elif kind == 7:
        assert c.request(b"BAD\r\n\r\n").status == 400
        c.expect_eof()
    elif kind == 8:
        c.send(GET)
        s.shutdown(socket.SHUT_WR)
        assert c.response().body == b"ok"
        c.expect_eof()
    elif kind == 9:
        c.send(GET[:rng.randrange(len(GET))])
    elif kind == 10:
        c.send(JSON * 30)
    # else: nothing at all
    if rng.random() < 0.5:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def visitor(addr, seed, n, pipe):
    try:
        rng = random.Random(seed)
        for i in range(n):
            visit(addr, rng)
            if i % 1000 == 999:
                pipe.send(1000)
        pipe.send("done")
    except BaseException as e:
        pipe.send("connection %d of visitor %d: %r" % (i, seed, e))


def wave(server, n, seed, on_progress=None):
    """n connections by four processes."""
    processes = []
    for j in range(4):
        mine, theirs = multiprocessing.Pipe(False)
        p = multiprocessing.Process(target=visitor, args=(server.addr, seed * 10 + j, n // 4, theirs),
                                    daemon=True)
        p.start()
        theirs.close()
        processes.append((p, mine))
    problems, made = [], 0
    waiting = {pipe: p for p, pipe in processes}
    while waiting:
        for pipe in multiprocessing.connection.wait(list(waiting), 5 * wire.HANG_S):
            try:
                word = pipe.recv()
            except EOFError:
                word = "a visitor died"
            if isinstance(word, int):
                made += word
                if on_progress:
                    on_progress(made)
                continue
            if word != "done":
                problems.append(word)
            waiting.pop(pipe).join()
    assert not problems, problems
    wire.wait_until("every slot to be free", lambda: server.stats().get("slots_used", 0) == 0,
                    timeout=3 * wire.HANG_S, step=0.1)
    time.sleep(0.3)


def test_soak(backend):
    with wire.Server(backend, "--idle-timeout", "10", "--header-timeout", "5") as s:
        workers = s.workers()
        wave(s, max(2000, CONNECTIONS // 20), 1)
        before, fds = s.pss(), s.fds()
        last = [time.monotonic()]

        def progress(made):
            if time.monotonic() - last[0] > 20:
                last[0] = time.monotonic()
                print("%s: %d connections, PSS %d KiB, %d descriptors" % (
                    backend, made, s.pss() // 1024, s.fds()), flush=True)

        wave(s, CONNECTIONS, 2, progress)
        after = s.pss()
        stats = s.stats()
        print("%s: %d connections; PSS %d KiB, then %d; descriptors %d, then %d; %s" % (
            backend, CONNECTIONS, before // 1024, after // 1024, fds, s.fds(),
            " ".join("%s=%s" % kv for kv in stats.items())), flush=True)
        assert s.workers() == workers, "a worker died"
        assert s.fds() == fds
        if "address" not in os.environ.get("BIVALVE_SANITIZERS", ""):
            assert after - before <= 512 * 1024, "%d bytes more" % (after - before)
        assert stats["accepted"] == stats["closed"] + stats.get("rejected", 0)
        assert stats.get("blocks_used", 0) == 0 and stats.get("stale", 0) == 0
