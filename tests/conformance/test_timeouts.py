# SPDX-License-Identifier: MIT
"""Time limits: who is slow with a request it began gets 408, who is idle is closed without a word.

The bounds on the late side only catch a hang; those on the early side are half the limit, so that
nobody is cut off before the time."""

import time

import pytest

import wire
from wire import request


GET = request("GET /pipeline HTTP/1.1")


def ending(c, began):
    """Read to EOF; (responses, seconds)."""
    while not c.eof:
        c.recv_some()
    return c.reader.responses, time.monotonic() - began


@pytest.fixture
def quick(servers, backend):
    return servers.get(backend, "--header-timeout", 1, "--body-timeout", 1, "--idle-timeout", 2)


def all_408(server, streams):
    """Each stream on a connection of its own, all at once: each gets 408, none before half the limit."""
    began = time.monotonic()
    clients = [server.connect() for _ in streams]
    for c, data in zip(clients, streams):
        c.send(data)
    for c, data in zip(clients, streams):
        responses, took = ending(c, began)
        assert [r.status for r in responses] == [408] and responses[0].closes, (data, responses)
        assert took > 0.5, data
        c.close()


def test_slow_head_is_408(quick):
    all_408(quick, [GET[:n] for n in range(1, len(GET))])


def test_slow_head_on_a_kept_connection_is_408(quick):
    with quick.connect() as c:
        assert c.get("/pipeline").status == 200
        began = time.monotonic()
        c.send(b"GET /pipeline HTT")
        responses, took = ending(c, began)
        assert [r.status for r in responses] == [200, 408]
        assert took > 0.5


def test_dripping_head_is_408(quick):
    """Bytes do not renew the time a head may take."""
    with quick.connect() as c:
        data = request("GET /pipeline HTTP/1.1", "X: " + "y" * 2000)
        began = time.monotonic()
        for i in range(len(data)):
            try:
                c.send(data[i:i + 1])
            except OSError:
                break
            if not c.quiet(0.1):
                break
            assert time.monotonic() - began < wire.HANG_S, "a dripping head was never timed out"
        responses, took = ending(c, began)
        assert [r.status for r in responses] == [408]
        assert took > 0.5


def test_slow_body_is_408(quick):
    all_408(quick, [request("POST /baseline11 HTTP/1.1", field, body=part) for field, part in (
        ("Content-Length: 10", b""), ("Content-Length: 10", b"20"), ("Content-Length: 10", b"123456789"),
        ("Transfer-Encoding: chunked", b""), ("Transfer-Encoding: chunked", b"5"),
        ("Transfer-Encoding: chunked", b"5;a=\"b"), ("Transfer-Encoding: chunked", b"5\r\n20"),
        ("Transfer-Encoding: chunked", b"2\r\n20"), ("Transfer-Encoding: chunked", b"2\r\n20\r\n0\r\n"),
        ("Transfer-Encoding: chunked", b"2\r\n20\r\n0\r\nX: y"))])


def test_expect_and_then_no_body_is_408(quick):
    with quick.connect() as c:
        began = time.monotonic()
        c.send(request("POST /baseline11 HTTP/1.1", "Expect: 100-continue", "Content-Length: 2"))
        responses, _ = ending(c, began)
        assert [r.status for r in responses] == [100, 408]


def test_dripping_body_is_408(quick):
    """A byte now and then does not keep a request alive."""
    with quick.connect() as c:
        began = time.monotonic()
        c.send(request("POST /baseline11 HTTP/1.1", "Content-Length: 100000"))
        while c.quiet(0.3):
            try:
                c.send(b" ")
            except OSError:
                break
            assert time.monotonic() - began < 2 * wire.HANG_S, "a dripping body was never timed out"
        responses, _ = ending(c, began)
        assert [r.status for r in responses] == [408]


def test_a_steady_body_is_not_cut_off(quick):
    """A body longer than the limit in time, but flowing, is taken."""
    with quick.connect() as c:
        size = 30 * 65536
        c.send(request("POST /baseline11?a=1 HTTP/1.1", "Content-Length: %d" % size))
        for i in range(30):
            c.send(b" " * (65536 - (1 if i == 29 else 0)))
            time.sleep(0.1)
        r = c.request(b"5")
        assert (r.status, r.body) == (200, b"6")


def test_idle_is_closed_without_a_word(quick):
    for first in (False, True):
        with quick.connect() as c:
            if first:
                assert c.get("/pipeline").status == 200
            began = time.monotonic()
            responses, took = ending(c, began)
            assert [r.status for r in responses] == ([200] if first else []), "not idle: %s" % responses
            assert took > 0.5


def test_activity_keeps_a_connection(quick):
    with quick.connect() as c:
        for _ in range(6):
            assert c.get("/pipeline").status == 200
            time.sleep(0.5)


def test_timeouts_are_counted(quick):
    quick.exchange(b"G", responses=1)
    with quick.connect() as c:
        ending(c, 0)
    quick.exchange(request("POST /baseline11 HTTP/1.1", "Content-Length: 10"))
    stats = quick.stats()
    for key in ("timeout_header", "timeout_idle", "timeout_body"):
        assert stats.get(key, 0) >= 1, (key, stats)


def test_lingering_ends(servers, backend):
    """A client that neither reads nor closes after an error does not keep its connection."""
    s = servers.get(backend, "--idle-timeout", 60, workers=1)
    base = s.stats().get("slots_used", 0)
    clients = []
    for _ in range(10):
        c = s.connect()
        c.send(b"BAD\r\n\r\n")
        clients.append(c)
    wire.wait_until("lingering connections to be let go",
                    lambda: s.stats().get("slots_used", 0) <= base, timeout=2 * wire.HANG_S, step=0.3)
    for c in clients:
        assert c.response().status == 400
        c.close()


def test_waiting_costs_no_cpu(quick):
    """Connections and timers that wait are not polled."""
    clients = [quick.connect() for _ in range(50)]
    for c in clients[:25]:
        assert c.get("/pipeline").status == 200
    before = quick.cpu()
    time.sleep(1)
    assert quick.cpu() - before < 0.5
    for c in clients:
        c.close()


def test_timeouts_in_bulk(quick):
    """Five hundred clients that began and stopped are all told, all closed."""
    clients = []
    for i in range(500):
        c = quick.connect()
        c.send(b"GET /pipeline HTTP/1.1\r\n"[:1 + i % 20])
        clients.append(c)
    left = set(clients)
    end = time.monotonic() + wire.HANG_S
    while left:
        for c in wire.readable(left, 1):
            if not c.recv_some():
                left.discard(c)
        assert time.monotonic() < end, "%d clients still open" % len(left)
    for c in clients:
        assert [r.status for r in c.reader.responses] == [408]
        c.close()
