# SPDX-License-Identifier: MIT
"""The soak: all attacks at once, beside clients that behave, for BIVALVE_SOAK_SECONDS on each backend.
None of those waits for more than a second, memory and descriptors come back, and the counters add up.
scripts/soak runs it for an hour; here it is a short one."""

import contextlib
import fcntl
import multiprocessing
import os
import random
import signal
import socket
import struct
import threading
import time

import attackers
import observe
import wire
from attackers import Attack, again_and_again
from wire import request

SECONDS = float(os.environ.get("BIVALVE_SOAK_SECONDS", "3"))
WARM_UP_S = min(SECONDS, 20)
WAIT_MAX_S = 1
MORE_MAX = 1 << 20    # bytes of memory that may be left of all that
VISITORS = 2
# Whoever takes no output is nearer to the deadline than who is served.
LIMITS = ["--header-timeout", 4, "--body-timeout", 4, "--idle-timeout", 4, "--write-timeout", 1,
          "--drain-timeout", 10, "--max-buffer-bytes", 8 << 20, "--linger-timeout", 2]
# What each attack leaves in the counters; without it, it has not been made.
TRACES = ["timeout_header", "timeout_body", "timeout_idle", "limit_buffers", "resets",
          "eof_mid_request", "responses_4xx", "accept_errors", "accept_pauses"]

GET = request("GET /pipeline HTTP/1.1")
POST = request("POST /baseline11?a=1 HTTP/1.1", "Content-Length: 2", body="20")
CHUNKED = request("POST /baseline11?a=1 HTTP/1.1", "Transfer-Encoding: chunked",
                  body="1\r\n2\r\n1\r\n0\r\n0\r\n\r\n")
JSON = request("GET /json/20?m=3 HTTP/1.1")
POLITE = 8    # the kinds of visits up to this one end when everything has been answered


# ---- who behaves ----

class Visit(wire.Client):
    """A connection that counts: what it asked, and the bytes each way."""

    def __init__(self, addr):
        s = socket.socket(addr[0], socket.SOCK_STREAM)
        s.settimeout(wire.HANG_S)
        s.connect(addr[1])
        super().__init__(s)
        self.asked = self.bytes_out = self.bytes_in = 0

    def send(self, data):
        self.bytes_out += len(data)
        return super().send(data)

    def recv_some(self, limit=65536):
        data = super().recv_some(limit)
        self.bytes_in += len(data)
        return data

    def ask(self, data, status=200, body=None):
        self.asked += 1
        r = self.request(data)
        assert r.status == status and body in (None, r.body), r


def visit(addr, rng, kind):
    """One connection of one kind; what comes back is checked wherever it must come."""
    c = Visit(addr)
    if kind < 2:
        c.ask(GET, body=b"ok")
    elif kind == 2:
        for _ in range(5):
            c.ask(POST, body=b"21")
    elif kind == 3:
        c.send(GET * 15)
        c.ask(GET)
        for _ in range(15):
            assert c.response().body == b"ok"
        c.asked += 15
    elif kind == 4:
        cut = rng.randrange(1, len(CHUNKED))
        c.send(CHUNKED[:cut])
        c.ask(CHUNKED[cut:], body=b"21")
    elif kind == 5:
        c.ask(JSON)
    elif kind == 6:
        c.ask(request("GET /json/50?m=2 HTTP/1.1"))
        c.ask(GET, body=b"ok")
    elif kind == 7:
        c.send(GET)
        c.sock.shutdown(socket.SHUT_WR)
        assert c.response().body == b"ok"
        c.asked += 1
        c.expect_eof()
    elif kind == 8:
        c.ask(b"BAD\r\n\r\n", 400)
        c.expect_eof()
    elif kind == 9:
        c.send(GET[:rng.randrange(len(GET))])
    elif kind == 10:
        c.send(JSON * 30)
    # else: nothing at all
    if kind > POLITE and rng.random() < 0.5:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
    return c


def visitor(addr, pids, seed, pipe):
    """Visits until told to leave.  Reports (visits, the longest, with and without what the machine
    let it wait for), or what went wrong."""
    rng = random.Random(seed)
    visits = longest = longest_wall = 0
    pipe.send("ready")
    kind = None
    try:
        while not pipe.poll(0):
            kind = rng.randrange(12)
            with observe.Wait(pids) as wait:
                try:
                    visit(addr, rng, kind)
                except ConnectionResetError:
                    if kind <= POLITE:    # the others do not take what they have asked for
                        raise
            visits += 1
            longest, longest_wall = max(longest, wait.seconds), max(longest_wall, wait.wall)
            time.sleep(0.002)
    except Exception as e:
        return pipe.send("visit %d of visitor %d, of kind %s: %r" % (visits, seed, kind, e))
    pipe.send((visits, longest, longest_wall))


# ---- the server, its log, and what else happens to it ----

class Reader(threading.Thread):
    """Reads the server's log through a pipe that is soon full, unless told to pause."""

    def __init__(self):
        super().__init__(daemon=True)
        self.fd, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.said = b""
        self.start()

    def run(self):
        while True:
            self.goes_on.wait()
            piece = os.read(self.fd, 4096)
            if not piece:
                return
            self.said += piece


