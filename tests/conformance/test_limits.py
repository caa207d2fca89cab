# SPDX-License-Identifier: MIT
"""Each limit at its edge, with the counter that shows it was met."""

import time

import pytest

import wire
from wire import Exchange, drive, request


def statuses(server, data, **kw):
    e = server.exchange(data, **kw)
    assert not e.error and not e.hung and not e.reset, e.story()
    return [r.status for r in e.finals]


def test_max_body_bytes(servers, backend):
    s = servers.get(backend, "--max-body-bytes", 10)
    post = "POST /baseline11?a=1 HTTP/1.1"
    assert statuses(s, request(post, "Content-Length: 10", body=" " * 9 + "5")) == [200]
    assert statuses(s, request(post, "Content-Length: 11")) == [413]
    assert statuses(s, request(post, "Content-Length: 11", body=" " * 10 + "5")) == [413]
    assert statuses(s, request(post, "Transfer-Encoding: chunked",
                               body="9\r\n        5\r\n1\r\n \r\n0\r\n\r\n")) == [200]
    for body in ("b\r\n          5\r\n0\r\n\r\n", "6\r\n     5\r\n5\r\n     \r\n0\r\n\r\n",
                 "1\r\n \r\n" * 10 + "1\r\n5\r\n0\r\n\r\n", "b\r\n"):
        assert statuses(s, request(post, "Transfer-Encoding: chunked", body=body)) == [413], body
    e = s.exchange(request(post, "Content-Length: 11", "Expect: 100-continue"))
    assert [r.status for r in e.reader.responses] == [413]
    assert s.stats().get("limit_body", 0) >= 5


def test_413_comes_before_the_body(servers, backend):
    """At once: not when the body has arrived."""
    s = servers.get(backend, "--max-body-bytes", 10)
    with s.connect() as c:
        r = c.request(request("POST /baseline11 HTTP/1.1", "Content-Length: 1000000"))
        assert r.status == 413 and r.closes
        c.expect_eof()


def test_413_survives_a_body_that_comes_all_the_same(servers, backend):
    """The answer is not lost to a reset while the client goes on sending, 60 KiB of it."""
    s = servers.get(backend, "--max-body-bytes", 10)
    for size in (11, 1000, 20000, 60000):
        for _ in range(5):
            e = s.exchange(request("POST /baseline11 HTTP/1.1", "Content-Length: %d" % size,
                                   body=b"x" * size), split=[200, size // 2])
            assert [r.status for r in e.finals] == [413] and not e.reset, e.story()


def test_max_header_bytes(servers, backend):
    s = servers.get(backend, "--max-header-bytes", 1024)
    get = "GET /pipeline HTTP/1.1"
    assert statuses(s, request(get, "X: " + "y" * 900)) == [200]
    assert statuses(s, request(get, "X: " + "y" * 1100)) == [431]
    assert statuses(s, request(get, *["X: " + "y" * 95] * 9)) == [200]
    assert statuses(s, request(get, *["X: " + "y" * 95] * 12)) == [431]
    assert s.stats().get("limit_header", 0) >= 2


def test_counters_of_head_limits(server):
    before = server.stats()
    assert statuses(server, request("GET /%s HTTP/1.1" % ("x" * 9000))) == [414]
    assert statuses(server, request("GET / HTTP/1.1", *["X: y"] * 200)) == [431]
    after = server.stats()
    assert after.get("limit_uri", 0) == before.get("limit_uri", 0) + 1
    assert after.get("limit_header", 0) == before.get("limit_header", 0) + 1


def test_max_requests(servers, backend):
    s = servers.get(backend, "--max-requests", 3)
    get = request("GET /pipeline HTTP/1.1")
    with s.connect() as c:
        for i in range(3):
            r = c.request(get)
            assert r.status == 200 and r.closes == (i == 2)
        c.expect_eof()
    e = s.exchange(get * 10, responses=10)
    assert [r.status for r in e.finals] == [200] * 3 and e.finals[-1].closes and not e.reset
    assert s.stats().get("limit_requests", 0) >= 2


def test_max_connections(start):
    """Beyond the limit nobody is accepted, the older ones are unharmed, and a place that becomes
    free is given to the next."""
    s = start("--max-connections", 3, workers=1)
    old = [s.connect() for _ in range(3)]
    for c in old:
        assert c.get("/pipeline").status == 200
    new = [s.connect() for _ in range(3)]
    for c in new:
        c.send(request("GET /baseline11?a=5 HTTP/1.1"))
    assert all(c.quiet(0.1) for c in new), "answered beyond --max-connections"
    for _ in range(3):
        for c in old:
            assert c.get("/pipeline").status == 200
    stats = s.stats()
    assert stats["slots_used"] == 3
    assert stats.get("accept_pauses", 0) >= 1
    for o in old:
        o.close()
        ready = None
        end = time.monotonic() + wire.HANG_S
        while not ready and time.monotonic() < end:
            ready = wire.readable(new, 1)
        assert ready, "a free place was not given to the next"
        c = ready[0]
        assert c.response().body == b"5"
        new.remove(c)
        old_next = c
        # keep it open: the others must wait for the next place
        if new:
            assert all(x.quiet(0.1) for x in new)
        s._keep = getattr(s, "_keep", []) + [old_next]
    for c in s._keep:
        c.close()


def test_waiting_beyond_the_limit_costs_no_cpu(start):
    s = start("--max-connections", 1, workers=1)
    first = s.connect()
    assert first.get("/pipeline").status == 200
    waiting = [s.connect() for _ in range(5)]
    time.sleep(0.2)
    before = s.cpu()
    time.sleep(1)
    assert s.cpu() - before < 0.5, "spinning while the limit holds"
    for c in waiting:
        c.close()
    first.close()


def test_chunk_extension_counter(server):
    before = server.stats().get("limit_chunk_ext", 0)
    body = "2;a=" + "b" * 50000 + "\r\n20\r\n0\r\n\r\n"
    got = statuses(server, request("POST /baseline11 HTTP/1.1", "Transfer-Encoding: chunked", body=body))
    assert got and got[0] in (400, 413, 431)
    assert server.stats().get("limit_chunk_ext", 0) == before + 1


@pytest.mark.parametrize("size", [256, 4096, 65536])
def test_recv_buffer_of_any_size(servers, backend, size):
    s = servers.get(backend, "--recv-buffer", size)
    n = 200
    data = b"".join(request("POST /baseline11?a=%d HTTP/1.1" % i, "Content-Length: 3", body=" 1 ")
                    for i in range(n))
    exchanges = [Exchange(data, responses=n, split=cut) for cut in (None, [1, 300, 4000], [77])]
    long_head = request("GET /pipeline HTTP/1.1", "X: " + "y" * 12000)
    exchanges.append(Exchange(long_head * 3, responses=3, tag="head"))
    drive(s.addr, exchanges)
    for e in exchanges:
        assert not e.error and e.probe, e.story()
        if e.tag == "head":
            assert [r.status for r in e.finals] == [200] * 3
        else:
            assert [r.body for r in e.finals] == [b"%d" % (i + 1) for i in range(n)]
