# SPDX-License-Identifier: MIT
"""Clients that mean no good.  Each kind runs in a process of its own, so that its pace does not
depend on the test beside it; it opens its connections, misbehaves, and reports what became of them."""

import collections
import ctypes
import errno
import multiprocessing
import os
import random
import resource
import select
import socket
import stat
import struct
import time

import wire
from wire import request

GET = request("GET /pipeline HTTP/1.1")
MUCH = request("GET /json/50 HTTP/1.1") * 200
DRIP_S = 0.25
COME_BACK_S = 1
SYS_PIDFD_GETFD = 438    # on every architecture


def connect(addr, rcvbuf=None):
    s = socket.socket(addr[0], socket.SOCK_STREAM)
    if rcvbuf:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    s.settimeout(wire.HANG_S)
    s.connect(addr[1])
    s.setblocking(False)
    return s


def raise_fd_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def first_bytes(kind, rng):
    """(what is sent at once, what is dripped behind it, whether anything is ever read)"""
    if kind == "slow-head":
        return b"", request("GET /pipeline HTTP/1.1", "X: " + "y" * 4000), True
    if kind == "slow-fields":
        return GET[:-2], b"X: y\r\n" * 1000, True
    if kind == "slow-body":
        return request("POST /baseline11 HTTP/1.1", "Content-Length: 8000"), b" " * 7000, True
    if kind == "slow-chunks":
        return (request("POST /baseline11 HTTP/1.1", "Transfer-Encoding: chunked"),
                b"1\r\n \r\n" * 1000, True)
    if kind == "stalled-head":
        return GET[:rng.randrange(1, len(GET) - 1)], b"", True
    if kind == "stalled-body":
        return request("POST /baseline11 HTTP/1.1", "Content-Length: 10", body="1"), b"", True
    if kind == "expect-and-silence":
        return (request("POST /baseline11 HTTP/1.1", "Content-Length: 10", "Expect: 100-continue"), b"",
                True)
    if kind == "idle":
        return b"", b"", True
    if kind == "idle-after-a-request":
        return GET, b"", True
    if kind == "error-and-no-close":
        return b"BAD\r\n\r\n", b"", False
    if kind == "half-closed":
        return GET[:10], b"", True
    raise ValueError(kind)


KINDS = ["slow-head", "slow-fields", "slow-body", "slow-chunks", "stalled-head", "stalled-body",
         "expect-and-silence", "idle", "idle-after-a-request", "error-and-no-close", "half-closed"]


def misbehave(kind, addr, n, pipe):
    """Open n connections of the kind and stay with them until the server has ended each.
    Reports (ended by the server, still open)."""
    raise_fd_limit()
    rng = random.Random(kind)
    poller = select.poll()
    open_ones, ended = {}, 0
    for _ in range(n):
        s = connect(addr)
        now, later, reads = first_bytes(kind, rng)
        if now:
            s.send(now)
        if kind == "half-closed":
            s.shutdown(socket.SHUT_WR)
        open_ones[s.fileno()] = [s, later, 0, reads]
        poller.register(s, select.POLLIN | select.POLLRDHUP)
    pipe.send("ready")
    end = time.monotonic() + 3 * wire.HANG_S
    next_drip = time.monotonic()
    while open_ones and time.monotonic() < end:
        for fd, what in poller.poll(50):
            s, _, _, reads = open_ones[fd]
            over = bool(what & (select.POLLHUP | select.POLLERR | select.POLLNVAL))
            if reads or over:
                try:
                    over = not s.recv(65536)
                except BlockingIOError:
                    over = False
                except OSError:
                    over = True
            else:
                over = bool(what & select.POLLRDHUP)
            if over:
                poller.unregister(fd)
                del open_ones[fd]
                s.close()
                ended += 1
        if time.monotonic() >= next_drip:
            next_drip = time.monotonic() + DRIP_S
            for item in open_ones.values():
                s, later, at, _ = item
                if at < len(later):
                    try:
                        s.send(later[at:at + 1])
                        item[2] += 1
                    except OSError:
                        pass
    pipe.send((ended, len(open_ones)))
    for s, _, _, _ in open_ones.values():
        s.close()


