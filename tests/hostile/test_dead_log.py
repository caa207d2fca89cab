# SPDX-License-Identifier: MIT
"""A log that nobody reads: stderr is full.  Requests are answered all the same, what could not be
written is counted, and SIGTERM ends the server."""

import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import time

import pytest

import wire

# As its users see it: a pipe of a supervisor that sleeps, a socket of the journal, a pipe that this
# server may not open again because it is another user's.
KINDS = ["pipe", "socket", "foreign pipe"]


def ends(kind):
    """What the server writes to, and what a reader would read from; full."""
    if kind == "socket":
        reader, writer = (s.detach() for s in socket.socketpair())
    else:
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 16384)    # a page for a line, where poll(2) is asked
    fill(writer)
    return reader, writer


def fill(writer):
    os.set_blocking(writer, False)
    for size in (512, 1):
        try:
            while True:
                os.write(writer, b"x" * size)
        except BlockingIOError:
            pass
    os.set_blocking(writer, True)


def drain(reader):
    os.set_blocking(reader, False)
    out = b""
    try:
        while True:
            out += os.read(reader, 65536)
    except BlockingIOError:
        return out.decode()


def reset(port):
    """A client that goes without a word, which a worker logs."""
    s = socket.create_connection(("127.0.0.1", port), timeout=wire.HANG_S)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def get(port):
    """Whether /pipeline is answered."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=wire.HANG_S) as s:
            s.sendall(b"GET /pipeline HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            said = b""
            while piece := s.recv(4096):
                said += piece
    except ConnectionRefusedError:
        return False
    return said.startswith(b"HTTP/1.1 200") and said.endswith(b"ok")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_reads_the_log(backend, kind):
    if kind == "foreign pipe" and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    reader, writer = ends(kind)
    port = free_port()
    argv = [wire.binary(), *wire.ALWAYS, "--backend", backend, "--workers", "2", "--log-level", "debug",
            "--listen", "127.0.0.1:%d" % port]
    become = {"user": 65534, "group": 65534, "extra_groups": []} if kind == "foreign pipe" else {}
    server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=writer, **become)
    try:
        wire.wait_until("the first answer", lambda: get(port))
        for _ in range(20):
            server.send_signal(signal.SIGUSR1)
            time.sleep(0.01)
            reset(port)
            assert get(port)
        drain(reader)

        said = []

        def told():
            server.send_signal(signal.SIGUSR1)
            said.append(drain(reader))
            return re.search(r" warn \[%d\] (\d+) lines are missing here" % server.pid, "".join(said))
        # The line that says that it listens is one of them.
        assert int(wire.wait_until("the count of what is missing", told)[1]) >= 1
        # The workers' own are counted as well.
        counted = wire.wait_until("the counter", lambda: told() and re.findall(
            r" worker=all .*\bmessages_dropped=(\d+)", "".join(said)))
        assert int(counted[-1]) >= 1
        fill(writer)
        assert get(port)
        server.terminate()
        assert server.wait(wire.HANG_S) == 0
    finally:
        server.kill()
        server.wait()
        os.close(reader)
        os.close(writer)
