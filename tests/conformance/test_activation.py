# SPDX-License-Identifier: MIT
"""Sockets that are open before the server is: a service manager's, and at an upgrade (SIGUSR2) the old
server's. No client is refused while servers come and go."""

import ctypes
import os
import re
import shutil
import signal
import socket
import sys
import time

import pytest

import admin
import wire
from test_reload import Load, only, reload

HERE = os.path.dirname(os.path.abspath(__file__))
UPGRADES = int(os.environ.get("UPGRADES", "3"))


def listening(where=("127.0.0.1", 0), family=socket.AF_INET):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.bind(where)
    s.listen(128)
    return s


def activated(backend, sockets, *options, listen=(), **more):
    """A server that is started with these: [(name, socket)]."""
    fds = [s.fileno() for _, s in sockets]
    program = [sys.executable, os.path.join(HERE, "activate.py"), ":".join(n for n, _ in sockets),
               ",".join(map(str, fds)), wire.binary()]
    return wire.Server(backend, *options, listen=listen, program=program, pass_fds=fds, **more)


def answers(server, addr):
    with server.connect(addr=addr) as c:
        return c.get("/pipeline").body == b"ok"


def place(s):
    return (s.family, s.getsockname())


# ---- socket activation ----

def test_they_take_the_place_of_the_default(backend, tmp_path):
    path = str(tmp_path / "s")
    with listening() as one, listening(path, socket.AF_UNIX) as two:
        with activated(backend, [("bivalve.socket", one), ("bivalve.socket", two)]) as server:
            assert server.addresses == [place(one), place(two)]
            for addr in server.addresses:
                assert answers(server, addr)
            reload(server)
            for addr in server.addresses:
                assert answers(server, addr)
        assert os.path.exists(path), "it is the service manager's"
        with pytest.raises(socket.timeout):  # who comes now waits for the next server
            with socket.create_connection(one.getsockname(), 1) as s:
                s.settimeout(0.2)
                s.send(wire.PROBE)
                s.recv(1)


def test_they_are_matched_by_address_and_by_name(backend, tmp_path):
    """... with what the options say of them: one for proxies, one for the view."""
    with listening() as plain, listening() as proxied, listening() as seen, listening() as other:
        sockets = [("a", other), ("web", proxied), ("view", seen), ("b", plain)]
        text = "%s:%d" % plain.getsockname()
        with activated(backend, sockets, "--admin", "fd:view", listen=(text, "fd:web,proxy", "127.0.0.1:0")) as server:
            assert place(plain) == server.addresses[0] and place(other) == server.addresses[3]
            assert len(server.addresses) == 4
            for addr in (server.addresses[0], server.addresses[2], server.addresses[3]):
                assert answers(server, addr)
            with server.connect(addr=place(proxied)) as c:
                c.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
                assert c.get("/pipeline").body == b"ok"
            assert admin.get(place(seen), "/healthz").status == 200

def test_what_is_no_listening_socket(backend):
    with socket.socket() as s, pytest.raises(wire.StartError) as e:
        activated(backend, [("odd", s)])
    assert "descriptor 3 (odd) is no stream socket that listens" in e.value.said
    with listening() as s, pytest.raises(wire.StartError) as e:
        activated(backend, [("web", s)], listen=("fd:other",))
    assert "fd:other: no socket of that name was handed over" in e.value.said


def test_a_restart_refuses_nobody(backend):
    """The service manager's socket queues those who come between two servers."""
    with listening() as s:
        servers = [activated(backend, [("web", s)])]
        with Patient(place(s)) as load:
            for _ in range(3):
                load.some()
                servers.pop().stop()
                servers.append(activated(backend, [("web", s)]))
            load.some()
        servers.pop().stop()


class Patient:
    """A client that makes a connection for each request, and waits for its answer."""

    def __init__(self, addr):
        self.load = Load(self, want=b"ok")
        self.load.threads = self.load.threads[2:]
        self.addr = addr

    def connect(self):
        return wire.Server.connect(self, addr=self.addr)

    def some(self):
        time.sleep(0.2)

    def __enter__(self):
        self.load.__enter__()
        return self

    def __exit__(self, *how):
        self.load.__exit__(*how)


def test_one_worker_is_woken_for_a_client(backend):
    """The herd stays asleep where the backend can have it so: libev cannot."""
    with listening() as s, activated(backend, [("web", s)], workers=4) as server:
        before = server.stats()["accept_empty"]
        for _ in range(200):
            assert answers(server, server.addr)
        stats = server.stats()
        assert stats["accepted"] == 200
        if backend != "libev":
            assert stats["accept_empty"] - before <= 20


def test_systemd_socket_activate(backend):
    """The real thing, where there is one: it listens, and execs the server when somebody connects."""
    tool = shutil.which("systemd-socket-activate")
    if not tool:
        pytest.skip("systemd-socket-activate was not found (Debian: apt install systemd)")
    with listening() as s:
        port = s.getsockname()[1]
    program = [tool, "-l", "127.0.0.1:%d" % port, "--fdname=web", "-E", "TMPDIR", wire.binary()]
    import threading
    first = threading.Thread(target=lambda: wait_and_ask(port))
    first.start()
    with wire.Server(backend, listen=("fd:web",), program=program) as server:
        assert server.addresses == [(socket.AF_INET, ("127.0.0.1", port))]
        assert answers(server, server.addr)
        first.join()


def wait_and_ask(port):
    def ask():
        try:
            with socket.create_connection(("127.0.0.1", port), wire.HANG_S) as s:
                s.send(wire.PROBE)
                return s.recv(1)
        except OSError:
            return None
    wire.wait_until("the activator to listen", ask)


