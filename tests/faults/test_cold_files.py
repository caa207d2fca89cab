# SPDX-License-Identifier: MIT
"""Files that are not in memory: a slow disk, played by tests/faults/shim_disk.c, keeps only those waiting
who want what is on it.  What is checked is the order of answers, not their time."""

import os
import random
import select
import socket

import pytest

import wire
import wire_tls
from shims import environment, shim
from wire import request as get

SIZE = 100003      # what the shim takes for a file on the disk
DISK_MS = 1200     # far longer than a few answers take, also on a busy machine
COLD = random.Random(5).randbytes(SIZE)


@pytest.fixture(scope="module")
def disk():
    with shim("shim_disk") as path:
        yield path


@pytest.fixture
def serve(start, disk, tmp_path, backend, request):
    if backend == "io_uring" and "by_the_ring" not in request.node.name:
        pytest.skip("its reads are the kernel's: no library sees them")
    (tmp_path / "cold.bin").write_bytes(COLD)
    (tmp_path / "warm.bin").write_bytes(COLD[:-1])
    for path in [tmp_path, *tmp_path.parents][:3]:
        path.chmod(0o755)
    env = dict(environment(disk, os.devnull), BIVALVE_DISK_SIZE=str(SIZE), BIVALVE_DISK_MS=str(DISK_MS))

    def serve(*options):
        return start("--static", str(tmp_path), *options, workers=1, env=env)
    return serve


def body_has_come(c):
    """Is there more than the head of an answer?"""
    while select.select([c.sock], [], [], 0)[0]:
        if not c.recv_some():
            break
    return c.reader.partial and len(c.reader._current.body) + len(c.reader._buf) > 0 or bool(c.reader.responses)


def test_others_do_not_wait_with_tls(start, disk, tmp_path, certificates):
    """TLS reads files itself, on every backend."""
    (tmp_path / "cold.bin").write_bytes(COLD)
    (tmp_path / "warm.bin").write_bytes(COLD[:-1])
    env = dict(environment(disk, os.devnull), BIVALVE_DISK_SIZE=str(SIZE), BIVALVE_DISK_MS=str(DISK_MS))
    s = start("--static", str(tmp_path), *certificates.options, workers=1, env=env,
              listen=("127.0.0.1:0,tls",))
    context = certificates.context()

    def connect():
        return s.connect(wrap=lambda sock: wire_tls.TlsSocket(sock, context))

    with connect() as slow, connect() as quick:
        slow.send(get("GET /static/cold.bin HTTP/1.1") * 2 + get("GET /pipeline HTTP/1.1"))
        for _ in range(5):
            assert quick.get("/pipeline").body == b"ok"
            assert quick.get("/static/warm.bin").body == COLD[:-1]
        assert [slow.response().body for _ in range(3)] == [COLD, COLD, b"ok"]
    assert s.stats()["file_reads"] >= 2 and s.stats()["file_waits"] == 0


def test_others_do_not_wait(serve):
    s = serve()
    with s.connect() as slow, s.connect() as quick, s.connect() as warm:
        assert quick.get("/pipeline").body == warm.get("/pipeline").body == b"ok"
        slow.send(get("GET /static/cold.bin HTTP/1.1") * 2 + get("GET /pipeline HTTP/1.1"))
        for _ in range(5):
            assert quick.get("/pipeline").body == b"ok"
            assert warm.get("/static/warm.bin").body == COLD[:-1]
        assert not body_has_come(slow), "it was not slow at all"
        assert [slow.response().body for _ in range(3)] == [COLD, COLD, b"ok"]
    assert s.stats()["file_reads"] == 2 and s.stats()["file_waits"] == 0


def test_without_readers_they_do(serve):
    """The test above can fail."""
    s = serve("--file-readers", 0)
    with s.connect() as slow, s.connect() as quick:
        assert quick.get("/pipeline").body == b"ok"
        slow.send(get("GET /static/cold.bin HTTP/1.1"))
        select.select([slow.sock], [], [])
        assert slow.recv_some()
        quick.get("/pipeline")
        assert body_has_come(slow)
        assert slow.response().body == COLD
    assert s.stats()["file_reads"] == 0


def test_who_leaves_and_the_end(serve):
    """Clients that leave while their file is read, and a server that ends meanwhile."""
    s = serve("--file-readers", 1)
    clients = [s.connect() for _ in range(4)]
    for c in clients:
        c.send(get("GET /static/cold.bin HTTP/1.1"))
    wire.wait_until("reads", lambda: s.stats()["file_reads"] == 4)
    for c in clients[:3]:
        c.reset()
    assert s.connect().get("/pipeline").body == b"ok"
    s.stop()
    assert clients[3].response().body == COLD


def test_under_the_filter(serve):
    """Threads can be started where no process can."""
    wire.need_filter()
    try:
        s = serve("--seccomp")
    except wire.StartError as e:
        pytest.skip(str(e))
    with s.connect() as c:
        assert c.get("/static/cold.bin").body == COLD
    assert (s.stats()["file_reads"], s.stats()["file_waits"]) == (1, 0)


def test_read_by_the_ring(serve, backend):
    """io_uring reads what is not in memory by itself: all of it, in order, also to a client that is slow."""
    if backend != "io_uring":
        pytest.skip("it has no ring")
    s = serve("--file-readers", 0, "--max-unsent-bytes", 4096)
    with s.connect() as c, s.connect(rcvbuf=4096) as slow, s.connect() as leaver:
        mixed = get("GET /static/cold.bin HTTP/1.1") * 2 + get("GET /pipeline HTTP/1.1") + \
            get("GET /static/warm.bin HTTP/1.1") + get("GET /static/cold.bin HTTP/1.1", "Range: bytes=7-70000")
        slow.send(mixed)
        leaver.send(mixed)
        leaver.reset()
        c.send(mixed)
        c.sock.shutdown(socket.SHUT_WR)
        right = [COLD, COLD, b"ok", COLD[:-1], COLD[7:70001]]
        assert [c.response().body for _ in right] == right
        assert [slow.response().body for _ in right] == right
    assert s.stats()["file_reads"] == 0
