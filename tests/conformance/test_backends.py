# SPDX-License-Identifier: MIT
"""That there is a backend to test, and that the one asked for is the one that runs."""

import os
import re

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
