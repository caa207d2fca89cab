# SPDX-License-Identifier: MIT
"""Requests that last: bodies of any size that stream through /upload."""

import socket

import pytest

import wire
from wire import Exchange, drive, request

GIB = 1 << 30
BLOCK = bytes(1 << 20)


def post(path, length):
    return request("POST %s HTTP/1.1" % path, "Content-Length: %d" % length)


def send_all(c, size):
    """`size` zero bytes."""
    while size:
        size -= c.sock.send(memoryview(BLOCK)[:min(size, len(BLOCK))])


# -- /upload ------------------------------------------------------------------------------------

def test_upload_sizes(server):
    exchanges = []
    for n in (0, 1, 2, 4095, 16384, 16385, 100000, 1000000, 8 << 20):
        exchanges.append(Exchange(post("/upload", n) + bytes(n), tag=n))
        chunked = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in wire.pieces_of(
            bytes(n), range(1, n, n // 7 + 1)) if p)
        exchanges.append(Exchange(request("POST /upload HTTP/1.1", "Transfer-Encoding: chunked",
                                          body=chunked + b"0\r\n\r\n"), tag=n))
    exchanges.append(Exchange(request("POST /upload HTTP/1.1"), tag=0))
    drive(server.addr, exchanges)
    for e in exchanges:
        assert not e.error and [r.body for r in e.finals] == [b"%d" % e.tag], e.error
        assert e.probe is not None, e.error
    assert server.exchange(post("/upload", (8 << 20) + 1)).finals[0].status == 413


def test_upload_of_a_gibibyte(start):
    """Through one connection, without a limit, and with no more memory than a small request takes."""
    s = start("--max-body-bytes", 0, workers=1)
    with s.connect(timeout=120) as c:
        assert c.get("/pipeline").body == b"ok"
        before = s.pss() if s.readable() else 0
        c.send(post("/upload", GIB))
        send_all(c, GIB // 2)
        if before:
            assert s.pss() - before < 256 * 1024, "a body was stored"
        send_all(c, GIB // 2)
        r = c.response()
        assert (r.status, r.body) == (200, b"%d" % GIB)
        assert c.get("/pipeline").body == b"ok"
    assert s.stats().get("tails_stored", 0) == 0


def test_no_body_limit_is_for_those_that_stream(servers, backend):
    s = servers.get(backend, "--max-body-bytes", 0)
    assert s.exchange(post("/baseline11", (8 << 20) + 1)).finals[0].status == 413
    assert s.exchange(post("/baseline11", 1) + b"7").finals[0].body == b"7"
    e = s.exchange(request("POST /upload HTTP/1.1", "Expect: 100-continue", "Content-Length: 0"))
    assert e.finals[0].body == b"0"


def test_uploads_at_once_in_different_paces(server):
    """One that trickles holds up nobody."""
    slow = server.connect()
    slow.send(post("/upload", 1000) + b"x")
    exchanges = [Exchange(post("/upload", 300000) + bytes(300000)) for _ in range(20)]
    drive(server.addr, exchanges)
    assert all(e.finals[0].body == b"300000" for e in exchanges)
    slow.send(bytes(999))
    assert slow.response().body == b"1000"
    slow.close()


@pytest.mark.parametrize("path", ["/upload"])
def test_a_client_that_leaves_in_the_middle(server, path):
    """By a reset or by an end: the request is cancelled, and nothing is left of it."""
    before = server.stats()
    for i in range(20):
        c = server.connect()
        c.send(post(path, 1 << 20) + bytes(5000 * i))
        if i % 2:
            c.sock.shutdown(socket.SHUT_WR)
            c.expect_eof()
            c.close()
        else:
            c.reset()
    wire.wait_until("20 cancelled requests", lambda: server.stats().get("cancelled", 0) >=
                    before.get("cancelled", 0) + 20)