def do_not_read(addr, n, pipe):
    """n clients that ask for megabytes and read nothing, until the server lets them go."""
    one = request("GET /json/50 HTTP/1.1")
    data = one * 1000
    sent = {}
    clients = [connect(addr, rcvbuf=4096) for _ in range(n)]
    pipe.send("ready")
    left = set(clients)
    end = time.monotonic() + 3 * wire.HANG_S
    while left and time.monotonic() < end:
        for s in list(left):
            try:
                sent[s] = sent.get(s, 0) + s.send(data[sent.get(s, 0) % len(one):])
            except BlockingIOError:
                pass
            except OSError:
                left.discard(s)
        if left:
            p = select.poll()
            for s in left:
                p.register(s, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
            gone = {fd for fd, _ in p.poll(50)}
            left = {s for s in left if s.fileno() not in gone}
    pipe.send((n - len(left), len(left)))
    for s in clients:
        s.close()


def greedy(addr, n, pipe, rcvbuf=None):
    """n clients that ask for much, read nothing and stay; those that the server lets go come back a
    second later.  Until told to leave, then all reset.  Reports (ended by the server, still open)."""
    raise_fd_limit()
    ended = 0
    away = collections.deque()    # when those come back that were let go
    rest = {}    # by socket: what is still to be said
    poller = select.poll()
    by_fd = {}

    def come():
        s = connect(addr, rcvbuf)
        by_fd[s.fileno()] = s
        rest[s] = MUCH
        poller.register(s, select.POLLOUT | select.POLLRDHUP)

    for _ in range(n):
        come()
    told = False
    while not pipe.poll(0):
        for fd, what in poller.poll(50):
            s = by_fd[fd]
            try:
                if what & ~select.POLLOUT:
                    raise ConnectionResetError
                rest[s] = rest[s][s.send(rest[s]):]
                if not rest[s]:
                    poller.modify(s, select.POLLRDHUP)
            except BlockingIOError:
                pass
            except OSError:
                poller.unregister(fd)
                del by_fd[fd], rest[s]
                s.close()
                ended += 1
                away.append(time.monotonic() + COME_BACK_S)
        while away and away[0] <= time.monotonic():
            away.popleft()
            come()
        if not told:
            pipe.send("ready")
            told = True
    for s in by_fd.values():
        reset(s)
    pipe.send((ended, len(by_fd)))


SLOW_TICK_S = 0.1
SLOW_TICKS = 10    # at the least, however soon they are told to leave
SLOW_READ, SLOW_WRITE = 2048, 50    # bytes a tick: more than --min-body-rate wants
SLOW_BODY = 1 << 20


def slow(addr, n, large, pipe):
    """n each of clients that take a large file, an echo and much JSON slowly, and that send a body slowly.
    Told to leave they stop to read and to write, and stay until the server lets them go.  Reports (ended
    by the server, still open)."""
    raise_fd_limit()
    echo = request("POST /echo HTTP/1.1", "Content-Length: %d" % SLOW_BODY, body="e" * SLOW_BODY)
    upload = request("POST /upload HTTP/1.1", "Content-Length: %d" % SLOW_BODY)
    kinds = [(request("GET %s HTTP/1.1" % large) * 4, b""), (echo, b""), (MUCH, b""),
             (upload, b"u" * SLOW_BODY)]
    clients = {}    # by socket: what is sent as fast as it is taken, and what slowly
    ended, poller = 0, select.poll()
    for kind in kinds * n:
        clients[connect(addr, rcvbuf=4096)] = list(kind)

    def tick(s, rest):
        try:
            if rest[0]:
                rest[0] = rest[0][s.send(rest[0]):]
            elif rest[1]:
                rest[1] = rest[1][s.send(rest[1][:SLOW_WRITE]):]
        except BlockingIOError:
            pass
        try:
            return bool(s.recv(SLOW_READ))
        except BlockingIOError:
            return True

    pipe.send("ready")
    ticks = 0
    while ticks < SLOW_TICKS or not pipe.poll(0):
        time.sleep(SLOW_TICK_S)
        ticks += 1
        for s, rest in list(clients.items()):
            try:
                stays = tick(s, rest)
            except OSError:
                stays = False
            if not stays:
                del clients[s]
                s.close()
                ended += 1
    by_fd = {s.fileno(): s for s in clients}
    for s in clients:
        poller.register(s, select.POLLRDHUP)
    end = time.monotonic() + 3 * wire.HANG_S
    while by_fd and time.monotonic() < end:
        for fd, _ in poller.poll(50):
            poller.unregister(fd)
            by_fd.pop(fd).close()
            ended += 1
    pipe.send((ended, len(by_fd)))


def storm(addr, n, pipe, seed=1):
    """n connections that end in a reset (or a close, or a half-close) at every possible point."""
    rng = random.Random(seed)
    shapes = [GET, GET * 50, request("GET /json/50 HTTP/1.1") * 30,
              request("POST /baseline11 HTTP/1.1", "Content-Length: 100", body=" " * 99 + "1"),
              request("POST /baseline11 HTTP/1.1", "Transfer-Encoding: chunked",
                      body="1\r\n1\r\n" * 50 + "0\r\n\r\n"),
              request("POST /baseline11 HTTP/1.1", "Expect: 100-continue", "Content-Length: 2"),
              b"BAD\r\n\r\n" + b"x" * 3000, b"", request("GET /pipeline HTTP/1.0")]
    pipe.send("ready")
    held = []
    for _ in range(n):
        try:
            s = connect(addr)
            data = rng.choice(shapes)
            s.send(data[:rng.randint(0, len(data))] if rng.random() < 0.6 else data)
            what = rng.random()
            if what < 0.2:
                s.shutdown(socket.SHUT_WR)
            if what < 0.5:
                try:
                    s.recv(rng.choice([1, 100, 65536]))
                except BlockingIOError:
                    pass
            held.append(s)
        except OSError:
            pass
        if len(held) > rng.randint(0, 60):
            s = held.pop(rng.randrange(len(held)))
            if rng.random() < 0.8:
                reset(s)
            else:
                s.close()
    for s in held:
        reset(s)
    pipe.send((n, 0))


class Between:
    """The pipe of an attack that is one of many: keeps its reports, and lets it hear of the end."""

    def __init__(self, pipe):
        self.poll = pipe.poll
        self.ended = self.left = 0

    def send(self, report):
        if report != "ready":
            self.ended += report[0]
            self.left += report[1]


def again_and_again(attack, *args):
    """An attack, over and over, until told to leave.  Reports the sums of its reports."""
    *args, pipe = args
    between = Between(pipe)
    pipe.send("ready")
    while not pipe.poll(0):
        attack(*args, between)
    pipe.send((between.ended, between.left))


def shut_down_listener(pid, address):
    """Shut down a process's listening socket on this (host, port) under it: accept(2) gives it EINVAL
    from then on.  The socket, which listen(2) brings back to life.  PermissionError where the kernel
    does not let us."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    try:
        for theirs in map(int, os.listdir("/proc/%d/fd" % pid)):
            fd = libc.syscall(SYS_PIDFD_GETFD, pidfd, theirs, 0)
            if fd < 0:
                if ctypes.get_errno() == errno.EBADF:    # a connection that has ended since listdir()
                    continue
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.close(fd)
                continue
            s = socket.socket(fileno=fd)
            if s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and s.getsockname() == address:
                s.shutdown(socket.SHUT_RDWR)
                return s
            s.close()
    finally:
        os.close(pidfd)
    raise LookupError("%d does not listen on %s" % (pid, address))


class Attack:
    """`with Attack(function, *args) as a:` runs it; `a.result()` waits for its report;
    `a.tell()` tells those to leave that stay until they are told."""

    def __init__(self, function, *args):
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=function, args=args + (theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self):
        assert self._pipe.poll(2 * wire.HANG_S) and self._pipe.recv() == "ready"
        return self

    def running(self):
        return not self._pipe.poll(0)

    def tell(self):
        try:
            self._pipe.send("leave")
        except BrokenPipeError:
            pass    # it has gone by itself, and its report says why

    def result(self):
        assert self._pipe.poll(4 * wire.HANG_S), "the attack never ended"
        return self._pipe.recv()

    def __exit__(self, *_):
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
