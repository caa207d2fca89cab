# SPDX-License-Identifier: MIT
"""Operations of io_uring that fail: one at a time, each in turn and each way, and many at random.

As test_faults.py, with tests/faults/shim_uring.c preloaded.  Faults that a backend can make good
(SURVIVED) may cost a client nothing at all; the others, at worst, the end of its connection.

BIVALVE_FAULT_STEP=N tries every N-th operation only (default 1), BIVALVE_FAULT_SEEDS=N so many
random runs of each kind (default 8).
"""

import errno
import os
import re
import resource
import select
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import shims
import test_faults as calls
import wire
import wire_fixtures

PARALLEL = 4
COUNT_MAX = 1000    # more operations of one kind than the script below makes

# What tests/faults/shim_uring.c knows, in its order.
OPERATIONS = {
    "uring_accept": "EMFILE ENFILE ENOMEM ENOBUFS ECONNABORTED EINTR EAGAIN EPROTO once",
    "uring_recv": "ENOBUFS ENOMEM ECONNRESET EINTR EAGAIN ETIMEDOUT short once",
    "uring_send": "ENOMEM ENOBUFS ECONNRESET EPIPE EINTR EAGAIN short",
    "uring_cancel": "ENOENT EALREADY",
    "uring_wake": "EINTR EAGAIN ENOMEM",
    "uring_poll": "EINTR EAGAIN ENOMEM",
    "uring_submit": "EINTR EAGAIN EBUSY ENOMEM",
    "uring_submit_part": "short",
}
SETUP = {
    "uring_queue_init": "ENOMEM EPERM ENOSYS EMFILE ENFILE",
    "uring_register": "ENOMEM EPERM ENOSYS EINVAL",
    "uring_register_ring_fd": "ENOMEM EPERM EINVAL EBUSY",
    "uring_unregister_buf_ring": "ENOENT EINVAL",
    "uring_probe_ring": "ENOMEM EPERM",
    "uring_sync_cancel": "ENOENT ETIME ENOMEM",
}
OPERATIONS = {call: ways.split() for call, ways in OPERATIONS.items()}
SETUP = {call: ways.split() for call, ways in SETUP.items()}
# The backend goes on as if nothing had been.  A failing send leaves open what has been sent: the
# connection ends.
SURVIVED = {
    "uring_accept": OPERATIONS["uring_accept"],
    "uring_recv": ["ENOBUFS", "EINTR", "EAGAIN", "short", "once"],
    "uring_send": ["short"],
    "uring_cancel": OPERATIONS["uring_cancel"],
    "uring_wake": OPERATIONS["uring_wake"],
    "uring_poll": OPERATIONS["uring_poll"],
    "uring_submit": OPERATIONS["uring_submit"],
    "uring_submit_part": OPERATIONS["uring_submit_part"],
}
BACKENDS = [
    "io_uring",
    # Queues that are always full, receives that always want for a buffer.
    "io_uring:entries=2,cq=2,buffers=1,buffer-bytes=64",
]
# Listeners are polled, and accept(2) called one by one: near the limit of connections.
NEAR_LIMIT = ["--max-connections", 100]
OPTIONS = ["--drain-timeout", 5, "--linger-timeout", 1, "--write-timeout", 1]
STUCK_MS = 2500    # longer than the write timeout

# More than the server writes ahead, so that it stops reading; and more than the kernel takes as
# well, so that a send waits.
MUCH = wire.request("GET /json/50?m=3 HTTP/1.1") * 200
TOO_MUCH = MUCH * 5
TOGETHER = 4    # clients


@pytest.fixture(scope="session")
def preload():
    """The shim, where there is an io_uring that it can work on."""
    tested, left_out = wire_fixtures.backend_list()
    if "io_uring" not in tested:
        pytest.skip("io_uring: " + left_out.get("io_uring", "not asked for"))
    with shims.shim("shim_uring", "C compiler or no liburing.h") as path:
        env = dict(shims.environment(path, os.devnull), BIVALVE_FAULT_PROBE="1")
        probe = wire.run("--version", env=env)
        if probe.returncode == 77:
            pytest.skip("faults cannot be injected: " + probe.stdout.strip())
        assert probe.returncode == 0, "the shim's probe: %r" % probe
        yield path


