# SPDX-License-Identifier: MIT
"""Bodies of any size that stream: into /upload, and through /echo."""

import hashlib
import os
import random
import socket
import threading
import time

import pytest

import wire
from wire import Exchange, drive, request

HUGE = int(os.environ.get("STREAM_BYTES", 128 << 20))  # a GiB takes its time where all is slow
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


def test_upload_of_what_no_memory_holds(start):
    """Through one connection, without a limit, and with no more memory than a small request takes."""
    s = start("--max-body-bytes", 0, workers=1)
    with s.connect(timeout=120) as c:
        assert c.get("/pipeline").body == b"ok"
        before = s.memory() if s.readable() and not wire.sanitized() else 0
        c.send(post("/upload", HUGE))
        send_all(c, HUGE // 2)
        if before:
            assert s.memory() - before < 512 * 1024, "more than a large receive was stored"
        send_all(c, HUGE // 2)
        r = c.response()
        assert (r.status, r.body) == (200, b"%d" % HUGE)
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


@pytest.mark.parametrize("path", ["/upload", "/echo"])
def test_a_client_that_leaves_in_the_middle(server, path):
    """By a reset or by an end: the request is cancelled, and nothing is left of it."""
    before = server.stats()
    for i in range(20):
        c = server.connect()
        c.send(post(path, 1 << 20) + bytes(5000 * i))
        if i % 2:
            c.sock.shutdown(socket.SHUT_WR)
            while c.sock.recv(65536):        # what there is of an echo
                pass
            c.close()
        else:
            c.reset()
    wire.wait_until("20 cancelled requests", lambda: server.stats().get("cancelled", 0) >=
                    before.get("cancelled", 0) + 20)


# -- /echo --------------------------------------------------------------------------------------

def test_echo_sizes(server):
    rng = random.Random(7)
    exchanges = []
    for n in (0, 1, 2, 15, 4095, 16256, 16384, 16385, 65536, 100001, 1 << 20):
        body = rng.randbytes(n)
        exchanges.append(Exchange(post("/echo", n) + body, tag=body))
        cuts = sorted(rng.sample(range(1, n), min(n - 1, 9))) if n > 1 else []
        chunked = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in wire.pieces_of(body, cuts))
        exchanges.append(Exchange(request("POST /echo HTTP/1.1", "Transfer-Encoding: chunked",
                                          body=chunked + b"0\r\n\r\n"), tag=body, split=cuts))
    drive(server.addr, exchanges)
    for e in exchanges:
        assert not e.error and len(e.finals) == 1 and e.probe is not None, e.error
        r = e.finals[0]
        assert r.status == 200 and r.body == e.tag
        chunked = b"Transfer-Encoding" in e.data[:200]
        assert (r.get("transfer-encoding") == "chunked") == chunked
        assert (r.get("content-length") is None) == chunked


def test_echo_while_it_is_received(server):
    with server.connect() as c:
        c.send(post("/echo", 3000) + b"a" * 1000)
        got = c.sock.recv(65536)
        while not got.endswith(b"a" * 1000):
            got += c.sock.recv(65536)
        c.reader.feed(got)
        c.send(b"b" * 1000)
        got = c.sock.recv(1000, socket.MSG_WAITALL)
        assert got == b"b" * 1000
        c.reader.feed(got)
        c.send(b"c" * 1000)
        r = c.response()
        assert r.body == b"a" * 1000 + b"b" * 1000 + b"c" * 1000 and r.length == 3000
        assert c.request(request("POST /echo HTTP/1.1", "Expect: 100-continue",
                                 "Content-Length: 2")).status == 100
        assert c.request(b"hi").body == b"hi"
        r = c.request(post("/echo", 0))
        assert (r.body, r.length) == (b"", 0)


def test_echo_of_what_no_memory_holds(start):
    """While the client reads, memory is that of one connection's output."""
    s = start("--max-body-bytes", 0, "--max-buffer-bytes", "2M", workers=1)
    c = s.connect(timeout=120)
    assert c.get("/pipeline").body == b"ok"
    before = s.memory() if s.readable() and not wire.sanitized() else 0
    c.send(post("/echo", HUGE))
    sender = threading.Thread(target=send_all, args=(c, HUGE), daemon=True)
    sender.start()
    head = b""
    while b"\r\n\r\n" not in head:
        head += c.sock.recv(1)
    assert b"Content-Length: %d\r\n" % HUGE in head
    left, buf, most, zeros = HUGE, bytearray(1 << 20), 0, BLOCK
    while left:
        n = c.sock.recv_into(buf, min(left, len(buf)))
        assert n and buf[:n] == zeros[:n], "%d bytes of the echo are missing or wrong" % left
        left -= n
        if before and not most and left < HUGE // 2:
            most = s.memory()
    sender.join()
    assert c.get("/pipeline").body == b"ok"
    c.close()
    if before:
        assert most - before < 2 * 1024 * 1024 + 512 * 1024, "the echo was stored"


def test_echo_written_before_it_is_read(start):
    """8 MiB, which no socket buffer holds; others are answered meanwhile."""
    s = start(workers=1)
    body = random.Random(3).randbytes(8 << 20)
    with s.connect(timeout=60, rcvbuf=4096) as c, s.connect() as other:
        c.send(post("/echo", len(body)))
        c.send(body)
        assert other.get("/pipeline").body == b"ok"
        r = c.response()
        assert hashlib.sha256(r.body).digest() == hashlib.sha256(body).digest()
        assert c.get("/pipeline").body == b"ok"


def test_echo_to_nobody_does_not_hang(start):
    """More than buffers may hold, and never read: ended by --write-timeout, and others do not notice."""
    s = start("--write-timeout", "1", "--max-buffer-bytes", "1M", "--max-body-bytes", 0, workers=1)
    clients = []
    for _ in range(6):
        c = s.connect(rcvbuf=4096)
        c.sock.setblocking(False)
        c.send(post("/echo", HUGE))
        clients.append(c)
    gone, end = set(), time.monotonic() + wire.HANG_S
    while len(gone) < len(clients):
        assert time.monotonic() < end, "%d clients are still there" % (len(clients) - len(gone))
        for c in clients:
            try:
                c.sock.send(BLOCK)
            except BlockingIOError:
                pass
            except OSError:
                gone.add(c)
        with s.connect() as other:
            assert other.get("/json/5").status == 200
        time.sleep(0.02)
    stats = s.stats()
    assert stats.get("timeout_write", 0) + stats.get("limit_buffers", 0) >= 6
    assert stats.get("paused", 0) > 0
    for c in clients:
        c.close()
