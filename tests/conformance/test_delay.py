# SPDX-License-Identifier: MIT
"""Requests that wait, by /delay: when they are answered, in which order, what they cost meanwhile, and
what becomes of them when the client or the server ends."""

import signal
import socket
import time

import wire
from test_memory import MANY, close_all, open_idle, room_for, settled_memory
from wire import request


def delay(ms, method="GET"):
    return request("%s /delay/%s HTTP/1.1" % (method, ms))


def waiting(server):
    return server.stats().get("waiting", 0)


def wait_for_waiting(server, n):
    wire.wait_until("%d waiting" % n, lambda: waiting(server) == n)


def test_never_early(server):
    clients = [server.connect() for _ in range(40)]
    began = {}
    for i, c in enumerate(clients):
        began[c] = time.monotonic()
        c.send(delay(1 + i * 7))
    for i, c in enumerate(clients):          # the shortest first, so that none is looked at late
        r = c.response()
        assert time.monotonic() - began[c] >= (1 + i * 7) / 1000
        assert (r.status, r.body) == (200, b"%d" % (1 + i * 7))
    for c in clients:
        began[c] = time.monotonic()
        assert c.request(delay(0)).body == b"0"
        assert c.request(delay(2)).body == b"2"
        assert time.monotonic() - began[c] >= 0.002
        c.close()


def test_what_is_no_number(server):
    for word in ("60001", "-1", "+1", "1.5", "1e3", "0x1", "x", "%20", "1%00", "1" * 200,
                 "18446744073709551617", "4294967297"):
        r = server.exchange(request("GET /delay/%s HTTP/1.1" % word)).finals[0]
        assert r.status == 400 and r.get("content-type").startswith("text/plain"), word


def test_paths_and_methods(server):
    for line, status in (("GET /delay HTTP/1.1", 404), ("GET /delay/ HTTP/1.1", 404),
                         ("GET /delay/1/2 HTTP/1.1", 404), ("POST /delay/1 HTTP/1.1", 405),
                         ("OPTIONS /delay/1 HTTP/1.1", 204), ("GET /delay/01 HTTP/1.1", 200)):
        assert server.exchange(request(line)).finals[0].status == status, line
    with server.connect() as c:
        c.expect_head()
        r = c.request(delay(5, "HEAD"))
        assert (r.status, r.length) == (200, 1)
        assert c.get("/pipeline").body == b"ok"


def test_pipelined_in_order(server):
    """A later one does not even begin before the earlier is answered."""
    with server.connect() as c:
        began = time.monotonic()
        c.send(delay(60) + request("GET /pipeline HTTP/1.1") + delay(40) + delay(0))
        c.send(request("GET /baseline11?a=1&b=2 HTTP/1.1"))
        assert c.quiet(0)
        bodies, times = [], []
        for _ in range(5):
            bodies.append(c.response().body)
            times.append(time.monotonic() - began)
        assert bodies == [b"60", b"ok", b"40", b"0", b"3"]
        assert times[0] >= 0.06 and times[2] >= 0.1


def test_a_client_that_leaves_frees_its_wait(start):
    s = start(workers=1)
    for how in ("close", "reset", "half", "pipelined"):
        clients = [s.connect() for _ in range(30)]
        for c in clients:
            c.send(delay(60000))
            if how == "pipelined":
                c.send(delay(60000) + request("GET /pipeline HTTP/1.1"))
        wait_for_waiting(s, 30)
        for c in clients:
            if how == "half":
                c.sock.shutdown(socket.SHUT_WR)
            elif how == "reset":
                c.reset()
            else:
                c.close()
        wire.wait_until("free slots", lambda: s.stats().get("slots_used", 0) == 0)
        assert waiting(s) == 0
        for c in clients:
            c.close()
    assert s.stats()["cancelled"] == 120


def test_the_drain_waits(start):
    s = start(workers=1)
    c = s.connect()
    began = time.monotonic()
    c.send(delay(700))
    wait_for_waiting(s, 1)
    s.signal(signal.SIGTERM)
    r = c.response()
    assert r.body == b"700" and r.closes and time.monotonic() - began >= 0.7
    c.expect_eof()
    c.close()


def test_the_drain_does_not_wait_for_ever(start):
    s = start("--drain-timeout", "0.3", workers=1)
    c = s.connect()
    c.send(delay(60000))
    wait_for_waiting(s, 1)
    began = time.monotonic()
    s.signal(signal.SIGTERM)
    assert s.wait() == 0
    assert time.monotonic() - began < 30
    c.close()


def test_others_are_served_meanwhile(start):
    s = start(workers=1)
    clients = [s.connect() for _ in range(200)]
    for c in clients:
        c.send(delay(60000))
    wait_for_waiting(s, 200)
    with s.connect() as other:
        for _ in range(100):
            assert other.get("/pipeline").body == b"ok"
    for c in clients:
        c.reset()


def test_no_cpu_and_little_memory(backend):
    """Between 1000 and n requests that wait, so that what a process costs alone cancels."""
    n = room_for(MANY)
    with wire.Server(backend, "--idle-timeout", 900, workers=1) as s:
        def wait(clients):
            for c in clients:
                c.send(delay(60000 - len(clients) % 1000))
            return clients
        clients = wait(open_idle(s, 1000))
        wait_for_waiting(s, 1000)
        measured = s.readable() and not wire.sanitized()
        low = settled_memory(s, 1) if measured else 0
        # They begin together, however long it takes to connect them: 60 s is the longest that one may wait.
        close_all(s, clients)
        clients = wait(open_idle(s, n))
        wait_for_waiting(s, n)
        before = s.cpu()
        high = settled_memory(s, 1) if measured else 0
        time.sleep(0 if measured else 1)
        spent = s.cpu() - before
        stats = s.stats()
        assert stats.get("blocks_used", 0) == 0
        if measured:
            each = (high - low) / (n - 1000.0)
            print("%s: %.1f bytes of user memory per waiting request (%d of them), %.3f s of CPU "
                  "in a second" % (backend, each, n, spent))
            assert each <= 256, "%.1f bytes per waiting request" % each
        assert spent <= 0.1, "%.2f s of CPU in a second, and nothing to do" % spent
        close_all(s, clients)