class Victim(wire.Server):
    """A server with three listeners - for its clients, one that dies, one of a unix path - whose log
    goes through a Reader."""

    def __init__(self, backend, path):
        self.reader = Reader()
        super().__init__(backend, *LIMITS, listen=("127.0.0.1:0", "127.0.0.1:0", "unix:" + path),
                         before_exec=lambda: os.dup2(self.reader.writer, 2))
        self.dying = self.addresses[1][1]
        self.path = path

    def log(self):
        return self.reader.said.decode(errors="replace")

    def wait(self, *timeout):
        status = super().wait(*timeout)
        if self.reader.writer >= 0:    # what it said last is read
            os.close(self.reader.writer)
            self.reader.writer = -1
            self.reader.join(wire.HANG_S)
        return status

    def lose_a_listener(self):
        """It dies and lives again, elsewhere."""
        try:
            s = attackers.shut_down_listener(self.workers()[0], self.dying)
        except PermissionError:
            return False    # not dumpable, and we are not root
        time.sleep(0.3)
        s.listen(100)
        self.dying = s.getsockname()
        s.close()
        return True

    def meet_another(self):
        """A second server on the same path is refused, and the first goes on."""
        other = wire.run("--backend", self.backend, "--listen", "unix:" + self.path)
        assert other.returncode == 1 and self.path in other.stderr, other
        with Visit((socket.AF_UNIX, self.path)) as c:
            c.ask(GET, body=b"ok")

    def be_ignored(self):
        """Nobody reads the log, which is full before long, and requests are answered."""
        self.reader.goes_on.clear()
        for _ in range(12):
            self.signal(signal.SIGUSR1)
            time.sleep(0.02)
        with Visit(self.addr) as c:
            c.ask(GET, body=b"ok")
        self.reader.goes_on.set()


ATTACKS = [(attackers.misbehave, kind, 40) for kind in attackers.KINDS] + [
    (attackers.do_not_read, 10), (attackers.storm, 500), (attackers.greedy, 150)]


def assault(server, seconds):
    """Everything at once.  (visits, the longest, the longest by the clock)"""
    pids = server.workers()
    listener_dies = False
    with contextlib.ExitStack() as stack:
        attacks = []
        for function, *args in ATTACKS:
            args.insert(len(args) - 1, server.addr)
            attacks.append((function.__name__, stack.enter_context(
                Attack(again_and_again, function, *args))))
        visitors = [stack.enter_context(Attack(visitor, server.addr, pids, seed))
                    for seed in range(VISITORS)]
        end = time.monotonic() + seconds
        while time.monotonic() < end and all(v.running() for v in visitors):
            listener_dies = server.lose_a_listener()
            server.meet_another()
            server.be_ignored()
            time.sleep(min(1, max(0, end - time.monotonic())))
        for each in visitors + [attack for _, attack in attacks]:
            each.tell()
        reports = [v.result() for v in visitors]
        for name, attack in attacks:
            ended, left = attack.result()
            assert left == 0 or name == "greedy", "%d of %s were never let go" % (left, name)
    assert not [r for r in reports if isinstance(r, str)], reports
    return (sum(r[0] for r in reports), max(r[1] for r in reports), max(r[2] for r in reports),
            listener_dies)


def settle(server):
    """Nobody is there any more, and everything adds up."""
    wire.wait_until("every slot to be free", lambda: server.stats()["slots_used"] == 0, step=0.1,
                    timeout=3 * wire.HANG_S)
    stats = server.stats()
    assert stats["accepted"] == stats["closed"] + stats["rejected"], stats
    assert stats["blocks_used"] == stats["stale"] == stats["backend_errors"] == 0, stats
    assert stats["no_block"] == stats["handler_errors"] == stats["responses_5xx"] == 0, stats
    return stats


def count_exactly(server):
    """Clients that behave, alone: what they counted is what the server counted."""
    before = settle(server)
    rng = random.Random(1)
    visits = [visit(server.addr, rng, i % POLITE) for i in range(40 * POLITE)]    # all but errors
    after = settle(server)
    more = {name: after[name] - before[name] for name in after if isinstance(after[name], int)}
    assert more["accepted"] == more["closed"] == len(visits), more
    assert more["requests"] == more["responses_2xx"] == sum(c.asked for c in visits), more
    assert more["bytes_in"] == sum(c.bytes_out for c in visits), more
    assert more["bytes_out"] == sum(c.bytes_in for c in visits), more


def test_soak(backend, tmp_path):
    with Victim(backend, str(tmp_path / "soak")) as server:
        workers = server.workers()
        measurable = server.readable() and not wire.sanitized()
        memory_of = server.memory if measurable else lambda: 0
        assault(server, WARM_UP_S)
        settle(server)
        time.sleep(1)
        before, fds = memory_of(), server.fds()
        visits, longest, wall, listener_dies = assault(server, SECONDS)
        stats = settle(server)
        wire.wait_until("memory to be given back (%d KiB before)" % (before >> 10),
                        lambda: memory_of() - before <= MORE_MAX, step=0.2)
        print("%s: %d visits in %d s, the longest %.3f s (%.3f by the clock); memory %d KiB, then %d; %s" % (
            backend, visits, SECONDS, longest, wall, before >> 10, memory_of() >> 10,
            " ".join("%s=%s" % kv for kv in stats.items())), flush=True)
        assert longest <= WAIT_MAX_S
        assert server.workers() == workers, "a worker died"
        assert server.fds() == fds
        traces = [t for t in TRACES if listener_dies or not t.startswith("accept_")]
        assert all(stats[t] > 0 for t in traces), [t for t in traces if not stats[t]]
        assert "lines are missing here" in server.log()
        count_exactly(server)
