# SPDX-License-Identifier: MIT
"""Connections: conversations that depend on what came back, splits at every place, pipelines larger
than any buffer, readers that are slow, and clients that close one half."""

import json
import random
import select
import socket
import time

import pytest

import wire
from wire import Exchange, drive, request

GET = request("GET /pipeline HTTP/1.1")


# -- splits -------------------------------------------------------------------------------------

STREAMS = {
    "get": (request("GET /baseline11?a=13&b=42 HTTP/1.1"), [b"55"]),
    "length": (request("POST /baseline11?a=1 HTTP/1.1", "Content-Length: 2", body="20"), [b"21"]),
    "chunked": (request("POST /baseline11?a=1 HTTP/1.1", "Transfer-Encoding: chunked",
                        body="1;x=\"y\"\r\n2\r\n001\r\n0\r\n00\r\nT: z\r\n\r\n"), [b"21"]),
    "pipeline": (GET + request("POST /baseline11 HTTP/1.1", "Content-Length: 1", body="7") +
                 request("GET /baseline11?a=-3 HTTP/1.1"), [b"ok", b"7", b"-3"]),
}


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_two_pieces_at_every_place(server, name):
    data, bodies = STREAMS[name]
    exchanges = [Exchange(data, split=[cut], responses=len(bodies), tag=cut)
                 for cut in range(1, len(data))]
    drive(server.addr, exchanges)
    for e in exchanges:
        assert not e.error and [r.body for r in e.finals] == bodies, (e.tag, e.story())
        assert e.probe is not None and not e.surplus, (e.tag, e.story())


def test_every_prefix_waits(server):
    """No prefix of a request is answered, and none is refused; the rest then completes it."""
    data, bodies = STREAMS["chunked"]
    clients = []
    for cut in range(1, len(data)):
        c = server.connect()
        c.send(data[:cut])
        clients.append((cut, c))
    time.sleep(0.3)
    for cut, c in clients:
        assert c.quiet(0), "something came after %d of %d bytes" % (cut, len(data))
    for cut, c in clients:
        r = c.request(data[cut:])
        assert (r.status, r.body) == (200, bodies[0])
        c.close()


def test_random_splits_of_long_streams(server):
    rng = random.Random(3)
    exchanges = []
    for _ in range(40):
        data, answers = b"", []
        for _ in range(rng.randint(1, 60)):
            stream, bodies = STREAMS[rng.choice(sorted(STREAMS))]
            data += stream
            answers += bodies
        cuts = [rng.randrange(1, len(data)) for _ in range(rng.randint(0, 30))]
        exchanges.append(Exchange(data, split=cuts, responses=len(answers), tag=answers))
    drive(server.addr, exchanges)
    for e in exchanges:
        assert not e.error and [r.body for r in e.finals] == e.tag and e.probe, e.story()


# -- keep-alive and pipelines -------------------------------------------------------------------

def test_thousands_of_requests_on_one_connection(server):
    with server.connect() as c:
        for i in range(2000):
            r = c.get("/baseline11?a=%d" % i)
            assert (r.status, r.body) == (200, b"%d" % i)


def test_pipeline_of_ten_thousand(server):
    data = b"".join(request("GET /baseline11?a=%d HTTP/1.1" % i) for i in range(10000))
    e = server.exchange(data, responses=10000)
    assert not e.error and len(e.finals) == 10000, (e.error, len(e.finals))
    assert [r.body for r in e.finals] == [b"%d" % i for i in range(10000)]
    assert e.probe is not None and not e.surplus


def test_a_deep_pipeline_does_not_starve_others(server):
    """While one client has megabytes of requests outstanding, each worker still answers others."""
    heavy = []
    for _ in range(4):
        c = server.connect()
        c.sock.setblocking(False)
        c.at = 0
        heavy.append(c)
    blob = GET * 2000
    answered = 0
    end = time.monotonic() + 2
    while time.monotonic() < end:
        for c in heavy:
            try:
                c.at = (c.at + c.sock.send(blob[c.at:])) % len(GET)
            except BlockingIOError:
                pass
            try:
                while c.sock.recv(262144):
                    pass
            except BlockingIOError:
                pass
        with server.connect(timeout=10) as other:
            assert other.get("/pipeline").body == b"ok"
            answered += 1
    assert answered > 0
    for c in heavy:
        c.reset()


def test_pipelined_json_to_a_reader_that_comes_late(server):
    """More output than any buffer holds, read only after everything was sent: back-pressure, then
    every byte in order."""
    n = 2000
    data = b"".join(request("GET /json/%d?m=%d HTTP/1.1" % (i % 51, i)) for i in range(n))
    c = server.connect(timeout=60)
    c.sock.setblocking(False)
    sent = 0
    stalled = time.monotonic()
    while sent < len(data) and time.monotonic() - stalled < 1:
        try:
            k = c.sock.send(data[sent:sent + 65536])
            sent += k
            if k:
                stalled = time.monotonic()
        except BlockingIOError:
            time.sleep(0.02)
    with server.connect(timeout=10) as other:
        assert other.get("/pipeline").body == b"ok"
    got = 0
    while got < n:
        readable, writable, _ = select.select([c.sock], [c.sock] if sent < len(data) else [], [], 30)
        assert readable or writable, "stuck with %d of %d answers" % (got, n)
        if writable:
            try:
                sent += c.sock.send(data[sent:sent + 65536])
            except BlockingIOError:
                pass
        if readable:
            assert c.recv_some(262144), "closed after %d of %d answers" % (c.reader.finals, n)
            got = c.reader.finals
    for i, r in enumerate(c.reader.responses):
        assert r.status == 200
        if i % 97 == 0:
            assert json.loads(r.body)["count"] == i % 51
    c.close()


