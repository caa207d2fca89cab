# SPDX-License-Identifier: MIT
"""Large bodies both ways, every byte of them checked; readers that are slow; idle connections."""

import socket
import threading

import pytest

import wire
from conftest import OK, answering, load


def url_of(server, path):
    return "http://127.0.0.1:%d%s" % (server.addr[1][1], path)


def test_random_bodies(server, backend):
    """Made up, the same for the same seed; counted by one handler, sent back by another."""
    for more in ([], ["--chunked"], ["-p3"]):
        run = load("-n12", "-c3", "-b", "random:300k", "--expect-body=307200", "--backend", backend,
                   *more, url_of(server, "/upload"))
        assert run.status == 0 and run["requests"] == 12, run.err
    for size in ("random:1", "random:10k", "random:1m"):
        run = load("-n12", "-c3", "-b", size, "--expect-echo", "--backend", backend,
                   url_of(server, "/echo"))
        assert run.status == 0 and run["requests"] == 12, run.err


def test_seed_makes_the_body(serve):
    seen = []

    def answer(client, request):
        seen.append(request.partition(b"\r\n\r\n")[2])
        return OK

    url = serve(answering(answer)).url
    for seed in (1, 1, 2):
        assert load("-n1", "-c1", "-b", "random:1000", "--seed", seed, url).status == 0
    assert seen[0] == seen[1] != seen[2] and all(len(s) == 1000 for s in seen)


def test_echo_that_is_none(serve, backend):
    def answer(client, request):
        body = bytearray(request.partition(b"\r\n\r\n")[2])
        body[-1] ^= 1
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + bytes(body)

    run = load("-n1", "-c1", "-b", "random:40k", "--expect-echo", "--backend", backend,
               serve(answering(answer)).url)
    assert run.status == 1 and run.errors() == {"body": 1}
    for argv in (["--expect-echo"], ["-bx", "--expect-echo", "--expect-body=x"],
                 ["-b", "random:"], ["-b", "random:2g"], ["-b", "random:1x"]):
        run = load("-n1", *argv, "http://127.0.0.1:1/")
        assert run.status == 2 and "bivalve-load: " in run.err


LARGE = bytes(range(256)) * 800


def test_same_body(serve, backend):
    """One byte of one answer of many, or its length, is another."""

    def server_of(other):
        def answer(client, request):
            with server.lock:
                server.requests.append(1)
                body = other if len(server.requests) == 7 else LARGE
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body

        server = serve(answering(answer))
        return server.url

    run = load("-n20", "-c2", "--same-body", "--backend", backend, server_of(LARGE))
    assert run.status == 0 and run["requests"] == 20, run.err
    for other in (LARGE[:150000] + b"\0" + LARGE[150001:], LARGE[:-1], LARGE + b"x", b""):
        run = load("-n20", "-c2", "--same-body", "--backend", backend, server_of(other))
        assert run.status == 1 and run.errors() == {"body": 1}, run["errors"]
        assert "first answer" in run.first("body")
        assert load("-n20", "-c2", "--backend", backend, server_of(other)).status == 0


def test_slow_readers(serve, backend):
    """No faster than they should; the server waits, whose buffers are not all there is."""
    body = LARGE + LARGE
    waited = threading.Event()

    def answer(client, request):
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.sock.settimeout(0)
        data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        while data:
            try:
                data = data[client.sock.send(data):]
            except BlockingIOError:
                waited.set()
                client.sock.settimeout(wire.HANG_S)
        client.sock.settimeout(wire.HANG_S)
        return b""

    url = serve(answering(answer)).url
    run = load("-n2", "-c2", "--read-rate=400k", "--same-body", "--backend", backend, url)
    # 400 KiB of it are 1 s; a quarter of a second may have been read in advance.
    assert run.status == 0 and run["requests"] == 2, run.err
    assert run["latency_us"]["min"] > 600000 and waited.is_set()
    run = load("-n2", "-c2", "--read-rate=10k", "--timeout=700ms", "--backend", backend, url)
    assert run.status == 1 and run.errors() == {"timeout": 2}, run["errors"]


def test_slow_readers_of_bivalve(server, backend):
    run = load("-n4", "-c4", "--read-rate=2k", "--same-body", "--backend", backend,
               url_of(server, "/json/10"))
    assert run.status == 0 and run["requests"] == 4, run.err


def test_idle_connections(serve, backend):
    """Each has one request; then the load begins beside them."""
    seen, most = {}, []

    def answer(client, request):
        with server.lock:
            seen[client.number] = seen.get(client.number, 0) + 1
            most.append(len(seen))
        return OK

    server = serve(answering(answer))
    for more in (["-n60"], ["-n60", "-k7"], ["-R200", "--arrivals=uniform", "-d200ms"],
                 ["-n60", "-t2"]):
        seen.clear()
        before = server.count
        run = load("-c3", "--idle=20", "--backend", backend, *more, server.url)
        assert run.status == 0 and run["requests"] >= 30, run.err
        assert run["connections"]["idle"] == 20 and run["connections"]["idle_lost"] == 0
        # The first twenty have one each, all before any other.
        crowd = [n for n in seen if n <= before + 20]
        assert len(crowd) == 20 and all(seen[n] == 1 for n in crowd), seen
        if "-k7" not in more:
            assert server.count == before + 23
    assert "20 idle connections" in run.err


def test_idle_connections_that_end(serve, backend):
    count = [0]

    def behave(client):
        with server.lock:
            count[0] += 1
            mine = count[0]
        if mine > 10:
            answering(OK)(client)
            return
        client.request()
        client.send(OK)
        if mine > 4:
            begun.wait(wire.HANG_S)  # ended by the server, once the load has begun
        else:
            client.request()

    begun = threading.Event()

    def begins(client):
        behave(client)

    server = serve(begins)
    wanted = server.serve

    def counted(sock, number):
        if number > 10:
            begun.set()
        wanted(sock, number)

    server.serve = counted
    run = load("-d400ms", "-c2", "-R50", "--idle=10", "--backend", backend, server.url)
    assert run.status == 0, run.err
    assert run["connections"]["idle"] == 10 and run["connections"]["idle_lost"] == 6


def test_idle_connections_that_cannot_be():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        run = load("-n1", "--idle=5", "--timeout=300ms", "http://127.0.0.1:%d/" % s.getsockname()[1])
    assert run.status == 2 and "--idle: 0 of 5" in run.err and "refused" in run.err
