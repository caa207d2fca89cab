# SPDX-License-Identifier: MIT
"""What the tests of bivalve-load share: the program, run; its results; and servers that do what a
test wants them to."""

import json
import os
import socket
import subprocess
import sys
import threading

import pytest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "conformance"))
from wire_fixtures import *  # noqa: E402,F401,F403

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def program():
    """bivalve-load, beside the server that is tested."""
    path = os.path.join(os.path.dirname(os.environ["BIVALVE"]), "bivalve-load")
    return os.environ.get("BIVALVE_LOAD") or path


class Run:
    """One run of bivalve-load that has ended."""

    def __init__(self, done):
        self.status, self.err = done.returncode, done.stderr
        self.out = done.stdout
        self.json = json.loads(done.stdout) if done.stdout.startswith("{") else None

    def __getitem__(self, key):
        assert self.json is not None, self.err
        return self.json[key]

    def errors(self):
        """{kind: count}"""
        return {kind: e["count"] for kind, e in self["errors"].items()}

    def first(self, kind):
        return self["errors"][kind]["first"]


def start(*argv, **kwargs):
    return subprocess.Popen(
        [program(), *map(str, argv)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def load(*argv, timeout=60, **kwargs):
    """Run it to its end, with JSON on its standard output."""
    done = subprocess.run(
        [program(), "--quiet", "--json=-", *map(str, argv)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=timeout,
        check=False,
        **kwargs,
    )
    return Run(done)


class Client:
    """A connection as one of these servers sees it."""

    def __init__(self, sock, number):
        self.sock, self.number = sock, number
        self.data = b""

    def request(self):
        """The next request, head and body, or None at the end."""
        while b"\r\n\r\n" not in self.data:
            if not self.more():
                return None
        head, _, rest = self.data.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n")[1:]:
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(rest) < length:
            if not self.more():
                return None
            rest = self.data.partition(b"\r\n\r\n")[2]
        self.data = rest[length:]
        return head + b"\r\n\r\n" + rest[:length]

    def more(self):
        try:
            got = self.sock.recv(65536)
        except OSError:
            return False
        self.data += got
        return bool(got)

    def send(self, data):
        try:
            self.sock.sendall(data)
            return True
        except OSError:
            return False

    def linger(self):
        """The orderly end: a close with unread requests would reset the connection."""
        self.sock.shutdown(socket.SHUT_WR)
        while self.more():
            self.data = b""

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


class Server:
    """Calls behave(client) for every connection, in a thread, and closes it afterwards."""

    def __init__(self, behave, family=socket.AF_INET, address=None):
        self.behave, self.requests = behave, []
        self.lock = threading.Lock()
        self.sock = socket.socket(family)
        self.sock.bind(address or ("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        self.sock.listen(128)
        if family != socket.AF_UNIX:
            host = "[::1]" if family == socket.AF_INET6 else "127.0.0.1"
            self.port = self.sock.getsockname()[1]
            self.url = "http://%s:%d" % (host, self.port)
        self.count = 0
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            self.count += 1
            threading.Thread(target=self.serve, args=(sock, self.count), daemon=True).start()

    def serve(self, sock, number):
        with sock:
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.behave(Client(sock, number))

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


@pytest.fixture
def serve():
    """serve(behave): a server for this test."""
    running = []

    def begin(behave, **kwargs):
        running.append(Server(behave, **kwargs))
        return running[-1]

    yield begin
    for server in running:
        server.close()


def answering(answer):
    """A server that gives this answer to every request: bytes, or a function of (client, request)
    that returns bytes, or None to close."""

    def behave(client):
        while True:
            request = client.request()
            if request is None:
                return
            data = answer(client, request) if callable(answer) else answer
            if data is None or not client.send(data):
                return

    return behave
