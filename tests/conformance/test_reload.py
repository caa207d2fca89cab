# SPDX-License-Identifier: MIT
"""SIGHUP: the options file, the dataset and the workers are new, and no client has noticed. RELOADS=100
makes the runs under load longer."""

import json
import os
import shutil
import signal
import socket
import ssl
import threading
import time

import pytest

import admin
import wire
from test_endpoints import records_to_try
from test_one_backend import preloading

RELOADS = int(os.environ.get("RELOADS", "10"))


def reload(server, done="reloaded, listening on"):
    """Reload, and wait until the log says how that ended."""
    before = server.log().count(done)
    server.signal(signal.SIGHUP)
    wire.wait_until("a reload", lambda: server.log().count(done) > before)


class Load:
    """Clients that never stop asking. What one of them is not answered as it should be is in .wrong."""

    def __init__(self, server, path="/pipeline", want=b"ok"):
        self.server, self.path, self.want = server, path, want
        self.wrong, self.answered, self.stop = [], 0, False
        self.threads = [threading.Thread(target=self._run, args=(keep,)) for keep in (True, True, False, False)]

    def _run(self, keep):
        answered = 0
        try:
            while not self.stop:
                with self.server.connect() as c:
                    while True:
                        answer = c.get(self.path, *([] if keep else ["Connection: close"]))
                        assert answer.status == 200 and answer.body == self.want, answer
                        answered += 1
                        if answer.closes or self.stop:
                            break
        except Exception as e:  # refused, reset, cut off: whatever it is, a client was failed
            self.wrong.append(repr(e))
        self.answered += answered

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, kind, *_):
        self.stop = True
        for t in self.threads:
            t.join()
        if kind is None:
            assert not self.wrong, self.wrong
            assert self.answered > 0


def only(server, count):
    """Nobody is left but so many workers."""
    wire.wait_until("the old workers to end", lambda: len(server.workers()) == count)


