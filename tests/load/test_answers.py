# SPDX-License-Identifier: MIT
"""Every kind of answer, right and wrong: what is counted as what."""

import threading
import time

import pytest
from conftest import OK, answering, load

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'1;a="b;c"\r\no\r\n1\r\nk\r\n0\r\nX-Trailer: y\r\n\r\n'
)
RIGHT = {
    "length": OK,
    "chunked": CHUNKED,
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
    "no-content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "not-modified": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
    "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "1.0": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
}
MALFORMED = {
    "no-http": b"SSH-2.0-OpenSSH\r\n\r\n",
    "status": b"HTTP/1.1 20 OK\r\n\r\n",
    "fold": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "both": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers(serve, backend, name):
    run = load("-n100", "-c2", "--backend", backend, serve(answering(RIGHT[name])).url)
    assert run.status == 0 and run["requests"] == 100 and run.errors() == {}, run.err
    assert run["connections"]["opened"] == 2 and run["latency_us"]["count"] == 100
    assert run["matched"] >= 90  # the first of each connection may have come at once


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_in_pieces(serve, backend, name):
    """Cut at every byte: the parser sees each half by itself."""
    data = RIGHT[name]

    def behave(client):
        cut = 0
        while client.request():
            cut = cut % (len(data) - 1) + 1
            client.send(data[:cut])
            time.sleep(0.001)
            if not client.send(data[cut:]):
                return

    n = len(data) - 1
    run = load("-n", n, "-c1", "--backend", backend, serve(behave).url)
    assert run.status == 0 and run["requests"] == n and run.errors() == {}, run.err


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_answers(serve, backend, name):
    """Each is an error of one request; the others in flight behind it are sent again."""
    state = {"wrong": 0}

    def answer(client, request):
        if client.number <= 3 and state.setdefault(client.number, 0) == 0:
            state[client.number] = 1
            return MALFORMED[name]
        return OK

    run = load("-n50", "-c1", "-p4", "--backend", backend, serve(answering(answer)).url)
    assert run.status == 1 and run.errors() == {"malformed": 3}, run.err
    assert run["requests"] == 47 and run["connections"]["opened"] == 4
    assert '"' in run.first("malformed")


def test_more_answers_than_requests(serve, backend):
    run = load("-n1", "-c1", "--backend", backend, serve(answering(OK + OK)).url)
    # Nobody waits for what comes behind the last answer; with more requests it is found out.
    assert run["requests"] == 1
    run = load("-d200ms", "-c1", "--backend", backend, serve(answering(OK + OK)).url)
    assert run.errors().get("malformed", 0) > 0 or run["requests"] > 0
    assert "nobody asked for" in run.err


def test_wrong_status(serve, backend):
    server = serve(answering(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"))
    run = load("-n20", "-c2", "--backend", backend, server.url)
    assert run.status == 1 and run.errors() == {"status": 20} and run["requests"] == 0
    assert run.first("status") == "status 503" and run["parsed_status"]["5xx"] == 20
    run = load("-n20", "-c2", "--backend", backend, "--expect-status=503", server.url)
    assert run.status == 0 and run["requests"] == 20
    run = load("-n20", "--backend", backend, "--expect-status=200,5xx", server.url)
    assert run.status == 0


def test_wrong_body(serve, backend):
    server = serve(answering(OK))
    run = load("-n20", "-c2", "--backend", backend, "--expect-body=no", server.url)
    assert run.status == 1 and run.errors() == {"body": 20}
    assert run.first("body") == "another byte after byte 0 of 2"
    run = load("-n20", "-c2", "--backend", backend, "--expect-body=okay", server.url)
    assert run.first("body") == "its end after byte 2 of 4"
    run = load("-n20", "-c2", "--backend", backend, "--expect-body=ok", server.url)
    assert run.status == 0 and run["requests"] == 20


def test_a_wrong_body_after_right_ones(serve, backend):
    """What is compared with a verified answer is compared to the last byte."""
    state = {"n": 0}

    def answer(client, request):
        state["n"] += 1
        return OK[:-1] + (b"K" if state["n"] == 70 else b"k")

    run = load("-n100", "-c1", "--backend", backend, "--expect-body=ok", serve(answering(answer)).url)
    assert run.errors() == {"body": 1} and run["requests"] == 99


def test_the_date_may_change(serve, backend):
    state = {"n": 0}

    def answer(client, request):
        state["n"] += 1
        head = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:%02d GMT\r\n" % (state["n"] % 60)
        return head + b"Content-Length: 2\r\n\r\nok"

    run = load("-n300", "-c1", "--backend", backend, serve(answering(answer)).url)
    assert run.status == 0 and run["requests"] == 300
    assert run["matched"] >= 290  # some come in two pieces: where a buffer of the ring ends


def test_answers_that_vary(serve, backend):
    """The comparison is given up, and every one is parsed."""
    state = {"n": 0}

    def answer(client, request):
        state["n"] += 1
        return b"HTTP/1.1 200 OK\r\nX: %d\r\nContent-Length: 2\r\n\r\nok" % (state["n"] + 1000)

    run = load("-n300", "-c1", "--backend", backend, serve(answering(answer)).url)
    assert run.status == 0 and run["requests"] == 300 and run["matched"] == 0


def test_head_has_no_body(serve, backend):
    server = serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"))
    run = load("-n50", "-c1", "-XHEAD", "--backend", backend, server.url)
    assert run.status == 0 and run["requests"] == 50, run.err


def test_a_body_that_ends_with_the_connection(serve, backend):
    def behave(client):
        client.request()
        client.send(b"HTTP/1.0 200 OK\r\n\r\nok")

    run = load("-n20", "-c2", "--expect-body=ok", "--backend", backend, serve(behave).url)
    assert run.status == 0 and run["requests"] == 20
    # The last one may find nothing left to do.
    assert run["connections"]["opened"] in (20, 21)


def test_announced_ends_are_no_errors(serve, backend):
    """What is in flight behind `Connection: close` is sent again, in order and once."""
    seen = []

    def behave(client):
        for i in range(5):
            request = client.request()
            if request is None:
                return
            seen.append(request.split()[1])
            close = b"Connection: close\r\n" if i == 4 else b""
            client.send(b"HTTP/1.1 200 OK\r\n" + close + b"Content-Length: 2\r\n\r\nok")
        client.linger()

    run = load("-n103", "-c1", "-p8", "--backend", backend, serve(behave).url)
    assert run.status == 0 and run.errors() == {} and run["requests"] == 103
    assert run["connections"]["resent"] > 0 and run["latency_us"]["count"] == 103
    assert len(seen) == 103


def test_closed_early(serve, backend):
    def behave(client):
        for _ in range(3):
            client.request()
            client.send(OK)
        client.request()

    run = load("-n40", "-c1", "--backend", backend, serve(behave).url)
    assert run.errors() == {"closed_early": 10} and run["requests"] == 30 and run.status == 1
    run = load("-n40", "-c1", "--max-error-rate=0.5", "--backend", backend, serve(behave).url)
    assert run.status == 0 and run["errors_ok"] is True


def test_truncated(serve, backend):
    def behave(client):
        client.request()
        client.send(OK)
        client.request()
        client.send(OK[:-1])

    run = load("-n40", "-c1", "--backend", backend, serve(behave).url)
    assert run.errors() == {"truncated": 20} and run["requests"] == 20


def test_reset(serve, backend):
    def behave(client):
        client.request()
        client.send(OK)
        client.request()
        client.reset()

    run = load("-n40", "-c1", "--backend", backend, serve(behave).url)
    assert run.errors() == {"reset": 20} and run["requests"] == 20
    assert run.first("reset") == "Connection reset by peer"


def test_an_idle_connection_that_is_closed_is_no_error(serve, backend):
    """Open loop: nothing was in flight."""

    def behave(client):
        client.request()
        client.send(OK)

    run = load("-R50", "-d1s", "-c4", "--backend", backend, serve(behave).url)
    # A request that meets the end on its way is one: seldom, unless the machine is busy.
    assert run["requests"] > 20 and sum(run.errors().values()) <= run["requests"] // 2, run.err
    assert run["connections"]["opened"] > 10


def test_timeout(serve, backend):
    """Late answers are errors of the requests that waited, and of no others."""
    state = {"late": 0}

    def answer(client, request):
        state["late"] += 1
        if state["late"] == 3:
            time.sleep(1.2)
        return OK

    run = load(
        "-n20", "-c1", "--timeout=500ms", "--backend", backend, serve(answering(answer)).url
    )
    assert run.errors() == {"timeout": 1} and run["requests"] == 19, run.err
    # It is in the histogram with the time that it was waited for.
    assert run["latency_us"]["count"] == 20 and run["latency_us"]["max"] >= 500000


def test_a_server_that_answers_nothing(serve, backend):
    gate = threading.Event()

    def behave(client):
        gate.wait(20)

    run = load("-d300ms", "-c3", "--timeout=400ms", "--backend", backend, serve(behave).url)
    gate.set()
    assert run.status == 1 and run["requests"] == 0
    # Each of the three in flight, and those that took their place before the end.
    assert run.errors()["timeout"] in (3, 6) and set(run.errors()) == {"timeout"}


def test_an_answer_before_the_request_is_whole(serve, backend, tmp_path):
    """A server may refuse a large body at once; the connection cannot be used again."""
    (tmp_path / "body").write_bytes(b"x" * (8 << 20))

    def behave(client):
        client.more()
        client.send(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        while client.more():
            client.data = b""

    run = load(
        "-n6", "-c2", "-b", "@%s" % (tmp_path / "body"), "--expect-status=413", "--backend", backend,
        serve(behave).url,
    )
    assert run.status == 0 and run["requests"] == 6, run.err


def test_large_bodies_both_ways(serve, backend, tmp_path):
    body = bytes(range(256)) * (5 << 12)
    (tmp_path / "body").write_bytes(body)

    def answer(client, request):
        got = request.partition(b"\r\n\r\n")[2]
        assert got == body
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(got), got)

    name = "@%s" % (tmp_path / "body")
    run = load(
        "-n8", "-c2", "-b", name, "--expect-body", name, "--backend", backend,
        serve(answering(answer)).url,
    )
    assert run.status == 0 and run["requests"] == 8, run.err
    assert run["bytes"]["in"] > 8 * len(body) and run["bytes"]["out"] > 8 * len(body)