def test_the_middle_of_a_pipeline_is_bad(server):
    """The answers before it are delivered, then the error, then the close: also when the client
    has sent much more behind it, which must not turn the close into a reset."""
    bad = b"GET /pipeline HTTP/1.1\r\nHost: a b\r\n\r\n"
    for behind in (0, 1, 100, 400):
        e = server.exchange(GET * 5 + bad + GET * behind, responses=6)
        assert not e.error and not e.reset and e.eof, e.story()
        assert [r.status for r in e.finals] == [200] * 5 + [400], e.story()
        assert e.finals[-1].closes and not any(r.closes for r in e.finals[:-1])


def test_after_an_error_nothing_more_is_answered(server):
    """Bytes that arrive later, in segments of their own, are not answered either."""
    with server.connect() as c:
        r = c.request(b"GET /pipeline HTTP/1.1\r\nHost: a b\r\n\r\n")
        assert r.status == 400 and r.closes
        try:
            c.send(GET)
        except OSError:
            pass
        try:
            c.expect_eof()
        except ConnectionResetError:
            pass               # our bytes met a closed socket: in order, the answer was there


# -- Expect -------------------------------------------------------------------------------------

def test_expect_waits_for_100_then_body(server):
    with server.connect() as c:
        r = c.request(request("POST /baseline11?a=1 HTTP/1.1", "Expect: 100-continue",
                              "Content-Length: 2"))
        assert r.status == 100 and not r.fields
        assert c.quiet(0.2)
        r = c.request(b"20")
        assert (r.status, r.body) == (200, b"21")
        assert c.get("/pipeline").body == b"ok"


def test_expect_chunked(server):
    with server.connect() as c:
        assert c.request(request("POST /baseline11?a=1 HTTP/1.1", "Expect: 100-continue",
                                 "Transfer-Encoding: chunked")).status == 100
        r = c.request(b"2\r\n20\r\n0\r\n\r\n")
        assert (r.status, r.body) == (200, b"21")


def test_expect_twice_on_one_connection(server):
    with server.connect() as c:
        for i in range(3):
            assert c.request(request("POST /baseline11?a=1 HTTP/1.1", "Expect: 100-continue",
                                     "Content-Length: 1")).status == 100
            assert c.request(b"%d" % i).body == b"%d" % (1 + i)


def test_expect_behind_a_pipelined_request(server):
    with server.connect() as c:
        c.send(GET + request("POST /baseline11 HTTP/1.1", "Expect: 100-continue", "Content-Length: 1"))
        assert c.response().body == b"ok"
        assert c.response().status == 100
        assert c.request(b"9").body == b"9"


@pytest.mark.parametrize("line,status", [
    ("POST /nosuch HTTP/1.1", 404), ("POST /pipeline HTTP/1.1", 405), ("FOO /pipeline HTTP/1.1", 501)])
def test_expect_refused_before_the_body(server, line, status):
    """A final status at once, or 100 and then the final status; never silence."""
    with server.connect() as c:
        r = c.request(request(line, "Expect: 100-continue", "Content-Length: 2"))
        if r.status == 100:
            r = c.request(b"20")
        else:
            # The body may or may not come now; the framing must be what the response announced.
            if not r.closes:
                c.send(b"20")
        assert r.status == status
        if r.closes:
            c.expect_eof()
        else:
            assert c.get("/pipeline").body == b"ok"


def test_expect_too_large_never_100(server):
    with server.connect() as c:
        r = c.request(request("POST /baseline11 HTTP/1.1", "Expect: 100-continue",
                              "Content-Length: 8388609"))
        assert r.status == 413 and r.closes
        c.expect_eof()


def test_expect_in_1_0_gets_no_100(server):
    with server.connect() as c:
        c.send(request("POST /baseline11 HTTP/1.0", "Expect: 100-continue", "Content-Length: 1"))
        assert c.quiet(0.3)
        r = c.request(b"5")
        assert (r.status, r.body) == (200, b"5")


# -- half-close ---------------------------------------------------------------------------------

def test_half_close_before_the_answer(server):
    for path in ("/pipeline", "/json/50"):
        with server.connect() as c:
            c.send(request("GET %s HTTP/1.1" % path))
            c.sock.shutdown(socket.SHUT_WR)
            assert c.response().status == 200
            c.expect_eof()


def test_half_close_in_a_segment_of_its_own(server):
    with server.connect() as c:
        assert c.get("/pipeline").status == 200
        c.sock.shutdown(socket.SHUT_WR)
        c.expect_eof()


