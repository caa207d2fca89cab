# SPDX-License-Identifier: MIT
"""Which engines these tests ran on: an engine that was left out stands here with the reason, and
that the engine asked for is the one that runs is looked at first."""

import os
import re

import pytest

import wire
from wire_fixtures import engine_list


def test_there_is_an_engine():
    assert engine_list()[0], "no engine runs on this machine: %s" % (engine_list()[1],)


def test_engine_left_out(left_out):
    if left_out[1] is not None:
        pytest.skip("engine %s: %s" % left_out)


def test_start_line(server, engine):
    line = server.start_line
    assert re.search(r"listening on \S+", line)
    assert re.search(r"\bworkers[ =]2\b", line), line
    assert re.search(r"\bengine[ =]%s\b" % re.escape(engine.split(":")[0]), line), line
    assert "kernel " + os.uname().release in line, line
    version = wire.run("--version").stdout.split()
    assert any(w in line for w in version if re.match(r"\d+\.\d+", w)), line


def test_start_line_is_logged_once(start):
    s = start()
    assert len([l for l in s.log().splitlines() if "listening on" in l]) == 1


def test_probe_agrees(engine):
    done = wire.run("--probe")
    assert done.returncode == 0, done.stderr
    assert re.search(r"\b%s\b" % re.escape(engine.split(":")[0]), done.stdout)