def test_signals_that_were_ignored(start):
    """nohup(1), and a shell in the background, leave SIGHUP and SIGINT ignored: the server hears its operator."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    server = start(before_exec=lambda: [signal.signal(n, signal.SIG_IGN) for n in numbers])
    reload(server)
    server.signal(signal.SIGINT)
    assert server.wait() == 0


def test_no_request_fails(start):
    server = start()
    first = server.workers()
    with Load(server) as load:
        for _ in range(RELOADS):
            reload(server)
    only(server, 2)
    assert not set(first) & set(server.workers())
    # Every one of them has been counted, whoever answered it.
    stats = server.stats()
    assert stats["requests"] == load.answered
    assert stats["restarts"] == stats["accept_errors"] == stats["limit_drain"] == 0


def test_workers_come_and_go(backend, tmp_path):
    """More of them and fewer: no client is left in the queue of a socket that nobody accepts from."""
    conf = tmp_path / "b.conf"
    conf.write_text("workers 4\n")
    with wire.Server(backend, "--config", conf, workers=None) as server:
        with Load(server):
            for count in ([1, 3, 8, 2] * RELOADS)[:RELOADS]:
                conf.write_text("workers %d\n" % count)
                reload(server)
                assert "workers %d (" % count in server.log()
        only(server, count)
        # With nobody but those of now, every socket has somebody.
        for _ in range(40):
            with server.connect() as c:
                assert c.get("/pipeline").body == b"ok"


def test_many_at_once(start):
    """Signals that come faster than workers start are not lost, and not too many."""
    server = start()
    with Load(server):
        for _ in range(50):
            server.signal(signal.SIGHUP)
            time.sleep(0.002)
        reload(server)
    only(server, 2)


def test_unix_socket(backend, tmp_path):
    path = "unix:%s/s" % tmp_path
    with wire.Server(backend, listen=(path,)) as server:
        with Load(server):
            for _ in range(3):
                reload(server)
        only(server, 2)
    assert not os.path.exists(path[5:])


def test_listeners(backend, tmp_path):
    """One stays, one goes, one comes."""
    conf = tmp_path / "b.conf"
    conf.write_text("listen 127.0.0.1:0\nlisten unix:%s/old\n" % tmp_path)
    with wire.Server(backend, "--config", conf, listen=()) as server:
        stays, goes = server.addresses
        with server.connect(addr=goes) as c:
            assert c.get("/pipeline").body == b"ok"
            conf.write_text("listen unix:%s/new\nlisten 127.0.0.1:0\n" % tmp_path)
            with Load(server):
                reload(server)
            answer = c.get("/pipeline")  # who is connected is served
            assert answer.body == b"ok" and answer.closes
        with pytest.raises(OSError):
            server.connect(addr=goes)
        assert sorted(os.listdir(tmp_path)) == ["b.conf", "new"]
        for addr in (stays, (socket.AF_UNIX, str(tmp_path / "new"))):
            with server.connect(addr=addr) as c:
                assert c.get("/pipeline").body == b"ok"
    assert os.listdir(tmp_path) == ["b.conf"]


def test_idle_connections(start):
    """An idle client is told by its next answer, and cut off after --drain-timeout."""
    server = start("--drain-timeout", 4)
    with server.connect() as told, server.connect() as idle, server.connect() as busy:
        assert not told.get("/pipeline").closes and not idle.get("/pipeline").closes
        busy.send(b"POST /baseline11?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n4")
        wire.wait_until("three connections", lambda: server.stats().get("slots_used") == 3)
        reload(server)
        assert told.quiet(1)
        answer = told.get("/pipeline")
        assert answer.body == b"ok" and answer.closes
        assert busy.send(b"1").response().body.strip() == b"42"
        idle.expect_eof()
    only(server, 2)
    assert server.stats()["slots_used"] == 0


def test_end_during_a_reload(start):
    """Old workers do not hold up the end."""
    server = start("--drain-timeout", 300)
    with server.connect() as idle:
        idle.get("/pipeline")
        reload(server)
        server.signal(signal.SIGHUP)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_drain_delay(start):
    """Health says no at once, clients are served and accepted as before, and then it ends."""
    server = start("--admin", "127.0.0.1:0", "--drain-delay", 300)
    where = admin.address(server)
    assert admin.get(where, "/healthz").status == 200
    with Load(server):
        server.signal(signal.SIGTERM)
        wire.wait_until("a 503", lambda: admin.get(where, "/healthz").status == 503)
        server.signal(signal.SIGHUP)  # has no effect any more
    with server.connect() as c:
        assert not c.get("/pipeline").closes
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "reloaded" not in server.log()
    server = start("--drain-delay", 0.3)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0 and "draining begins in 300 ms" in server.log()


def test_what_is_read_again(backend, tmp_path):
    records = records_to_try()
    data, conf = tmp_path / "data.json", tmp_path / "b.conf"
    data.write_text(json.dumps(records[:1]))
    conf.write_text("admin 127.0.0.1:0\nmax-uri-bytes 100\n")
    with wire.Server(backend, "--config", conf, "--dataset", data) as server:

        def results():
            # Each by a connection of its own: an old worker may accept one yet, and answers once.
            with server.connect() as c, server.connect() as d:
                said = admin.metrics(server)
                return (c.get("/json/2").status, d.get("/" + 120 * "x").status,
                        said["bivalve_reloads_total", 'result="done"'],
                        said["bivalve_reloads_total", 'result="failed"'])

        missing = results()[0]
        assert missing != 200 and results() == (missing, 414, 0, 0)
        data.write_text(json.dumps(records[:2]))
        conf.write_text("admin 127.0.0.1:0\n")
        reload(server)
        assert results() == (200, 404, 1, 0)
        # What is wrong leaves everything as it was, and is named.
        wire.wait_until("the old workers to end", lambda: len(admin.workers(server)) == 2)
        pids = admin.workers(server)
        for text, wanted in (("admin 127.0.0.1:0\nmax-uri-bytes x\n", "b.conf:2:15: option --max-uri-bytes"),
                             ("admin 127.0.0.1:1\n", "option --admin is changed by a restart only"),
                             ("allow-root\n", "option --admin is changed by a restart only"),
                             (None, "cannot read")):
            if text is None:
                conf.unlink()
            else:
                conf.write_text(text)
            reload(server, "everything stays as it was")
            assert wanted in server.log()
        conf.write_text("admin 127.0.0.1:0\n")
        data.write_text("[")
        reload(server, "everything stays as it was")
        assert "data.json" in server.log()
        assert admin.workers(server) == pids
        assert results() == (200, 404, 1, 5)
        data.write_text(json.dumps(records[:1]))
        reload(server)
        assert results() == (missing, 404, 2, 5)
        assert admin.status(server)["reload_failures"] == 5


def test_an_address_in_use(backend, tmp_path):
    conf = tmp_path / "b.conf"
    conf.write_text("listen 127.0.0.1:0\n")
    with socket.socket() as taken, wire.Server(backend, "--config", conf, listen=()) as server:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        conf.write_text("listen 127.0.0.1:0\nlisten 127.0.0.1:%d\n" % taken.getsockname()[1])
        with Load(server):
            reload(server, "everything stays as it was")
        assert "address in use" in server.log()


def test_the_service_manager_is_told(backend, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(wire.HANG_S)
        with wire.Server(backend, env=dict(os.environ, NOTIFY_SOCKET=path)) as server:
            assert manager.recv(100) == b"READY=1"
            for _ in range(2):
                before = time.clock_gettime(time.CLOCK_MONOTONIC)
                server.signal(signal.SIGHUP)
                first, second = manager.recv(100).split(b"\n")
                assert first == b"RELOADING=1" and second.startswith(b"MONOTONIC_USEC=")
                assert abs(int(second.split(b"=")[1]) / 1e6 - before) < wire.HANG_S
                assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"STOPPING=1"


def test_a_dead_worker_is_replaced_by_a_reload(start):
    """While it waits to be started again, others take its place at once."""
    server = start()
    for _ in range(4):
        pid = server.workers()[0]
        os.kill(pid, signal.SIGKILL)
        wire.wait_until("its end", lambda: not wire.alive(pid))
        reload(server)
        with server.connect() as c:
            assert c.get("/pipeline").body == b"ok"
    only(server, 2)
    server.kill()  # its log has deaths


def test_a_client_that_wakes_who_retires(start):
    """New workers wait at the same sockets, and a client wakes one of all that wait: the old one, which is
    stopped here until it is to retire as well. Whoever has it: nobody waits for the next client's knock."""
    server = start(workers=1)
    for _ in range(10):
        only(server, 1)
        old = server.workers()[0]
        os.kill(old, signal.SIGSTOP)
        reload(server)
        clients = [server.connect() for _ in range(4)]
        os.kill(old, signal.SIGCONT)
        for c in clients:
            with c:
                assert c.get("/pipeline").body == b"ok"