# ---- the upgrade ----

class Adopted:
    """A process that was not started here, as a Popen would be: it becomes a child of ours when its parent ends."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def poll(self):
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            except ChildProcessError:
                if not wire.alive(self.pid):
                    self.returncode = 0
        return self.returncode

    def wait(self, timeout):
        wire.wait_until("the end of %d" % self.pid, lambda: self.poll() is not None, timeout=timeout)
        return self.returncode


@pytest.fixture(autouse=True)
def reaper():
    """Orphans are ours: PR_SET_CHILD_SUBREAPER(2const)."""
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)
    yield
    ctypes.CDLL(None, use_errno=True).prctl(36, 0, 0, 0, 0)


def upgrade(server):
    """SIGUSR2, and wait until another process is the server."""
    before = server.log().count("serves in the place of this one")
    server.signal(signal.SIGUSR2)
    wire.wait_until("an upgrade", lambda: server.log().count("serves in the place of this one") > before)
    server.pid = int(re.findall(r"server \[(\d+)\] serves in the place", server.log())[-1])
    old, server.proc = server.proc, Adopted(server.pid)
    return old


def parent(pid):
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        return int(re.search(r"^PPid:\t(\d+)", f.read(), re.M)[1])


def test_no_request_fails(start):
    server = start("--drain-timeout", 5)
    with Load(server):
        for _ in range(UPGRADES):
            old = upgrade(server)
            assert old.wait(wire.HANG_S * 2) == 0
    only(server, 2)
    assert answers(server, server.addr)
    reload(server)
    assert answers(server, server.addr)


def test_all_kinds_of_sockets_and_other_numbers_of_workers(backend, tmp_path):
    path, conf = str(tmp_path / "s"), tmp_path / "b.conf"
    conf.write_text("workers 3\nadmin 127.0.0.1:0\nlisten unix:%s\nlisten 127.0.0.1:0\n" % path)
    with listening() as given:
        with activated(backend, [("web", given)], "--config", conf, workers=None) as server:
            where, addresses = admin.address(server), server.addresses
            for workers in (1, 5):
                conf.write_text(conf.read_text().replace("workers", "# workers") + "workers %d\n" % workers)
                old = upgrade(server)
                assert old.wait(wire.HANG_S * 2) == 0
                assert os.path.exists(path)
                for addr in addresses + [place(given)]:
                    for _ in range(8):
                        assert answers(server, addr)
                assert admin.get(where, "/healthz").status == 200
                assert len(admin.status(server)["workers"]) == workers
        assert not os.path.exists(path)


def test_what_is_idle_is_told_and_who_waits_is_answered(start):
    server = start("--drain-timeout", 300)
    with server.connect() as idle, server.connect() as busy:
        assert not idle.get("/pipeline").closes
        busy.send(b"POST /baseline11?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n4")
        wire.wait_until("both", lambda: server.stats()["slots_used"] == 2)
        old = upgrade(server)
        # systemd waits for the end of a main process that is its own child, and of no other.
        assert old.poll() is None and parent(server.pid) == os.getpid()
        # The workers are told after the log is: one more answer may say nothing yet.
        wire.wait_until("its end", lambda: idle.get("/pipeline").closes)
        assert busy.send(b"1").response().body.strip() == b"42"
    assert old.wait(wire.HANG_S * 2) == 0


def test_a_new_server_that_fails(backend, tmp_path):
    program, conf = tmp_path / "bivalve", tmp_path / "b.conf"
    os.symlink(wire.binary(), program)
    conf.write_text("admin 127.0.0.1:0\n")
    with wire.Server(backend, "--config", conf, program=[program]) as server:
        for number, spoil in enumerate((lambda: conf.write_text("admin 127.0.0.1:0\nmax-uri-bytes x\n"),
                                        lambda: conf.write_text("admin 127.0.0.1:0\naccess-log %s/no/log\n" % tmp_path),
                                        lambda: program.unlink())):
            spoil()
            with Load(server):
                server.signal(signal.SIGUSR2)
                wire.wait_until("its failure", lambda: server.log().count("upgrade failed: ") > number)
        assert "cannot be executed: No such file" in server.log()
        assert server.log().count("everything stays as it was") == 3
        assert admin.metrics(server)["bivalve_upgrade_failures_total", None] == 3
        assert admin.get(admin.address(server), "/healthz").status == 200
        os.symlink(wire.binary(), program)
        conf.write_text("admin 127.0.0.1:0\n")
        upgrade(server)
        assert answers(server, server.addr)


def test_the_end_during_an_upgrade(start):
    server = start()
    server.signal(signal.SIGUSR2)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    wire.wait_until("nobody to be left", lambda: not os.path.exists("/proc/%d" % server.pid))


def test_the_service_manager_is_told(backend, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(wire.HANG_S)
        with wire.Server(backend, env=dict(os.environ, NOTIFY_SOCKET=path)) as server:
            assert manager.recv(100) == b"READY=1"
            upgrade(server)
            said = {manager.recv(100), manager.recv(100)}
            assert said == {b"READY=1", b"MAINPID=%d" % server.pid}
        assert manager.recv(100) == b"STOPPING=1"


def test_a_signal_to_the_whole_group(start):
    """`kill -USR2 -GROUP`: the workers do not take it for their supervisor's death."""
    server = start()
    workers = server.workers()
    for pid in workers:
        os.kill(pid, signal.SIGUSR2)
    assert answers(server, server.addr)
    assert server.workers() == workers