def test_half_close_with_much_output_pending(server):
    n = 600
    c = server.connect(timeout=30)
    c.send(request("GET /json/50 HTTP/1.1") * n)
    c.sock.shutdown(socket.SHUT_WR)
    time.sleep(0.3)
    while not c.eof:
        c.recv_some(262144)
    assert c.reader.finals == n and not c.reader.partial
    c.close()


def test_connect_and_close(server):
    for _ in range(50):
        server.connect().close()
    for _ in range(50):
        server.connect().reset()
    with server.connect() as c:
        assert c.get("/pipeline").body == b"ok"


# -- slow readers -------------------------------------------------------------------------------

def test_slow_reader_gets_all_of_a_json(servers, backend):
    """4 KiB of receive buffer, 1 KiB each 100 ms, and a write timeout shorter than all of it."""
    server = servers.get(backend, "--write-timeout", 1)
    with server.connect() as ref:
        whole = ref.get("/json/50?m=5").body
    c = server.connect(rcvbuf=4096)
    c.send(request("GET /json/50?m=5 HTTP/1.1"))
    began = time.monotonic()
    while c.reader.finals < 1:
        assert c.recv_some(1024), "closed in the middle"
        with server.connect(timeout=10) as other:      # costs nobody else anything
            assert other.get("/pipeline").body == b"ok"
        time.sleep(0.1 if len(whole) > 12000 else 0.2)
    assert c.response().body == whole
    assert time.monotonic() - began > 1, "too fast to have tried anything"
    assert c.get("/pipeline").body == b"ok"
    c.close()


def test_many_slow_readers(servers, backend):
    server = servers.get(backend, "--write-timeout", 5)
    with server.connect() as ref:
        whole = ref.get("/json/50?m=5").body
    clients = [server.connect(rcvbuf=4096) for _ in range(50)]
    for c in clients:
        c.send(request("GET /json/50?m=5 HTTP/1.1") * 3)
    end = time.monotonic() + 60
    left = list(clients)
    while left:
        assert time.monotonic() < end, "%d readers never got their answers" % len(left)
        for c in list(left):
            if wire.readable([c]):
                assert c.recv_some(1024), "closed in the middle"
                if c.reader.finals == 3:
                    left.remove(c)
        with server.connect(timeout=10) as other:
            assert other.get("/pipeline").body == b"ok"
        time.sleep(0.05)
    for c in clients:
        assert [r.body for r in c.reader.responses] == [whole] * 3
        c.close()


def test_a_client_that_does_not_read_is_not_read(start):
    """Back-pressure: what a client can push in without reading is bounded."""
    s = start(workers=1)
    c = s.connect()
    c.sock.setblocking(False)
    before = s.memory() if s.readable() else 0
    one = request("GET /json/50 HTTP/1.1")
    data = one * 1000
    sent = quiet = 0
    while quiet < 40 and sent < 400 * 1024 * 1024:
        try:
            sent += c.sock.send(data[sent % len(one):])
            quiet = 0
        except BlockingIOError:
            quiet += 1
            time.sleep(0.02)
    assert sent < 100 * 1024 * 1024, "the server read on and on"
    if before:
        assert s.memory() - before < 4 * 1024 * 1024, "output piles up for a client that does not read"
    c.reset()


def test_write_timeout_counts_from_the_last_byte_taken(servers, backend):
    """A client that takes a little now and then for several times the limit is not cut off."""
    server = servers.get(backend, "--write-timeout", 1)
    n = 3000
    c = server.connect(timeout=30)
    c.sock.setblocking(False)
    data = request("GET /json/50 HTTP/1.1") * n
    sent = 0
    began = time.monotonic()
    next_read = began
    while time.monotonic() - began < 4:
        try:
            sent += c.sock.send(data[sent:sent + 65536]) if sent < len(data) else 0
        except BlockingIOError:
            pass
        if time.monotonic() >= next_read:
            next_read = time.monotonic() + 0.1
            for _ in range(8):
                try:
                    assert c.recv_some(262144), "cut off after %.1f s" % (time.monotonic() - began)
                except BlockingIOError:
                    break
        time.sleep(0.02)
    assert c.reader.finals > 0
    c.reset()


def test_write_timeout_ends_a_stalled_reader(servers, backend):
    server = servers.get(backend, "--write-timeout", 1)
    c = server.connect(rcvbuf=4096)
    c.sock.setblocking(False)
    data = request("GET /json/50 HTTP/1.1") * 4000
    sent = 0
    end = time.monotonic() + wire.HANG_S
    ended = False
    while time.monotonic() < end and not ended:
        try:
            if sent < len(data):
                sent += c.sock.send(data[sent:sent + 65536])
        except BlockingIOError:
            pass
        except OSError:
            ended = True
        ready = select.poll()
        ready.register(c.sock, select.POLLHUP | select.POLLERR | select.POLLRDHUP)
        ended = ended or bool(ready.poll(50))
    assert ended, "a reader that takes nothing was never let go"
    c.close()
    with server.connect() as other:
        assert other.get("/pipeline").body == b"ok"
