# SPDX-License-Identifier: MIT
"""That there is a backend to test, and that the one asked for is the one that runs."""

import os
import re

import pytest

import wire
from wire_fixtures import backend_list


def test_there_is_a_backend():
    assert backend_list()[0], "no backend runs on this machine: %s" % (backend_list()[1],)


def test_start_line(server, backend):
    line = server.start_line
    assert re.search(r"listening on \S+", line)
    assert re.search(r"\bworkers[ =]2\b", line), line
    assert re.search(r"\bbackend[ =]%s\b" % re.escape(backend.split(":")[0]), line), line
    assert "kernel " + os.uname().release in line, line
    version = wire.run("--version").stdout.split()
    assert any(w in line for w in version if re.match(r"\d+\.\d+", w)), line


def test_start_line_is_logged_once(start):
    s = start()
    assert len([l for l in s.log().splitlines() if "listening on" in l]) == 1


def test_probe_agrees(backend):
    done = wire.run("--probe")
    assert done.returncode == 0, done.stderr
    assert re.search(r"\b%s\b" % re.escape(backend.split(":")[0]), done.stdout)


def test_requests_gather(backend):
    """batch=TIME: clients are served as ever, under the filter of system calls, too."""
    if backend not in ("epoll", "io_uring"):
        pytest.skip("%s lets nothing gather" % backend)
    filters = not wire.sanitized() and "seccomp" in wire.run("--version").stdout
    for options in [[], ["--seccomp"]][:1 + filters]:
        with wire.Server(backend + ":batch=1ms", *options, workers=1) as server:
            clients = [server.connect() for _ in range(4)]
            for _ in range(5):
                for c in clients:
                    c.send(wire.request("GET /pipeline HTTP/1.1"))
                for c in clients:
                    assert c.response().body == b"ok"
            wire.wait_until("a window", lambda: server.stats()["batch_waits"] > 0)
    for variant in ("batch=", "batch=0us", "batch=50", "batch=11ms", "batch=99999us", "batch=1s", "batch=1us,"):
        done = wire.run("--backend", "%s:%s" % (backend, variant), "--test")
        assert done.returncode != 0 and ("batch" in done.stderr), (variant, done)