@pytest.fixture(scope="session")
def want(preload):
    """The answers to SCRIPT and to MUCH."""
    with wire.Server("io_uring", workers=0) as s:
        return [calls.talk(s.addr, data) for data in calls.SCRIPT + [MUCH]]


def late(addr):
    """Ask for MUCH, and read a little later."""
    got = b""
    with socket.socket(addr[0], socket.SOCK_STREAM) as s:
        s.settimeout(wire.HANG_S)
        try:
            s.connect(addr[1])
            s.sendall(MUCH)
            time.sleep(0.05)
            s.shutdown(socket.SHUT_WR)
            while True:
                more = s.recv(1 << 20)
                if not more:
                    break
                got += more
        except OSError as e:
            if e.errno not in calls.GONE:
                raise
    return calls.DATE.sub(b"Date: -", got)


def together(server, data):
    """Clients that the server finds all at once, because it slept while they came: it submits several
    entries by one call then.  What they got."""
    server.signal(signal.SIGSTOP)
    wire.wait_until("the server to stand still", lambda: wire.process_state(server.pid) == "T",
                    step=0.001)
    clients = [socket.socket(server.addr[0], socket.SOCK_STREAM) for _ in range(TOGETHER)]
    for c in clients:
        calls.ask(c, server.addr, data)
    server.signal(signal.SIGCONT)
    got = [calls.answer(c) for c in clients]
    for c in clients:
        c.close()
    return got


class Stuck:
    """A client that asks for TOO_MUCH and reads nothing: the server has to take back a send."""

    def __init__(self, addr):
        self._socket = socket.socket(addr[0], socket.SOCK_STREAM)
        self._socket.settimeout(wire.HANG_S)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            self._socket.connect(addr[1])
            self._socket.sendall(TOO_MUCH)
        except OSError as e:
            if e.errno not in calls.GONE:
                raise

    def wait(self):
        """Until the server has reset the connection.  Where a fault made it close before, the end
        lies behind what has not been read."""
        poller = select.poll()
        poller.register(self._socket, select.POLLRDHUP)
        if not poller.poll(STUCK_MS):
            try:
                while self._socket.recv(1 << 20):
                    pass
            except socket.timeout:
                raise AssertionError("a client that does not read is kept")
            except OSError as e:
                if e.errno not in calls.GONE:
                    raise
        self._socket.close()


def injected(log):
    """The (call, what) of the faults that the log tells of."""
    return [tuple(line.split()[2:4]) for line in shims.fired(log)]


def harmless(log):
    return all(what in SURVIVED.get(call, ()) for call, what in injected(log))


def idle(server):
    counters = server.stats()
    return counters["slots_used"] == 0 and counters["in_flight"] == (
        1 if "backend io_uring" in server.start_line else 0)


def compare(got, want):
    """Every answer is a prefix of the right one; the lengths of those that are cut short."""
    for have, right in zip(got, want):
        assert right.startswith(have), "wrong bytes: %r\ninstead of %r" % (have[:3000], right[:3000])
    return [(len(have), len(right)) for have, right in zip(got, want) if have != right]


def run_one(backend, env, want, rounds=1, whole=lambda: False, stuck=False, parallel=1,
            options=()):
    """One server with faults.  Returns (what its log says, whether it started).  `whole` tells
    afterwards whether every answer should have come; `parallel` clients are served at once."""
    try:
        s = wire.Server(backend, *OPTIONS, *options, workers=0, env=env)
    except wire.StartError as e:
        assert e.status == 1, "neither started nor failed in order: %s" % e
        assert re.search(r"\berror\b", e.said), "failed to start without a word: %r" % e.said
        return e.said, False
    try:
        short = compare(together(s, calls.SCRIPT[0]), want[:1] * TOGETHER)
        holder = Stuck(s.addr) if stuck else None
        for _ in range(rounds):
            with ThreadPoolExecutor(parallel) as clients:
                talks = [clients.submit(calls.talk, s.addr, data) for data in calls.SCRIPT]
                talks.append(clients.submit(late, s.addr))
            short += compare([t.result() for t in talks], want)
        if "BIVALVE_FAULT_AT" in env:
            tries = [calls.talk(s.addr, calls.SCRIPT[0]) for _ in range(2)]
            assert want[0] in tries, "does not recover: %r" % tries
        if holder:
            holder.wait()
        wire.wait_until("nothing to be in flight but the accept", lambda: idle(s), step=0.1)
        said = s.stop()
        assert not (short and whole()), "answers cut short (bytes of): %r" % short
        return said, True
    finally:
        s.kill()