def test_no_supervisor(start):
    """--workers 0 has nobody to reload, and is not ended by the signal."""
    server = start(workers=0)
    server.signal(signal.SIGHUP)
    with server.connect() as c:
        assert c.get("/pipeline").body == b"ok"


# Every backend opens one eventfd, in the worker.
NO_EVENTFD = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int eventfd(unsigned count, int flags)
{
    int (*real)(unsigned, int) = (int (*)(unsigned, int))dlsym(RTLD_NEXT, "eventfd");
    if (access(getenv("COUNT_FILE"), F_OK) == 0) {
        errno = EMFILE;
        return -1;
    }
    return real(count, flags);
}
"""


def test_a_new_worker_that_fails(backend, tmp_path):
    """What only a worker finds out, when all else has been read."""
    env = preloading(tmp_path, NO_EVENTFD)(0)
    with wire.Server(backend, "--admin", "127.0.0.1:0", env=env) as server:
        pids = admin.workers(server)
        with Load(server):
            with open(env["COUNT_FILE"], "w"):
                reload(server, "everything stays as it was")
        assert "reload failed: " in server.log()
        assert admin.workers(server) == pids
        assert admin.metrics(server)["bivalve_reloads_total", 'result="failed"'] == 1
        os.unlink(env["COUNT_FILE"])
        reload(server)
        only(server, 3)


def shown(server, context):
    """The certificate that a client is shown, PEM's bytes."""
    with socket.create_connection(server.addr[1], wire.HANG_S) as plain, context.wrap_socket(plain) as s:
        return s.getpeercert(True)


def test_certificates(backend, certificates, tmp_path):
    """A new pair is taken up; one that does not belong together, or is none, leaves the old one."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    any_one = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    any_one.check_hostname, any_one.verify_mode = False, ssl.CERT_NONE

    def put(a, b):
        shutil.copyfile(a, cert)
        shutil.copyfile(b, key)
        key.chmod(0o600)

    def become(certificate):
        """Old workers may take a client or two before they hear of the new ones."""
        want = ssl.PEM_cert_to_DER_cert(open(certificate).read())
        wire.wait_until("the new certificate", lambda: shown(server, any_one) == want)
        return want

    put(certificates.cert, certificates.key)
    with wire.Server(backend, "--tls-cert", cert, "--tls-key", key, "--tls-listen", "127.0.0.1:0", listen=()) as server:
        become(certificates.cert)
        other = certificates.make("reload-" + backend)
        put(*other)
        reload(server)
        second = become(other[0])
        put(certificates.cert, other[1])
        reload(server, "everything stays as it was")
        assert "key.pem" in server.log() or "cert.pem" in server.log()
        assert shown(server, any_one) == second
        cert.write_text("none")
        reload(server, "everything stays as it was")
        assert shown(server, any_one) == second
        put(certificates.cert, certificates.key)
        reload(server)
        become(certificates.cert)


def test_the_log_is_opened_again(backend, tmp_path):
    """By SIGHUP as by SIGUSR1, and no line is lost."""
    log = tmp_path / "log"

    def lines():
        return sum(path.read_text().count("\n") for path in tmp_path.glob("log*"))

    with wire.Server(backend, "--access-log", log) as server:
        for number in (signal.SIGHUP, signal.SIGUSR1):
            with server.connect() as c:
                assert c.get("/pipeline").body == b"ok"
            os.rename(log, "%s.%d" % (log, number))
            server.signal(number)
            wire.wait_until("a new file", log.exists)
            with server.connect() as c:
                assert c.get("/pipeline").body == b"ok"
        wire.wait_until("all lines", lambda: lines() == 4)
