# SPDX-License-Identifier: MIT
"""The supervisor is killed: its workers end within a second or so, whatever they are doing, and the next
server finds the addresses free at once, as the one that a service manager starts has to."""

import os
import signal
import time

import pytest

import wire
from test_one_backend import preloading
from test_process import GET, Load

# The bounds below only catch what hangs: the drain that they would wait for otherwise is one of minutes.
OPTIONS = ["--drain-timeout", 300, "--header-timeout", 300, "--write-timeout", 300]


def orphan(server):
    """Kill the supervisor alone; returns (when, the workers)."""
    workers = server.workers()
    os.kill(server.pid, signal.SIGKILL)
    began = time.monotonic()
    server.proc.wait(10)
    return began, workers


def end_of(workers, began):
    """Wait for the end of the workers; seconds since `began`."""
    try:
        wire.wait_until("the workers to go", lambda: not any(wire.alive(p) for p in workers), timeout=10)
        return time.monotonic() - began
    finally:
        for pid in workers:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass


def start_again(backend, listen, began, log):
    """The next server on the same addresses. One try is enough on a machine that is not busy."""
    tries = 0
    while True:
        tries += 1
        try:
            return wire.Server(backend, listen=listen)
        except wire.StartError as e:
            assert time.monotonic() - began < 10, "not free after %.1f s, %d tries: %s\n%s" % (
                time.monotonic() - began, tries, e, log)
            assert "address in use" in e.said, e.said
            time.sleep(0.1)


def busy(server):
    """Clients of all kinds: those that never stop, one in mid-request, one that does not read, idle ones."""
    load = Load(server, connections=64, batch=16, reconnect=True)
    load.start()
    wire.wait_until("some load", lambda: load.answers > 1000)
    held = [server.connect() for _ in range(8)]
    for c in held:
        assert c.get("/pipeline").body == b"ok"
    held[0].send(GET[:20])
    held.append(server.connect(rcvbuf=4096))
    held[-1].send(wire.request("GET /json/50 HTTP/1.1") * 1000)
    held.append(server.connect(addr=server.addresses[1]))
    held[-1].send(GET[:20])
    return load, held


def refused(server):
    try:
        server.connect().close()
        return False
    except ConnectionRefusedError:
        return True
    except OSError:
        return False


@pytest.mark.parametrize("doing", ["idle", "busy", "draining"])
def test_the_next_server_starts_at_once(backend, doing, tmp_path):
    s = wire.Server(backend, *OPTIONS, listen=("127.0.0.1:0", "unix:%s" % (tmp_path / "s")))
    load, held, successor = None, [], None
    try:
        if doing != "idle":
            load, held = busy(s)
        if doing == "draining":
            s.signal(signal.SIGTERM)
            wire.wait_until("the drain", lambda: refused(s))
            load.stopping = True
        began, workers = orphan(s)
        listen = ("127.0.0.1:%d" % s.addr[1][1], "unix:%s" % (tmp_path / "s"))
        successor = start_again(backend, listen, began, s.log())
        for addr in successor.addresses:
            with successor.connect(addr=addr) as c:
                assert c.get("/pipeline").body == b"ok"
        print("%s, %s: the workers were gone after %.3f s" % (backend, doing, end_of(workers, began)))
    finally:
        if load:
            load.stopping = True
            load.join(wire.HANG_S)
        for c in held:
            c.close()
        s.kill()
        if successor:
            successor.kill()
    wrong = [p for p in load.problems if p != "a response was cut off"] if load else []
    assert not wrong, wrong[:5]


# A worker that does not come back to its loop: as a handler would that waits for something for ever.
HANGING = r"""
#define _GNU_SOURCE
#include <sys/socket.h>
#include <unistd.h>

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    (void)fd, (void)addr, (void)len, (void)flags;
    (void)!write(2, "hanging\n", 8);
    for (;;)
        pause();
}
"""


@pytest.mark.parametrize("sandbox", ["--seccomp", "--no-seccomp"])
def test_a_worker_that_hangs_is_killed(sandbox, tmp_path):
    if "epoll" not in wire.backends()[0]:
        pytest.skip("written for a backend that calls accept4() itself")
    try:
        s = wire.Server("epoll", sandbox, *OPTIONS, workers=1, env=preloading(tmp_path, HANGING)(0))
    except wire.StartError as e:
        if "built without libseccomp" in e.said:
            pytest.skip(e.said)
        raise
    try:
        with s.connect():
            wire.wait_until("it to hang", lambda: "hanging" in s.log())
            began, workers = orphan(s)
            end_of(workers, began)
    finally:
        s.kill()