def complain(problems):
    assert not problems, "\n".join("%s: %s" % (what, why) for what, why in problems[:10])


def attempt(backend, preload, want, log, rounds=1, parallel=1, options=(), **faults):
    """One run; the faults that were injected and what was wrong, None if nothing was."""
    stuck = "uring_cancel" in faults.get("calls", "uring_cancel")
    try:
        said, started = run_one(backend, shims.environment(preload, log, **faults), want,
                                stuck=stuck, rounds=rounds, parallel=parallel, options=options,
                                whole=lambda: harmless(log))
        # The server's own operations begin when it serves; a start ends for want of memory only.
        assert started or "mmap" in {call for call, _ in injected(log)}, said
    except Exception as e:  # with the fault, which is what one wants to know
        return injected(log), "%s: %s" % (type(e).__name__, e)
    return injected(log), None


def each_fails_once(backend, call, preload, want, tmp_path, step, options=()):
    """The n-th operation fails in the n-th way, until there is none; then the ways that have not
    been are tried from the first operation on."""
    ways = OPERATIONS[call]
    problems, seen = [], []

    def one(task):
        at, kind = task
        log = str(tmp_path / ("%s-%d-%d" % (call, at, kind)))
        return attempt(backend, preload, want, log, at=at, kind=kind, calls=call, first=1,
                       options=options)

    def some(pool, tasks):
        results = list(pool.map(one, tasks))
        for (at, kind), (faults, problem) in zip(tasks, results):
            seen.extend(faults)
            if problem:
                problems.append(("%d. %s as %s" % (at, call, faults), problem))
        return any(faults for faults, _ in results)

    with ThreadPoolExecutor(PARALLEL) as pool:
        for turn in range(COUNT_MAX // PARALLEL):
            kinds = range(turn * PARALLEL, (turn + 1) * PARALLEL)
            if not some(pool, [(1 + kind * step, kind) for kind in kinds]):
                break
        tried = len(seen)
        for kind, way in enumerate(ways):
            for at in range(1, tried + 1):
                if (call, way) not in seen:
                    some(pool, [(at, kind)])
    print("%s: %d faults: %s" % (call, len(seen), ", ".join(
        "%s %d" % (way, seen.count((call, way))) for way in ways)))
    complain(problems)
    missing = [way for way in ways if (call, way) not in seen]
    assert not missing, "never injected into %s: %s" % (call, missing)


@pytest.mark.parametrize("call", [c for c in OPERATIONS if c != "uring_poll"])
def test_each_operation_fails_once(call, preload, want, tmp_path):
    each_fails_once("io_uring", call, preload, want, tmp_path,
                    int(os.environ.get("BIVALVE_FAULT_STEP", "1")))


def test_each_poll_of_a_listener_fails_once(preload, want, tmp_path):
    each_fails_once("io_uring", "uring_poll", preload, want, tmp_path, 1, NEAR_LIMIT)


@pytest.mark.parametrize("kind", range(len(OPERATIONS["uring_cancel"])),
                         ids=OPERATIONS["uring_cancel"])
def test_limit_holds_when_a_cancel_fails(kind, preload, tmp_path):
    """Near --max-connections the accept that takes all there is gives way to single ones: it has to
    go, though its first cancel fails."""
    # The server accepts freely while there is room for as many as the kernel may have queued.
    limit, surplus = 4100, 60
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * limit:
        pytest.skip("needs %d fds, the limit is %d" % (2 * limit, hard))
    log = str(tmp_path / "limit")
    env = shims.environment(preload, log, calls="uring_cancel", at=1, kind=kind, first=1)
    server = wire.Server("io_uring", "--max-connections", limit, workers=0, env=env,
                         rlimit_nofile=2 * limit)
    clients = []

    def connect(count):
        for _ in range(count):
            clients.append(socket.create_connection(server.addr[1], wire.HANG_S))

    def used(count):
        wire.wait_until("%d connections" % count, lambda: server.stats()["slots_used"] == count)

    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * limit), hard))
    try:
        for count in range(1, 11):
            connect(1)
            used(count)
        connect(limit - 15)
        used(limit - 5)
        server.signal(signal.SIGSTOP)    # so that all of them wait at once
        connect(surplus)
        server.signal(signal.SIGCONT)
        wire.wait_until("the limit", lambda: server.stats()["slots_used"] >= limit)
        time.sleep(0.1)
        assert server.stats()["slots_used"] == limit
        assert injected(log) == [("uring_cancel", OPERATIONS["uring_cancel"][kind])]
        for c in clients:
            c.close()
        server.stop()
    finally:
        server.kill()
        for c in clients:
            c.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("backend_variant", BACKENDS, ids=["default", "tiny"])
def test_operations_fail_at_random(backend_variant, preload, want, tmp_path):
    """Together with the system calls, which test_faults.py fails alone."""
    seeds = int(os.environ.get("BIVALVE_FAULT_SEEDS", "8"))
    libc = os.path.join(os.path.dirname(preload), "shim.so")
    libraries = preload + (":" + libc if os.path.exists(libc) else "")
    kinds = [
        # All that costs nobody anything, and often: every answer has to come.
        dict(rate=200,
             calls="uring_accept,uring_cancel,uring_wake,uring_submit,uring_submit_part"),
        dict(rate=30, calls=",".join(OPERATIONS) + ",accept4,close,shutdown,mmap,madvise"),
    ]

    def one(task):
        seed, kind = task
        log = str(tmp_path / ("random-%d-%d" % (seed, kind)))
        return attempt(backend_variant, libraries, want, log, rounds=3, parallel=5,
                       options=NEAR_LIMIT if seed % 2 else (), seed=seed, first=1, **kinds[kind])

    tasks = [(seed, kind) for seed in range(1, seeds + 1) for kind in range(len(kinds))]
    with ThreadPoolExecutor(PARALLEL) as pool:
        results = list(pool.map(one, tasks))
    seen = {call for faults, _ in results for call, _ in faults}
    counts = {call: sum(f[0] == call for faults, _ in results for f in faults) for call in seen}
    print("%s: %s" % (backend_variant, ", ".join("%s %d" % c for c in sorted(counts.items()))))
    complain([("seed %d, kind %d (%s)" % (task + (faults[-20:],)), problem)
              for task, (faults, problem) in zip(tasks, results) if problem])
    often = {"uring_send", "uring_submit"}    # the others may be left out by chance
    assert often <= seen, "never injected: %s" % (often - seen)


@pytest.mark.parametrize("first", [0, 1], ids=["probe", "server"])
@pytest.mark.parametrize("call", SETUP)
def test_start_fails(call, first, preload, want, tmp_path):
    """What the backend is built from is refused, to the probe or only to the server: it does
    without, or it says what was refused; and --backend auto takes the other backend then."""
    seen, problems = set(), []

    def one(task):
        at, kind, backend = task
        log = str(tmp_path / ("%s-%d-%d-%s" % (call, at, kind, backend)))
        env = shims.environment(preload, log, at=at, kind=kind, calls=call, first=first)
        try:
            said, started = run_one(backend, env, want, whole=lambda: True)
        except Exception as e:
            return injected(log), "%s: %s" % (type(e).__name__, e)
        faults = injected(log)
        if not started:
            if backend == "auto" and "libev" in wire_fixtures.backend_list()[0]:
                return faults, "no other backend is taken: %s" % said
            words = [os.strerror(getattr(errno, what)) for _, what in faults]
            if not faults or not any(word in said for word in words):
                return faults, "failed to start without its cause: %s" % said
        return faults, None

    with ThreadPoolExecutor(PARALLEL) as pool:
        for at in range(1, COUNT_MAX):
            tasks = [(at, kind, backend) for kind in range(len(SETUP[call]))
                     for backend in ("io_uring", "auto")]
            results = list(pool.map(one, tasks))
            seen |= {fault for faults, _ in results for fault in faults}
            problems += [("%d. %s as %s, %s" % (at, call, faults, backend), problem)
                         for (_, _, backend), (faults, problem) in zip(tasks, results) if problem]
            if not any(faults for faults, _ in results):
                break
    complain(problems)
    missing = [way for way in SETUP[call] if (call, way) not in seen]
    # The server asks for no list of operations when it opens its backend; only the probe does.
    assert not missing or (first and call == "uring_probe_ring"), "never injected: %s" % missing
